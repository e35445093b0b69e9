//! Settings: defaults, then a TOML file, then environment variables `SUBLEDGER_…`, then flags.
//!
//! One struct, every field documented; `settings.default.toml` is what `subledger serve --help` points to and is compiled in,
//! so the shipped file and the defaults cannot drift.

use std::{ops::RangeInclusive, path::Path, time::Duration};

use config::{Config, File, FileFormat};
use secrecy::SecretString;
use serde::Deserialize;
use subledger_engine::{
    EngineSettings,
    dispatch::DispatchSettings,
    gateway::TokenSettings,
    platform::PlatformSettings,
    relay::RelaySettings,
    retention::{MIN_RECEIPTS_DAYS, RetentionSettings},
};
use subledger_store::{MasterKey, StoreConfig};
use subledger_webhook::{Allowed, DelivererConfig, EgressPolicy, Ports, PrivateAddresses};
use subledger_wechat::{KeeperSettings, WeChatConfig, component::AuthorizationPages};

use crate::exit::SettingsError;

/// The shipped defaults, with a comment on every setting.
pub(crate) const DEFAULTS: &str = include_str!("settings.default.toml");

/// Environment variables and the settings they override.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("SUBLEDGER_LISTEN", "listen"),
    ("SUBLEDGER_DATABASE", "database.url"),
    ("SUBLEDGER_DATABASE_MAX_CONNECTIONS", "database.max_connections"),
    ("SUBLEDGER_WECHAT_BASE_URL", "wechat.base_url"),
    ("SUBLEDGER_WECHAT_AUTHORIZATION_BASE_URL", "wechat.authorization_base_url"),
    ("SUBLEDGER_WECHAT_CONNECT_TIMEOUT_MS", "wechat.connect_timeout_ms"),
    ("SUBLEDGER_WECHAT_READ_TIMEOUT_MS", "wechat.read_timeout_ms"),
    ("SUBLEDGER_TOKENS_REFRESHES_PER_HOUR", "tokens.refreshes_per_hour"),
    ("SUBLEDGER_DISPATCH_IN_FLIGHT", "dispatch.in_flight"),
    ("SUBLEDGER_DISPATCH_SENDS_PER_SECOND", "dispatch.sends_per_second"),
    ("SUBLEDGER_DISPATCH_LEASE_MS", "dispatch.lease_ms"),
    ("SUBLEDGER_DISPATCH_POLL_MS", "dispatch.poll_ms"),
    ("SUBLEDGER_DISPATCH_MAX_ATTEMPTS", "dispatch.max_attempts"),
    ("SUBLEDGER_DISPATCH_MAX_UNDONE_AGE_SECONDS", "dispatch.max_undone_age_seconds"),
    ("SUBLEDGER_RELAY_CONCURRENCY", "relay.concurrency"),
    ("SUBLEDGER_RELAY_PER_CHANNEL", "relay.per_channel"),
    ("SUBLEDGER_EGRESS_ALLOW_HTTP", "egress.allow_http"),
    ("SUBLEDGER_HTTP_REQUESTS_PER_SECOND", "http.requests_per_second"),
    ("SUBLEDGER_HTTP_BURST", "http.burst"),
    ("SUBLEDGER_HTTP_USER_REPORTS_PER_MINUTE", "http.user_reports_per_minute"),
    ("SUBLEDGER_HTTP_TOKEN_LEASES_PER_MINUTE", "http.token_leases_per_minute"),
    ("SUBLEDGER_RETENTION_CONTENTS_DAYS", "retention.contents_days"),
    ("SUBLEDGER_RETENTION_RECEIPTS_DAYS", "retention.receipts_days"),
    ("SUBLEDGER_RETENTION_PUSHES_DAYS", "retention.pushes_days"),
    ("SUBLEDGER_LOG_FORMAT", "log.format"),
    ("SUBLEDGER_LOG_FILTER", "log.filter"),
];

/// The environment variable that holds the master key. Never read from a file or a flag: both are easily shared by mistake.
pub(crate) const MASTER_KEY: &str = "SUBLEDGER_MASTER_KEY";

/// The one that holds the master key which is to replace it.
pub(crate) const NEW_MASTER_KEY: &str = "SUBLEDGER_NEW_MASTER_KEY";

/// The longest that retention can be told to keep: a hundred years, which is for ever.
const MAX_KEPT_DAYS: u32 = 36_500;

/// Everything that can be set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) listen: String,
    pub(crate) database: DatabaseSettings,
    pub(crate) wechat: WechatSettings,
    pub(crate) tokens: Tokens,
    pub(crate) dispatch: Dispatch,
    pub(crate) relay: Relay,
    pub(crate) egress: Egress,
    pub(crate) http: Http,
    pub(crate) retention: Retention,
    pub(crate) log: LogSettings,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DatabaseSettings {
    pub(crate) url: SecretString,
    pub(crate) max_connections: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WechatSettings {
    pub(crate) base_url: String,
    pub(crate) authorization_base_url: String,
    pub(crate) connect_timeout_ms: u64,
    pub(crate) read_timeout_ms: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tokens {
    pub(crate) refreshes_per_hour: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dispatch {
    pub(crate) in_flight: usize,
    pub(crate) sends_per_second: u32,
    pub(crate) lease_ms: u64,
    pub(crate) poll_ms: u64,
    pub(crate) max_attempts: u16,
    pub(crate) max_undone_age_seconds: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Relay {
    pub(crate) concurrency: usize,
    pub(crate) per_channel: usize,
}

/// Where connections to integrators' URLs may go.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Egress {
    pub(crate) allow: Vec<String>,
    pub(crate) allow_http: bool,
    pub(crate) ports: Vec<String>,
}

impl Egress {
    fn policy(&self) -> Result<EgressPolicy, SettingsError> {
        let allowed = |text: &String| {
            text.parse().map_err(|error| SettingsError(format!("egress.allow: {text:?}: {error}")))
        };
        let allow: Vec<Allowed> = self.allow.iter().map(allowed).collect::<Result<_, _>>()?;
        let private =
            if allow.is_empty() { PrivateAddresses::Refused } else { PrivateAddresses::Only(allow) };
        let ports = match self.ports.as_slice() {
            [] => Ports::default(),
            texts => Ports(texts.iter().map(|text| ports(text)).collect::<Result<_, _>>()?),
        };
        Ok(EgressPolicy { private, allow_http: self.allow_http, ports })
    }
}

/// The master key in an environment variable, if that is set.
pub(crate) fn master_key(variable: &str) -> Result<Option<MasterKey>, SettingsError> {
    let Ok(text) = std::env::var(variable) else { return Ok(None) };
    MasterKey::parse(&text).map(Some).map_err(|error| SettingsError(format!("{variable}: {error}")))
}

/// One port, or a range such as `8000-8999`.
fn ports(text: &str) -> Result<RangeInclusive<u16>, SettingsError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.trim().parse(), last.trim().parse()) {
        (Ok(first), Ok(last)) if 0 < first && first <= last => Ok(first..=last),
        _ => Err(SettingsError(format!("egress.ports: {text:?} is no port and no range such as 8000-8999"))),
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    pub(crate) requests_per_second: u32,
    pub(crate) burst: u32,
    pub(crate) user_reports_per_minute: u32,
    pub(crate) token_leases_per_minute: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retention {
    pub(crate) contents_days: u32,
    pub(crate) receipts_days: u32,
    pub(crate) pushes_days: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogSettings {
    pub(crate) format: LogFormat,
    pub(crate) filter: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// What flags override.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides {
    pub(crate) listen: Option<String>,
    pub(crate) database: Option<String>,
}

impl Settings {
    /// Reads the settings.
    pub(crate) fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Self, SettingsError> {
        let wrong =
            |error: config::ConfigError| SettingsError(format!("the settings cannot be used: {error}"));
        let mut builder = Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
        if let Some(path) = file {
            builder = builder.add_source(File::from(path).format(FileFormat::Toml).required(true));
        }
        for (variable, key) in ENVIRONMENT {
            let value = std::env::var(variable).ok();
            builder = builder.set_override_option(*key, value).map_err(wrong)?;
        }
        let builder = builder.set_override_option("listen", overrides.listen.clone()).map_err(wrong)?;
        let builder =
            builder.set_override_option("database.url", overrides.database.clone()).map_err(wrong)?;
        let settings: Self = builder.build().and_then(Config::try_deserialize).map_err(wrong)?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), SettingsError> {
        let rule = |name: &str, holds: bool, rule: &str| {
            if holds { Ok(()) } else { Err(SettingsError(format!("{name} {rule}"))) }
        };
        let connections = self.database.max_connections;
        rule("database.max_connections", (2..=100).contains(&connections), "must be 2 to 100")?;
        rule("dispatch.in_flight", (1..=1_000).contains(&self.dispatch.in_flight), "must be 1 to 1000")?;
        rule("dispatch.poll_ms", (10..=60_000).contains(&self.dispatch.poll_ms), "must be 10 to 60000")?;
        rule("dispatch.max_attempts", (1..=50).contains(&self.dispatch.max_attempts), "must be 1 to 50")?;
        let patient = self.dispatch.lease_ms > self.wechat.read_timeout_ms;
        rule(
            "dispatch.lease_ms",
            patient,
            "must be longer than wechat.read_timeout_ms: a slow call is not a lost node",
        )?;
        let ordered = self.wechat.connect_timeout_ms > 0
            && self.wechat.connect_timeout_ms < self.wechat.read_timeout_ms;
        rule("wechat.connect_timeout_ms", ordered, "must be above 0 and below wechat.read_timeout_ms")?;
        let refreshes = self.tokens.refreshes_per_hour;
        rule("tokens.refreshes_per_hour", (2..=1_000).contains(&refreshes), "must be 2 to 1000")?;
        rule("relay.concurrency", (1..=1_000).contains(&self.relay.concurrency), "must be 1 to 1000")?;
        let pages = self.platform();
        AuthorizationPages::new(&pages.pc_base_url, &pages.h5_base_url)
            .map_err(|fault| SettingsError(format!("wechat.authorization_base_url: {fault}")))?;
        rule("relay.per_channel", (1..=1_000).contains(&self.relay.per_channel), "must be 1 to 1000")?;
        self.egress.policy()?;
        let kept = &self.retention;
        rule(
            "retention.contents_days",
            (1..=MAX_KEPT_DAYS).contains(&kept.contents_days),
            "must be 1 to 36500",
        )?;
        let receipts = (MIN_RECEIPTS_DAYS..=MAX_KEPT_DAYS).contains(&kept.receipts_days);
        rule(
            "retention.receipts_days",
            receipts,
            "must be 30 to 36500: a caller may repeat a request for 30 days",
        )?;
        rule("retention.pushes_days", (1..=MAX_KEPT_DAYS).contains(&kept.pushes_days), "must be 1 to 36500")?;
        rule("http.requests_per_second", self.http.requests_per_second > 0, "must be above 0")?;
        rule("http.burst", self.http.burst > 0, "must be above 0")?;
        let reports = self.http.user_reports_per_minute;
        rule("http.user_reports_per_minute", reports > 0, "must be above 0")?;
        let leases = self.http.token_leases_per_minute;
        rule("http.token_leases_per_minute", leases > 0, "must be above 0")
    }

    /// How to reach and unlock the database, with the master key of the environment.
    pub(crate) fn store(&self) -> Result<StoreConfig, SettingsError> {
        Ok(self.store_with(Self::master_key()?))
    }

    /// The master key of the environment.
    pub(crate) fn master_key() -> Result<MasterKey, SettingsError> {
        master_key(MASTER_KEY)?.ok_or_else(|| {
            SettingsError(format!(
                "{MASTER_KEY} is not set. It encrypts secrets, openids and contents in the database; make one with \
                 `subledger admin master-key`, keep it safe, and set it in the environment"
            ))
        })
    }

    /// How to reach the database, with this master key.
    pub(crate) fn store_with(&self, master_key: MasterKey) -> StoreConfig {
        StoreConfig {
            url: self.database.url.clone(),
            master_key,
            max_connections: self.database.max_connections,
        }
    }

    /// How to reach WeChat.
    pub(crate) fn wechat(&self) -> WeChatConfig {
        WeChatConfig {
            base_url: self.wechat.base_url.clone(),
            connect_timeout: Duration::from_millis(self.wechat.connect_timeout_ms),
            read_timeout: Duration::from_millis(self.wechat.read_timeout_ms),
            pool_max_idle: self.dispatch.in_flight,
            ..WeChatConfig::default()
        }
    }

    /// Where WeChat's authorization pages are.
    fn platform(&self) -> PlatformSettings {
        let own = PlatformSettings::default();
        match self.wechat.authorization_base_url.as_str() {
            "" => own,
            elsewhere => PlatformSettings {
                pc_base_url: elsewhere.to_owned(),
                h5_base_url: elsewhere.to_owned(),
                ..own
            },
        }
    }

    /// How tokens are kept and fetched.
    pub(crate) fn tokens(&self) -> Result<TokenSettings, SettingsError> {
        let usual = KeeperSettings::default();
        // A turn that ends during a call would let another node fetch, too.
        let turn = usual.turn.max(Duration::from_millis(self.wechat.read_timeout_ms) * 2);
        let keeper = KeeperSettings { refreshes_per_hour: self.tokens.refreshes_per_hour, turn, ..usual };
        let servers = DelivererConfig { policy: self.egress.policy()?, ..DelivererConfig::default() };
        Ok(TokenSettings { keeper, servers })
    }

    /// How long what is kept for a time is kept.
    pub(crate) fn retention(&self) -> RetentionSettings {
        RetentionSettings {
            contents_days: self.retention.contents_days,
            receipts_days: self.retention.receipts_days,
            pushes_days: self.retention.pushes_days,
        }
    }

    /// Bounds of the engine.
    pub(crate) fn engine(&self) -> Result<EngineSettings, SettingsError> {
        let relay = RelaySettings {
            deliverer: DelivererConfig { policy: self.egress.policy()?, ..DelivererConfig::default() },
            concurrency: self.relay.concurrency,
            per_channel: self.relay.per_channel,
            poll: Duration::from_millis(self.dispatch.poll_ms),
            ..RelaySettings::default()
        };
        Ok(EngineSettings {
            relay,
            platform: self.platform(),
            dispatch: DispatchSettings {
                in_flight: self.dispatch.in_flight,
                sends_per_second: self.dispatch.sends_per_second,
                lease: Duration::from_millis(self.dispatch.lease_ms),
                poll: Duration::from_millis(self.dispatch.poll_ms),
                max_attempts: self.dispatch.max_attempts,
            },
            max_undone_age: Duration::from_secs(self.dispatch.max_undone_age_seconds),
            ..EngineSettings::default()
        })
    }
}
