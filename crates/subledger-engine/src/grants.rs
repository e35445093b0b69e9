//! Grant intake: what `wx.requestSubscribeMessage` returned, reported by the Mini Program or its back end.
//!
//! The whole result object is taken as WeChat's client gave it. Each `accept…` of a one-time template is +1; the report's
//! own id makes a retry harmless. A popup that failed (main switch off, no tap) says nothing about permissions and records
//! nothing.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{PoisonError, RwLock},
};

use metrics::Counter;
use serde::{Deserialize, Serialize};
use subledger_domain::{
    ChannelCode, Evidence, EvidenceSource, LogName, LotId, Openid, ReportId, StreamName, SubjectId,
    TemplateId, TemplateKind, Timestamp, UserId,
    binding::Binding,
    channel::{Channel, Policy},
    ledger::{Choice, Ledger, LedgerCommand, LedgerEvent},
};
use subledger_store::{Done, Effect, Known, ReceiptKey, Stage, Stop, StreamRef, Work};

use crate::{
    Caller, Engine, EngineError, FieldError, limits, metric_definitions,
    submit::{fingerprint, pointer_step},
    users::{require_channel, unknown_user},
};

/// Who tapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tapper {
    /// A bound user.
    Userid(UserId),
    /// An openid.
    Openid(Openid),
}

/// A report of one call of `wx.requestSubscribeMessage`.
#[derive(Debug, Clone)]
pub struct ClientReport {
    /// The report's id: the same id and content again changes nothing.
    pub id: ReportId,
    /// Who tapped.
    pub who: Tapper,
    /// When, if the client says; never later than now.
    pub tapped_at: Option<Timestamp>,
    /// The result object, whole.
    pub result: serde_json::Map<String, serde_json::Value>,
}

/// What the books made of a tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TapResult {
    /// It is on the books by this report.
    #[default]
    Counted,
    /// WeChat's push told of it before: one tap, one grant.
    Corroborated,
    /// The channel's policy counts WeChat's pushes only; it is noted.
    Noted,
}

impl TapResult {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference in")]
    const fn is_counted(&self) -> bool {
        matches!(self, Self::Counted)
    }

    /// The name used in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::Corroborated => "corroborated",
            Self::Noted => "noted",
        }
    }
}

/// What one template of a report came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedChoice {
    /// The template.
    pub template: TemplateId,
    /// What was chosen.
    pub choice: Choice,
    /// The new lot, if it was an accept of a one-time template that nobody told of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lot: Option<LotId>,
    /// Whether it was counted.
    #[serde(default, skip_serializing_if = "TapResult::is_counted")]
    pub tap: TapResult,
    /// Whether it is counted and corroborated at once: WeChat's push had told of it before and was noted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub noted_before: bool,
    /// Open grants after it.
    pub balance: u64,
    /// Whether the channel's template list knows the template.
    pub listed: bool,
}

/// What a report came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportAnswer {
    /// The choices recorded, by template.
    pub choices: Vec<RecordedChoice>,
    /// The `errCode` of a popup that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub popup_error: Option<i64>,
}

struct RecordChoices {
    report: ReportId,
    /// The stream of the channel, and of the user's binding if the tapper was named by userid: asked for again and again.
    channel: StreamName,
    binding: Option<StreamName>,
    openid: Option<(SubjectId, Openid)>,
    tapped_at: Option<Timestamp>,
    words: Words,
    popup_error: Option<i64>,
}

impl RecordChoices {
    fn subject(&self, binding: Option<&Binding>) -> Option<SubjectId> {
        match &self.openid {
            Some((subject, _)) => Some(*subject),
            None => binding?.subject(),
        }
    }
}

impl Work for RecordChoices {
    type Answer = ReportAnswer;
    type Refusal = EngineError;

    fn streams(&self, known: &Known<'_>) -> Vec<StreamRef> {
        let mut streams = Vec::with_capacity(2 + self.words.len());
        streams.push(StreamRef::of::<Channel>(self.channel.clone()));
        streams.extend(self.binding.clone().map(StreamRef::of::<Binding>));
        if let Some(subject) = self.subject(self.binding.as_ref().and_then(|name| known.state(name))) {
            let ledger = |template| StreamRef::of::<Ledger>(StreamName::ledger(subject, template));
            streams.extend(self.words.keys().map(ledger));
        }
        streams
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<ReportAnswer, Stop<EngineError>> {
        require_channel(stage)?;
        let binding = self.binding.as_ref().map(|name| stage.state::<Binding>(name)).transpose()?;
        let subject = self.subject(binding).ok_or_else(|| Stop::Refuse(unknown_user()))?;
        let now = stage.now();
        let at = self.tapped_at.map_or(now, |tapped_at| tapped_at.min(now));
        let mut choices = Vec::with_capacity(self.words.len());
        for (template, (choice, word)) in &self.words {
            choices.push(self.record(stage, subject, template, *choice, word, at)?);
        }
        if let Some((subject, openid)) = &self.openid {
            stage.effect(Effect::KeepOpenid { subject: *subject, openid: openid.clone() });
        }
        Ok(ReportAnswer { choices, popup_error: self.popup_error })
    }
}

impl RecordChoices {
    fn record(
        &self,
        stage: &mut Stage<'_>,
        subject: SubjectId,
        template: &TemplateId,
        choice: Choice,
        word: &str,
        at: Timestamp,
    ) -> Result<RecordedChoice, Stop<EngineError>> {
        let channel = stage.state::<Channel>(&self.channel)?;
        let Policy { taps, tap_window_s: window, .. } = channel.policy();
        let known = channel.template(template);
        // A template the operator has not refreshed yet is taken as one-time: a grant must not be lost for it.
        let kind = known.map_or(TemplateKind::OneTime, |state| state.template.kind);
        let listed = known.is_some_and(|state| state.listed);
        let ledger = StreamName::ledger(subject, template);
        let evidence = Evidence::new(EvidenceSource::ClientReport, self.report.as_str(), at);
        let word = word.to_owned();
        let command = LedgerCommand::RecordChoice { choice, word, kind, taps, window, evidence };
        let events = stage.ask::<Ledger>(&ledger, command)?.map_err(|error| {
            let pointer = format!("/result/{}", pointer_step(template.as_str()));
            Stop::Refuse(EngineError::field("too_many_grants", &pointer, error.code(), error.to_string()))
        })?;
        let lot = events.iter().find_map(|event| match event {
            LedgerEvent::Granted(granted) => Some(granted.lot),
            _ => None,
        });
        let tap = match events.first() {
            Some(LedgerEvent::Corroborated(_)) => TapResult::Corroborated,
            Some(LedgerEvent::TapNoted(_)) => TapResult::Noted,
            _ => TapResult::Counted,
        };
        let noted_before = events.len() > 1;
        let balance = stage.state::<Ledger>(&ledger)?.balance();
        Ok(RecordedChoice { template: template.clone(), choice, lot, tap, noted_before, balance, listed })
    }
}

/// The counters of grants, one per channel. Finding a series by its labels costs more than the rest of counting, so each is
/// found once and kept.
#[derive(Default)]
pub(crate) struct Grants {
    /// Std lock: held for a look-up, never across an await. Channels that exist only.
    channels: RwLock<HashMap<ChannelCode, Counter>>,
}

impl Grants {
    pub(crate) fn count(&self, channel: &ChannelCode, grants: u64) {
        {
            let channels = self.channels.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(counter) = channels.get(channel) {
                return counter.increment(grants);
            }
        }
        let counter = metrics::counter!(metric_definitions::GRANTS, "channel" => channel.to_string());
        counter.increment(grants);
        self.channels.write().unwrap_or_else(PoisonError::into_inner).insert(channel.clone(), counter);
    }
}

/// What was chosen for each template, and WeChat's own word for it.
type Words = BTreeMap<TemplateId, (Choice, String)>;

/// Templates and words of a result object, and the `errCode` of a popup that failed.
fn parse_result(
    result: &serde_json::Map<String, serde_json::Value>,
) -> Result<(Words, Option<i64>), EngineError> {
    let popup_error = result.get("errCode").and_then(serde_json::Value::as_i64).filter(|code| *code != 0);
    let mut words = BTreeMap::new();
    let mut fields = Vec::new();
    for (key, value) in result.iter().filter(|(key, _)| !matches!(key.as_str(), "errMsg" | "errCode")) {
        let pointer = format!("/result/{}", pointer_step(key));
        let mut wrong = |rule: &str, detail: String| {
            fields.push(FieldError { pointer: pointer.clone(), rule: rule.to_owned(), detail });
        };
        let template = match key.parse::<TemplateId>() {
            Ok(template) => template,
            Err(error) => {
                wrong("bad_template_id", error.to_string());
                continue;
            }
        };
        let word = value.as_str().unwrap_or_default();
        match Choice::from_wechat(word) {
            Some(choice) if word.len() <= 32 => {
                words.insert(template, (choice, word.to_owned()));
            }
            _ => wrong(
                "unknown_choice",
                "must be accept…, reject, ban or filter, as WeChat's client returned it".to_owned(),
            ),
        }
    }
    if !fields.is_empty() {
        let detail = "the result object does not look like what wx.requestSubscribeMessage returns";
        return Err(EngineError { fields, ..EngineError::invalid("bad_report", detail) });
    }
    if words.len() > limits::MAX_TEMPLATES_PER_REPORT {
        let rule = format!("at most {} templates; found {}", limits::MAX_TEMPLATES_PER_REPORT, words.len());
        return Err(EngineError::field("bad_report", "/result", "too_many_templates", rule));
    }
    let failed = popup_error.is_some()
        || result.get("errMsg").and_then(|text| text.as_str()).is_some_and(|text| text.contains(":fail"));
    if words.is_empty() && !failed {
        let rule = "must hold at least one template, or the errCode or errMsg of a popup that failed";
        return Err(EngineError::field("bad_report", "/result", "empty", rule));
    }
    Ok((words, popup_error))
}

impl Engine {
    /// Records what a user chose in the popup.
    pub async fn record_report(
        &self,
        caller: &Caller,
        channel: &ChannelCode,
        report: ClientReport,
    ) -> Result<Done<ReportAnswer>, EngineError> {
        let (words, popup_error) = parse_result(&report.result)?;
        let (user, openid) = match report.who {
            Tapper::Userid(userid) => (Some(self.store().user_ref_of(&userid)), None),
            Tapper::Openid(openid) => (None, Some((self.store().subject_of(channel, &openid), openid))),
        };
        let body =
            (user, openid.as_ref().map(|(subject, _)| subject), &report.tapped_at, &words, popup_error);
        let receipt = ReceiptKey { id: format!("report:{}", report.id), fingerprint: fingerprint(&body)? };
        let work = RecordChoices {
            report: report.id,
            channel: StreamName::channel(),
            binding: user.map(StreamName::binding),
            openid,
            tapped_at: report.tapped_at,
            words,
            popup_error,
        };
        let done =
            self.submit(LogName::channel(channel), caller, "record_choices", Some(receipt), work).await?;
        if !done.replayed {
            let grants = done.answer.choices.iter().filter(|choice| choice.lot.is_some()).count() as u64;
            self.grants().count(channel, grants);
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "TPL_demo_order_ready_000000000000000000_001";

    fn parse(result: serde_json::Value) -> Result<(Words, Option<i64>), EngineError> {
        parse_result(result.as_object().unwrap_or(&serde_json::Map::new()))
    }

    #[test]
    fn every_accept_is_an_accept_and_keeps_its_word() {
        for word in
            ["accept", "acceptWithAlert", "acceptWithAudio", "acceptWithForcePush", "acceptInSomeNewWay"]
        {
            let parsed = parse(serde_json::json!({ "errMsg": "requestSubscribeMessage:ok", TEMPLATE: word }));
            let words: Vec<_> = parsed.map(|(words, _)| words.into_values().collect()).unwrap_or_default();
            assert_eq!(words, [(Choice::Accept, word.to_owned())]);
        }
    }

    #[test]
    fn a_failed_popup_records_nothing_and_is_no_error() {
        let failed = serde_json::json!({ "errMsg": "requestSubscribeMessage:fail The main switch is switched off", "errCode": 20004 });
        assert!(matches!(parse(failed), Ok((words, Some(20004))) if words.is_empty()));
        let tap = serde_json::json!({ "errMsg": "requestSubscribeMessage:fail can only be invoked by user TAP gesture." });
        assert!(matches!(parse(tap), Ok((words, None)) if words.is_empty()));
    }

    #[test]
    fn what_is_not_a_result_is_refused_by_field() {
        for (result, pointer) in [
            (serde_json::json!({}), "/result"),
            (serde_json::json!({ "errMsg": "requestSubscribeMessage:ok" }), "/result"),
            (serde_json::json!({ TEMPLATE: "yes" }), &*format!("/result/{TEMPLATE}")),
            (serde_json::json!({ TEMPLATE: 1 }), &*format!("/result/{TEMPLATE}")),
            (serde_json::json!({ "x y": "accept" }), "/result/x y"),
        ] {
            let fields = parse(result.clone()).err().map(|error| error.fields).unwrap_or_default();
            assert_eq!(fields.first().map(|field| field.pointer.as_str()), Some(pointer), "{result}");
        }
    }
}
