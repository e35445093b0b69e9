//! Third-party platforms: Mini Programs that are authorized by a scan instead of handing out their AppSecret.
//!
//! Who takes part. WeChat pushes a ticket every ten minutes ([`pushes`]); with it and the platform's AppSecret the gateway
//! buys tokens. An operator begins an authorization ([`authorize`]) and hands a link to the Mini Program's administrator.
//! What the administrator decides comes back twice, by the browser's redirect and by a push, each with a code; a code is a row
//! before anything is done with it, and is carried out once ([`carry_out`]). A loop ([`watch`]) looks after tickets, codes
//! that are due, and Mini Programs of which WeChat said something unexpected.
//!
//! Only settings and authorizations are events. Tickets, codes and refresh tokens are rows, sealed.

mod authorize;
mod carry_out;
mod doors;
mod pushes;
mod watch;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use secrecy::{ExposeSecret, SecretString};
use subledger_domain::{
    LogName, StreamName, Timestamp,
    channel::SecretRef,
    platform::{
        Configured, Platform, PlatformCommand, PlatformError, PlatformEvent, SecretsReplaced, TicketAsk,
        TicketPushStarted,
    },
};
use subledger_store::{
    Cause, Done, Effect, Known, SecretMark, Stage, Stop, StreamRef, Submission, WatchedPlatform, Work,
};
use subledger_wechat::{
    CallError, ChannelError, LoginIdentity, RefusalClass,
    component::{AuthorizationPages, H5_BASE_URL, PC_BASE_URL},
    push::{EncodingAesKey, PushToken},
};
use tokio::sync::Notify;

pub use self::{
    authorize::{AuthorizationStatus, AuthorizationView, BeginAuthorization, Outcome},
    pushes::RedirectAnswer,
};
pub(crate) use self::{doors::PlatformDoors, watch::run};
use crate::{Caller, Engine, EngineError, gateway, limits, submit::done_with, text::check_text};

/// A ticket that is older is an alarm, and WeChat is asked to push: three pushes are missing.
pub const TICKET_STALE: Duration = Duration::from_secs(30 * 60);
/// WeChat takes no ticket that is older (§9.2): every channel of the platform stands still.
pub const TICKET_DEAD: Duration = Duration::from_secs(12 * 3_600);

/// Settings of third-party platforms.
#[derive(Debug, Clone)]
pub struct PlatformSettings {
    /// Host of WeChat's authorization page for computers.
    pub pc_base_url: String,
    /// Host of WeChat's authorization page for phones.
    pub h5_base_url: String,
    /// How often tickets, codes and suspicions are looked at.
    pub poll: Duration,
}

impl Default for PlatformSettings {
    fn default() -> Self {
        Self {
            pc_base_url: PC_BASE_URL.to_owned(),
            h5_base_url: H5_BASE_URL.to_owned(),
            poll: Duration::from_secs(5),
        }
    }
}

/// What a node keeps in memory about platforms.
#[derive(Default)]
pub(crate) struct Platforms {
    pub(crate) doors: PlatformDoors,
    /// Rung whenever an authorization ends on this node.
    pub(crate) ended: Notify,
    /// Rung whenever a code was kept.
    pub(crate) due: Notify,
    /// Refused requests by platform and class, to tell of them ever more rarely. Only platforms that are set up come in.
    /// Std mutex: held for counting.
    refusals: Mutex<HashMap<(String, &'static str), u64>>,
}

impl Platforms {
    /// Counts a refusal; how many of its class there were.
    pub(crate) fn refused(&self, component_appid: &str, class: &'static str) -> u64 {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let times = refusals.entry((component_appid.to_owned(), class)).or_default();
        *times += 1;
        *times
    }
}

/// A platform as it is to be from now on.
#[derive(Debug, Clone)]
pub struct PlatformRequest {
    /// A name for people, 1 to [`limits::MAX_NAME_CHARS`] characters.
    pub name: String,
    /// Where browsers and WeChat reach this service: `https://host`, without a path.
    pub public_url: String,
    /// Its AppSecret. The one in force stays if none is given.
    pub secret: Option<SecretString>,
    /// The token of its pushes. The one in force stays if none is given.
    pub token: Option<SecretString>,
    /// The `EncodingAESKey` of its pushes; the one before it goes on opening what comes late.
    pub key: Option<SecretString>,
}

/// How the tickets of a platform come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketState {
    /// None has come yet.
    None,
    /// The newest is young enough.
    Fresh,
    /// The newest is older than [`TICKET_STALE`].
    Stale,
    /// The newest is older than [`TICKET_DEAD`].
    Dead,
}

impl TicketState {
    /// The name used in answers, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Dead => "dead",
        }
    }

    /// What it means and what to do; nothing where all is well.
    pub const fn advice(self) -> Option<&'static str> {
        match self {
            Self::Fresh => None,
            Self::None => Some(
                "no ticket has come yet: enter the URL for authorization events in the open platform's console; WeChat pushes \
                 one every ten minutes, once the platform has passed review or is being tested",
            ),
            Self::Stale => Some(
                "no ticket has come for more than 30 minutes: check that WeChat reaches the URL for authorization events and \
                 that token and EncodingAESKey are those of the open platform's console. WeChat was asked to push again",
            ),
            Self::Dead => Some(
                "the newest ticket is older than 12 hours, so WeChat gives no more tokens: sends of every channel of this \
                 platform wait. Mend the push URL, then have WeChat push again (start-ticket)",
            ),
        }
    }
}

/// The tickets of a platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TicketHealth {
    /// Whether all is well.
    pub state: TicketState,
    /// When the newest came.
    pub received_at: Option<Timestamp>,
    /// How old it is, in seconds.
    pub age_s: Option<u64>,
    /// How many came.
    pub received: u64,
    /// When WeChat was last asked to push them.
    pub asked_at: Option<Timestamp>,
}

impl TicketHealth {
    pub(crate) fn of(watched: &WatchedPlatform, now: Timestamp) -> Self {
        let age = watched.received_at.map(|at| now.micros().saturating_sub(at.micros()).max(0) / 1_000_000);
        let age_s = age.map(|seconds| u64::try_from(seconds).unwrap_or(0));
        let state = match age_s {
            None => TicketState::None,
            Some(age) if age >= TICKET_DEAD.as_secs() => TicketState::Dead,
            Some(age) if age >= TICKET_STALE.as_secs() => TicketState::Stale,
            Some(_) => TicketState::Fresh,
        };
        let WatchedPlatform { received_at, tickets: received, asked_at, .. } = *watched;
        Self { state, received_at, age_s, received, asked_at }
    }
}

/// A platform, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformView {
    /// Its appid.
    pub component_appid: String,
    /// A name for people.
    pub name: String,
    /// Where browsers and WeChat reach this service.
    pub public_url: String,
    /// Its AppSecret.
    pub secret: SecretMark,
    /// The token of its pushes.
    pub token: SecretMark,
    /// The key of its pushes.
    pub key: SecretMark,
    /// The key before it.
    pub previous_key: Option<SecretMark>,
    /// How its tickets come.
    pub ticket: TicketHealth,
}

impl PlatformView {
    /// The URL to enter in the console for what concerns the platform itself.
    pub fn authorization_url(&self) -> String {
        format!("{}{}", self.public_url, own_path(&self.component_appid))
    }

    /// The URL to enter in the console for what users of authorized Mini Programs do. WeChat puts the appid in.
    pub fn message_url(&self) -> String {
        format!("{}/$APPID$", self.authorization_url())
    }

    /// The domain to enter in the console from whose pages authorizations begin.
    pub fn login_domain(&self) -> String {
        host_of(&self.public_url).to_owned()
    }
}

/// The path of a platform's push URL.
pub(crate) fn own_path(component_appid: &str) -> String {
    format!("/callbacks/wechat-open/{component_appid}")
}

fn host_of(url: &str) -> &str {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    host.split_once(':').map_or(host, |(host, _)| host)
}

/// What is asked of the platform aggregate.
struct Change {
    component_appid: String,
    command: PlatformCommand,
    secrets: Vec<(SecretRef, SecretString)>,
}

impl Work for Change {
    type Answer = Vec<PlatformEvent>;
    type Refusal = EngineError;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        vec![StreamRef::of::<Platform>(StreamName::platform(&self.component_appid))]
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<Self::Answer, Stop<EngineError>> {
        let events = stage
            .ask::<Platform>(&StreamName::platform(&self.component_appid), self.command.clone())?
            .map_err(|error| Stop::Refuse(refusal(error)))?;
        for (reference, secret) in &self.secrets {
            stage.effect(Effect::KeepSecret { reference: reference.0.clone(), secret: secret.clone() });
        }
        Ok(events)
    }
}

fn refusal(error: PlatformError) -> EngineError {
    let pointer = match error {
        PlatformError::NotConfigured => return unknown_platform(),
        PlatformError::NoSecret => "/secret",
        PlatformError::NoToken => "/token",
        PlatformError::NoKey => "/encoding_aes_key",
    };
    EngineError::field("bad_platform", pointer, "required", error.to_string())
}

/// There is no platform with this appid.
pub(crate) fn unknown_platform() -> EngineError {
    EngineError::not_found("unknown_platform", "no third-party platform with this appid is set up here")
}

/// Whether a text can be a platform's or a Mini Program's appid.
pub(crate) fn is_appid(text: &str) -> bool {
    (4..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn check_public_url(url: &str) -> Result<(), EngineError> {
    let bad = |rule: &str| EngineError::field("bad_platform", "/public_url", "public_url", rule);
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = host.ok_or_else(|| bad("must begin with https:// (or http:// for trying out)"))?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    if host.is_empty() || host.len() > 255 || !host.bytes().all(plain) {
        return Err(bad("must be a scheme and a host, with a port if need be, and nothing behind it"));
    }
    Ok(())
}

fn check_secret(secret: &SecretString) -> Result<(), EngineError> {
    let length = secret.expose_secret().len();
    if !(8..=128).contains(&length) || !secret.expose_secret().bytes().all(|b| b.is_ascii_graphic()) {
        let rule = format!("must be 8 to 128 printable ASCII characters; found {length}");
        return Err(EngineError::field("bad_secret", "/secret", "secret", rule));
    }
    Ok(())
}

impl PlatformRequest {
    fn check(&self, component_appid: &str) -> Result<(), EngineError> {
        if !is_appid(component_appid) {
            let rule = "must be 4 to 64 letters and digits, as the open platform's console shows it";
            return Err(EngineError::field("bad_appid", "/component_appid", "appid", rule));
        }
        check_text("bad_name", "/name", &self.name, limits::MAX_NAME_CHARS)?;
        check_public_url(&self.public_url)?;
        self.secret.as_ref().map_or(Ok(()), check_secret)?;
        if let Some(token) = &self.token {
            PushToken::parse(token.expose_secret())
                .map_err(|fault| EngineError::field("bad_platform", "/token", "token", fault.to_string()))?;
        }
        if let Some(key) = &self.key {
            EncodingAesKey::parse(key.expose_secret()).map_err(|fault| {
                EngineError::field("bad_platform", "/encoding_aes_key", "encoding_aes_key", fault.to_string())
            })?;
        }
        Ok(())
    }
}

impl Engine {
    /// Sets a platform up, or changes how it is set up. What is left out of the secrets stays; what is repeated changes nothing.
    pub async fn configure_platform(
        &self,
        caller: &Caller,
        component_appid: &str,
        request: PlatformRequest,
    ) -> Result<Done<PlatformView>, EngineError> {
        request.check(component_appid)?;
        let before = self.load_platform(component_appid).await?;
        let mut kept = Vec::new();
        let secrets = SecretsReplaced {
            secret: self
                .fresh(component_appid, "platformsecret", request.secret, before.secret(), &mut kept)
                .await?,
            token: self
                .fresh(component_appid, "platformtoken", request.token, before.token(), &mut kept)
                .await?,
            key: self.fresh(component_appid, "platformkey", request.key, before.key(), &mut kept).await?,
        };
        let settings = Configured { name: request.name, public_url: request.public_url };
        let work = Change {
            component_appid: component_appid.to_owned(),
            command: PlatformCommand::Configure { settings, secrets },
            secrets: kept,
        };
        let done = self.submit(LogName::main(), caller, "configure_platform", None, work).await?;
        // After the event: a row without a platform behind it would be watched for nothing.
        self.store().watch_platform(component_appid).await?;
        self.platforms().doors.forget();
        self.gateway().forget_platform_token(component_appid);
        if !done.answer.is_empty() {
            tracing::info!(platform.appid = component_appid, "platform configured");
        }
        let view = self.platform(component_appid).await?;
        Ok(done_with(done, view))
    }

    /// The reference under which a secret is to be kept, if it is another than the one in force.
    async fn fresh(
        &self,
        component_appid: &str,
        kind: &str,
        given: Option<SecretString>,
        before: Option<&SecretRef>,
        kept: &mut Vec<(SecretRef, SecretString)>,
    ) -> Result<Option<SecretRef>, EngineError> {
        let Some(given) = given else { return Ok(None) };
        if let Some(before) = before
            && self.kept_secret(before).await?.expose_secret() == given.expose_secret()
        {
            return Ok(None);
        }
        let reference = SecretRef(format!("{kind}/{component_appid}/{}", uuid::Uuid::now_v7().simple()));
        kept.push((reference.clone(), given));
        Ok(Some(reference))
    }

    /// A platform.
    pub async fn platform(&self, component_appid: &str) -> Result<PlatformView, EngineError> {
        let platform = self.load_platform(component_appid).await?;
        let Configured { name, public_url } = platform.configured().cloned().ok_or_else(unknown_platform)?;
        let watched = self.store().watched_platform(component_appid).await?.unwrap_or(WatchedPlatform {
            component_appid: component_appid.to_owned(),
            received_at: None,
            tickets: 0,
            asked_at: None,
        });
        let missing = || EngineError::internal("a platform lacks a secret");
        Ok(PlatformView {
            component_appid: component_appid.to_owned(),
            name,
            public_url,
            secret: self.shown(platform.secret().ok_or_else(missing)?).await?,
            token: self.shown(platform.token().ok_or_else(missing)?).await?,
            key: self.shown(platform.key().ok_or_else(missing)?).await?,
            previous_key: match platform.previous_key() {
                Some(reference) => Some(self.shown(reference).await?),
                None => None,
            },
            ticket: TicketHealth::of(&watched, self.now()),
        })
    }

    /// All platforms, by appid.
    pub async fn list_platforms(&self) -> Result<Vec<PlatformView>, EngineError> {
        let mut platforms = Vec::new();
        for watched in self.store().watched_platforms().await? {
            match self.platform(&watched.component_appid).await {
                Ok(platform) => platforms.push(platform),
                Err(error) if error.code == "unknown_platform" => {}
                Err(error) => return Err(error),
            }
        }
        Ok(platforms)
    }

    /// Asks WeChat to push tickets again. Answers with its words: `ok` if they had stopped, `in a normal state` if not.
    pub async fn start_ticket_push(
        &self,
        caller: &Caller,
        component_appid: &str,
    ) -> Result<Done<String>, EngineError> {
        let message = self.ask_for_tickets(component_appid).await?;
        // So that the watch does not ask once more right away.
        self.store().note_ticket_ask(component_appid, self.now()).await?;
        let done = self
            .note_ticket_push(caller.cause("start_ticket_push"), component_appid, TicketAsk::Asked)
            .await?;
        Ok(done_with(done, message))
    }

    async fn ask_for_tickets(&self, component_appid: &str) -> Result<String, EngineError> {
        let platform = self.load_platform(component_appid).await?;
        let reference = platform.secret().ok_or_else(unknown_platform)?;
        let secret = self.kept_secret(reference).await?;
        let component = self.gateway().component(component_appid);
        let started = component.client().start_push_ticket(&secret).await;
        let started = started.map_err(|error| gateway::call_error(&error, None))?;
        tracing::info!(platform.appid = component_appid, "WeChat was asked to push tickets");
        Ok(started.message)
    }

    async fn note_ticket_push(
        &self,
        cause: Cause,
        component_appid: &str,
        ask: TicketAsk,
    ) -> Result<Done<()>, EngineError> {
        let work = Change {
            component_appid: component_appid.to_owned(),
            command: PlatformCommand::NoteTicketPush(TicketPushStarted { ask }),
            secrets: Vec::new(),
        };
        let submission = Submission { log: LogName::main(), receipt: None, cause, work };
        let done = self.executor().submit(submission).await.map_err(EngineError::from)?;
        Ok(done_with(done, ()))
    }

    pub(crate) async fn load_platform(&self, component_appid: &str) -> Result<Platform, EngineError> {
        if !is_appid(component_appid) {
            return Err(unknown_platform());
        }
        let stream = StreamName::platform(component_appid);
        Ok(self.store().load::<Platform>(&LogName::main(), &stream).await?.0)
    }

    /// WeChat said of a Mini Program that it lacks an authorization: has somebody ask how it stands.
    pub(crate) async fn suspect_authorization(&self, appid: &str) {
        match self.store().authorizer_in_use(appid).await {
            Ok(Some(authorizer)) => self.gateway().suspicions().note(&authorizer.component_appid, appid),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(wechat.appid = appid, error = %error, "an authorization could not be looked up")
            }
        }
    }

    /// The login of a Mini Program whose secret nobody here has.
    pub(crate) async fn platform_login(
        &self,
        appid: &str,
        code: &SecretString,
    ) -> Result<Result<LoginIdentity, ChannelError>, EngineError> {
        let authorizer = self.store().authorizer_in_use(appid).await?.ok_or_else(|| {
            let detail = "the Mini Program is not authorized to a third-party platform";
            EngineError::conflict("not_authorized", detail)
        })?;
        let component = self.gateway().component(&authorizer.component_appid);
        let identity = component
            .call(|client, token| {
                let code = code.clone();
                async move { client.jscode2session(&token, appid, &code).await }
            })
            .await;
        if let Err(ChannelError::Call(CallError::Refused { class: RefusalClass::NotAuthorized, .. })) =
            &identity
        {
            self.gateway().suspicions().note(&authorizer.component_appid, appid);
        }
        Ok(identity)
    }

    async fn shown(&self, reference: &SecretRef) -> Result<SecretMark, EngineError> {
        let missing = || EngineError::internal(format!("the secret {} is not kept", reference.0));
        self.store().secret_marks(&[&reference.0]).await?.remove(&reference.0).ok_or_else(missing)
    }

    fn authorization_pages(&self) -> Result<AuthorizationPages, EngineError> {
        let PlatformSettings { pc_base_url, h5_base_url, .. } = &self.settings().platform;
        AuthorizationPages::new(pc_base_url, h5_base_url)
            .map_err(|fault| EngineError::internal(fault.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(age_s: Option<i64>) -> TicketState {
        let now = Timestamp::from_seconds(1_000_000);
        let watched = WatchedPlatform {
            component_appid: "wx00000000comp0001".to_owned(),
            received_at: age_s.map(|age| now.plus_seconds(-age)),
            tickets: 1,
            asked_at: None,
        };
        TicketHealth::of(&watched, now).state
    }

    #[test]
    fn a_ticket_is_fresh_then_stale_then_dead() {
        assert_eq!(state(None), TicketState::None);
        assert_eq!(state(Some(-5)), TicketState::Fresh, "the clocks of two nodes differ a little");
        assert_eq!(state(Some(1_799)), TicketState::Fresh);
        assert_eq!(state(Some(1_800)), TicketState::Stale);
        assert_eq!(state(Some(43_199)), TicketState::Stale);
        assert_eq!(state(Some(43_200)), TicketState::Dead);
    }

    #[test]
    fn a_public_url_is_a_scheme_and_a_host() {
        for good in ["https://a.example.com", "http://127.0.0.1:8080", "https://[::1]:443"] {
            assert!(check_public_url(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a.example.com",
            "ftp://a",
            "https://",
            "https://a/",
            "https://a/b",
            "https://a?b",
            "https://u@a",
        ] {
            assert!(check_public_url(bad).is_err(), "{bad}");
        }
        assert_eq!(host_of("https://a.example.com:8443"), "a.example.com");
    }
}
