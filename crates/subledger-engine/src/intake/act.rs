//! What a push does: one command for all its items, so that body, events and receipt are one commit.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use subledger_domain::{
    DeliveryId, Evidence, EvidenceSource, LogName, Openid, StoredEvent, StreamName, SubjectId, TemplateId,
    TemplateKind, Timestamp,
    channel::{Channel, ChannelCommand, Policy},
    ledger::{Choice, Ledger, LedgerCommand, LedgerEvent},
};
use subledger_store::{
    Effect, Known, PushKey, PushRow, PushState, QueueState, Stage, StageError, Stop, StreamRef, Work,
};
use subledger_wechat::push::{Push, PushEvent};

use crate::{Engine, EngineError, dispatch::queue_effects, relay};

/// Items that the effect of a push lists; of more only the number is told.
const MAX_TOLD: usize = 20;
/// Characters of WeChat's word for a choice that are kept.
const MAX_WORD_CHARS: usize = 32;
/// The code of a sent event that failed and whose `ErrorCode` is no number. Codes other than 0 are not published.
const UNKNOWN_CODE: i64 = -1;
/// A push that is younger cannot be meant for an earlier attempt than the one under way.
const PROMPT_SECONDS: i64 = 2;

/// One line of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// An answer to the popup.
    Chosen { template: TemplateId, choice: Choice, word: String },
    /// A template was switched off.
    Off { template: TemplateId },
    /// The result of a send.
    Sent { template: TemplateId, msgid: Option<String>, code: i64, status: String },
    /// Nothing to act on, and why.
    Odd(&'static str),
}

impl Item {
    fn template(&self) -> Option<&TemplateId> {
        match self {
            Self::Chosen { template, .. } | Self::Off { template } | Self::Sent { template, .. } => {
                Some(template)
            }
            Self::Odd(_) => None,
        }
    }
}

/// The lines of a push. What is about no ledger has none.
pub(crate) fn items(push: &Push) -> Vec<Item> {
    let id = |text: &str| text.parse::<TemplateId>().map_err(|_| Item::Odd("bad_template_id"));
    let either = |item: Result<Item, Item>| item.unwrap_or_else(|odd| odd);
    match &push.what {
        PushEvent::Popup(list) => list
            .iter()
            .map(|item| {
                either(id(&item.template_id).map(|template| match Choice::from_wechat(&item.status) {
                    Some(choice) => {
                        let word = item.status.chars().take(MAX_WORD_CHARS).collect();
                        Item::Chosen { template, choice, word }
                    }
                    None => Item::Odd("unknown_choice"),
                }))
            })
            .collect(),
        PushEvent::Change(list) => list
            .iter()
            .map(|item| {
                either(id(&item.template_id).map(|template| match Choice::from_wechat(&item.status) {
                    // Switching on is not pushed, and would be no accept if it were: only a tap is.
                    Some(Choice::Accept) => Item::Odd("switched_on"),
                    Some(_) => Item::Off { template },
                    None => Item::Odd("unknown_choice"),
                }))
            })
            .collect(),
        PushEvent::Sent(list) => list
            .iter()
            .map(|item| {
                either(id(&item.template_id).map(|template| {
                    let status = item.error_status.clone().unwrap_or_default();
                    let succeeded = status.eq_ignore_ascii_case("success");
                    let code = match (item.error_code, &item.error_code_text) {
                        (Some(code), _) => code,
                        (None, _) if succeeded => 0,
                        (None, text) if text.is_some() || !status.is_empty() => UNKNOWN_CODE,
                        (None, _) => return Item::Odd("no_result"),
                    };
                    Item::Sent { template, msgid: item.msgid.clone(), code, status }
                }))
            })
            .collect(),
        PushEvent::Other { .. } => Vec::new(),
    }
}

/// WeChat's `CreateTime`.
pub(crate) fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds.saturating_mul(1_000_000))
}

/// What came of a push.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Came {
    pub(crate) state: PushState,
    /// Grants made.
    #[serde(default)]
    pub(crate) grants: u64,
    /// Whether a delivery left the queue, so that others may go now.
    #[serde(default)]
    pub(crate) moved: bool,
    /// Whether it waits to be relayed.
    #[serde(default)]
    pub(crate) relayed: bool,
}

/// Acts on a push.
pub(crate) struct Act {
    /// What it is known by.
    pub(crate) key: PushKey,
    /// To be kept with it; none if it is kept already.
    pub(crate) row: Option<PushRow>,
    /// What it was known by before it could be read.
    pub(crate) was: Option<PushKey>,
    pub(crate) subject: SubjectId,
    pub(crate) openid: Openid,
    /// The original id of the Mini Program, as the push has it.
    pub(crate) to_user: String,
    /// Whether a key vouches for the body.
    pub(crate) sealed: bool,
    pub(crate) previous_key: bool,
    /// WeChat's time.
    pub(crate) at: Timestamp,
    /// The attempt under way and when it began, where that matters.
    pub(crate) began: Option<(DeliveryId, Timestamp)>,
    pub(crate) items: Vec<Item>,
}

impl Work for Act {
    type Answer = Came;
    type Refusal = EngineError;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        let mut streams = vec![StreamRef::of::<Channel>(StreamName::channel())];
        let templates = self.items.iter().filter_map(Item::template);
        streams.extend(templates.map(|template| StreamRef::of::<Ledger>(self.ledger(template))));
        streams.dedup_by(|one, other| one.name == other.name);
        streams
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<Came, Stop<EngineError>> {
        let channel = stage.state::<Channel>(&StreamName::channel())?;
        if channel.registered().is_none() {
            return Err(Stop::Refuse(EngineError::unknown_channel()));
        }
        let (policy, known_id) = (channel.policy(), channel.original_id().map(str::to_owned));
        if known_id.is_some_and(|known| known != self.to_user) {
            let detail =
                "the push names another Mini Program than the one configured; compare the original ids";
            return Err(Stop::Refuse(EngineError::conflict("other_original_id", detail)));
        }
        // In plaintext mode anybody could teach us a wrong one.
        if self.sealed {
            let learn = ChannelCommand::LearnOriginalId { original_id: self.to_user.clone() };
            // Refused where the push has none that looks like one; then there is nothing to learn.
            let _ = stage.ask::<Channel>(&StreamName::channel(), learn)?;
        }
        let mut came = Came { state: PushState::Ignored, grants: 0, moved: false, relayed: false };
        let (mut told, mut refused, mut last) = (Vec::new(), 0, None);
        for item in &self.items {
            let line = match self.apply(stage, item, policy)? {
                Ok(events) => {
                    came.grants +=
                        events.iter().filter(|it| matches!(it, LedgerEvent::Granted(_))).count() as u64;
                    came.moved |= events.iter().any(|it| matches!(it, LedgerEvent::SettledLate(_)));
                    if !events.is_empty() {
                        came.state = PushState::Acted;
                    }
                    queue_effects(stage, &events);
                    json!({ "events": events.iter().map(|it| it.kind().name).collect::<Vec<_>>() })
                }
                Err(error) => {
                    refused += 1;
                    let line = json!({ "refused": error.code });
                    last = Some(error);
                    line
                }
            };
            told.push(with_template(line, item));
        }
        if let Some(error) = last
            && refused == self.items.len()
        {
            // Nothing came of it: it is kept as failed, without a receipt, so that it can be tried again.
            return Err(Stop::Refuse(error));
        }
        came.relayed = self.leave(stage, came.state, told)?;
        Ok(came)
    }
}

impl Act {
    fn ledger(&self, template: &TemplateId) -> StreamName {
        StreamName::ledger(self.subject, template)
    }

    /// The kind for counters.
    pub(crate) fn kind(&self) -> &'static str {
        match self.items.iter().find(|item| !matches!(item, Item::Odd(_))) {
            Some(Item::Chosen { .. }) => "popup",
            Some(Item::Off { .. }) => "change",
            Some(Item::Sent { .. }) => "sent",
            Some(Item::Odd(_)) | None => self.row.as_ref().map_or("other", |row| row.kind.as_str()),
        }
    }

    fn apply(
        &self,
        stage: &mut Stage<'_>,
        item: &Item,
        policy: Policy,
    ) -> Result<Result<Vec<LedgerEvent>, EngineError>, Stop<EngineError>> {
        // WeChat's clock may be ahead of ours by a little, and nothing may be dated after it was recorded.
        let evidence =
            Evidence::new(EvidenceSource::WechatPush, self.key.to_string(), self.at.min(stage.now()));
        let (template, command) = match item {
            Item::Odd(_) => return Ok(Ok(Vec::new())),
            Item::Chosen { template, choice, word } => {
                let channel = stage.state::<Channel>(&StreamName::channel())?;
                // A template the operator has not refreshed yet is taken as one-time: a grant must not be lost for it.
                let kind =
                    channel.template(template).map_or(TemplateKind::OneTime, |known| known.template.kind);
                let Policy { taps, tap_window_s: window, .. } = policy;
                let (choice, word) = (*choice, word.clone());
                (template, LedgerCommand::RecordChoice { choice, word, kind, taps, window, evidence })
            }
            Item::Off { template } => {
                let settings_off = policy.settings_off;
                (template, LedgerCommand::Suspend { settings_off, evidence })
            }
            Item::Sent { template, msgid, code, status } => {
                let (wechat_msgid, status, began) = (msgid.clone(), status.clone(), self.began);
                (template, LedgerCommand::RecordSent { wechat_msgid, code: *code, status, began, evidence })
            }
        };
        let asked = stage.ask::<Ledger>(&self.ledger(template), command)?;
        Ok(asked.map_err(|error| EngineError::conflict(error.code(), error.to_string())))
    }

    /// Leaves the body, the openid and what came of it. Answers whether the push waits to be relayed.
    fn leave(
        &self,
        stage: &mut Stage<'_>,
        state: PushState,
        mut told: Vec<Value>,
    ) -> Result<bool, StageError> {
        let more = told.len().saturating_sub(MAX_TOLD);
        told.truncate(MAX_TOLD);
        let mut effect = json!({ "items": told });
        if more > 0 {
            effect["more"] = more.into();
        }
        if self.previous_key {
            effect["opened_with"] = "previous_key".into();
        }
        let mut relayed = false;
        if let Some(row) = &self.row {
            let row = relay::wanted(stage, row.clone())?;
            relayed = row.relay_due_at.is_some();
            stage.effect(Effect::KeepPush(row));
        }
        if let Some(was) = self.was {
            let effect = json!({ "read_as": self.key }).to_string();
            stage.effect(Effect::SettlePush { key: was, state: PushState::Ignored, effect });
        }
        if !self.items.is_empty() {
            stage.effect(Effect::KeepOpenid { subject: self.subject, openid: self.openid.clone() });
        }
        stage.effect(Effect::SettlePush { key: self.key, state, effect: effect.to_string() });
        Ok(relayed)
    }
}

fn with_template(mut line: Value, item: &Item) -> Value {
    match item {
        Item::Odd(why) => line["ignored"] = (*why).into(),
        _ => {
            if let Some(template) = item.template() {
                line["template_id"] = template.as_str().into();
            }
        }
    }
    line
}

/// Keeps a push without acting on it, or says what became of one.
pub(crate) struct Keep {
    pub(crate) key: PushKey,
    pub(crate) row: Option<PushRow>,
    /// Whether the row's body is what WeChat wrote. What no key opens is of no use to a back end; it is relayed once it is read.
    pub(crate) opened: bool,
    /// What became of it. Left out for what is to be tried again: if it was acted on after all, that must stay.
    pub(crate) settled: Option<(PushState, String)>,
}

impl Work for Keep {
    /// Whether it waits to be relayed.
    type Answer = bool;
    type Refusal = EngineError;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        self.row.iter().map(|_| StreamRef::of::<Channel>(StreamName::channel())).collect()
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<bool, Stop<EngineError>> {
        let mut relayed = false;
        if let Some(row) = &self.row {
            let row = if self.opened { relay::wanted(stage, row.clone())? } else { row.clone() };
            relayed = row.relay_due_at.is_some();
            stage.effect(Effect::KeepPush(row));
        }
        if let Some((state, effect)) = &self.settled {
            stage.effect(Effect::SettlePush { key: self.key, state: *state, effect: effect.clone() });
        }
        Ok(relayed)
    }
}

impl Engine {
    /// Which attempt is under way and when it began, for a sent event that comes late and may be about an earlier one.
    pub(crate) async fn began(
        &self,
        log: &LogName,
        act: &Act,
    ) -> Result<Option<(DeliveryId, Timestamp)>, EngineError> {
        if self.now() < act.at.plus_seconds(PROMPT_SECONDS) {
            return Ok(None);
        }
        let late = act.items.iter().find_map(|item| match item {
            Item::Sent { template, .. } => Some(template),
            _ => None,
        });
        let Some(template) = late else { return Ok(None) };
        let (ledger, _) = self.store().load::<Ledger>(log, &act.ledger(template)).await?;
        let Some(delivery) = ledger.unresolved() else { return Ok(None) };
        let rows = self.store().queue_of(log, delivery.message).await?;
        let started =
            rows.into_iter().find(|it| it.row.delivery == delivery && it.state == QueueState::Started);
        Ok(started.map(|entry| (delivery, entry.since)))
    }
}
