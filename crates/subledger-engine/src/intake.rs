//! Pushes from WeChat, from the request to the ledger.
//!
//! A request is checked and opened by [`subledger_wechat::push`], and what nobody vouches for leaves no trace but a count. A
//! push that passes becomes one command ([`act`]): the sealed body, the events of the ledgers and the receipt that makes a
//! repetition harmless are one commit, or nothing is. Only what cannot be acted on is kept without that, so that nothing is
//! lost and a person, an upgrade or the right key can have it read anew ([`redo`]).

mod act;
mod doors;
mod inbox;
mod redo;
mod tally;

use std::time::Duration;

use serde_json::json;
use subledger_domain::{ChannelCode, LogName, Openid};
use subledger_store::{Cause, PushFormat, PushKey, PushKind, PushRow, PushState, ReceiptKey, Submission};
use subledger_wechat::push::{
    self, Handling, Inbound, OpenedWith, PushError, PushEvent, QueryFault, Received,
};

use self::{
    act::{Act, Keep, items},
    tally::Counted,
};
pub(crate) use self::{
    doors::{Doors, Setup},
    redo::run,
    tally::Tally,
};
use crate::{Engine, EngineError, ErrorKind, metric_definitions};

pub use self::{
    inbox::{Hint, PushHealthReport, describe},
    redo::{REDO_EVERY, Redone},
    tally::NodeTally,
};

/// How old the configuration must be before a refusal has it read anew: strangers must not make this node read all the time.
pub(crate) const RELOAD_AFTER: Duration = Duration::from_millis(500);

/// What to answer WeChat, or whoever asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushAnswer {
    /// Taken: `success`. WeChat does not come back to it.
    Taken,
    /// The text that a URL check wants back, as it is.
    Echo(String),
    /// Nobody vouches for it.
    Forbidden,
    /// It is no push.
    Rejected,
    /// It is larger than any push.
    TooLarge,
    /// No channel by this name is set up for pushes. Which of both is missing is not told.
    Unknown,
}

/// Whose pushes, and how they are read.
pub(crate) struct At<'a> {
    pub(crate) code: &'a ChannelCode,
    pub(crate) setup: &'a Setup,
    pub(crate) request: Option<&'a str>,
}

impl Engine {
    /// Answers WeChat's check of a push URL. `query` is the raw query string.
    pub async fn check_push_url(&self, channel: &str, query: &[u8]) -> Result<PushAnswer, EngineError> {
        let check = |setup: &Setup| push::answer_url_check(&setup.settings, query, self.seconds());
        let Some((code, _, checked)) = self.through_the_door(channel, check).await? else {
            return Ok(PushAnswer::Unknown);
        };
        Ok(match checked {
            Ok(echo) => {
                tracing::info!(channel.code = %code, "WeChat checked the push URL");
                PushAnswer::Echo(echo)
            }
            Err(error) => self.refuse_push(&code, &error),
        })
    }

    /// Takes a push in. When this answers [`PushAnswer::Taken`] it is on disk, acted on or kept to be looked at.
    pub async fn take_push(
        &self,
        channel: &str,
        query: &[u8],
        body: &[u8],
        request: Option<&str>,
    ) -> Result<PushAnswer, EngineError> {
        let receive = |setup: &Setup| push::receive(&setup.settings, query, body, self.seconds());
        let Some((code, setup, received)) = self.through_the_door(channel, receive).await? else {
            return Ok(PushAnswer::Unknown);
        };
        let at = At { code: &code, setup: &setup, request };
        match received {
            Ok(Inbound::ContainerCheck) => {}
            Ok(Inbound::Push(received)) => self.take_in(&at, &received).await?,
            Err(error) if error.handling() == Handling::Keep => self.keep_unopened(&at, body, &error).await?,
            Err(error) => return Ok(self.refuse_push(&code, &error)),
        }
        Ok(PushAnswer::Taken)
    }

    fn seconds(&self) -> i64 {
        self.now().micros().div_euclid(1_000_000)
    }

    /// Tries a request with the channel's configuration, and once more if that was read a while ago and another node may have
    /// changed it since.
    async fn through_the_door<T>(
        &self,
        channel: &str,
        attempt: impl Fn(&Setup) -> Result<T, PushError>,
    ) -> Result<Option<(ChannelCode, std::sync::Arc<Setup>, Result<T, PushError>)>, EngineError> {
        let Ok(code) = channel.parse::<ChannelCode>() else { return Ok(None) };
        let Some(setup) = self.push_setup(&code, None).await? else { return Ok(None) };
        let tried = attempt(&setup);
        if !tried.as_ref().err().is_some_and(is_stale) {
            return Ok(Some((code, setup, tried)));
        }
        // Signed with the token, so no stranger asks: the key was replaced a moment ago, maybe, and what is not opened now is
        // acted on only when a person asks for it.
        let signed = matches!(tried, Err(PushError::Unopened(_)));
        let at_most = if signed { Duration::ZERO } else { RELOAD_AFTER };
        let Some(fresh) = self.push_setup(&code, Some(at_most)).await? else { return Ok(None) };
        let tried = if std::sync::Arc::ptr_eq(&fresh, &setup) { tried } else { attempt(&fresh) };
        Ok(Some((code, fresh, tried)))
    }

    fn refuse_push(&self, code: &ChannelCode, error: &PushError) -> PushAnswer {
        let class = error.class();
        let times = self.push_tally().refused(code, class, self.now());
        metrics::counter!(metric_definitions::PUSH_REFUSALS, "channel" => code.to_string(), "class" => class)
            .increment(1);
        // Whoever knows the URL can cause this as often as they like, so it is told ever more rarely.
        if times.is_power_of_two() {
            tracing::warn!(
                channel.code = %code, error.code = class, push.refusals = times, error = %error,
                "a request to the push URL was refused"
            );
        }
        answer_to(error)
    }

    /// A push that passed all checks.
    pub(crate) async fn take_in(&self, at: &At<'_>, received: &Received) -> Result<(), EngineError> {
        if received.opened_with == OpenedWith::PreviousKey {
            self.push_tally().opened_with_previous_key(at.code, self.now());
        }
        let row = self.row(at, received);
        let key = row.key;
        let push = match &received.decoded {
            Ok(push) => push,
            Err(reason) => {
                let effect = json!({ "reason": reason.class(), "detail": reason.to_string() });
                return self.keep_push(at, row, true, PushState::Undecodable, effect).await;
            }
        };
        let Ok(openid) = push.from_user.parse::<Openid>() else {
            let effect = json!({ "reason": "bad_openid", "detail": "the sender is no openid" });
            return self.keep_push(at, row, true, PushState::Failed, effect).await;
        };
        let act = Act {
            key,
            row: Some(row.clone()),
            was: None,
            subject: self.store().subject_of(at.code, &openid),
            openid,
            to_user: push.to_user.clone(),
            sealed: received.opened_with != OpenedWith::Nothing,
            previous_key: received.opened_with == OpenedWith::PreviousKey,
            at: act::moment(push.created_at),
            began: None,
            items: items(push),
        };
        match self.act_on(at, act, &received.key).await {
            Ok(_) => Ok(()),
            Err(error) if is_full(&error) => Err(error),
            Err(error) => {
                let (state, effect) = failure(&error);
                tracing::warn!(
                    channel.code = %at.code, push.key = %key, error.code = error.code, error = %error, cause = ?error.cause,
                    "a push could not be acted on; it is kept"
                );
                self.keep_push(at, row, true, state, effect).await
            }
        }
    }

    /// Hands a push to the executor. Answers how it ended.
    pub(crate) async fn act_on(
        &self,
        at: &At<'_>,
        mut act: Act,
        content: &push::ContentKey,
    ) -> Result<PushState, EngineError> {
        let log = LogName::channel(at.code);
        act.began = self.began(&log, &act).await?;
        let (key, was) = (act.key, act.was);
        let known = self.store().push_key_of(at.code, content.as_bytes());
        let receipt = ReceiptKey { id: format!("push:{known}"), fingerprint: *content.as_bytes() };
        let kind = act.kind();
        let submission =
            Submission { log: log.clone(), receipt: Some(receipt), cause: cause(at.request), work: act };
        let done = self.executor().submit(submission).await.map_err(EngineError::from)?;
        let came = done.answer;
        if done.replayed {
            self.store().note_push_again(&log, known).await?;
            // It could not be read when it was kept, and has come in a readable form since.
            if let Some(was) = was {
                self.settle_push(at, was, PushState::Ignored, json!({ "read_as": known })).await?;
            }
            self.count_push(at, kind, "repeated");
            tracing::debug!(channel.code = %at.code, push.key = %known, "a push came again");
            return Ok(came.state);
        }
        self.grants().count(at.code, came.grants);
        if came.moved {
            self.signals().wake(at.code);
        }
        if came.relayed {
            self.wake_relay();
        }
        self.count_push(at, kind, came.state.as_str());
        tracing::debug!(
            channel.code = %at.code, push.key = %key, push.kind = kind, push.state = came.state.as_str(), "a push was taken in"
        );
        Ok(came.state)
    }

    /// Keeps what cannot be acted on; `opened` is whether the body is what WeChat wrote.
    async fn keep_push(
        &self,
        at: &At<'_>,
        row: PushRow,
        opened: bool,
        state: PushState,
        effect: serde_json::Value,
    ) -> Result<(), EngineError> {
        let log = LogName::channel(at.code);
        let (key, kind) = (row.key, row.kind.as_str());
        if self.store().note_push_again(&log, key).await? {
            self.count_push(at, kind, "repeated");
            return Ok(());
        }
        if state == PushState::Undecodable {
            tracing::warn!(channel.code = %at.code, push.key = %key, "a push cannot be read; it is kept");
        }
        let work = Keep {
            key,
            row: Some(row),
            opened,
            settled: (state != PushState::Pending).then(|| (state, effect.to_string())),
        };
        if self.submit_keep(at, log, work).await? {
            self.wake_relay();
        }
        self.count_push(at, kind, state.as_str());
        Ok(())
    }

    /// Says what became of a push that is kept already.
    pub(crate) async fn settle_push(
        &self,
        at: &At<'_>,
        key: PushKey,
        state: PushState,
        effect: serde_json::Value,
    ) -> Result<(), EngineError> {
        let work = Keep { key, row: None, opened: true, settled: Some((state, effect.to_string())) };
        self.submit_keep(at, LogName::channel(at.code), work).await?;
        Ok(())
    }

    async fn submit_keep(&self, at: &At<'_>, log: LogName, work: Keep) -> Result<bool, EngineError> {
        let submission = Submission { log, receipt: None, cause: cause(at.request), work };
        Ok(self.executor().submit(submission).await.map_err(EngineError::from)?.answer)
    }

    /// A body that is signed and that no key opens.
    pub(crate) async fn keep_unopened(
        &self,
        at: &At<'_>,
        body: &[u8],
        error: &PushError,
    ) -> Result<(), EngineError> {
        let times = self.push_tally().refused(at.code, error.class(), self.now());
        if times.is_power_of_two() {
            tracing::warn!(channel.code = %at.code, error = %error, push.refusals = times, "a push cannot be opened");
        }
        let content = push::ContentKey::of_bytes(at.setup.settings.appid(), body);
        let row = PushRow {
            key: self.store().push_key_of(at.code, content.as_bytes()),
            received_at: self.now(),
            kind: PushKind::Undecodable,
            event: String::new(),
            subject: None,
            mode: at.setup.mode(),
            format: format_of(body),
            body: body.to_vec(),
            relay_due_at: None,
        };
        let effect = json!({ "reason": error.class(), "detail": error.to_string(), "sealed": true });
        self.keep_push(at, row, false, PushState::Undecodable, effect).await
    }

    /// The row of a push that passed all checks.
    pub(crate) fn row(&self, at: &At<'_>, received: &Received) -> PushRow {
        let (kind, event, subject) = match &received.decoded {
            Ok(push) => {
                let (kind, event) = named(&push.what);
                let openid = push.from_user.parse::<Openid>().ok();
                (kind, event, openid.map(|openid| self.store().subject_of(at.code, &openid)))
            }
            Err(_) => (PushKind::Undecodable, String::new(), None),
        };
        PushRow {
            key: self.store().push_key_of(at.code, received.key.as_bytes()),
            received_at: self.now(),
            kind,
            event,
            subject,
            mode: at.setup.mode(),
            format: format_of(&received.content),
            body: received.content.clone(),
            relay_due_at: None,
        }
    }

    fn count_push(&self, at: &At<'_>, kind: &'static str, result: &'static str) {
        let labels =
            [("channel", at.code.to_string()), ("kind", kind.to_owned()), ("result", result.to_owned())];
        metrics::counter!(metric_definitions::PUSHES, &labels).increment(1);
        self.push_tally().taken(at.code, Counted { kind, result });
    }
}

/// Whether another configuration may have been meant.
pub(crate) fn is_stale(error: &PushError) -> bool {
    matches!(
        error,
        PushError::WrongSignature(_)
            | PushError::Unopened(_)
            | PushError::ClearBody
            | PushError::SealedBody
            | PushError::NoSignature("signature" | "msg_signature")
    )
}

/// What a request is answered that is not taken.
pub(crate) fn answer_to(error: &PushError) -> PushAnswer {
    match error {
        PushError::TooLarge => PushAnswer::TooLarge,
        PushError::Query(QueryFault::Missing("echostr")) => PushAnswer::Rejected,
        error if error.handling() == Handling::Forbid => PushAnswer::Forbidden,
        _ => PushAnswer::Rejected,
    }
}

/// Whether WeChat had better come back with it: nothing was recorded, and nothing can be now.
fn is_full(error: &EngineError) -> bool {
    matches!(error.code, "overloaded" | "shutting_down" | "database_unavailable")
}

/// What becomes of a push whose command failed: a decision is for a person to look at, anything else is tried again.
pub(crate) fn failure(error: &EngineError) -> (PushState, serde_json::Value) {
    let state = match error.kind {
        ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::Conflict => PushState::Failed,
        _ => PushState::Pending,
    };
    (state, json!({ "reason": error.code, "detail": error.detail }))
}

fn cause(request: Option<&str>) -> Cause {
    Cause { by: "wechat".to_owned(), command: "take_push".to_owned(), request: request.map(str::to_owned) }
}

/// The kind of a push and WeChat's word for it.
fn named(what: &PushEvent) -> (PushKind, String) {
    match what {
        PushEvent::Popup(_) => (PushKind::Popup, "subscribe_msg_popup_event".to_owned()),
        PushEvent::Change(_) => (PushKind::Change, "subscribe_msg_change_event".to_owned()),
        PushEvent::Sent(_) => (PushKind::Sent, "subscribe_msg_sent_event".to_owned()),
        PushEvent::Other { msg_type, event } => {
            (PushKind::Other, event.clone().unwrap_or_else(|| msg_type.clone()))
        }
    }
}

/// What a body looks like.
fn format_of(body: &[u8]) -> PushFormat {
    match body.trim_ascii_start().first() {
        Some(b'{') => PushFormat::Json,
        Some(b'<') => PushFormat::Xml,
        _ => PushFormat::Unknown,
    }
}
