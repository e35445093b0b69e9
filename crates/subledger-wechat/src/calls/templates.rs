//! The template list of a Mini Program.
//!
//! Decoding is tolerant (numbers as text, unknown fields) but never makes a list shorter in silence: an answer without
//! `data` is an error and not an empty list, and entries that cannot be read are counted, because a caller that
//! compares lists would otherwise take their templates for deleted. The keys of a template come from its `content`, the only
//! place that states them (§4).

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::answer::{exact_text, whole_number};
use crate::client::{Api, WeChatClient};
use crate::outcome::CallError;
use crate::patterns::template_keys;

/// How often a permission of a template can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TemplateKind {
    /// Type 2: one grant, one message.
    OneTime,
    /// Type 3: a standing permission.
    LongTerm,
    /// Another number WeChat gave; 0 if it gave none.
    Other(i64),
}

impl From<i64> for TemplateKind {
    fn from(number: i64) -> Self {
        match number {
            2 => Self::OneTime,
            3 => Self::LongTerm,
            other => Self::Other(other),
        }
    }
}

/// One keyword of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateKey {
    /// The key to send, e.g. `thing1`.
    pub key: String,
    /// The allowed values of an enum keyword; empty for all others.
    pub enum_values: Vec<String>,
}

/// One template of the account's own list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateInfo {
    /// WeChat's `priTmplId`.
    pub pri_tmpl_id: String,
    /// Title.
    pub title: String,
    /// One line per keyword, as WeChat gave it.
    pub content: String,
    /// Same lines with sample values.
    pub example: String,
    /// One-time or long-term.
    pub kind: TemplateKind,
    /// The keywords, in the order of `content`.
    pub keys: Vec<TemplateKey>,
}

/// The account's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateList {
    /// What could be read.
    pub templates: Vec<TemplateInfo>,
    /// How many entries could not be read. Unless 0, absence from `templates` does not prove deletion.
    pub undecodable: usize,
}

impl WeChatClient {
    /// `GET /wxaapi/newtmpl/gettemplate`. Has an unpublished daily cap (45009 is reported): cache the result.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn get_templates(&self, token: &SecretString) -> Result<TemplateList, CallError> {
        let request = self.get(Api::GetTemplates, &[("access_token", token.expose_secret())]);
        self.call(Api::GetTemplates, request, &[token], read_list).await
    }
}

fn read_list(body: &Value) -> Option<TemplateList> {
    let entries = body.get("data")?.as_array()?;
    let templates: Vec<TemplateInfo> = entries.iter().filter_map(read_template).collect();
    let undecodable = entries.len() - templates.len();
    Some(TemplateList { templates, undecodable })
}

fn read_template(entry: &Value) -> Option<TemplateInfo> {
    let text = |name: &str| entry.get(name).and_then(exact_text).unwrap_or_default();
    let pri_tmpl_id = entry.get("priTmplId").and_then(exact_text)?;
    let content = text("content");
    let enums = read_enums(entry);
    let keys = template_keys(&content)
        .into_iter()
        .map(|key| {
            let found = enums.iter().find(|(code, _)| *code == key);
            let enum_values = found.map(|(_, values)| values.clone()).unwrap_or_default();
            TemplateKey { key, enum_values }
        })
        .collect();
    Some(TemplateInfo {
        pri_tmpl_id,
        title: text("title"),
        example: text("example"),
        kind: entry.get("type").and_then(whole_number).unwrap_or(0).into(),
        keys,
        content,
    })
}

/// The enum lists by key. WeChat's own sample writes the key with its `.DATA` suffix.
fn read_enums(entry: &Value) -> Vec<(String, Vec<String>)> {
    let lists = entry.get("keywordEnumValueList").and_then(Value::as_array);
    lists
        .into_iter()
        .flatten()
        .filter_map(|list| {
            let code = list.get("keywordCode")?.as_str()?.trim();
            let key = code.strip_suffix(".DATA").unwrap_or(code).to_owned();
            let values = list.get("enumValueList")?.as_array()?;
            Some((key, values.iter().filter_map(exact_text).collect()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn the_sample_of_the_reference_is_read() {
        let body = json!({"errcode":0,"errmsg":"ok","data":[
            {"priTmplId":"TPL_1","title":"示例取餐提醒","content":"商品:{{thing1.DATA}}\n时间:{{date2.DATA}}\n状态:{{phrase3.DATA}}\n",
             "example":"商品:示例面包\n","type":2},
            {"priTmplId":"TPL_2","title":"示例等级通知","content":"等级:{{enum_string2.DATA}}\n说明:{{thing5.DATA}}\n","example":"等级:银\n",
             "type":3,"keywordEnumValueList":[{"keywordCode":"enum_string2.DATA","enumValueList":["银","金"]}]}]});
        let list = read_list(&body).unwrap();
        assert_eq!(list.undecodable, 0);
        let keys: Vec<&str> = list.templates[0].keys.iter().map(|key| key.key.as_str()).collect();
        assert_eq!(keys, ["thing1", "date2", "phrase3"]);
        assert_eq!(list.templates[0].kind, TemplateKind::OneTime);
        assert_eq!(list.templates[1].kind, TemplateKind::LongTerm);
        assert_eq!(
            list.templates[1].keys,
            [
                TemplateKey { key: "enum_string2".to_owned(), enum_values: vec!["银".into(), "金".into()] },
                TemplateKey { key: "thing5".to_owned(), enum_values: vec![] },
            ]
        );
    }

    #[test]
    fn odd_types_are_tolerated_and_lost_entries_are_counted() {
        let body = json!({"data":[
            {"priTmplId":12345,"title":7,"type":"3","extra":{"a":[1]},"keywordEnumValueList":null},
            {"priTmplId":"T","type":9,"content":"{{number1.DATA}}","keywordEnumValueList":[{"keywordCode":"number1","enumValueList":[1,"2"]}, 5]},
            {"title":"no id"}, "text", null]});
        let list = read_list(&body).unwrap();
        assert_eq!((list.templates.len(), list.undecodable), (2, 3));
        let first = &list.templates[0];
        assert_eq!((first.pri_tmpl_id.as_str(), first.title.as_str()), ("12345", "7"));
        assert_eq!((first.kind, first.keys.len()), (TemplateKind::LongTerm, 0));
        assert_eq!(list.templates[1].kind, TemplateKind::Other(9));
        assert_eq!(list.templates[1].keys[0].enum_values, ["1", "2"]);
    }

    #[test]
    fn a_missing_list_is_not_an_empty_list() {
        assert_eq!(read_list(&json!({"errcode": 0})), None);
        assert_eq!(read_list(&json!({"data": {}})), None);
        assert_eq!(read_list(&json!({"data": []})).unwrap().templates.len(), 0);
    }
}
