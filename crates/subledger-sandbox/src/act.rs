//! What users do, with the pushes it brings: taps and changes of settings. The journal of acts tells all of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::ControlError;
use crate::journal::Entry;
use crate::push::{Event, Item, Origin};
use crate::reality::{ProfileName, Reality};
use crate::state::State;
use crate::tap::{self, TapAnswer, TapSpec};
use crate::user::{Choice, SettingState};

/// Where a user changes a setting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingPlace {
    /// The "…" menu of a received card. A template switched off here is pushed.
    #[default]
    Card,
    /// The Mini Program's settings page; whether this is pushed is open (§14.33).
    SettingsPage,
}

/// What a user did.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Act {
    /// A call of `wx.requestSubscribeMessage`.
    Tap {
        /// The id it was given, or `tap-` and its `seq`.
        id: String,
        /// A popup was shown, because not every answer was a kept one.
        popup: bool,
        /// One for each template; none when the call failed.
        answers: Vec<TapAnswer>,
        /// Why the call failed (wechat-api §6.1).
        err_code: Option<i64>,
    },
    /// A change of settings.
    Setting {
        /// For `reject` and `accept`.
        template_id: Option<String>,
        /// What it was set to.
        state: SettingState,
        /// Where.
        place: SettingPlace,
    },
}

/// One act of a user.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ActEntry {
    /// Place in the journal of acts, from 1, without holes; never reused, not even after a reset.
    pub seq: u64,
    /// Sandbox time.
    pub time: Timestamp,
    /// The app.
    pub appid: String,
    /// Who.
    pub openid: String,
    /// What.
    #[serde(flatten)]
    pub act: Act,
    /// The push that tells of it, if WeChat tells.
    pub push: Option<u64>,
    /// The profile it was written under.
    pub profile: ProfileName,
}

impl Entry for ActEntry {
    fn seq(&self) -> u64 {
        self.seq
    }

    fn set_seq(&mut self, seq: u64) {
        self.seq = seq;
        if let Act::Tap { id, .. } = &mut self.act
            && id.is_empty()
        {
            *id = format!("tap-{seq}");
        }
    }

    fn appid(&self) -> Option<&str> {
        Some(&self.appid)
    }
}

/// A change of settings by a user.
#[derive(Debug)]
pub(crate) struct SettingChange<'a> {
    pub(crate) openid: &'a str,
    pub(crate) template_id: Option<&'a str>,
    pub(crate) state: SettingState,
    pub(crate) place: SettingPlace,
}

impl State {
    /// Books a tap; gives the client's result object and whether a popup was shown.
    pub(crate) fn tap(&mut self, appid: &str, spec: &TapSpec) -> Result<(Value, bool), ControlError> {
        let ruling = self.ruling(appid)?;
        let mut dice = self.ids.nature();
        let tapped = tap::tap(self.app_mut(appid)?, spec, &ruling.reality)?;
        let silent_pushes = ruling.reality.silent_taps_push.draw(&mut dice);
        let exact = ruling.reality.exact_words.draw(&mut dice);
        let unusual = ruling.reality.unusual_words_push.draw(&mut dice);
        let told = |a: &&TapAnswer| match a.choice {
            Choice::Ban | Choice::Filter if !unusual => false,
            _ => silent_pushes || !a.silent,
        };
        let word = |choice: Choice| match choice {
            accept if accept.is_accept() && !exact => Choice::Accept.as_str(),
            other => other.as_str(),
        };
        let items: Vec<Item> = tapped
            .answers
            .iter()
            .filter(told)
            .map(|a| Item { template_id: a.template_id.clone(), word: word(a.choice) })
            .collect();
        let popup = tapped.answers.iter().any(|a| !a.silent);
        let act = self.acts.last_seq() + 1;
        let push = self.push(appid, &spec.openid, &ruling, Event::Popup(items), Origin::Act(act));
        let entry = ActEntry {
            seq: 0,
            time: self.timestamp(),
            appid: appid.to_owned(),
            openid: spec.openid.clone(),
            act: Act::Tap {
                id: spec.id.clone().unwrap_or_default(),
                popup,
                answers: tapped.answers,
                err_code: tapped.result.get("errCode").and_then(Value::as_i64),
            },
            push,
            profile: ruling.name.clone(),
        };
        self.acts.append(entry);
        Ok((tapped.result, popup))
    }

    /// Books a tap by a user who says `intents` where nothing is kept.
    pub(crate) fn tap_unless_kept(
        &mut self,
        appid: &str,
        spec: TapSpec,
        mut intents: BTreeMap<String, Choice>,
    ) -> Result<(Value, bool), ControlError> {
        let counts = &self.app_mut(appid)?.user_mut(&spec.openid)?.counts;
        intents.retain(|id, _| counts.get(id).is_none_or(|count| count.kept.is_none()));
        self.tap(appid, &TapSpec { choices: intents, ..spec })
    }

    /// Books a change of settings.
    pub(crate) fn change_setting(
        &mut self,
        appid: &str,
        change: &SettingChange<'_>,
    ) -> Result<(), ControlError> {
        let ruling = self.ruling(appid)?;
        let mut dice = self.ids.nature();
        let app = self.app_mut(appid)?;
        if change.template_id.is_some_and(|id| app.template(id).is_none()) {
            return Err(ControlError::NotFound { what: "template" });
        }
        let user = app.user_mut(change.openid)?;
        user.set(change.template_id, change.state, &ruling.reality)?;
        let off = |id: &str| Item { template_id: id.to_owned(), word: Choice::Reject.as_str() };
        let items: Vec<Item> = match (change.state, change.template_id) {
            (SettingState::Reject, Some(id)) => vec![off(id)],
            (SettingState::MainSwitchOff, _) => user.counts.keys().map(|id| off(id)).collect(),
            // Switching on pushes nothing (wechat-api §7.2).
            _ => Vec::new(),
        };
        let told = pushes(change, &ruling.reality, &mut dice);
        let items = if told { items } else { Vec::new() };
        let act = self.acts.last_seq() + 1;
        let push = self.push(appid, change.openid, &ruling, Event::Change(items), Origin::Act(act));
        let entry = ActEntry {
            seq: 0,
            time: self.timestamp(),
            appid: appid.to_owned(),
            openid: change.openid.to_owned(),
            act: Act::Setting {
                template_id: change.template_id.map(str::to_owned),
                state: change.state,
                place: change.place,
            },
            push,
            profile: ruling.name.clone(),
        };
        self.acts.append(entry);
        Ok(())
    }
}

/// Whether WeChat tells of the change at all.
fn pushes(change: &SettingChange<'_>, reality: &Reality, dice: &mut rand::rngs::StdRng) -> bool {
    match (change.state, change.place) {
        (SettingState::MainSwitchOff, _) => reality.main_switch_pushes.draw(dice),
        (_, SettingPlace::Card) => true,
        (_, SettingPlace::SettingsPage) => reality.settings_page_pushes.draw(dice),
    }
}
