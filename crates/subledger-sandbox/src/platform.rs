//! Third-party platforms: what they are, what they hold, who authorized them (wechat-api §9).
//!
//! A platform has a ticket that is pushed to it, a token it gets for the ticket, and for each app whose administrator
//! scanned its link an authorization with a refresh token. [`authorize`] is what administrators do, [`judge`] and [`answer`]
//! the calls that platforms make, [`ticket`] the pushes that go by the clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use crate::clock::{MINUTE, Millis};
use crate::error::ControlError;
use crate::push::{PlatformTarget, PushView};
use crate::reality::{ProfileName, Ruling};
use crate::state::State;

mod answer;
mod authorize;
mod handle;
mod journal;
mod judge;
mod ticket;

pub use authorize::{AuthorizeSpec, Authorized};
pub use handle::Revoked;
pub use journal::{PlatformDeed, PlatformEntry, PlatformQuery};
pub use judge::{ComponentCall, ComponentCheck, DEFAULT_COMPONENT_ORDER};

pub(crate) use authorize::{Scan, candidates};
pub(crate) use judge::{Request, is_complete};

/// The set that sends, templates and logins need; only one platform can hold it (wechat-api §9.7).
pub const DEVELOPMENT_SET: u32 = 18;
/// What a platform asks for when it is not told: account management and [`DEVELOPMENT_SET`].
const USUAL_SETS: [u32; 2] = [17, DEVELOPMENT_SET];
/// Life of a ticket (wechat-api §9.2).
const TICKET_LIFE: Millis = 12 * 60 * MINUTE;
/// Used and expired codes and tickets are forgotten this long after their end.
const REMEMBERED: Millis = 24 * 60 * MINUTE;

/// A new platform: its credentials and any of the switches of [`PlatformSettings`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlatformSpec {
    /// Its appid; no app may have it.
    pub component_appid: String,
    /// Its secret; not empty.
    pub secret: String,
    /// Switches; those left out have their defaults.
    #[serde(flatten)]
    pub settings: PlatformSettings,
}

impl PlatformSpec {
    /// A platform that pushes nowhere yet, with every switch at its default.
    pub fn new(component_appid: &str, secret: &str) -> Self {
        Self {
            component_appid: component_appid.to_owned(),
            secret: secret.to_owned(),
            settings: PlatformSettings::default(),
        }
    }
}

/// What is set up for a platform in WeChat's console, and the sandbox's switches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlatformSettings {
    /// Where tickets and changes of authorization go. Empty: nowhere.
    pub authorization_url: String,
    /// Where users' events of authorized apps go; `$APPID$` in it becomes the app's id. Empty: such events go where the app
    /// itself has them go.
    pub message_url: String,
    /// For the signatures of pushes, 3 to 32 letters and digits; made up when left out.
    pub token: String,
    /// `EncodingAESKey`, 43 letters and digits; made up when left out. The one before a change is kept.
    pub encoding_aes_key: String,
    /// Published on the whole network. Otherwise only apps of `test_list` may authorize it (61028). Default true.
    pub published: bool,
    /// Appids for a platform that is not published.
    pub test_list: Vec<String>,
    /// Calls from an address outside `ip_allowlist` answer 61004. WeChat always insists; here it is off by default.
    pub ip_allowlist_on: bool,
    /// Addresses allowed when the switch is on.
    pub ip_allowlist: Vec<String>,
    /// The permission sets it asks for. Default 17 and 18.
    pub permission_sets: BTreeSet<u32>,
    /// When set, the authorization page opens only from a page of this host (the Referer), and leads back only to it.
    pub login_domain: Option<String>,
    /// A ticket is pushed every ten minutes of the sandbox's time. Default true.
    pub tickets_on: bool,
    /// So many tickets given up one after the other end the pushes, until `api_start_push_ticket`; 0 = never. Default 0.
    pub give_up_tickets: u32,
    /// WeChat has shut it down: calls answer 61011.
    pub banned: bool,
    /// How long receivers have, in milliseconds. Default 5,000.
    pub timeout_ms: u64,
    /// Pause before a delivery is repeated, in milliseconds of real time. Default 200.
    pub retry_ms: u64,
}

impl Default for PlatformSettings {
    fn default() -> Self {
        Self {
            authorization_url: String::new(),
            message_url: String::new(),
            token: String::new(),
            encoding_aes_key: String::new(),
            published: true,
            test_list: Vec::new(),
            ip_allowlist_on: false,
            ip_allowlist: Vec::new(),
            permission_sets: BTreeSet::from(USUAL_SETS),
            login_domain: None,
            tickets_on: true,
            give_up_tickets: 0,
            banned: false,
            timeout_ms: 5_000,
            retry_ms: 200,
        }
    }
}

/// An app that authorized a platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuthorizerView {
    /// The app.
    pub appid: String,
    /// False after deauthorization.
    pub in_force: bool,
    /// What was ticked.
    pub permission_sets: BTreeSet<u32>,
    /// When.
    pub auth_time: Timestamp,
    /// The refresh token that works, to look at what a service ought to have.
    pub refresh_token: String,
    /// A code of this authorization was traded.
    pub queried: bool,
}

/// What `GET /sandbox/platforms/{component}` shows. The secret is not shown again; token and key are, since they may have
/// been made up.
#[derive(Debug, Clone, Serialize)]
pub struct PlatformView {
    /// Its appid.
    pub component_appid: String,
    /// Everything set up.
    pub settings: PlatformSettings,
    /// The key before this one, if it was changed.
    pub previous_key: Option<String>,
    /// The newest ticket.
    pub ticket: Option<String>,
    /// When the next one is due; none while none are pushed.
    pub next_ticket: Option<Timestamp>,
    /// Who authorized it.
    pub authorizers: Vec<AuthorizerView>,
    /// The profile it lives under.
    pub profile: ProfileName,
}

/// What an app's administrator gave.
#[derive(Debug)]
pub(crate) struct Authorization {
    pub(crate) in_force: bool,
    pub(crate) sets: BTreeSet<u32>,
    since: Millis,
    refresh: String,
    /// Refresh tokens before a rotation that still work.
    older: BTreeSet<String>,
    queried: bool,
}

impl Authorization {
    fn takes(&self, refresh_token: &str) -> bool {
        !refresh_token.is_empty() && (self.refresh == refresh_token || self.older.contains(refresh_token))
    }
}

#[derive(Debug)]
struct PreAuthCode {
    expires: Millis,
    used: bool,
}

#[derive(Debug)]
struct AuthorizationCode {
    appid: String,
    expires: Millis,
    used: bool,
}

#[derive(Debug)]
pub(crate) struct Platform {
    pub(crate) secret: String,
    pub(crate) settings: PlatformSettings,
    /// Its own reality, if it has one.
    pub(crate) ruling: Option<Arc<Ruling>>,
    pub(crate) authorizers: BTreeMap<String, Authorization>,
    target: PlatformTarget,
    pre_auth_codes: BTreeMap<String, PreAuthCode>,
    codes: BTreeMap<String, AuthorizationCode>,
    /// Tickets with the end of their life.
    tickets: BTreeMap<String, Millis>,
    ticket: Option<String>,
    ticket_dice: StdRng,
    /// None while no tickets are pushed.
    next_ticket: Option<Millis>,
    /// The last ticket pushes, newest last.
    ticket_pushes: VecDeque<u64>,
}

impl Platform {
    /// A platform whose first ticket is due at `now`. Errors: what WeChat's console would not take.
    fn new(spec: PlatformSpec, dice: StdRng, now: Millis) -> Result<Self, ControlError> {
        let target = PlatformTarget::new(&spec.component_appid, &spec.settings, None)?;
        let next_ticket = spec.settings.tickets_on.then_some(now);
        Ok(Self {
            secret: spec.secret,
            settings: spec.settings,
            ruling: None,
            authorizers: BTreeMap::new(),
            target,
            pre_auth_codes: BTreeMap::new(),
            codes: BTreeMap::new(),
            tickets: BTreeMap::new(),
            ticket: None,
            ticket_dice: dice,
            next_ticket,
            ticket_pushes: VecDeque::new(),
        })
    }

    /// The authorization of an app, unless it was taken back.
    pub(crate) fn authorization(&self, appid: &str) -> Option<&Authorization> {
        self.authorizers.get(appid).filter(|a| a.in_force)
    }

    pub(crate) fn target(&self) -> &PlatformTarget {
        &self.target
    }

    /// How its pushes are set up, for an app's events.
    pub(crate) fn message_view(&self, appid: &str, gh_id: String) -> Option<PushView> {
        self.target.message(appid, gh_id).map(|target| target.view())
    }

    /// Whether the platform's calls may come from this address.
    pub(crate) fn admits(&self, ip: &str) -> bool {
        !self.settings.ip_allowlist_on || self.settings.ip_allowlist.iter().any(|allowed| allowed == ip)
    }
}

impl State {
    pub(crate) fn platform(&self, component: &str) -> Result<&Platform, ControlError> {
        self.platforms.get(component).ok_or(ControlError::NotFound { what: "platform" })
    }

    pub(crate) fn platform_mut(&mut self, component: &str) -> Result<&mut Platform, ControlError> {
        self.platforms.get_mut(component).ok_or(ControlError::NotFound { what: "platform" })
    }

    /// What a platform lives under; one that does not exist lives under the sandbox's choices.
    pub(crate) fn platform_ruling(&self, component: &str) -> Arc<Ruling> {
        let own = self.platforms.get(component).and_then(|p| p.ruling.as_ref());
        Arc::clone(own.unwrap_or(&self.ruling))
    }

    /// The platform that gets an app's events: of those that the app authorized, the one that holds
    /// [`DEVELOPMENT_SET`], or the first.
    pub(crate) fn platform_of(&self, appid: &str) -> Option<(&str, &Platform)> {
        let held = |p: &Platform| p.authorization(appid).map(|a| a.sets.contains(&DEVELOPMENT_SET));
        let connected = self.platforms.iter().filter_map(|(id, p)| Some((held(p)?, id.as_str(), p)));
        // Not `max_by_key`, which would give the last of several.
        connected.min_by_key(|(development, ..)| !development).map(|(_, id, p)| (id, p))
    }

    /// The original id of an app: `ToUserName` of its pushes, `user_name` of its authorizer info.
    pub(crate) fn gh_id(&self, appid: &str) -> String {
        let configured = self.apps.get(appid).and_then(|app| app.push.as_ref()).map(|t| t.view().gh_id);
        configured.unwrap_or_else(|| crate::push::gh_id(appid))
    }
}
