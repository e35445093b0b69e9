//! What a channel decides where WeChat's rules are silent, as far as ledgers are concerned. Policies are handed in with the
//! commands they matter to: a ledger knows nothing of its channel.

use serde::{Deserialize, Serialize};

/// Policy for users whose earlier grants nobody counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownBalance {
    /// No grant on the books, no send.
    #[default]
    Refuse,
    /// Send once and learn from the answer.
    Attempt,
}

/// Whose word for a tap is a grant: the Mini Program and its back end, or WeChat's push. Whether silent calls ("always
/// keep") push anything is undocumented, so the default believes both and merges what they say of one tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Taps {
    /// Whoever tells first; the other's word for the same tap corroborates.
    #[default]
    Both,
    /// The client side; a push only corroborates.
    ClientOnly,
    /// WeChat's push; a report only corroborates.
    PushOnly,
}

/// Whether a send that WeChat refused for another reason than permission uses up a grant. Undocumented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusedSend {
    /// No: the grant is open again.
    #[default]
    Release,
    /// Yes.
    Consume,
}

/// What becomes of the grants of a user who switches messages off. Undocumented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingsOff {
    /// They are kept, and usable again after a newer accept.
    #[default]
    Keep,
    /// WeChat forgets them.
    Clear,
}

/// How a doubt is closed that nobody settled in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoubtVerdict {
    /// As sent. The cautious choice: at worst one message fewer than the user allowed.
    #[default]
    AssumeSent,
    /// As not sent: the grant is open again, with a remark.
    Release,
}
