//! Templates as WeChat lists them (`wxaapi/newtmpl/gettemplate`).

use serde::{Deserialize, Serialize};

use crate::TemplateId;

/// How often one permission may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TemplateKind {
    /// WeChat type 2: one accepted tap buys one message.
    OneTime,
    /// WeChat type 3: one consent, many messages; there is no balance to keep.
    LongTerm,
}

impl TemplateKind {
    /// The name used in events and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OneTime => "one_time",
            Self::LongTerm => "long_term",
        }
    }
}

/// One keyword of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateKey {
    /// The key of the wire, type and index together: `thing1`, `character_string2`.
    pub key: String,
    /// The label shown on the card.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// Allowed values, for `enum…` and `enum_string…` keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
}

/// A subscription template of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// WeChat's id (`priTmplId`).
    pub id: TemplateId,
    /// Its title.
    pub title: String,
    /// The card's lines, with `{{key.DATA}}` where values go.
    pub content: String,
    /// The same lines with sample values.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub example: String,
    /// One-time or long-term.
    pub kind: TemplateKind,
    /// The keywords, in order of appearance.
    pub keys: Vec<TemplateKey>,
}
