//! What is sent, sealed apart from the log: values, page, version, language.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use subledger_wechat as wechat;

use crate::EngineError;

/// Values by key, as the caller gave them.
pub type Values = BTreeMap<String, String>;

/// Which version of the Mini Program the card opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProgramState {
    /// The developers' version.
    Developer,
    /// The trial version.
    Trial,
    /// The released version.
    #[default]
    Formal,
}

/// The language of the card's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Language {
    /// Simplified Chinese.
    #[default]
    #[serde(rename = "zh_CN")]
    ZhCn,
    /// English.
    #[serde(rename = "en_US")]
    EnUs,
    /// Traditional Chinese, Hong Kong.
    #[serde(rename = "zh_HK")]
    ZhHk,
    /// Traditional Chinese, Taiwan.
    #[serde(rename = "zh_TW")]
    ZhTw,
}

/// What all recipients of a message share. Stored sealed; the field names are for ever.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SharedContents {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) page: Option<String>,
    #[serde(default)]
    pub(crate) state: ProgramState,
    #[serde(default)]
    pub(crate) lang: Language,
    #[serde(default)]
    pub(crate) data: Values,
}

/// What one recipient has of its own: values that go over the shared ones.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnContents {
    pub(crate) data: Values,
}

pub(crate) fn encode<T: Serialize>(contents: &T) -> Result<Vec<u8>, EngineError> {
    serde_json::to_vec(contents).map_err(|error| EngineError::internal(error.to_string()))
}

impl SharedContents {
    /// The request for one recipient.
    pub(crate) fn request(
        &self,
        own: Option<&OwnContents>,
        touser: &str,
        template: &str,
    ) -> wechat::SendRequest {
        let mut data = self.data.clone();
        if let Some(own) = own {
            data.extend(own.data.clone());
        }
        wechat::SendRequest {
            touser: touser.to_owned(),
            template_id: template.to_owned(),
            page: self.page.clone(),
            miniprogram_state: match self.state {
                ProgramState::Developer => wechat::MiniprogramState::Developer,
                ProgramState::Trial => wechat::MiniprogramState::Trial,
                ProgramState::Formal => wechat::MiniprogramState::Formal,
            },
            lang: match self.lang {
                Language::ZhCn => wechat::Lang::ZhCn,
                Language::EnUs => wechat::Lang::EnUs,
                Language::ZhHk => wechat::Lang::ZhHk,
                Language::ZhTw => wechat::Lang::ZhTw,
            },
            data: data.into_iter().collect(),
        }
    }
}
