//! The part of the handle that concerns platforms.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use super::authorize::{AuthorizeSpec, Authorized};
use super::{AuthorizerView, ComponentCheck, Platform, PlatformEntry, PlatformQuery, PlatformSettings};
use super::{PlatformSpec, PlatformView, is_complete};
use crate::error::ControlError;
use crate::journal::Page;
use crate::push::PlatformTarget;
use crate::reality::{Profile, Reality, RealityView, Ruling};
use crate::sandbox::{PAGE_DEFAULT, Sandbox, page_limit};

/// What ending tokens ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Revoked {
    /// Tokens that worked until now.
    pub tokens: usize,
}

impl Sandbox {
    /// Makes a platform; its first ticket is pushed at once. Errors: an empty appid or secret, an appid that is taken, a
    /// URL, token or key that WeChat's console would not take.
    pub fn create_platform(&self, mut spec: PlatformSpec) -> Result<PlatformView, ControlError> {
        for (field, value) in [("component_appid", &spec.component_appid), ("secret", &spec.secret)] {
            if value.is_empty() {
                return Err(ControlError::invalid(field, "must not be empty"));
            }
        }
        // The worker needs it once there are tickets to push.
        self.worker().client()?;
        let component = spec.component_appid.clone();
        self.with(|state| {
            if state.platforms.contains_key(&component) || state.apps.contains_key(&component) {
                return Err(ControlError::Conflict { what: "platform or app" });
            }
            if spec.settings.token.is_empty() {
                spec.settings.token = state.ids.push_token();
            }
            if spec.settings.encoding_aes_key.is_empty() {
                spec.settings.encoding_aes_key = state.ids.aes_key();
            }
            let platform = Platform::new(spec, state.ids.ticket_dice(&component), state.now())?;
            state.platforms.insert(component.clone(), platform);
            state.push_due_tickets();
            state.pushes.nudge();
            Ok(())
        })?;
        self.platform(&component)
    }

    /// Changes switches of a platform. Errors: as when it is made; then nothing is changed.
    pub fn change_platform(
        &self,
        component: &str,
        change: impl FnOnce(&mut PlatformSettings),
    ) -> Result<(), ControlError> {
        self.with(|state| {
            let now = state.now();
            let platform = state.platform_mut(component)?;
            let mut settings = platform.settings.clone();
            change(&mut settings);
            let target = PlatformTarget::new(component, &settings, Some(&platform.target))?;
            if settings.tickets_on != platform.settings.tickets_on {
                platform.next_ticket = settings.tickets_on.then_some(now);
            }
            (platform.settings, platform.target) = (settings, target);
            state.push_due_tickets();
            state.pushes.nudge();
            Ok(())
        })
    }

    /// Replaces a platform's secret; tokens already given out live on.
    pub fn change_platform_secret(&self, component: &str, secret: &str) -> Result<(), ControlError> {
        if secret.is_empty() {
            return Err(ControlError::invalid("secret", "must not be empty"));
        }
        self.with(|state| {
            state.platform_mut(component)?.secret = secret.to_owned();
            Ok(())
        })
    }

    /// The appids of all platforms.
    pub fn platforms(&self) -> Vec<String> {
        self.with(|state| state.platforms.keys().cloned().collect())
    }

    /// One platform: what is set up, its ticket, who authorized it.
    pub fn platform(&self, component: &str) -> Result<PlatformView, ControlError> {
        self.with(|state| {
            let time = |at| Timestamp::from_millisecond(at).unwrap_or_default();
            let platform = state.platform(component)?;
            let authorizers = platform.authorizers.iter().map(|(appid, a)| AuthorizerView {
                appid: appid.clone(),
                in_force: a.in_force,
                permission_sets: a.sets.clone(),
                auth_time: time(a.since),
                refresh_token: a.refresh.clone(),
                queried: a.queried,
            });
            Ok(PlatformView {
                component_appid: component.to_owned(),
                settings: platform.settings.clone(),
                previous_key: platform.target.previous_key().map(str::to_owned),
                ticket: platform.ticket.clone(),
                next_ticket: platform.next_ticket.map(time),
                authorizers: authorizers.collect(),
                profile: state.platform_ruling(component).name.clone(),
            })
        })
    }

    /// Pushes a ticket now; the next one is due ten minutes later. Gives the push, none without an authorization URL.
    pub fn push_ticket(&self, component: &str) -> Result<Option<u64>, ControlError> {
        self.with(|state| state.push_ticket(component))
    }

    /// What the administrator of an app does with a platform's link. Errors: everything WeChat refuses there; then nothing
    /// is changed.
    pub fn authorize(&self, component: &str, spec: &AuthorizeSpec) -> Result<Authorized, ControlError> {
        self.with(|state| state.authorize(component, spec))
    }

    /// The merchant takes an authorization back in the console; gives the push. Errors: there is none in force.
    pub fn deauthorize(&self, component: &str, appid: &str) -> Result<Option<u64>, ControlError> {
        self.with(|state| state.deauthorize(component, appid))
    }

    /// The merchant changes what is ticked; gives the push. Errors: no authorization in force, a set that the platform
    /// does not ask for or that another one holds.
    pub fn change_permission_sets(
        &self,
        component: &str,
        appid: &str,
        sets: &BTreeSet<u32>,
    ) -> Result<Option<u64>, ControlError> {
        self.with(|state| state.change_sets(component, appid, sets))
    }

    /// Ends the tokens that a platform holds for an app, or for all, and with `own` that of the platform itself. Errors: no
    /// such platform.
    pub fn revoke_platform_tokens(
        &self,
        component: &str,
        appid: Option<&str>,
        own: bool,
    ) -> Result<Revoked, ControlError> {
        self.with(|state| {
            state.platform(component)?;
            let now = state.now();
            let held = state.tokens.revoke_held(component, appid, now);
            let own = if own { state.tokens.revoke(component, now) } else { 0 };
            Ok(Revoked { tokens: held + own })
        })
    }

    /// The whole journal of platforms.
    pub fn platform_journal(&self) -> Vec<PlatformEntry> {
        self.with(|state| state.platform_journal.all())
    }

    /// Part of it. Errors: limit outside 1..=10,000.
    pub fn platform_page(&self, query: &PlatformQuery) -> Result<Page<PlatformEntry>, ControlError> {
        let limit = page_limit(query.limit.unwrap_or(PAGE_DEFAULT))?;
        let appid = query.appid.as_deref();
        Ok(self
            .with(|state| state.platform_journal.page(appid, query.after, limit, |entry| query.takes(entry))))
    }

    /// The order in which calls of platforms are checked.
    pub fn component_order(&self) -> Vec<ComponentCheck> {
        self.with(|state| state.component_order.clone())
    }

    /// Replaces that order, until the next reset. Errors: not every check named exactly once.
    pub fn set_component_order(&self, order: Vec<ComponentCheck>) -> Result<(), ControlError> {
        if !is_complete(&order) {
            return Err(ControlError::invalid("order", "must name every check exactly once"));
        }
        self.with(|state| state.component_order = order);
        Ok(())
    }

    /// The choices that a platform lives under.
    pub fn platform_reality(&self, component: &str) -> Result<RealityView, ControlError> {
        self.with(|state| {
            state.platform(component)?;
            Ok(state.platform_ruling(component).view())
        })
    }

    /// Gives a platform a reality of its own; `base` is the profile it was made from, for the name. Errors: a value out
    /// of range.
    pub fn set_platform_reality(
        &self,
        component: &str,
        base: Option<Profile>,
        reality: Reality,
    ) -> Result<(), ControlError> {
        reality.validate()?;
        self.with(|state| {
            state.platform_mut(component)?.ruling = Some(Ruling::new(reality, base));
            Ok(())
        })
    }
}
