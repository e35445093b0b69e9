//! What a ledger remembers beside its books: taps that only one source has told of, and sends that WeChat may still have a
//! word on. Only decisions look at it, so read models do without it.
//!
//! Bounded, and small: a state is kept for tens of thousands of ledgers and copied with each command. A tap that both
//! sources have told of is forgotten, because nothing pairs with it any more.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use super::{
    MAX_REMEMBERED_SENDS, MAX_REMEMBERED_TAPS,
    event::{Choice, Corroborated, LateOutcome, LedgerEvent},
    state::Ledger,
};
use crate::{DeliveryId, Evidence, EvidenceSource, LotId, Timestamp};

/// Who tells of taps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The Mini Program, or the back end that speaks for it.
    Client,
    /// WeChat.
    Push,
}

impl Side {
    /// The side a source is of; an operator's or an importer's word is of neither.
    pub(super) const fn of(source: EvidenceSource) -> Option<Self> {
        match source {
            EvidenceSource::ClientReport | EvidenceSource::Integrator => Some(Self::Client),
            EvidenceSource::WechatPush => Some(Self::Push),
            EvidenceSource::WechatAnswer
            | EvidenceSource::Import
            | EvidenceSource::Operator
            | EvidenceSource::Policy => None,
        }
    }
}

/// A tap that only one side has told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tap {
    /// When, according to its source.
    pub(super) at: Timestamp,
    pub(super) source: EvidenceSource,
    pub(super) choice: Choice,
    /// The lot it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) lot: Option<NonZeroU64>,
    /// The reference of its evidence, where it was noted and not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) noted: Option<Box<str>>,
}

impl Tap {
    pub(super) fn lot(&self) -> Option<LotId> {
        self.lot.map(NonZeroU64::get)
    }

    fn is_of_the_other_side(&self, source: EvidenceSource) -> bool {
        Side::of(self.source).zip(Side::of(source)).is_some_and(|(one, other)| one != other)
    }
}

/// A sent event about a delivery whose answer is still out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Early {
    pub(super) code: i64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) status: String,
    pub(super) evidence: Evidence,
}

/// A send that WeChat may have a word on, or a sent event that no send of ours explains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Send {
    /// None for a stranger's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) delivery: Option<DeliveryId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) wechat_msgid: Option<Box<str>>,
    /// WeChat's sent event said success.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) confirmed: bool,
    /// It said failure.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) undelivered: bool,
    /// It came before the answer, which is still out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) early: Option<Box<Early>>,
}

impl Ledger {
    /// The tap that `evidence` tells of for the second time, if it is one that only the other side has told of. An
    /// uncounted source only confirms what is on the books, not what was merely noted.
    ///
    /// The oldest within the window, not the nearest: with taps at 0 and 4, a window of 5 and pushes of 5 and 9, the
    /// nearest to 5 is 4, and 9 is left without a partner. Oldest first leaves the newer taps to the newer pushes.
    pub(super) fn pair_of(
        &self,
        evidence: &Evidence,
        choice: Choice,
        window: u32,
        counted: bool,
    ) -> Option<&Tap> {
        let window = u64::from(window) * Timestamp::MICROS_PER_SECOND.unsigned_abs();
        let fits = |tap: &&Tap| {
            tap.choice == choice
                && tap.is_of_the_other_side(evidence.source)
                && tap.at.micros().abs_diff(evidence.at.micros()) <= window
                && (counted || tap.noted.is_none())
        };
        self.taps.iter().filter(fits).min_by_key(|tap| tap.at)
    }

    /// What is remembered of the send of a delivery.
    pub(super) fn send_of(&self, delivery: DeliveryId) -> Option<&Send> {
        self.sends.iter().find(|send| send.delivery == Some(delivery))
    }

    /// The memory's part of the fold, after the books'.
    pub(super) fn remember(&mut self, event: &LedgerEvent) {
        match event {
            LedgerEvent::Granted(e) => self.heard(Choice::Accept, NonZeroU64::new(e.lot), &e.evidence, false),
            LedgerEvent::Consented(e) => self.heard(Choice::Accept, None, &e.evidence, false),
            LedgerEvent::Rejected(e) => self.heard(e.choice, None, &e.evidence, false),
            LedgerEvent::TapNoted(e) => self.heard(e.choice, None, &e.evidence, true),
            LedgerEvent::Corroborated(e) => self.paired(e),
            LedgerEvent::Suspended(e) if e.evidence.source == EvidenceSource::WechatPush => {
                self.last_settings_at = self.last_settings_at.max(Some(e.evidence.at));
            }
            LedgerEvent::Consumed(e) => self.sent(e.delivery, e.wechat_msgid.as_deref()),
            LedgerEvent::SettledLate(e) => {
                if let LateOutcome::Sent { wechat_msgid } = &e.outcome {
                    self.sent(e.delivery, wechat_msgid.as_deref());
                }
            }
            LedgerEvent::Confirmed(e) => {
                self.told(e.delivery, e.wechat_msgid.as_deref(), 0, "", &e.evidence);
            }
            LedgerEvent::Undelivered(e) => {
                self.told(e.delivery, e.wechat_msgid.as_deref(), e.code, &e.status, &e.evidence);
            }
            LedgerEvent::StrangerReported(e) => {
                if let Some(msgid) = e.wechat_msgid.as_deref() {
                    self.keep_send(None, Some(msgid));
                }
            }
            // The attempt came to nothing; what WeChat pushed meanwhile was about another send.
            LedgerEvent::Postponed(e) => self.forget_send(e.delivery),
            LedgerEvent::Released(e) => self.forget_send(e.delivery),
            LedgerEvent::Denied(e) => self.forget_send(e.delivery),
            LedgerEvent::Forfeited(e) => self.forget_send(e.delivery),
            LedgerEvent::Opened(_)
            | LedgerEvent::Suspended(_)
            | LedgerEvent::Reserved(_)
            | LedgerEvent::Admitted(_)
            | LedgerEvent::Started(_)
            | LedgerEvent::Doubted(_)
            | LedgerEvent::DriftFound(_)
            | LedgerEvent::Adjusted(_)
            | LedgerEvent::Cleared(_) => {}
        }
    }

    fn heard(&mut self, choice: Choice, lot: Option<NonZeroU64>, evidence: &Evidence, noted: bool) {
        if Side::of(evidence.source).is_none() {
            return;
        }
        if self.taps.len() >= MAX_REMEMBERED_TAPS {
            self.taps.remove(0);
        }
        let noted = noted.then(|| evidence.reference.as_str().into());
        self.taps.push(Tap { at: evidence.at, source: evidence.source, choice, lot, noted });
    }

    /// Forgets the tap on the books, and what was noted of it before.
    fn paired(&mut self, event: &Corroborated) {
        let Corroborated { lot, choice, tapped_at, evidence } = event;
        let on_the_books = self.taps.iter().position(|tap| {
            tap.noted.is_none()
                && tap.choice == *choice
                && tap.at == *tapped_at
                && tap.lot() == *lot
                && tap.is_of_the_other_side(evidence.source)
        });
        if let Some(at) = on_the_books {
            self.taps.remove(at);
        }
        let noted = self.taps.iter().position(|tap| {
            tap.at == evidence.at
                && tap.choice == *choice
                && tap.source == evidence.source
                && tap.noted.as_deref() == Some(evidence.reference.as_str())
        });
        if let Some(at) = noted {
            self.taps.remove(at);
        }
    }

    /// The delivery went out.
    fn sent(&mut self, delivery: DeliveryId, wechat_msgid: Option<&str>) {
        // An event of this message that was taken for the attempt under way is not about that one.
        self.sends.retain(|send| {
            send.early.is_none()
                || send.delivery == Some(delivery)
                || wechat_msgid.is_none()
                || send.wechat_msgid.as_deref() != wechat_msgid
        });
        let Some(send) = self.sends.iter_mut().find(|send| send.delivery == Some(delivery)) else {
            return self.keep_send(Some(delivery), wechat_msgid);
        };
        send.early = None;
        if let Some(msgid) = wechat_msgid {
            // The answer names another message than the push that came before it: that one was not about this delivery.
            if send.wechat_msgid.as_deref().is_some_and(|pushed| pushed != msgid) {
                (send.confirmed, send.undelivered) = (false, false);
            }
            send.wechat_msgid = Some(msgid.into());
        }
    }

    /// WeChat's sent event about a delivery.
    fn told(
        &mut self,
        delivery: DeliveryId,
        wechat_msgid: Option<&str>,
        code: i64,
        status: &str,
        evidence: &Evidence,
    ) {
        let under_way = self.outstanding.contains_key(&delivery);
        if self.send_of(delivery).is_none() {
            self.keep_send(Some(delivery), wechat_msgid);
        }
        let Some(send) = self.sends.iter_mut().find(|send| send.delivery == Some(delivery)) else { return };
        if let Some(msgid) = wechat_msgid {
            send.wechat_msgid = Some(msgid.into());
        }
        match code {
            0 => send.confirmed = true,
            _ => send.undelivered = true,
        }
        let early = || Early { code, status: status.to_owned(), evidence: evidence.clone() };
        send.early = under_way.then(|| Box::new(early()));
    }

    /// Room is made by the oldest stranger; without one, by the oldest send whose answer is not awaited.
    fn keep_send(&mut self, delivery: Option<DeliveryId>, wechat_msgid: Option<&str>) {
        let wechat_msgid = wechat_msgid.map(Box::from);
        // What was taken for a stranger's is ours after all.
        self.sends.retain(|send| send.delivery.is_some() || send.wechat_msgid != wechat_msgid);
        if self.sends.len() >= MAX_REMEMBERED_SENDS {
            let stranger = self.sends.iter().position(|send| send.delivery.is_none());
            let oldest = || self.sends.iter().position(|send| send.early.is_none());
            if let Some(at) = stranger.or_else(oldest) {
                self.sends.remove(at);
            }
        }
        let (confirmed, undelivered, early) = (false, false, None);
        self.sends.push(Send { delivery, wechat_msgid, confirmed, undelivered, early });
    }

    fn forget_send(&mut self, delivery: DeliveryId) {
        self.sends.retain(|send| send.delivery != Some(delivery));
    }
}
