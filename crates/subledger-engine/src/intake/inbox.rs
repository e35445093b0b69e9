//! Looking at what was pushed: one push as it was understood, and how a channel's pushes fare.

use serde::Serialize;
use serde_json::{Value, json};
use subledger_domain::{
    ChannelCode, LogName, Timestamp,
    channel::{CallbackMode, TokenMode},
};
use subledger_projection::{
    ActivityCounts, BUCKET_MICROS, Grain, MAX_REPORT_TEMPLATES, PageRequest, ReportDay, ReportDays,
};
use subledger_store::{OpenPush, PushHealth, PushKey, PushKind};
use subledger_wechat::push::{self, Decoded, Push, PushEvent};

use super::{redo::unknown_push, tally::NodeTally};
use crate::{Engine, EngineError, callback::Callback};

/// The hours that hints look back.
const LOOK_BACK_HOURS: i64 = 24;

/// What reports count by, in seconds.
const BUCKET_SECONDS: i64 = BUCKET_MICROS / 1_000_000;

/// Something about a channel's pushes that an operator should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Hint {
    /// Pushes were never configured here.
    NotConfigured,
    /// The mode is plaintext.
    Plaintext,
    /// Deliveries were sent in the last day, and no sent event ever came.
    NoSentEvents,
    /// Taps were reported in the last day, and nothing was pushed in that time.
    NothingPushed,
    /// Requests come whose signature does not fit.
    WrongSignatures,
    /// Bodies come that no key opens.
    Unopened,
    /// Only the previous key opens what comes.
    PreviousKey,
    /// Some pushes could not be read.
    Undecodable,
    /// Some pushes could not be acted on.
    Failed,
}

impl Hint {
    /// The same in Chinese.
    pub const fn advice_zh(self) -> &'static str {
        match self {
            Self::NotConfigured => {
                "该通道未配置消息推送：`subledger channel callback` 会给出需要填入微信后台的内容"
            }
            Self::Plaintext => "推送为明文模式，仅供试用：请在微信后台和此处都改为安全模式",
            Self::NoSentEvents => {
                "该通道有发送，但从未收到 subscribe_msg_sent_event：请检查微信后台的事件推送设置（是否推到了云函数，或填了别的 URL）"
            }
            Self::NothingPushed => {
                "小程序上报了授权，但 24 小时内微信没有推送：请检查微信后台的推送 URL 是否为此处并已启用"
            }
            Self::WrongSignatures => "收到签名错误的请求：若来自微信，则后台的 Token 与此处不一致",
            Self::Unopened => {
                "收到无法解密的推送：请在此处填入微信后台的 EncodingAESKey，然后运行 `subledger channel pushes redo`"
            }
            Self::PreviousKey => "推送仍使用旧的 EncodingAESKey：请在微信后台也填入新的",
            Self::Undecodable => {
                "部分推送无法识别：请查看 `subledger channel pushes list --state undecodable`"
            }
            Self::Failed => "部分推送处理失败：请查看 `subledger channel pushes list --state failed`",
        }
    }

    /// What it means and what to do.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::NotConfigured => {
                "no push URL is configured for this channel: `subledger channel callback` says what to enter in WeChat's console"
            }
            Self::Plaintext => crate::callback::PLAINTEXT_WARNING,
            Self::NoSentEvents => {
                "this channel sends, but no subscribe_msg_sent_event ever came: check the event push settings in WeChat's console \
                 (are pushes sent to a cloud function? is another URL entered?)"
            }
            Self::NothingPushed => {
                "the Mini Program reports taps, but WeChat pushed nothing in the last 24 hours: check that the push URL in WeChat's \
                 console is this one and is switched on"
            }
            Self::WrongSignatures => {
                "requests with a wrong signature come: if they are WeChat's, the token in its console is another than the one here"
            }
            Self::Unopened => {
                "bodies come that no key opens: enter the EncodingAESKey of WeChat's console here, then `subledger channel pushes redo`"
            }
            Self::PreviousKey => {
                "what comes is sealed with the previous EncodingAESKey: enter the new one in WeChat's console, too"
            }
            Self::Undecodable => {
                "some pushes cannot be read: look at them with `subledger channel pushes list --state undecodable`"
            }
            Self::Failed => {
                "some pushes could not be acted on: look at them with `subledger channel pushes list --state failed`"
            }
        }
    }
}

/// How a channel's pushes fare.
#[derive(Debug, Clone)]
pub struct PushHealthReport {
    /// The configuration, if there is one.
    pub callback: Option<Callback>,
    /// What is kept.
    pub kept: PushHealth,
    /// What this node has seen since it started.
    pub node: NodeTally,
    /// Deliveries that were sent in the last 24 hours.
    pub sent_last_day: u64,
    /// Taps that were reported in the last 24 hours, by Mini Program or back end or by a push.
    pub taps_last_day: u64,
    /// What to look at.
    pub hints: Vec<Hint>,
}

impl Engine {
    /// A push that is kept, with its body.
    pub async fn push(&self, code: &ChannelCode, key: PushKey) -> Result<OpenPush, EngineError> {
        self.registered(code).await?;
        self.store().push(&LogName::channel(code), key).await?.ok_or_else(unknown_push)
    }

    /// How a channel's pushes fare.
    pub async fn push_health(&self, code: &ChannelCode) -> Result<PushHealthReport, EngineError> {
        let callback = self.callback(code).await?;
        let (channel, registered) = self.channel(code).await?;
        let platform = channel.authorization().is_some() && registered.token_mode == TokenMode::Platform;
        let kept = self.store().push_health(&LogName::channel(code)).await?;
        let node = self.push_tally().of(code);
        let now = self.now();
        let since = now.plus_seconds(-LOOK_BACK_HOURS * 3_600);
        let (sent, taps) = self.activity_since(code, since, now).await?;
        let hints = hints(&Facts {
            callback: callback.as_ref(),
            platform,
            kept: &kept,
            node: &node,
            since,
            sent,
            taps,
        });
        Ok(PushHealthReport { callback, kept, node, sent_last_day: sent, taps_last_day: taps, hints })
    }

    /// Deliveries sent and taps told of.
    async fn activity_since(
        &self,
        code: &ChannelCode,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<(u64, u64), EngineError> {
        // Counts are kept by the quarter of an hour, and the present one counts, too.
        let until = until.plus_seconds(BUCKET_SECONDS);
        let day = ReportDay { date: String::new(), from, until };
        let days = ReportDays { zone: "UTC".to_owned(), days: vec![day] };
        let mut page = PageRequest::first(MAX_REPORT_TEMPLATES);
        let (mut sent, mut taps) = (0, 0);
        loop {
            let report = self.queries().report_activity(code, &days, Grain::Total, None, &page).await?;
            for line in &report.value.lines {
                let counts = ActivityCounts::from(line);
                sent += counts.sent;
                taps += counts.asked + counts.corroborated + counts.noted;
            }
            match report.value.next {
                Some(next) => page.after = Some(next),
                None => return Ok((sent, taps)),
            }
        }
    }
}

struct Facts<'a> {
    callback: Option<&'a Callback>,
    /// Pushes come through a third-party platform.
    platform: bool,
    kept: &'a PushHealth,
    node: &'a NodeTally,
    since: Timestamp,
    sent: u64,
    taps: u64,
}

fn hints(facts: &Facts<'_>) -> Vec<Hint> {
    let Facts { callback, platform, kept, node, since, sent, taps } = facts;
    if callback.is_none() && !platform {
        return vec![Hint::NotConfigured];
    }
    let state = |state| kept.states.get(&state).copied().unwrap_or(0) > 0;
    let newest = kept.kinds.values().map(|kind| kind.last_at).max();
    let refused = |class: &str| node.refused.get(class).copied().unwrap_or(0) > 0;
    let found = [
        (callback.is_some_and(|it| it.mode == CallbackMode::Plaintext), Hint::Plaintext),
        (*sent > 0 && !kept.kinds.contains_key(&PushKind::Sent), Hint::NoSentEvents),
        (*taps > 0 && newest.is_none_or(|newest| newest < *since), Hint::NothingPushed),
        (refused("wrong_signature"), Hint::WrongSignatures),
        (refused("unopened"), Hint::Unopened),
        (node.opened_with_previous_key > 0, Hint::PreviousKey),
        (state(subledger_store::PushState::Undecodable), Hint::Undecodable),
        (state(subledger_store::PushState::Failed), Hint::Failed),
    ];
    found.into_iter().filter_map(|(holds, hint)| holds.then_some(hint)).collect()
}

/// What a kept body says, as JSON without the user's openid; why it is not understood, if it is not.
pub fn describe(body: &[u8]) -> Result<Value, String> {
    match push::decode(body) {
        Ok(Decoded::Push(push)) => Ok(described(&push)),
        Ok(Decoded::ContainerCheck) => Ok(json!({ "kind": "container_check" })),
        Err(reason) => Err(reason.to_string()),
    }
}

fn described(push: &Push) -> Value {
    let mut said = json!({
        "kind": push.what.kind(),
        "to_user": push.to_user,
        "created_at": push.created_at,
    });
    let items: Vec<Value> = match &push.what {
        PushEvent::Popup(items) => items
            .iter()
            .map(|it| json!({ "template_id": it.template_id, "status": it.status, "scene": it.scene }))
            .collect(),
        PushEvent::Change(items) => {
            items.iter().map(|it| json!({ "template_id": it.template_id, "status": it.status })).collect()
        }
        PushEvent::Sent(items) => items
            .iter()
            .map(|it| {
                json!({
                    "template_id": it.template_id,
                    "msgid": it.msgid,
                    "error_code": it.error_code.map_or_else(|| json!(it.error_code_text), |code| json!(code)),
                    "error_status": it.error_status,
                })
            })
            .collect(),
        PushEvent::Other { msg_type, event } => {
            said["msg_type"] = json!(msg_type);
            said["event"] = json!(event);
            return said;
        }
    };
    said["items"] = items.into();
    said
}
