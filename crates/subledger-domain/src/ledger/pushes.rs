//! Decisions about what is told from outside a call: taps, from two sides, and WeChat's final word on a send.
//!
//! Nothing here may depend on which of two facts came first: a report and a push of one tap, or an answer and a push of one
//! send, leave the same state in either order.

use super::{
    MAX_STATUS_CHARS,
    error::LedgerError,
    event::{
        Choice, Confirmed, Consented, Corroborated, Granted, LateOutcome, LedgerEvent, Rejected, SettledLate,
        StrangerReported, TapNoted, Undelivered,
    },
    memory::{Send, Side},
    policy::Taps,
    state::{Ledger, Phase},
};
use crate::{DeliveryId, Evidence, TemplateKind, Timestamp};

/// How much older than the start of an attempt WeChat's `CreateTime` may be and still mean it: it counts whole seconds, and
/// two clocks are compared.
const START_TOLERANCE_SECONDS: i64 = 1;

impl Taps {
    /// Whether a tap told of by this source is a grant. The word of an operator or an import always is.
    const fn count(self, side: Option<Side>) -> bool {
        match (self, side) {
            (Self::Both, _) | (_, None) => true,
            (Self::ClientOnly, Some(side)) => matches!(side, Side::Client),
            (Self::PushOnly, Some(side)) => matches!(side, Side::Push),
        }
    }
}

/// What was chosen, and how it is to be counted.
pub(super) struct Told {
    pub(super) choice: Choice,
    pub(super) word: String,
    pub(super) kind: TemplateKind,
    pub(super) taps: Taps,
    pub(super) window: u32,
    pub(super) evidence: Evidence,
}

/// WeChat's sent event.
pub(super) struct SentEvent {
    pub(super) wechat_msgid: Option<String>,
    pub(super) code: i64,
    pub(super) status: String,
    pub(super) began: Option<(DeliveryId, Timestamp)>,
    pub(super) evidence: Evidence,
}

impl SentEvent {
    /// WeChat's word about a delivery.
    fn about(self, delivery: DeliveryId) -> LedgerEvent {
        let Self { wechat_msgid, code, status, evidence, .. } = self;
        if code == 0 {
            return LedgerEvent::Confirmed(Confirmed { delivery, wechat_msgid, evidence });
        }
        let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | ':' | '.' | '-');
        let status = status.chars().filter(plain).take(MAX_STATUS_CHARS).collect();
        LedgerEvent::Undelivered(Undelivered { delivery, wechat_msgid, code, status, evidence })
    }

    /// The same, of a delivery that is settled by it.
    fn settling(self, delivery: DeliveryId) -> Vec<LedgerEvent> {
        let outcome = LateOutcome::Sent { wechat_msgid: self.wechat_msgid.clone() };
        let evidence = self.evidence.clone();
        let settled = LedgerEvent::SettledLate(SettledLate { delivery, outcome, evidence });
        vec![settled, self.about(delivery)]
    }
}

impl Ledger {
    /// A tap: a credit, or another word on one that is on the books, or merely noted.
    pub(super) fn record_choice(&self, told: Told) -> Result<Vec<LedgerEvent>, LedgerError> {
        let Told { choice, word, kind, taps, window, evidence } = told;
        let counted = taps.count(Side::of(evidence.source));
        let pair = self.pair_of(&evidence, choice, window, counted);
        let corroborated = |lot, tapped_at, evidence| {
            LedgerEvent::Corroborated(Corroborated { lot, choice, tapped_at, evidence })
        };
        let noted = match pair {
            Some(tap) if tap.noted.is_none() => return Ok(vec![corroborated(tap.lot(), tap.at, evidence)]),
            _ if !counted => return Ok(vec![LedgerEvent::TapNoted(TapNoted { choice, word, evidence })]),
            // The uncounted source was the first to tell.
            Some(tap) => tap.noted.as_deref().map(|reference| Evidence::new(tap.source, reference, tap.at)),
            None => None,
        };
        let tapped_at = evidence.at;
        let (credit, lot) = match (choice, kind) {
            (Choice::Accept, TemplateKind::OneTime) => {
                self.has_room_for(1)?;
                let lot = self.granted + 1;
                (LedgerEvent::Granted(Granted { lot, word, evidence }), Some(lot))
            }
            (Choice::Accept, TemplateKind::LongTerm) => {
                (LedgerEvent::Consented(Consented { word, evidence }), None)
            }
            _ => (LedgerEvent::Rejected(Rejected { choice, evidence }), None),
        };
        let mut events = vec![credit];
        events.extend(noted.map(|noted| corroborated(lot, tapped_at, noted)));
        Ok(events)
    }

    /// WeChat's sent event: which delivery it is about, in the order in which that is certain.
    pub(super) fn record_sent(&self, sent: SentEvent) -> Vec<LedgerEvent> {
        let named = |send: &&Send| {
            sent.wechat_msgid.is_some() && send.wechat_msgid.as_deref() == sent.wechat_msgid.as_deref()
        };
        if let Some(send) = self.sends.iter().find(named) {
            let told = if sent.code == 0 { send.confirmed } else { send.undelivered };
            return match send.delivery {
                Some(delivery) if !told => vec![sent.about(delivery)],
                _ => Vec::new(),
            };
        }
        let unresolved = self.outstanding.iter().find(|(_, one)| one.phase != Phase::Reserved);
        match unresolved.map(|(delivery, one)| (*delivery, one.phase)) {
            Some((delivery, Phase::InDoubt)) => return sent.settling(delivery),
            // The push is quicker than the answer. One push at most can be about this attempt.
            Some((delivery, Phase::Started))
                if self.send_of(delivery).is_none() && !is_older(&sent, delivery) =>
            {
                return vec![sent.about(delivery)];
            }
            _ => {}
        }
        let unnamed = |send: &&Send| send.wechat_msgid.is_none() && !send.confirmed && !send.undelivered;
        if let Some(delivery) = self.sends.iter().find(unnamed).and_then(|send| send.delivery) {
            return vec![sent.about(delivery)];
        }
        // Settled as "not sent", and it was sent.
        let suspect = self.believed().filter(|lot| lot.doubted_by.is_some()).min_by_key(|lot| lot.id);
        if let Some(delivery) = suspect.and_then(|lot| lot.doubted_by) {
            return sent.settling(delivery);
        }
        let SentEvent { wechat_msgid, code, evidence, .. } = sent;
        vec![LedgerEvent::StrangerReported(StrangerReported { wechat_msgid, code, evidence })]
    }

    /// Whether this message is on the books as sent by another delivery that has ended: a push was taken for that one's. One
    /// message spends one grant, whoever it is counted for.
    pub(super) fn is_of_another(&self, delivery: DeliveryId, wechat_msgid: Option<&str>) -> bool {
        let named = |send: &Send| {
            let other = send.delivery.is_some_and(|sent| sent != delivery);
            other
                && send.early.is_none()
                && wechat_msgid.is_some()
                && send.wechat_msgid.as_deref() == wechat_msgid
        };
        !self.outstanding.contains_key(&delivery) && self.sends.iter().any(named)
    }

    /// What the answer of an attempt leads to, where a sent event came before it that was about another send after all: the
    /// event is judged anew, as if it came after the answer.
    pub(super) fn and_retold(&self, delivery: DeliveryId, answered: Vec<LedgerEvent>) -> Vec<LedgerEvent> {
        let early = self.sends.iter().find(|send| send.early.is_some() && send.delivery == Some(delivery));
        self.judged_anew(early, answered)
    }

    /// The same where a delivery that was given up turns out to be the message that an event named, while the event is
    /// taken for the attempt under way.
    pub(super) fn and_claimed(
        &self,
        wechat_msgid: Option<&str>,
        settled: Vec<LedgerEvent>,
    ) -> Vec<LedgerEvent> {
        let named = |send: &&Send| {
            send.early.is_some() && wechat_msgid.is_some() && send.wechat_msgid.as_deref() == wechat_msgid
        };
        self.judged_anew(self.sends.iter().find(named), settled)
    }

    fn judged_anew(&self, send: Option<&Send>, mut events: Vec<LedgerEvent>) -> Vec<LedgerEvent> {
        let Some((send, early)) = send.and_then(|send| Some((send, send.early.as_deref()?))) else {
            return events;
        };
        let sent = SentEvent {
            wechat_msgid: send.wechat_msgid.as_deref().map(str::to_owned),
            code: early.code,
            status: early.status.clone(),
            began: None,
            evidence: early.evidence.clone(),
        };
        let mut after = self.clone();
        events.iter().for_each(|event| after.fold(event));
        events.extend(after.record_sent(sent));
        events
    }
}

/// Whether the event is older than the attempt under way.
fn is_older(sent: &SentEvent, delivery: DeliveryId) -> bool {
    let began = sent.began.filter(|(of, _)| *of == delivery).map(|(_, began)| began);
    began.is_some_and(|began| sent.evidence.at.plus_seconds(START_TOLERANCE_SECONDS) < began)
}
