//! Names of logs and streams.
//!
//! A log is one append-only book: one per channel, plus `main` for what belongs to the deployment. A stream is
//! the history of one aggregate inside a log, named `<type>/<id>`.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{AppId, ChannelCode, MessageId, SubjectId, TemplateId, UserRef};

/// The name of a log: a channel's code, or `main`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogName(String);

impl LogName {
    /// The deployment-wide log. No channel may have this code.
    pub const MAIN: &'static str = "main";

    /// The log `main`.
    pub fn main() -> Self {
        Self(Self::MAIN.to_owned())
    }

    /// The log of a channel.
    pub fn channel(code: &ChannelCode) -> Self {
        Self(code.as_str().to_owned())
    }

    /// A log by the name found in storage or typed by an operator. Any name is accepted: a log that does not
    /// exist is empty.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a stream inside a log: `<aggregate type>/<id>`.
///
/// Shared: a command hands the name of its stream from the decision to the draft, the write and the cache.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName(Arc<str>);

impl StreamName {
    /// A stream of the aggregate type with this id.
    pub fn new(aggregate_type: &str, id: &str) -> Self {
        Self(format!("{aggregate_type}/{id}").into())
    }

    /// A stream name as read from storage.
    pub fn from_stored(name: String) -> Self {
        Self(name.into())
    }

    /// The one stream that describes the channel itself.
    pub fn channel() -> Self {
        Self::new("channel", "self")
    }

    /// The binding of one user in this channel.
    pub fn binding(user: UserRef) -> Self {
        Self(format!("binding/{user}").into())
    }

    /// The ledger of one (openid, template).
    pub fn ledger(subject: SubjectId, template: &TemplateId) -> Self {
        Self(format!("ledger/{subject}/{template}").into())
    }

    /// One message.
    pub fn message(id: MessageId) -> Self {
        Self(format!("message/{id}").into())
    }

    /// One sender app (log `main`).
    pub fn app(id: &AppId) -> Self {
        Self(format!("app/{id}").into())
    }

    /// One third-party platform, by its appid (log `main`).
    pub fn platform(component_appid: &str) -> Self {
        Self::new("platform", component_appid)
    }

    /// What concerns a user as a person: erasures (log `main`).
    pub fn user(user: UserRef) -> Self {
        Self(format!("user/{user}").into())
    }

    /// What concerns the person behind an openid (log `main`; a subject is of one channel, so the name is unique).
    pub fn subject(subject: SubjectId) -> Self {
        Self(format!("subject/{subject}").into())
    }

    /// What the names of all ledgers of an openid begin with.
    pub fn ledgers_of(subject: SubjectId) -> String {
        format!("ledger/{subject}/")
    }

    /// The aggregate type before the first slash.
    pub fn aggregate_type(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(kind, _)| kind)
    }

    /// What follows the first slash.
    pub fn id(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, id)| id)
    }

    /// For a `ledger/…` stream, whose and of which template it is.
    pub fn ledger_parts(&self) -> Option<(SubjectId, TemplateId)> {
        let (subject, template) = self.0.strip_prefix("ledger/")?.split_once('/')?;
        Some((subject.parse().ok()?, template.parse().ok()?))
    }

    /// For a `binding/…` stream, the user it is about.
    pub fn binding_user(&self) -> Option<UserRef> {
        self.0.strip_prefix("binding/")?.parse().ok()
    }

    /// For a `message/…` stream, its message.
    pub fn message_id(&self) -> Option<MessageId> {
        self.0.strip_prefix("message/")?.parse().ok()
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for StreamName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for StreamName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from_stored)
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
