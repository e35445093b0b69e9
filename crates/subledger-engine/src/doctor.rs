//! The doctor: what is wrong with a deployment, and what to do about it.
//!
//! A *finding* is one line: what was looked at, how it stands, what was found and, unless all is well, what to do, in English
//! and Chinese. The doctor reads. It changes nothing in the database and nothing at WeChat, so it may be asked at any time, by
//! the service itself ([`Engine::doctor`]) or from another process beside it ([`outside`]), which also works where the
//! service does not: with the database away or the wrong key.
//!
//! Calls to WeChat are rationed ([`Probes`]): whoever asks again within the time gets what was found before. A token is never
//! fetched where that would take it from somebody else.

mod channel;
mod deployment;
pub mod outside;
mod probes;
mod waits;
mod wechat;

use serde::Serialize;
use subledger_domain::{ChannelCode, LogName, Timestamp};
use subledger_projection::{Lag, status};

pub(crate) use self::probes::Probes;
use crate::{Engine, EngineError};

/// How something stands, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// All is well.
    Ok,
    /// Not looked at, and why.
    Skipped,
    /// It works, but will not for long, or not as well as it could.
    Warn,
    /// It does not work.
    Fail,
}

impl Health {
    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// The same in both languages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Text {
    /// In English.
    pub en: String,
    /// In Chinese.
    pub zh: String,
}

impl Text {
    pub(crate) fn new(en: impl Into<String>, zh: impl Into<String>) -> Self {
        Self { en: en.into(), zh: zh.into() }
    }
}

/// What is looked at. The names are stable; `docs/doctor.md` has a section of the same name for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The database answers, commits quickly and has room.
    Database,
    /// Its schema is that of this program.
    Migrations,
    /// The master key opens what is sealed.
    MasterKey,
    /// The clocks of this machine, the database and WeChat agree.
    Clock,
    /// WeChat is reached: name, connection, TLS, answer.
    Egress,
    /// The channel sends, and keeps up.
    Sending,
    /// WeChat accepts the channel's access token.
    Token,
    /// The address that WeChat sees calls come from.
    Address,
    /// The template list is fresh, and nothing vanished from it.
    Templates,
    /// WeChat's daily quota lasts.
    Quota,
    /// WeChat's pushes come and can be read.
    Pushes,
    /// Pushes reach the integrator's back end.
    Relay,
    /// No delivery is in doubt for too long.
    Doubts,
    /// Read models keep up.
    ReadModels,
}

impl Check {
    /// Every check, in the order of a report.
    pub const ALL: &'static [Self] = &[
        Self::Database,
        Self::Migrations,
        Self::MasterKey,
        Self::Clock,
        Self::Egress,
        Self::ReadModels,
        Self::Sending,
        Self::Token,
        Self::Address,
        Self::Templates,
        Self::Quota,
        Self::Pushes,
        Self::Relay,
        Self::Doubts,
    ];

    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Migrations => "migrations",
            Self::MasterKey => "master_key",
            Self::Clock => "clock",
            Self::Egress => "egress",
            Self::Sending => "sending",
            Self::Token => "token",
            Self::Address => "address",
            Self::Templates => "templates",
            Self::Quota => "quota",
            Self::Pushes => "pushes",
            Self::Relay => "relay",
            Self::Doubts => "doubts",
            Self::ReadModels => "read_models",
        }
    }

    /// Where it is explained.
    pub fn docs(self) -> String {
        format!("docs/doctor.md#{}", self.as_str())
    }
}

/// One line of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub check: Check,
    /// Of which channel or log; none for what concerns the deployment.
    pub channel: Option<LogName>,
    /// How it stands.
    pub health: Health,
    /// What was found.
    pub found: Text,
    /// What to do; none if there is nothing to do.
    pub advice: Option<Text>,
}

impl Finding {
    pub(crate) fn new(check: Check, health: Health, found: Text, advice: Option<Text>) -> Self {
        Self { check, channel: None, health, found, advice }
    }

    pub(crate) fn ok(check: Check, found: Text) -> Self {
        Self::new(check, Health::Ok, found, None)
    }

    pub(crate) fn warn(check: Check, found: Text, advice: Text) -> Self {
        Self::new(check, Health::Warn, found, Some(advice))
    }

    pub(crate) fn fail(check: Check, found: Text, advice: Text) -> Self {
        Self::new(check, Health::Fail, found, Some(advice))
    }

    pub(crate) fn skipped(check: Check, why: Text) -> Self {
        Self::new(check, Health::Skipped, why, None)
    }

    /// What could not be looked at because the database failed.
    pub(crate) fn unreadable(check: Check, error: &EngineError) -> Self {
        tracing::debug!(doctor.check = check.as_str(), error = %error, cause = ?error.cause, "a check could not be made");
        let found = Text::new(
            format!("could not be looked at: {}", error.detail),
            format!("无法检查：{}", error.detail),
        );
        let advice = Text::new("see what the check `database` says", "请先查看 database 一项");
        Self::fail(check, found, advice)
    }

    fn of(self, log: &LogName) -> Self {
        Self { channel: Some(log.clone()), ..self }
    }
}

/// Everything that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// When it was looked.
    pub checked_at: Timestamp,
    /// The findings: the deployment's, then channel by channel.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The worst of it; what was skipped does not count.
    pub fn worst(&self) -> Health {
        let counted = self.findings.iter().map(|finding| finding.health);
        counted.filter(|health| *health != Health::Skipped).max().unwrap_or(Health::Ok)
    }

    /// How many findings are like this.
    pub fn count(&self, health: Health) -> usize {
        self.findings.iter().filter(|finding| finding.health == health).count()
    }
}

/// How far the doctor goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Every channel's calls to WeChat are tried.
    Everything,
    /// No call is made for a channel; WeChat itself is tried.
    Deployment,
}

impl Engine {
    /// Looks at the deployment and, without calls to WeChat on its behalf, at each channel of `of`, or all.
    pub async fn doctor(&self, of: Option<&[ChannelCode]>) -> Result<Report, EngineError> {
        let mut findings = deployment::findings(self).await;
        let lags = self.lags().await;
        findings.push(channel::of_main(self, &lags));
        for code in self.patients(of) {
            findings.extend(channel::findings(self, &code, &lags, Reach::Deployment).await);
        }
        Ok(Report { checked_at: self.now(), findings })
    }

    /// Looks at one channel, its calls to WeChat included.
    pub async fn doctor_channel(&self, code: &ChannelCode) -> Result<Report, EngineError> {
        self.registered(code).await?;
        let lags = self.lags().await;
        let findings = channel::findings(self, code, &lags, Reach::Everything).await;
        Ok(Report { checked_at: self.now(), findings })
    }

    /// Where all read models stand, true for all nodes.
    async fn lags(&self) -> Result<Vec<Lag>, EngineError> {
        status(self.store()).await.map_err(|error| EngineError::internal(error.to_string()))
    }

    fn patients(&self, of: Option<&[ChannelCode]>) -> Vec<ChannelCode> {
        let logs = self.store().logs().borrow().clone();
        let channels = logs.iter().filter(|log| log.as_str() != LogName::MAIN);
        let codes = channels.filter_map(|log| log.as_str().parse::<ChannelCode>().ok());
        codes.filter(|code| of.is_none_or(|of| of.contains(code))).collect()
    }
}
