//! Templates and what the linter says about values.

use serde::Serialize;
use subledger_domain::{TemplateId, template_values::Finding};
use subledger_engine::channels::Refreshed;
use subledger_projection::TemplateRow;
use utoipa::ToSchema;

use super::words::{SeverityWord, TemplateKindWord};
use crate::moment::Moment;

/// A keyword of a template.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TemplateKeyView {
    /// The key of the wire.
    #[schema(example = "thing1")]
    key: String,
    /// The label on the card.
    #[schema(example = "商品")]
    label: String,
    /// The values allowed, where WeChat lists them.
    allowed: Vec<String>,
}

/// A template that WeChat lists, or has listed once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TemplateView {
    /// WeChat's id (`priTmplId`).
    template_id: String,
    /// Its title.
    #[schema(example = "取餐提醒")]
    title: String,
    /// The card's lines, with `{{key.DATA}}` where values go.
    content: String,
    /// The same lines with sample values.
    example: String,
    /// One-time or long-term.
    kind: TemplateKindWord,
    /// The keywords, in order of appearance.
    keys: Vec<TemplateKeyView>,
    /// Whether WeChat still lists it.
    listed: bool,
    /// When it was listed for the first time.
    first_seen_at: Moment,
    /// When it last had other contents than before.
    changed_at: Moment,
    /// Since when it is not listed.
    vanished_at: Option<Moment>,
}

impl From<TemplateRow> for TemplateView {
    fn from(row: TemplateRow) -> Self {
        let keys = row.keys.into_iter();
        Self {
            template_id: row.id.to_string(),
            title: row.title,
            content: row.content,
            example: row.example,
            kind: row.kind.into(),
            keys: keys
                .map(|key| TemplateKeyView { key: key.key, label: key.label, allowed: key.allowed })
                .collect(),
            listed: row.listed,
            first_seen_at: Moment(row.first_seen_at),
            changed_at: Moment(row.changed_at),
            vanished_at: row.vanished_at.map(Moment),
        }
    }
}

/// What a refresh of the template list found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RefreshView {
    /// Templates WeChat lists now.
    listed: u32,
    /// New, or listed again.
    added: Vec<String>,
    /// With another title, content, kind or keys.
    changed: Vec<String>,
    /// No longer listed.
    vanished: Vec<String>,
    /// Listed, but of a kind or shape this version does not know; left out.
    unreadable: u32,
}

impl From<Refreshed> for RefreshView {
    fn from(refreshed: Refreshed) -> Self {
        let texts = |ids: Vec<TemplateId>| ids.into_iter().map(String::from).collect();
        Self {
            listed: refreshed.listed,
            added: texts(refreshed.added),
            changed: texts(refreshed.changed),
            vanished: texts(refreshed.vanished),
            unreadable: refreshed.unreadable,
        }
    }
}

/// What the linter says about one key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FindingView {
    /// JSON pointer into the request.
    #[schema(example = "/data/thing1")]
    pointer: String,
    /// The key.
    #[schema(example = "thing1")]
    key: String,
    /// The rule, as a stable word.
    #[schema(example = "too_long")]
    rule: String,
    /// The rule's limit in characters, where it has one.
    limit: Option<u32>,
    /// What was found, described.
    found: String,
    /// What to do about it.
    suggestion: String,
    /// Whether it stops a send.
    severity: SeverityWord,
}

impl From<Finding> for FindingView {
    fn from(finding: Finding) -> Self {
        Self {
            pointer: format!("/data/{}", crate::extract::escape(&finding.key)),
            rule: finding.rule.code().to_owned(),
            key: finding.key,
            limit: finding.limit,
            found: finding.found,
            suggestion: finding.suggestion,
            severity: finding.severity.into(),
        }
    }
}
