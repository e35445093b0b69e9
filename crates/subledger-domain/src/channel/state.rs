//! The state of a channel and its decisions.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    MAX_TEMPLATES,
    authorization::{AuthorizationState, Unauthorized, authorize},
    callback::check_original_id,
    command::{ChannelCommand, ChannelError},
    event::{
        CallbackConfigured, ChannelEvent, CredentialsReplaced, Paused, PolicyChanged, Registered, Resumed,
        SecretRef, TemplatesRefreshed,
    },
    policy::Policy,
    quota::{BulkHeld, BulkRelease, BulkReleased, QuotaCleared, reserved},
    relay::{RelayConfigured, RelayStopped, Wish, configure},
    token::{TokenConflictSuspected, TokenMode, TokenSourceChanged, worth_telling},
};
use crate::{Decide, Template, TemplateId, Timestamp};

/// A template and whether WeChat still lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateState {
    /// The template as last listed.
    pub template: Template,
    /// Whether the last refresh listed it.
    pub listed: bool,
}

/// One Mini Program set up for sending.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Channel {
    registered: Option<Registered>,
    templates: BTreeMap<TemplateId, TemplateState>,
    paused: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    callback: Option<CallbackConfigured>,
    #[serde(default)]
    relay: Option<RelayConfigured>,
    /// When a conflict was last told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token_conflict_at: Option<Timestamp>,
    #[serde(default)]
    authorization: Option<AuthorizationState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bulk_held: Option<BulkHeld>,
}

impl Channel {
    /// Its registration with the newest secret reference and policy, if it is set up.
    pub fn registered(&self) -> Option<&Registered> {
        self.registered.as_ref()
    }

    /// Where its AppSecret is, or its credential for the token server.
    pub fn secret(&self) -> Option<&SecretRef> {
        self.registered.as_ref().and_then(|registered| registered.secret.as_ref())
    }

    /// Its policies.
    pub fn policy(&self) -> Policy {
        self.registered.as_ref().map(|registered| registered.policy).unwrap_or_default()
    }

    /// Whether sending is stopped.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// How WeChat pushes to it, if that was ever set.
    pub fn callback(&self) -> Option<&CallbackConfigured> {
        self.callback.as_ref()
    }

    /// Where pushes are forwarded to, if they are.
    pub fn relay(&self) -> Option<&RelayConfigured> {
        self.relay.as_ref()
    }

    /// Where it stands with a third-party platform, if it was ever authorized to one.
    pub fn authorization(&self) -> Option<&AuthorizationState> {
        self.authorization.as_ref()
    }

    /// The Mini Program's original id (`gh_…`), as far as it is known.
    pub fn original_id(&self) -> Option<&str> {
        // WeChat's own word comes before what somebody typed.
        let told = self.authorization.as_ref().map(|state| state.granted.original_id.as_str());
        told.or_else(|| self.callback.as_ref()?.original_id.as_deref())
    }

    /// The hold of bulk deliveries, if there is one at this moment.
    pub fn bulk_held(&self, now: Timestamp) -> Option<&BulkHeld> {
        self.bulk_held.as_ref().filter(|held| now < held.until)
    }

    /// A template WeChat has ever listed.
    pub fn template(&self, id: &TemplateId) -> Option<&TemplateState> {
        self.templates.get(id)
    }

    /// Every template WeChat has ever listed.
    pub fn templates(&self) -> impl Iterator<Item = &TemplateState> {
        self.templates.values()
    }

    pub(super) fn fold(&mut self, event: &ChannelEvent) {
        match event {
            ChannelEvent::Registered(e) => self.registered = Some(e.clone()),
            ChannelEvent::CredentialsReplaced(e) => {
                if let Some(registered) = &mut self.registered {
                    registered.secret = Some(e.secret.clone());
                }
            }
            ChannelEvent::TemplatesRefreshed(e) => {
                for template in e.added.iter().chain(&e.changed) {
                    let state = TemplateState { template: template.clone(), listed: true };
                    self.templates.insert(template.id.clone(), state);
                }
                for id in &e.vanished {
                    if let Some(state) = self.templates.get_mut(id) {
                        state.listed = false;
                    }
                }
            }
            ChannelEvent::CallbackConfigured(e) => self.callback = Some(e.clone()),
            ChannelEvent::Paused(_) => self.paused = true,
            ChannelEvent::Resumed(_) => self.paused = false,
            ChannelEvent::PolicyChanged(e) => {
                if let Some(registered) = &mut self.registered {
                    registered.policy = e.policy;
                }
            }
            ChannelEvent::RelayConfigured(e) => self.relay = Some(e.clone()),
            ChannelEvent::RelayStopped(_) => self.relay = None,
            ChannelEvent::Authorized(e) => {
                self.authorization = Some(AuthorizationState { granted: e.clone(), lost: None });
            }
            ChannelEvent::AuthorizationUpdated(e) => {
                if let Some(authorization) = &mut self.authorization {
                    authorization.granted.permissions = e.permissions.clone();
                    authorization.granted.missing = e.missing.clone();
                }
            }
            ChannelEvent::Unauthorized(e) => {
                if let Some(authorization) = &mut self.authorization {
                    authorization.lost = Some(e.loss);
                }
            }
            ChannelEvent::TokenConflictSuspected(e) => self.token_conflict_at = Some(e.at),
            ChannelEvent::TokenLeased(_) | ChannelEvent::TokenForced(_) => {}
            ChannelEvent::TokenSourceChanged(e) => {
                if let Some(registered) = &mut self.registered {
                    registered.token_mode = e.mode;
                    registered.secret = e.secret.clone();
                    registered.token_url = e.url.clone();
                }
            }
            ChannelEvent::BulkHeld(e) => self.bulk_held = Some(*e),
            ChannelEvent::BulkReleased(_) | ChannelEvent::QuotaCleared(_) => self.bulk_held = None,
        }
    }

    fn refresh(&self, listed: Vec<Template>) -> Result<TemplatesRefreshed, ChannelError> {
        if listed.len() > MAX_TEMPLATES {
            return Err(ChannelError::TooManyTemplates { found: listed.len(), limit: MAX_TEMPLATES });
        }
        let now: BTreeMap<TemplateId, Template> =
            listed.into_iter().map(|template| (template.id.clone(), template)).collect();
        let seen: BTreeSet<&TemplateId> = now.keys().collect();
        let vanished: Vec<TemplateId> = self
            .templates
            .iter()
            .filter(|(id, state)| state.listed && !seen.contains(id))
            .map(|(id, _)| id.clone())
            .collect();
        let mut refreshed = TemplatesRefreshed {
            listed: u32::try_from(now.len()).unwrap_or(u32::MAX),
            vanished,
            ..Default::default()
        };
        for (id, template) in now {
            match self.templates.get(&id) {
                Some(known) if known.listed && known.template == template => {}
                Some(known) if known.listed => refreshed.changed.push(template),
                _ => refreshed.added.push(template),
            }
        }
        Ok(refreshed)
    }
}

impl Decide for Channel {
    const STATE: u16 = 5;

    type Ask = ChannelCommand;

    fn decide(&self, ask: ChannelCommand, now: Timestamp) -> Result<Vec<ChannelEvent>, ChannelError> {
        let registered = self.registered.as_ref();
        let event = match (ask, registered) {
            (ChannelCommand::Register(_), Some(_)) => return Err(ChannelError::AlreadyRegistered),
            (ChannelCommand::Register(registration), None) => {
                registration.policy.check()?;
                token_source(&registration).check()?;
                ChannelEvent::Registered(registration)
            }
            (ChannelCommand::Authorize(wish), _) => return authorize(self, wish),
            (_, None) => return Err(ChannelError::NotRegistered),
            (ChannelCommand::ReplaceCredentials { .. }, Some(current))
                if current.token_mode == TokenMode::Platform =>
            {
                return Err(ChannelError::NoSecretInUse);
            }
            (ChannelCommand::ChangeTokenSource { source }, Some(current)) => {
                source.check()?;
                if token_source(current) == source {
                    return Ok(Vec::new());
                }
                ChannelEvent::TokenSourceChanged(source)
            }
            (ChannelCommand::SuspectTokenConflict { .. }, Some(_))
                if !worth_telling(self.token_conflict_at, now) =>
            {
                return Ok(Vec::new());
            }
            (ChannelCommand::SuspectTokenConflict { mode, code, age_s, life_s }, Some(_)) => {
                let suspected = TokenConflictSuspected { mode, code, age_s, life_s, at: now };
                ChannelEvent::TokenConflictSuspected(suspected)
            }
            (ChannelCommand::NoteTokenLease { lease }, Some(_)) => ChannelEvent::TokenLeased(lease),
            (ChannelCommand::NoteTokenForced { forced }, Some(_)) => ChannelEvent::TokenForced(forced),
            (ChannelCommand::ReplaceCredentials { secret }, Some(_)) => {
                ChannelEvent::CredentialsReplaced(CredentialsReplaced { secret })
            }
            (ChannelCommand::RefreshTemplates { listed }, Some(_)) => {
                ChannelEvent::TemplatesRefreshed(self.refresh(listed)?)
            }
            (ChannelCommand::Pause { .. }, Some(_)) if self.paused => {
                return Err(ChannelError::AlreadyPaused);
            }
            (ChannelCommand::Pause { reason }, Some(_)) => ChannelEvent::Paused(Paused { reason }),
            (ChannelCommand::Resume { .. }, Some(_)) if !self.paused => return Err(ChannelError::NotPaused),
            (ChannelCommand::Resume { reason }, Some(_)) => ChannelEvent::Resumed(Resumed { reason }),
            (ChannelCommand::ChangePolicy { policy }, Some(current)) => {
                return self.change_policy(current, policy, now);
            }
            (ChannelCommand::AmendPolicy { change }, Some(current)) => {
                return self.change_policy(current, change.of(current.policy), now);
            }
            (ChannelCommand::ConfigureCallback { change }, Some(_)) => {
                let configured = change.after(self.callback.as_ref())?;
                let same = |before: &CallbackConfigured| {
                    CallbackConfigured { learned: false, ..before.clone() } == configured
                };
                if self.callback.as_ref().is_some_and(same) {
                    return Ok(Vec::new());
                }
                ChannelEvent::CallbackConfigured(configured)
            }
            (ChannelCommand::LearnOriginalId { original_id }, Some(_)) => {
                check_original_id(&original_id)?;
                let Some(callback) = &self.callback else { return Err(ChannelError::NoCallback) };
                // Only the first one: another is what configuring is for.
                if callback.original_id.is_some() {
                    return Ok(Vec::new());
                }
                let learned =
                    CallbackConfigured { original_id: Some(original_id), learned: true, ..callback.clone() };
                ChannelEvent::CallbackConfigured(learned)
            }
            (ChannelCommand::LoseAuthorization { platform, loss }, Some(_)) => {
                let stands =
                    |state: &AuthorizationState| state.lost.is_none() && state.granted.platform == platform;
                if !self.authorization.as_ref().is_some_and(stands) {
                    return Ok(Vec::new());
                }
                ChannelEvent::Unauthorized(Unauthorized { loss })
            }
            (ChannelCommand::ConfigureRelay { url, form, kinds, fresh, rotate }, Some(_)) => {
                return configure(self.relay.as_ref(), Wish { url, form, kinds, fresh, rotate }, now);
            }
            (ChannelCommand::StopRelay { only: Some(url), .. }, Some(_))
                if self.relay.as_ref().is_none_or(|relay| relay.url != url) =>
            {
                return Ok(Vec::new());
            }
            (ChannelCommand::StopRelay { .. }, Some(_)) if self.relay.is_none() => {
                return Err(ChannelError::NotRelayed);
            }
            (ChannelCommand::StopRelay { cause, .. }, Some(_)) => {
                ChannelEvent::RelayStopped(RelayStopped { cause })
            }
            (ChannelCommand::HoldBulk(held), Some(current)) => {
                let held_already = self.bulk_held(now).is_some_and(|before| held.until <= before.until);
                if held_already || held.until <= now || current.policy.bulk_reserve == 0 {
                    return Ok(Vec::new());
                }
                ChannelEvent::BulkHeld(held)
            }
            (ChannelCommand::ReleaseBulk { cause, remaining }, Some(_)) => {
                if self.bulk_held(now).is_none() {
                    return Ok(Vec::new());
                }
                ChannelEvent::BulkReleased(BulkReleased { cause, remaining })
            }
            (ChannelCommand::ClearQuota { reason }, Some(_)) => {
                ChannelEvent::QuotaCleared(QuotaCleared { reason })
            }
        };
        Ok(vec![event])
    }
}

impl Channel {
    fn change_policy(
        &self,
        current: &Registered,
        policy: Policy,
        now: Timestamp,
    ) -> Result<Vec<ChannelEvent>, ChannelError> {
        policy.check()?;
        if current.policy == policy {
            return Ok(Vec::new());
        }
        let mut events = vec![ChannelEvent::PolicyChanged(PolicyChanged { policy })];
        if let Some(held) = self.bulk_held(now)
            && held.remaining > reserved(held.limit, policy.bulk_reserve)
        {
            let released = BulkReleased { cause: BulkRelease::Policy, remaining: held.remaining };
            events.push(ChannelEvent::BulkReleased(released));
        }
        Ok(events)
    }
}

fn token_source(registered: &Registered) -> TokenSourceChanged {
    TokenSourceChanged {
        mode: registered.token_mode,
        secret: registered.secret.clone(),
        url: registered.token_url.clone(),
    }
}
