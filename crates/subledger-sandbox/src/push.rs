//! WeChat's pushes: what happened to users and messages, posted to the one URL an app has configured (wechat-api §7, §8), or
//! to that of the platform the app has authorized.
//!
//! A push is made under the lock, together with what it tells of: its body, its shape and the faults that hit it are fixed
//! then, drawn from the seed. The worker only carries bodies. So the same calls in the same order make the same pushes,
//! however long the receiver takes.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rand::RngExt;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha1::{Digest, Sha1};

use crate::error::ControlError;
use crate::ids::IdSource;
use crate::journal::Entry;
use crate::reality::{ProfileName, Ruling};
use crate::state::State;

mod body;
mod book;
mod crypt;
mod fault;
mod handle;
mod node;
mod platform;
mod sealer;
mod url_check;
mod worker;

pub use fault::{PushFaultKind, PushFaultSpec, PushFaultView};
pub use handle::{PushQuery, PushSetup, SettleSpec, Settled};
pub use sealer::{PushSealer, SealedPush};
pub use url_check::UrlCheck;

pub(crate) use body::{Event, Item, Origin};
pub(crate) use book::PushBook;
pub(crate) use crypt::KEY_CHARS;
pub(crate) use platform::{Info, PlatformTarget};
pub(crate) use worker::Worker;

use book::Parcel;
use crypt::AesKey;

/// WeChat gives a receiver this long (wechat-api §7.1).
const DEADLINE_MS: u64 = 5_000;
/// Longest deadline and longest pause between deliveries, in milliseconds.
const LONGEST_MS: u64 = 600_000;
/// Pause before a delivery is repeated. WeChat's own is unpublished; short, because tests wait for it.
const RETRY_MS: u64 = 200;

/// How pushes are protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PushMode {
    /// In the clear; the body is not signed at all.
    Plaintext,
    /// In the clear and encrypted, both.
    Compatible,
    /// Encrypted only.
    #[default]
    Secure,
}

/// How bodies are spelled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PushFormat {
    /// JSON.
    #[default]
    Json,
    /// XML.
    Xml,
}

/// Where and how an app's pushes go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushSpec {
    /// The receiver, `http` or `https`. A query it has is kept.
    pub url: String,
    /// 3 to 32 letters and digits; made up when left out.
    #[serde(default)]
    pub token: Option<String>,
    /// `EncodingAESKey`, 43 letters and digits; made up when left out.
    #[serde(default)]
    pub encoding_aes_key: Option<String>,
    /// Default secure.
    #[serde(default)]
    pub mode: PushMode,
    /// Default JSON.
    #[serde(default)]
    pub format: PushFormat,
    /// The app's original id, `ToUserName` of every push; derived from the appid when left out.
    #[serde(default)]
    pub gh_id: Option<String>,
    /// Whether the URL is checked first, as WeChat does; one that does not pass is not saved. Default true.
    #[serde(default = "yes")]
    pub check: bool,
    /// How long the receiver has, in milliseconds. Default 5,000.
    #[serde(default = "deadline")]
    pub timeout_ms: u64,
    /// Pause before a delivery is repeated, in milliseconds of real time. Default 200.
    #[serde(default = "retry")]
    pub retry_ms: u64,
}

const fn yes() -> bool {
    true
}

const fn deadline() -> u64 {
    DEADLINE_MS
}

const fn retry() -> u64 {
    RETRY_MS
}

impl PushSpec {
    /// Pushes to `url`, everything else at its default.
    pub fn to(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            token: None,
            encoding_aes_key: None,
            mode: PushMode::default(),
            format: PushFormat::default(),
            gh_id: None,
            check: yes(),
            timeout_ms: deadline(),
            retry_ms: retry(),
        }
    }

    /// Errors: what WeChat's console would not take either.
    pub(crate) fn validate(&self) -> Result<Url, ControlError> {
        let url = Url::parse(&self.url).map_err(|e| ControlError::invalid("url", e.to_string()))?;
        if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
            return Err(ControlError::invalid("url", "must be http or https, with a host"));
        }
        let alnum = |text: &String| text.bytes().all(|b| b.is_ascii_alphanumeric());
        if self.token.as_ref().is_some_and(|t| !(3..=32).contains(&t.len()) || !alnum(t)) {
            return Err(ControlError::invalid("token", "must be 3 to 32 letters and digits"));
        }
        if self.encoding_aes_key.as_ref().is_some_and(|key| AesKey::parse(key).is_none()) {
            return Err(ControlError::invalid("encoding_aes_key", "must be 43 letters and digits"));
        }
        if self.gh_id.as_deref() == Some("") {
            return Err(ControlError::invalid("gh_id", "must not be empty"));
        }
        if !(1..=LONGEST_MS).contains(&self.timeout_ms) || self.retry_ms > LONGEST_MS {
            return Err(ControlError::invalid("timeout_ms", format!("and retry_ms: at most {LONGEST_MS}")));
        }
        Ok(url)
    }
}

/// An app's pushes as configured. Token and key are shown: they are made up, and the receiver needs them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PushView {
    /// The receiver.
    pub url: String,
    /// The token.
    pub token: String,
    /// The key.
    pub encoding_aes_key: String,
    /// The key before this one, if it was changed.
    pub previous_key: Option<String>,
    /// How pushes are protected.
    pub mode: PushMode,
    /// How bodies are spelled.
    pub format: PushFormat,
    /// `ToUserName` of every push.
    pub gh_id: String,
    /// How long the receiver has, in milliseconds.
    pub timeout_ms: u64,
    /// Pause before a delivery is repeated, in milliseconds.
    pub retry_ms: u64,
}

/// Where an app's pushes go, ready for use.
#[derive(Debug)]
pub(crate) struct Target {
    /// What ends a sealed message: the app's id, or the platform's.
    tail: String,
    url: Url,
    key: AesKey,
    previous: Option<AesKey>,
    view: PushView,
}

impl Target {
    /// Completes `spec`; the key in force until now becomes the previous one.
    fn new(
        spec: &PushSpec,
        appid: &str,
        before: Option<&Self>,
        ids: &mut IdSource,
    ) -> Result<Self, ControlError> {
        let url = spec.validate()?;
        let no_key = || ControlError::invalid("encoding_aes_key", "must be 43 letters and digits");
        let encoding_aes_key = spec.encoding_aes_key.clone().unwrap_or_else(|| ids.aes_key());
        let key = AesKey::parse(&encoding_aes_key).ok_or_else(no_key)?;
        let token = spec.token.clone().unwrap_or_else(|| ids.push_token());
        let changed = before.filter(|old| old.key != key);
        let (previous, previous_key) = match (changed, before) {
            (Some(old), _) => (Some(old.key.clone()), Some(old.view.encoding_aes_key.clone())),
            (None, Some(old)) => (old.previous.clone(), old.view.previous_key.clone()),
            (None, None) => (None, None),
        };
        let view = PushView {
            url: url.to_string(),
            token,
            encoding_aes_key,
            previous_key,
            mode: spec.mode,
            format: spec.format,
            gh_id: spec.gh_id.clone().unwrap_or_else(|| gh_id(appid)),
            timeout_ms: spec.timeout_ms,
            retry_ms: spec.retry_ms,
        };
        Ok(Self { tail: appid.to_owned(), url, key, previous, view })
    }

    pub(crate) fn view(&self) -> PushView {
        self.view.clone()
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.view.timeout_ms)
    }
}

/// The original id of an app that has none given.
pub(crate) fn gh_id(appid: &str) -> String {
    format!("gh_{}", &hex::encode(Sha1::digest(appid.as_bytes()))[..12])
}

/// A push asked for by hand: a chat message, an event of another kind, or anything at all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PushRequest {
    /// Who it is from; not empty.
    pub openid: String,
    /// A text message with this content; it gets a `MsgId`.
    pub text: Option<String>,
    /// Fields after `ToUserName`, `FromUserName` and `CreateTime`, or in their place.
    pub fields: Option<Map<String, Value>>,
    /// The body itself, byte for byte; in compatible and secure mode it is what is encrypted.
    pub raw: Option<String>,
}

/// How far a push has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PushState {
    /// Not taken yet, and deliveries are left.
    Waiting,
    /// The receiver answered `success` or nothing, in time.
    Taken,
    /// Every delivery failed. WeChat does not come back to it.
    GivenUp,
    /// A fault swallowed it.
    Lost,
}

/// What came of one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryVerdict {
    /// HTTP 200 with `success` or nothing.
    Taken,
    /// Another status or another answer.
    Refused,
    /// No whole answer in time.
    TimedOut,
    /// No connection, or one that broke.
    Unreachable,
}

/// One time a push was handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// 1, or more when a fault sends the push several times.
    pub copy: u32,
    /// 1 for the first, up to [`crate::Reality::deliveries`].
    pub number: u32,
    /// Sandbox time at which it began.
    pub time: Timestamp,
    /// `timestamp` of its query.
    pub timestamp: String,
    /// `nonce` of its query.
    pub nonce: String,
    /// What came of it.
    pub verdict: DeliveryVerdict,
    /// HTTP status, if there was one.
    pub status: Option<u16>,
    /// The beginning of the answer.
    pub answer: String,
    /// How long it took, in milliseconds of real time.
    pub took_ms: u64,
}

/// One push.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PushEntry {
    /// Its number, from 1, without holes; never reused, not even after a reset.
    pub seq: u64,
    /// Sandbox time at which it was made.
    pub time: Timestamp,
    /// The app; the platform itself for tickets and changes of authorization.
    pub appid: String,
    /// `FromUserName`; for a change of authorization the app it is about, for a ticket nothing.
    pub openid: String,
    /// The platform it goes to.
    pub platform: Option<String>,
    /// `Event`, or `MsgType` where there is none; `InfoType` of what a platform is told; `raw` for a body given by hand.
    pub event: String,
    /// The templates it speaks of.
    pub template_ids: Vec<String>,
    /// The message it tells the end of.
    pub msgid: Option<u64>,
    /// The act it tells of, by its `seq`.
    pub act: Option<u64>,
    /// The body before encryption; dropped from old pushes.
    pub body: Option<String>,
    /// How it was protected.
    pub mode: PushMode,
    /// How it was spelled.
    pub format: PushFormat,
    /// The faults that hit it.
    pub faults: Vec<PushFaultKind>,
    /// How far it has come.
    pub state: PushState,
    /// Every time it was handed over.
    pub deliveries: Vec<Delivery>,
    /// The profile it was made under.
    pub profile: ProfileName,
}

impl Entry for PushEntry {
    fn seq(&self) -> u64 {
        self.seq
    }

    fn set_seq(&mut self, seq: u64) {
        self.seq = seq;
    }

    fn appid(&self) -> Option<&str> {
        Some(&self.appid)
    }
}

/// Sums of pushes of one event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PushSums {
    /// Pushes made.
    pub made: u64,
    /// Of these, taken by the receiver.
    pub taken: u64,
    /// Given up after the last delivery.
    pub given_up: u64,
    /// Swallowed by a fault.
    pub lost: u64,
    /// Times one was handed over.
    pub deliveries: u64,
}

impl State {
    /// Where an app's pushes go, and the platform there.
    fn receiver(&self, appid: &str) -> Option<(Arc<Target>, Option<String>)> {
        let app = self.apps.get(appid)?;
        let platform = self.platform_of(appid);
        let told = platform.and_then(|(id, p)| Some((p.target().message(appid, self.gh_id(appid))?, id)));
        match told {
            Some((target, id)) => Some((target, Some(id.to_owned()))),
            None => Some((Arc::clone(app.push.as_ref()?), None)),
        }
    }

    /// Makes a push and queues it; none without a receiver, or when there is nothing to tell.
    pub(crate) fn push(
        &mut self,
        appid: &str,
        openid: &str,
        ruling: &Ruling,
        event: Event,
        origin: Origin,
    ) -> Option<u64> {
        let (target, platform) = self.receiver(appid)?;
        if event.is_empty() {
            return None;
        }
        let mut dice = self.ids.nature();
        let now = self.now();
        let draft = body::draft(&event, openid, &target, now, &ruling.reality, &mut dice);
        let entry = PushEntry {
            seq: 0,
            // The moment of its `CreateTime`, to the second: another look at the clock may be in the next one.
            time: Timestamp::from_millisecond(now).unwrap_or_default(),
            appid: appid.to_owned(),
            openid: openid.to_owned(),
            platform,
            event: draft.event,
            template_ids: event.template_ids(),
            msgid: origin.msgid(),
            act: origin.act(),
            mode: target.view.mode,
            format: target.view.format,
            faults: Vec::new(),
            state: PushState::Waiting,
            deliveries: Vec::new(),
            profile: ruling.name.clone(),
            body: Some(draft.clear),
        };
        let parcel = Arc::new(Parcel {
            target,
            openid: Some(openid.to_owned()),
            body: draft.body,
            encrypt: draft.encrypt,
            salt: dice.random(),
            deliveries: ruling.reality.deliveries,
            renew: ruling.reality.retries_renew.draw(&mut dice),
        });
        Some(self.pushes.add(entry, parcel, now, &mut dice))
    }
}
