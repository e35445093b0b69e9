//! The handle: everything a test or the control API can do to the simulated WeChat.
//!
//! The control routes call these methods and nothing else, so a test in the same process and a script over HTTP see one
//! behaviour. Cloning gives another handle on the same WeChat. The lock is never held across an await.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::Value;

use crate::act::{ActEntry, SettingChange, SettingPlace};
use crate::app::{App, AppSettings, AppSpec, AppView};
use crate::check::{self, SendCheck};
use crate::clock::SECOND;
use crate::config::SandboxConfig;
use crate::error::ControlError;
use crate::fault::{FaultSpec, FaultView};
use crate::journal::{JournalEntry, JournalPage, JournalQuery, Page};
use crate::platform::Revoked;
use crate::push::Worker;
use crate::reality::{Profile, Reality, RealityView, Ruling};
use crate::state::State;
use crate::stats::Stats;
use crate::tap::TapSpec;
use crate::template::Template;
use crate::token::OthersRefresh;
use crate::user::{SettingState, User, UserCounts};

/// Furthest single advance of the clock, in seconds: ten years.
pub const LONGEST_ADVANCE_SECONDS: i64 = 10 * 366 * 24 * 3_600;
/// Furthest the clock may be moved in all; keeps sums of milliseconds far from overflow.
const MOST_ADVANCED_SECONDS: i64 = 100 * 366 * 24 * 3_600;
/// Entries of a journal page when no limit is given.
pub(crate) const PAGE_DEFAULT: usize = 1_000;
/// Most entries of a journal page.
const PAGE_MOST: usize = 10_000;

/// The limit of a page. Errors: outside 1..=10,000.
pub(crate) fn page_limit(limit: usize) -> Result<usize, ControlError> {
    match limit {
        1..=PAGE_MOST => Ok(limit),
        _ => Err(ControlError::invalid("limit", format!("must be 1..={PAGE_MOST}"))),
    }
}

/// A simulated WeChat.
#[derive(Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

struct Inner {
    config: SandboxConfig,
    state: Mutex<State>,
    worker: Worker,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.worker.release();
    }
}

/// A handle that does not keep the sandbox alive.
#[derive(Clone)]
pub(crate) struct WeakSandbox(Weak<Inner>);

impl WeakSandbox {
    pub(crate) fn upgrade(&self) -> Option<Sandbox> {
        self.0.upgrade().map(|inner| Sandbox { inner })
    }
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new(SandboxConfig::default())
    }
}

impl Sandbox {
    /// An empty WeChat. A `check_order` that does not name every check once is replaced by the default.
    pub fn new(config: SandboxConfig) -> Self {
        let state = Mutex::new(State::new(&config));
        Self { inner: Arc::new(Inner { config, state, worker: Worker::default() }) }
    }

    /// Runs `act` on the state; the lock is held for that long only.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let (result, news) = {
            let mut state = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
            (act(&mut state), state.pushes.take_news())
        };
        if news {
            self.inner.worker.wake(self);
        }
        result
    }

    pub(crate) fn worker(&self) -> &Worker {
        &self.inner.worker
    }

    pub(crate) fn downgrade(&self) -> WeakSandbox {
        WeakSandbox(Arc::downgrade(&self.inner))
    }

    /// Makes an app. Errors: empty appid or secret, appid taken.
    pub fn create_app(&self, spec: AppSpec) -> Result<(), ControlError> {
        for (field, value) in [("appid", &spec.appid), ("secret", &spec.secret)] {
            if value.is_empty() {
                return Err(ControlError::invalid(field, "must not be empty"));
            }
        }
        self.with(|state| {
            if state.apps.contains_key(&spec.appid) || state.platforms.contains_key(&spec.appid) {
                return Err(ControlError::Conflict { what: "app" });
            }
            state.apps.insert(spec.appid, App::new(spec.secret, spec.settings));
            Ok(())
        })
    }

    /// Changes switches of an app.
    pub fn change_app(&self, appid: &str, change: impl FnOnce(&mut AppSettings)) -> Result<(), ControlError> {
        self.with(|state| {
            change(&mut state.app_mut(appid)?.settings);
            Ok(())
        })
    }

    /// Replaces the app's secret; tokens already given out live on until they are revoked or expire.
    pub fn change_secret(&self, appid: &str, secret: &str) -> Result<(), ControlError> {
        if secret.is_empty() {
            return Err(ControlError::invalid("secret", "must not be empty"));
        }
        self.with(|state| {
            state.app_mut(appid)?.secret = secret.to_owned();
            Ok(())
        })
    }

    /// All appids.
    pub fn apps(&self) -> Vec<String> {
        self.with(|state| state.apps.keys().cloned().collect())
    }

    /// One app with its switches, templates and users.
    pub fn app(&self, appid: &str) -> Result<AppView, ControlError> {
        self.with(|state| {
            let mut view = state.app(appid)?.view(appid, &*state.ruling(appid)?);
            let platform = state.platform_of(appid);
            view.platform_push = platform.and_then(|(_, p)| p.message_view(appid, state.gh_id(appid)));
            Ok(view)
        })
    }

    /// Adds a template and gives its id.
    pub fn create_template(&self, appid: &str, mut template: Template) -> Result<String, ControlError> {
        template.validate()?;
        self.with(|state| {
            if template.pri_tmpl_id.is_empty() {
                template.pri_tmpl_id = state.ids.template_id();
            }
            let app = state.app_mut(appid)?;
            if app.template(&template.pri_tmpl_id).is_some() {
                return Err(ControlError::Conflict { what: "template" });
            }
            let id = template.pri_tmpl_id.clone();
            app.templates.push(template);
            Ok(id)
        })
    }

    /// Deletes a template; later sends answer 40037. Counts stay in the books, unless
    /// [`Reality::deleting_clears_counts`].
    pub fn delete_template(&self, appid: &str, template_id: &str) -> Result<(), ControlError> {
        self.with(|state| {
            let clears = state.ruling(appid)?.reality.deleting_clears_counts;
            let app = state.app_mut(appid)?;
            let before = app.templates.len();
            app.templates.retain(|t| t.pri_tmpl_id != template_id);
            if app.templates.len() == before {
                return Err(ControlError::NotFound { what: "template" });
            }
            if clears {
                app.users.values_mut().for_each(|user| user.clear(template_id));
            }
            Ok(())
        })
    }

    /// Adds a user; without an openid one of 28 characters is generated.
    pub fn create_user(&self, appid: &str, openid: Option<&str>) -> Result<String, ControlError> {
        if openid == Some("") {
            return Err(ControlError::invalid("openid", "must not be empty"));
        }
        self.with(|state| {
            state.app(appid)?;
            let openid = openid.map_or_else(|| state.ids.openid(), str::to_owned);
            let unionid = state.ids.unionid();
            let app = state.app_mut(appid)?;
            if app.users.contains_key(&openid) {
                return Err(ControlError::Conflict { what: "user" });
            }
            app.users.insert(openid.clone(), User::new(unionid));
            Ok(openid)
        })
    }

    /// A `js_code` for a user, as `wx.login` would give it: one use, five minutes.
    pub fn create_login_code(&self, appid: &str, openid: &str) -> Result<String, ControlError> {
        self.with(|state| {
            let now = state.now();
            state.app_mut(appid)?.user_mut(openid)?;
            let code = state.ids.login_code();
            state.app_mut(appid)?.add_code(code.clone(), openid, now);
            Ok(code)
        })
    }

    /// A tap; gives the client's result object (wechat-api §11.5), failures of the call included.
    pub fn tap(&self, appid: &str, spec: &TapSpec) -> Result<Value, ControlError> {
        self.with(|state| state.tap(appid, spec).map(|(result, _)| result))
    }

    /// A change in the user's settings, made in the card's menu. `template_id` is needed for `reject` and `accept`.
    pub fn change_setting(
        &self,
        appid: &str,
        openid: &str,
        template_id: Option<&str>,
        state: SettingState,
    ) -> Result<(), ControlError> {
        self.change_setting_at(SettingPlace::Card, appid, openid, template_id, state)
    }

    /// The same, made somewhere else.
    pub fn change_setting_at(
        &self,
        place: SettingPlace,
        appid: &str,
        openid: &str,
        template_id: Option<&str>,
        state: SettingState,
    ) -> Result<(), ControlError> {
        let change = SettingChange { openid, template_id, state, place };
        self.with(|state| state.change_setting(appid, &change))
    }

    /// Everything users did.
    pub fn acts(&self) -> Vec<ActEntry> {
        self.with(|state| state.acts.all())
    }

    /// Part of it. Errors: limit outside 1..=10,000.
    pub fn act_page(&self, query: &JournalQuery) -> Result<Page<ActEntry>, ControlError> {
        let limit = page_limit(query.limit.unwrap_or(PAGE_DEFAULT))?;
        Ok(self.with(|state| state.acts.page(query.appid.as_deref(), query.after, limit, |_| true)))
    }

    /// What `wx.getSetting({withSubscriptions: true})` answers the user's client.
    pub fn setting_object(&self, appid: &str, openid: &str) -> Result<Value, ControlError> {
        self.with(|state| Ok(state.app_mut(appid)?.user_mut(openid)?.setting_object()))
    }

    /// The true counts of a user.
    pub fn counts(&self, appid: &str, openid: &str) -> Result<UserCounts, ControlError> {
        self.with(|state| state.app(appid)?.counts(openid))
    }

    /// Messages of one template that may still be sent to a user; 0 for a template never touched.
    pub fn remaining(&self, appid: &str, openid: &str, template_id: &str) -> Result<u64, ControlError> {
        Ok(self.counts(appid, openid)?.templates.get(template_id).map_or(0, |c| c.remaining))
    }

    /// Injects a fault and gives its id.
    pub fn inject(&self, spec: FaultSpec) -> Result<u64, ControlError> {
        self.with(|state| state.faults.add(spec))
    }

    /// Faults in force, oldest first.
    pub fn faults(&self) -> Vec<FaultView> {
        self.with(|state| state.faults.list())
    }

    /// Removes one fault.
    pub fn remove_fault(&self, id: u64) -> Result<(), ControlError> {
        self.with(|state| state.faults.remove(id))
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.with(|state| state.faults.clear());
    }

    /// Ends every token of an app at once.
    pub fn revoke_tokens(&self, appid: &str) -> Result<(), ControlError> {
        self.with(|state| {
            state.app(appid)?;
            let now = state.now();
            state.tokens.revoke(appid, now);
            Ok(())
        })
    }

    /// Ends every token for all apps, or for these, whoever holds it. Errors: an app that does not exist; then none ends.
    pub fn revoke_all_tokens(&self, appids: Option<&BTreeSet<String>>) -> Result<Revoked, ControlError> {
        self.with(|state| {
            appids.into_iter().flatten().try_for_each(|appid| state.app(appid).map(drop))?;
            let now = state.now();
            Ok(Revoked { tokens: state.tokens.revoke_all(appids, now) })
        })
    }

    /// Another system of the company gets itself a new token for all apps, or for these; gives their number. It counts
    /// against no quota and in no statistics. Errors: an app that does not exist; then nothing is done.
    pub fn refresh_elsewhere(
        &self,
        appids: Option<&BTreeSet<String>>,
        how: OthersRefresh,
    ) -> Result<usize, ControlError> {
        self.with(|state| {
            appids.into_iter().flatten().try_for_each(|appid| state.app(appid).map(drop))?;
            let now = state.now();
            let all = || state.apps.keys().cloned().collect();
            let wanted = appids.cloned().unwrap_or_else(all);
            for appid in &wanted {
                state.tokens.refresh_elsewhere(appid, how, &mut state.ids, now);
            }
            Ok(wanted.len())
        })
    }

    /// The whole journal.
    pub fn journal(&self) -> Vec<JournalEntry> {
        self.with(|state| state.journal.all())
    }

    /// Part of the journal. Errors: limit outside 1..=10,000.
    pub fn journal_page(&self, query: &JournalQuery) -> Result<JournalPage, ControlError> {
        let limit = page_limit(query.limit.unwrap_or(PAGE_DEFAULT))?;
        Ok(self.with(|state| state.journal.page(query.appid.as_deref(), query.after, limit, |_| true)))
    }

    /// Sums since the start or the last reset.
    pub fn stats(&self) -> Stats {
        self.with(|state| {
            let mut stats = state.stats.clone();
            stats.pushes.clone_from(&state.pushes.sums);
            stats.journal_last_seq = state.journal.last_seq();
            stats.journal_dropped = state.journal.dropped();
            stats
        })
    }

    /// The order in which sends are checked.
    pub fn check_order(&self) -> Vec<SendCheck> {
        self.with(|state| state.check_order.clone())
    }

    /// Replaces the order of checks, until the next reset. Errors: not every check named exactly once.
    pub fn set_check_order(&self, order: Vec<SendCheck>) -> Result<(), ControlError> {
        if !check::is_complete(&order) {
            return Err(ControlError::invalid("order", "must name every check exactly once"));
        }
        self.with(|state| state.check_order = order);
        Ok(())
    }

    /// The choices for what is undocumented, for apps that have none of their own.
    pub fn reality(&self) -> Reality {
        self.with(|state| state.ruling.reality.clone())
    }

    /// Replaces them, until the next reset. Errors: a value out of range.
    pub fn set_reality(&self, reality: Reality) -> Result<(), ControlError> {
        reality.validate()?;
        self.with(|state| state.ruling = Ruling::new(reality, None));
        Ok(())
    }

    /// The choices that an app lives under.
    pub fn app_reality(&self, appid: &str) -> Result<RealityView, ControlError> {
        self.with(|state| Ok(state.ruling(appid)?.view()))
    }

    /// Gives an app a reality of its own; `base` is the profile it was made from, for the name. Errors: a value out of
    /// range.
    pub fn set_app_reality(
        &self,
        appid: &str,
        base: Option<Profile>,
        reality: Reality,
    ) -> Result<(), ControlError> {
        reality.validate()?;
        self.with(|state| {
            state.app_mut(appid)?.ruling = Some(Ruling::new(reality, base));
            Ok(())
        })
    }

    /// Puts an app under a profile.
    pub fn set_profile(&self, appid: &str, profile: Profile) -> Result<(), ControlError> {
        self.set_app_reality(appid, Some(profile), profile.reality())
    }

    /// Moves the clock forward and gives the new time. Errors: negative, or more than
    /// [`LONGEST_ADVANCE_SECONDS`] at once.
    pub fn advance(&self, seconds: i64) -> Result<jiff::Timestamp, ControlError> {
        if !(0..=LONGEST_ADVANCE_SECONDS).contains(&seconds) {
            let reason = format!("must be 0..={LONGEST_ADVANCE_SECONDS}");
            return Err(ControlError::invalid("seconds", reason));
        }
        self.with(|state| {
            let advanced = state.advanced + seconds * SECOND;
            if advanced > MOST_ADVANCED_SECONDS * SECOND {
                return Err(ControlError::invalid("seconds", "the clock is a hundred years ahead already"));
            }
            state.advanced = advanced;
            state.push_due_tickets();
            state.pushes.nudge();
            Ok(state.timestamp())
        })
    }

    /// The sandbox's time.
    pub fn now(&self) -> jiff::Timestamp {
        self.with(|state| state.timestamp())
    }

    /// Forgets everything, the advance of the clock included; every `seq` and `msgid` goes on counting.
    pub fn reset(&self) {
        self.with(|state| state.reset(&self.inner.config));
    }
}
