//! The columns of an activity report: the sums that people ask for, under names that stay.

use serde::{Deserialize, Serialize};

use super::ActivityLine;
use crate::Measure;

macro_rules! columns {
    ($( #[doc = $doc:literal] $name:ident = |$line:ident| $sum:expr; )+) => {
        /// What happened to a template, summed up. The columns of the view `report_daily` have the same names.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
        pub struct ActivityCounts {
            $( #[doc = $doc] pub $name: u64, )+
        }

        impl ActivityCounts {
            /// The columns in order: name and meaning.
            pub const COLUMNS: &'static [(&'static str, &'static str)] =
                &[$( (stringify!($name), $doc), )+];

            /// The values in the order of [`Self::COLUMNS`].
            pub const fn values(&self) -> [u64; Self::COLUMNS.len()] {
                [$( self.$name, )+]
            }
        }

        impl From<&ActivityLine> for ActivityCounts {
            fn from(line: &ActivityLine) -> Self {
                Self { $( $name: { let $line = line; $sum }, )+ }
            }
        }
    };
}

columns! {
    /// Answers to a popup: accepted + rejected.
    asked = |l| l.of(Measure::Granted) + l.of(Measure::Consented) + l.of(Measure::Rejected);
    /// Accepted taps: granted + consented.
    accepted = |l| l.of(Measure::Granted) + l.of(Measure::Consented);
    /// Taps that were not an accept: reject, ban or filter.
    rejected = |l| l.of(Measure::Rejected);
    /// Grants by a tap.
    granted = |l| l.of(Measure::Granted);
    /// Grants by an imported balance.
    opened = |l| l.of(Measure::Opened);
    /// Consents to a long-term template.
    consented = |l| l.of(Measure::Consented);
    /// Times a ledger was suspended.
    suspended = |l| l.of(Measure::Suspended);
    /// Send requests accepted.
    messages = |l| l.of(Measure::Messages);
    /// Recipients asked for.
    targeted = |l| l.of(Measure::Targeted);
    /// Recipients skipped when the message was planned.
    skipped = |l| l.of(Measure::Skipped);
    /// Deliveries let in with a grant set aside.
    reserved = |l| l.of(Measure::Reserved);
    /// Deliveries let in without a grant.
    admitted = |l| l.of(Measure::Admitted);
    /// Deliveries handed to WeChat for the first time.
    handed_over = |l| l.of_class(Measure::Started, "first");
    /// Attempts begun, first ones included.
    attempts = |l| l.of(Measure::Started);
    /// Attempts that ended with "try again".
    postponed = |l| l.of(Measure::Postponed);
    /// Deliveries that became sent, doubts settled as sent and corrections included.
    sent = |l| l.of(Measure::Sent) + l.of(Measure::SettledSent) + l.of(Measure::Corrected);
    /// Deliveries WeChat refused for good, those whose grant is spent all the same included.
    refused = |l| l.of(Measure::Refused) + l.of(Measure::Forfeited);
    /// Deliveries tried as often as allowed.
    failed = |l| l.of(Measure::Failed);
    /// Deliveries whose time passed before they were handed over.
    expired = |l| l.of(Measure::Expired);
    /// Deliveries taken back before they were handed over.
    retracted = |l| l.of(Measure::Retracted);
    /// Deliveries skipped while they waited.
    dropped = |l| l.of(Measure::Dropped);
    /// Deliveries that became in doubt.
    doubted = |l| l.of(Measure::Doubted);
    /// Doubts settled as sent.
    settled_sent = |l| l.of(Measure::SettledSent);
    /// Doubts settled as not sent.
    settled_not_sent = |l| l.of(Measure::SettledNotSent);
    /// Doubts ended by a late answer that was not an accept.
    answered_late = |l| l.of(Measure::AnsweredLate);
    /// Deliveries settled as not sent and later proved sent.
    corrected = |l| l.of(Measure::Corrected);
    /// Findings of drift.
    drifted = |l| l.of(Measure::Drifted);
    /// Grants spent.
    consumed = |l| moved(l, |_, to| to == "consumed");
    /// Grants that are void: found so by drift, cleared, or taken away by an operator.
    voided = |l| moved(l, |_, to| to == "void");
    /// Grants set aside or held in doubt that are open again.
    returned = |l| moved(l, |from, to| to == "open" && from != "outside");
    /// Taps on the books that a second source told of.
    corroborated = |l| l.of(Measure::Corroborated);
    /// Taps told of by a source that the channel does not count.
    noted = |l| l.of(Measure::Noted);
    /// Deliveries that WeChat's sent event confirmed.
    confirmed = |l| l.of(Measure::Confirmed);
    /// Deliveries that failed after WeChat had accepted them.
    undelivered = |l| l.of(Measure::Undelivered);
    /// Sent events that no delivery explains.
    strangers = |l| l.of(Measure::Strangers);
    /// Grants that operators added.
    adjusted_up = |l| l.of(Measure::AdjustedUp);
    /// Grants that operators took away.
    adjusted_down = |l| l.of(Measure::AdjustedDown);
    /// Times a user's switching off cleared grants.
    cleared = |l| l.of(Measure::Cleared);
    /// Deliveries refused for good whose grant counts as spent.
    forfeited = |l| l.of(Measure::Forfeited);
}

/// Grants that moved between these places.
fn moved(line: &ActivityLine, which: fn(&str, &str) -> bool) -> u64 {
    let moves = line.classes.get(&Measure::Move).into_iter().flatten();
    let fits = |class: &str| class.split_once('>').is_some_and(|(from, to)| which(from, to));
    moves.filter(|(class, _)| fits(class)).map(|(_, amount)| amount).sum()
}
