//! A user's tap: what `wx.requestSubscribeMessage` would answer the client, and the counts it adds (wechat-api §6.1).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::error::ControlError;
use crate::reality::Reality;
use crate::template::Template;
use crate::user::Choice;

/// The version of the Mini Program that a user runs, in the words of `wx.getAccountInfoSync`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Version {
    /// In development.
    Develop,
    /// On trial.
    Trial,
    /// The one that the public has.
    #[default]
    Release,
}

/// One call of `wx.requestSubscribeMessage` and what the user does in its popup.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TapSpec {
    /// Who taps.
    pub openid: String,
    /// The `tmplIds` of the call.
    pub template_ids: Vec<String>,
    /// The answer for every template not in `choices`. Without one, kept answers apply silently.
    #[serde(default)]
    pub choice: Option<Choice>,
    /// Answers of single templates.
    #[serde(default)]
    pub choices: BTreeMap<String, Choice>,
    /// "Always keep" ticked: later taps without an answer repeat this one, and each accept still adds one. An answer
    /// given without it clears a kept one.
    #[serde(default)]
    pub keep: bool,
    /// Templates left out of the result object although they were booked: a client that loses part of its report.
    #[serde(default)]
    pub omit: Vec<String>,
    /// Name of the tap in the journal, so that a test can report the same tap elsewhere. Not checked to be unique; made up
    /// when left out.
    #[serde(default)]
    pub id: Option<String>,
    /// The version it is made in.
    #[serde(default)]
    pub version: Version,
}

/// What became of one template of a tap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TapAnswer {
    /// The template.
    pub template_id: String,
    /// The client's word.
    pub choice: Choice,
    /// It was not asked for: a kept answer applied.
    pub silent: bool,
    /// It added a count.
    pub added: bool,
    /// What it did, it did to the counts of the versions that are not formal ([`Reality::trial_shares_counts`]).
    pub apart: bool,
}

/// A tap after it was booked.
#[derive(Debug)]
pub(crate) struct Tapped {
    /// The client's result object.
    pub(crate) result: Value,
    pub(crate) answers: Vec<TapAnswer>,
}

impl TapSpec {
    /// The same answer for every template.
    pub fn new(openid: &str, template_ids: &[&str], choice: Choice) -> Self {
        Self {
            openid: openid.to_owned(),
            template_ids: template_ids.iter().map(|&id| id.to_owned()).collect(),
            choice: Some(choice),
            ..Self::default()
        }
    }
}

/// Books the tap and gives the client's result object. Failures of the call are results too; an error means that the tap
/// itself could not have happened (no such user, no answer given and none kept).
pub(crate) fn tap(app: &mut App, spec: &TapSpec, reality: &Reality) -> Result<Tapped, ControlError> {
    let failed = |result| Ok(Tapped { result, answers: Vec::new() });
    if !app.users.contains_key(&spec.openid) {
        return Err(ControlError::NotFound { what: "user" });
    }
    let templates = match wanted(app, spec) {
        Ok(templates) => templates,
        Err(failure) => return failed(failure),
    };
    let user = app.user_mut(&spec.openid)?;
    if !user.main_switch {
        return failed(fail(20004, "The main switch is switched off"));
    }
    let mut answers = Vec::new();
    let mut titles = BTreeSet::new();
    for template in templates {
        let id = &template.pri_tmpl_id;
        let kept = user.counts.get(id).and_then(|c| c.kept);
        let given = spec.choices.get(id).copied().or(spec.choice);
        let choice = given.or(kept).ok_or_else(|| {
            ControlError::invalid("choice", "is required: the user has no kept answer for a template")
        })?;
        let twin = !titles.insert(template.title.clone());
        let (choice, keep) = match given {
            _ if twin => (Choice::Filter, None),
            Some(given) => (given, Some(spec.keep)),
            None => (choice, None),
        };
        answers.push((template, choice, keep, given.is_none()));
    }
    let mut result = Map::new();
    result.insert("errMsg".to_owned(), json!("requestSubscribeMessage:ok"));
    let apart = spec.version != Version::Release && !reality.trial_shares_counts;
    let mut booked = Vec::new();
    for (template, choice, keep, silent) in answers {
        let added = user.answer(&template, choice, keep, reality, apart);
        let template_id = template.pri_tmpl_id;
        if !spec.omit.contains(&template_id) {
            result.insert(template_id.clone(), json!(choice.as_str()));
        }
        booked.push(TapAnswer { template_id, choice, silent, added, apart });
    }
    Ok(Tapped { result: Value::Object(result), answers: booked })
}

/// The templates of the call, each once, or the failure that the client gets instead of a popup.
fn wanted(app: &App, spec: &TapSpec) -> Result<Vec<Template>, Value> {
    if spec.template_ids.is_empty() {
        return Err(fail(10001, "TmplIds can't be empty"));
    }
    if spec.template_ids.len() > app.settings.tap_limit {
        return Err(fail(20003, "Templates count out of max bounds"));
    }
    if app.settings.banned {
        return Err(fail(20005, "The mini program is banned"));
    }
    let mut templates: Vec<Template> = Vec::new();
    for id in &spec.template_ids {
        let template = app
            .template(id)
            .ok_or_else(|| fail(20001, "No template data return, verify the template id exist"))?;
        if !templates.iter().any(|t| &t.pri_tmpl_id == id) {
            templates.push(template.clone());
        }
    }
    if templates.iter().any(|t| t.kind != templates[0].kind) {
        return Err(fail(20002, "Templates type must be same"));
    }
    Ok(templates)
}

fn fail(code: i64, message: &str) -> Value {
    json!({ "errMsg": format!("requestSubscribeMessage:fail {message}"), "errCode": code })
}
