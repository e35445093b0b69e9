//! The projections there are, and which of them a log feeds.

use std::fmt;

use serde::{Deserialize, Serialize};
use subledger_domain::LogName;

/// A read model. One belongs to each log of its kind, with its own checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProjectionName {
    /// The channel and its templates.
    Channels,
    /// Which openid a user has.
    Bindings,
    /// Subscription quotas, their lots, and what they tell analysts.
    Ledgers,
    /// Messages, their deliveries, and what they tell analysts.
    Messages,
    /// Sender apps and their keys; the only one of the log `main`.
    Apps,
}

impl ProjectionName {
    /// Every projection.
    pub const ALL: [Self; 5] = [Self::Channels, Self::Bindings, Self::Ledgers, Self::Messages, Self::Apps];

    const OF_CHANNEL: &'static [Self] = &[Self::Channels, Self::Bindings, Self::Ledgers, Self::Messages];
    const OF_MAIN: &'static [Self] = &[Self::Apps];

    /// The name in the database, in metrics and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Channels => "channels",
            Self::Bindings => "bindings",
            Self::Ledgers => "ledgers",
            Self::Messages => "messages",
            Self::Apps => "apps",
        }
    }

    /// The version of its fold and its rows. Raised whenever the same events lead to other rows than before: a rebuild that a
    /// node of another version left unfinished then begins anew instead of going on.
    pub(crate) const fn schema(self) -> i64 {
        match self {
            Self::Channels | Self::Bindings | Self::Apps => 2,
            // 3: drift and doubts.
            Self::Ledgers | Self::Messages => 3,
        }
    }

    /// The projection with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|projection| projection.as_str() == name)
    }

    /// The projections that a log feeds.
    pub fn of_log(log: &LogName) -> &'static [Self] {
        if log.as_str() == LogName::MAIN { Self::OF_MAIN } else { Self::OF_CHANNEL }
    }
}

/// A name for a holder of leases that nobody else has.
pub(crate) fn unique_holder() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

impl fmt::Display for ProjectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
