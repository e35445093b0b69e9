//! The true subscription state of one user in one app: the counts nobody outside WeChat can see.
//!
//! This is the oracle that a ledger is compared with, so it keeps the sums it is made of too. For a one-time template
//! `remaining = accept_taps − capped − accepted_sends − forfeited − cleared + returned` always; all but the first and third are
//! 0 unless a [`crate::Reality`] says that something else gives or takes counts.
//!
//! Where the development and trial versions do not share the formal version's counts ([`Reality::trial_shares_counts`]), what
//! belongs to them stands apart, in counts of the same kind.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::clock::Window;
use crate::error::ControlError;
use crate::reality::Reality;
use crate::template::{LONG_TERM, Template};

/// What a user answers in the popup (wechat-api §6.1). Every `accept…` is a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Choice {
    /// Allowed.
    Accept,
    /// Refused.
    Reject,
    /// The template is banned by WeChat.
    Ban,
    /// Left out because another template has the same title.
    Filter,
    /// Allowed with an alert.
    AcceptWithAlert,
    /// Allowed with voice.
    AcceptWithAudio,
    /// Allowed with a strong reminder.
    AcceptWithForcePush,
}

impl Choice {
    /// True for every form of accepting.
    pub const fn is_accept(self) -> bool {
        matches!(
            self,
            Self::Accept | Self::AcceptWithAlert | Self::AcceptWithAudio | Self::AcceptWithForcePush
        )
    }

    /// The word in the client's result object.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Reject => "reject",
            Self::Ban => "ban",
            Self::Filter => "filter",
            Self::AcceptWithAlert => "acceptWithAlert",
            Self::AcceptWithAudio => "acceptWithAudio",
            Self::AcceptWithForcePush => "acceptWithForcePush",
        }
    }
}

/// What a user does in the settings page or the card's menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingState {
    /// Template switched off: sends answer 43101 until it is accepted again.
    Reject,
    /// Template switched on again; adds no count.
    Accept,
    /// Main switch off: sends of every template answer 43101, taps 20004.
    MainSwitchOff,
    /// Main switch on again.
    MainSwitchOn,
}

/// The true state of one (user, template).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TemplateCount {
    /// Messages that may still be sent (one-time templates).
    pub remaining: u64,
    /// Consent to a long-term template.
    pub consent: bool,
    /// Switched off by the user.
    pub off: bool,
    /// The answer kept by "always keep".
    pub kept: Option<Choice>,
    /// Accepting taps so far.
    pub accept_taps: u64,
    /// Sends that WeChat accepted so far.
    pub accepted_sends: u64,
    /// Accepting taps that added nothing because the most had piled up ([`Reality::most_counts`]).
    pub capped: u64,
    /// Counts taken by refused sends ([`Reality::refusal_takes_count`]).
    pub forfeited: u64,
    /// Counts erased by switching off or by deleting the template ([`Reality::off_clears_counts`],
    /// [`Reality::deleting_clears_counts`]).
    pub cleared: u64,
    /// Accepted sends that failed later ([`Reality::failed_deliveries`]).
    pub failed_sends: u64,
    /// Counts that such failures gave back ([`Reality::failure_returns_count`]).
    pub returned: u64,
}

/// The true state of one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserCounts {
    /// The user.
    pub openid: String,
    /// Main switch of the app's messages.
    pub main_switch: bool,
    /// By template id; every template of the app and every one ever touched.
    pub templates: BTreeMap<String, TemplateCount>,
    /// What the development and trial versions have for themselves, by template id; their switches are those above.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub apart: BTreeMap<String, TemplateCount>,
}

#[derive(Debug)]
pub(crate) struct User {
    pub(crate) unionid: String,
    pub(crate) main_switch: bool,
    pub(crate) counts: BTreeMap<String, TemplateCount>,
    /// Numbers and consent of the versions that are not formal, where these do not share.
    pub(crate) apart: BTreeMap<String, TemplateCount>,
    pub(crate) logins: Window,
}

impl User {
    pub(crate) fn new(unionid: String) -> Self {
        Self {
            unionid,
            main_switch: true,
            counts: BTreeMap::new(),
            apart: BTreeMap::new(),
            logins: Window::default(),
        }
    }

    fn book(&mut self, apart: bool) -> &mut BTreeMap<String, TemplateCount> {
        if apart { &mut self.apart } else { &mut self.counts }
    }

    /// Whether a message of `template` may be sent now; anything else is 43101. `apart`: on the counts of the versions that are
    /// not formal, here and below.
    pub(crate) fn may_receive(&self, template: &Template, apart: bool) -> bool {
        let id = &template.pri_tmpl_id;
        let Some(count) = (if apart { &self.apart } else { &self.counts }).get(id) else { return false };
        let permitted = if template.kind == LONG_TERM { count.consent } else { count.remaining > 0 };
        self.main_switch && permitted && self.counts.get(id).is_none_or(|count| !count.off)
    }

    /// Books one accepted send.
    pub(crate) fn take(&mut self, template: &Template, apart: bool) {
        let count = self.book(apart).entry(template.pri_tmpl_id.clone()).or_default();
        count.accepted_sends += 1;
        if template.kind != LONG_TERM {
            count.remaining = count.remaining.saturating_sub(1);
        }
    }

    /// Takes a count without a message ([`Reality::refusal_takes_count`]).
    pub(crate) fn forfeit(&mut self, template_id: &str, apart: bool) {
        if let Some(count) = self.book(apart).get_mut(template_id)
            && count.remaining > 0
        {
            count.remaining -= 1;
            count.forfeited += 1;
        }
    }

    /// Books that an accepted send failed later.
    pub(crate) fn fail_later(&mut self, template: &Template, reality: &Reality, apart: bool) {
        let count = self.book(apart).entry(template.pri_tmpl_id.clone()).or_default();
        count.failed_sends += 1;
        if template.kind != LONG_TERM && reality.failure_returns_count {
            count.remaining += 1;
            count.returned += 1;
        }
    }

    /// Erases the counts of a template ([`Reality::deleting_clears_counts`]).
    pub(crate) fn clear(&mut self, template_id: &str) {
        for book in [&mut self.counts, &mut self.apart] {
            if let Some(count) = book.get_mut(template_id) {
                clear(count);
            }
        }
    }

    fn switch_off(&mut self, template_id: &str, reality: &Reality) {
        self.counts.entry(template_id.to_owned()).or_default().off = true;
        if reality.off_clears_counts {
            self.clear(template_id);
        }
    }

    /// Books one answer of the popup; true if it added a count.
    ///
    /// "Keep" with a refusal is the same switch as in the settings page, so it also stops messages already allowed;
    /// WeChat's documents do not say (§14.3).
    pub(crate) fn answer(
        &mut self,
        template: &Template,
        choice: Choice,
        keep: Option<bool>,
        reality: &Reality,
        apart: bool,
    ) -> bool {
        let id = &template.pri_tmpl_id;
        let count = self.counts.entry(id.clone()).or_default();
        match keep {
            Some(true) => count.kept = Some(choice),
            Some(false) => count.kept = None,
            None => {}
        }
        if choice.is_accept() {
            count.off = false;
            let count = self.book(apart).entry(id.clone()).or_default();
            count.accept_taps += 1;
            if template.kind == LONG_TERM {
                count.consent = true;
            } else if reality.most_counts.is_none_or(|most| count.remaining < most) {
                count.remaining += 1;
                return true;
            } else {
                count.capped += 1;
            }
        } else if choice == Choice::Reject && count.kept == Some(Choice::Reject) {
            self.switch_off(id, reality);
        }
        false
    }

    /// Books a change in the settings page.
    pub(crate) fn set(
        &mut self,
        template_id: Option<&str>,
        state: SettingState,
        reality: &Reality,
    ) -> Result<(), ControlError> {
        match state {
            SettingState::MainSwitchOn => self.main_switch = true,
            SettingState::MainSwitchOff => {
                self.main_switch = false;
                if reality.off_clears_counts {
                    self.counts.values_mut().chain(self.apart.values_mut()).for_each(clear);
                }
            }
            SettingState::Reject | SettingState::Accept => {
                let id = template_id.ok_or_else(|| ControlError::invalid("template_id", "is required"))?;
                if state == SettingState::Reject {
                    self.switch_off(id, reality);
                }
                let count = self.counts.entry(id.to_owned()).or_default();
                if state == SettingState::Reject {
                    count.kept = count.kept.map(|_| Choice::Reject);
                } else {
                    count.off = false;
                    count.kept = count.kept.map(|_| Choice::Accept);
                }
            }
        }
        Ok(())
    }

    /// The result of `wx.getSetting({withSubscriptions: true})` (wechat-api §6.2): lists kept answers only.
    pub(crate) fn setting_object(&self) -> Value {
        let items: Map<String, Value> =
            self.counts.iter().filter_map(|(id, c)| Some((id.clone(), json!(c.kept?.as_str())))).collect();
        let mut subscriptions = json!({ "mainSwitch": self.main_switch });
        if !items.is_empty() {
            subscriptions["itemSettings"] = Value::Object(items);
        }
        json!({ "subscriptionsSetting": subscriptions, "errMsg": "getSetting:ok" })
    }
}

fn clear(count: &mut TemplateCount) {
    count.cleared += count.remaining;
    count.remaining = 0;
}
