//! Private templates of an app, in the shape `gettemplate` answers them (wechat-api §4, §11.3).

use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::error::ControlError;

/// `type` of a one-time template: one accepted tap, one message.
pub const ONE_TIME: u8 = 2;
/// `type` of a long-term template: one consent, many messages.
pub const LONG_TERM: u8 = 3;

/// A template, spelled as on the wire. `priTmplId` may be left empty when creating: 43 characters are generated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Template {
    /// The id that sends and taps name.
    #[serde(default)]
    pub pri_tmpl_id: String,
    /// Title; two templates of one title in one tap answer `filter` for the second.
    pub title: String,
    /// One line a keyword: label, colon, `{{key.DATA}}`.
    pub content: String,
    /// The same lines with sample values.
    #[serde(default)]
    pub example: String,
    /// [`ONE_TIME`] (default) or [`LONG_TERM`].
    #[serde(rename = "type", default = "one_time")]
    pub kind: u8,
    /// Allowed values of enum keywords.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keyword_enum_value_list: Vec<KeywordEnum>,
}

/// The allowed values of one enum keyword.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeywordEnum {
    /// The key, with or without `.DATA`; kept as given, since real answers include the suffix.
    pub keyword_code: String,
    /// The values a send may use.
    pub enum_value_list: Vec<String>,
}

const fn one_time() -> u8 {
    ONE_TIME
}

impl Template {
    /// A one-time template; `content` must hold at least one `{{key.DATA}}`.
    pub fn one_time(id: &str, title: &str, content: &str) -> Self {
        Self {
            pri_tmpl_id: id.to_owned(),
            title: title.to_owned(),
            content: content.to_owned(),
            example: String::new(),
            kind: ONE_TIME,
            keyword_enum_value_list: Vec::new(),
        }
    }

    /// A long-term template, otherwise as [`Template::one_time`].
    pub fn long_term(id: &str, title: &str, content: &str) -> Self {
        Self { kind: LONG_TERM, ..Self::one_time(id, title, content) }
    }

    /// The keywords of `content`, in its order.
    pub fn keys(&self) -> Vec<&str> {
        let Some(pattern) = KEY.as_ref() else { return Vec::new() };
        pattern.captures_iter(&self.content).filter_map(|c| c.get(1)).map(|m| m.as_str()).collect()
    }

    /// The allowed values of `key`, if the template lists any.
    pub(crate) fn enum_values(&self, key: &str) -> Option<&[String]> {
        let named = |e: &&KeywordEnum| e.keyword_code.trim_end_matches(".DATA") == key;
        self.keyword_enum_value_list.iter().find(named).map(|e| e.enum_value_list.as_slice())
    }

    pub(crate) fn validate(&self) -> Result<(), ControlError> {
        if ![ONE_TIME, LONG_TERM].contains(&self.kind) {
            return Err(ControlError::invalid("type", "must be 2 (one-time) or 3 (long-term)"));
        }
        if self.keys().is_empty() {
            return Err(ControlError::invalid("content", "holds no {{key.DATA}}"));
        }
        Ok(())
    }
}

static KEY: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\{\{\s*([A-Za-z_]+\d+)\.DATA\s*\}\}").ok());
