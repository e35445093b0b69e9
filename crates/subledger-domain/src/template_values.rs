//! WeChat's rules for template values, as a linter.
//!
//! WeChat answers 47003 to a value it dislikes, publishes prose instead of patterns, and has been seen to take a text in
//! one template and refuse it in another. So only what is certain blocks (a key missing, empty, too long for its
//! documented limit); everything else is advice. The linter never changes a value and never repeats one whole: values
//! are personal data, findings may be logged and shown.
//!
//! The types stand in a table (`template_values/table.rs`); this file walks it.

mod alphabet;
mod date_time;
mod describe;
mod length;
mod shape;
mod table;

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

pub use length::{cut, utf16_units};

use crate::TemplateKey;
use length::Excess;
use table::TypeRule;

/// Whether a finding stops a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// WeChat will answer 47003.
    Blocking,
    /// WeChat may answer 47003, or shows something unexpected.
    Advisory,
}

/// The rule that a value breaks. The names are stable; callers may rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The template has this key and the request has no value for it.
    MissingKey,
    /// The value has no character.
    EmptyValue,
    /// The value has more characters than the key's type allows, however they are counted.
    TooLong,
    /// The value fits when Unicode characters are counted and does not when UTF-16 units are. WeChat does not say
    /// which it counts.
    LengthUncertain,
    /// The value is white space only; WeChat may take it for empty.
    BlankValue,
    /// The value has a line break or another control character.
    ControlCharacter,
    /// The value has characters that the key's type does not allow.
    WrongAlphabet,
    /// The value is not written as the key's type wants it: a date, a time, an amount, a number.
    WrongFormat,
    /// The value is not one of the template's list.
    NotInList,
    /// The key's type is not one we know; only general rules were checked.
    UnknownType,
    /// The template has no such key.
    SurplusKey,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 11] = [
        Self::MissingKey,
        Self::EmptyValue,
        Self::TooLong,
        Self::LengthUncertain,
        Self::BlankValue,
        Self::ControlCharacter,
        Self::WrongAlphabet,
        Self::WrongFormat,
        Self::NotInList,
        Self::UnknownType,
        Self::SurplusKey,
    ];

    /// The stable name used in answers.
    pub const fn code(self) -> &'static str {
        match self {
            Self::MissingKey => "missing_key",
            Self::EmptyValue => "empty_value",
            Self::TooLong => "too_long",
            Self::LengthUncertain => "length_uncertain",
            Self::BlankValue => "blank_value",
            Self::ControlCharacter => "control_character",
            Self::WrongAlphabet => "wrong_alphabet",
            Self::WrongFormat => "wrong_format",
            Self::NotInList => "not_in_list",
            Self::UnknownType => "unknown_type",
            Self::SurplusKey => "surplus_key",
        }
    }
}

/// One thing the linter has to say about one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The key of the wire, as in the template or the request.
    pub key: String,
    /// The rule.
    pub rule: Rule,
    /// The rule's limit in characters (in digits for `number` and `amount`), where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// What was found, described: a count, a place, a few characters. Never the whole value, unless it is one of five
    /// characters or fewer.
    pub found: String,
    /// What to do about it. For a `thing` that is too long it holds the first part of the value.
    pub suggestion: String,
    /// Whether it stops the send.
    pub severity: Severity,
}

impl fmt::Display for Finding {
    /// What was found and what to do about it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "found {}; {}", self.found, self.suggestion)
    }
}

impl Finding {
    /// Whether it stops the send.
    pub fn is_blocking(&self) -> bool {
        self.severity == Severity::Blocking
    }
}

/// The type of a key: the key without its trailing digits (`character_string2` is a `character_string`).
pub fn value_type(key: &str) -> &str {
    key.trim_end_matches(|c: char| c.is_ascii_digit())
}

/// Checks `values` against the keys of a template: the template's keys in their order, then surplus ones by name.
pub fn lint(keys: &[TemplateKey], values: &BTreeMap<String, String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for key in keys {
        let mut report = Report { key: &key.key, findings: &mut findings };
        match values.get(&key.key) {
            None => report.block(Rule::MissingKey, None, "no value", "give this key a value"),
            Some(value) => check_value(key, value, &mut report),
        }
    }
    for key in values.keys().filter(|name| !keys.iter().any(|key| key.key == **name)) {
        let mut report = Report { key, findings: &mut findings };
        report.advise(Rule::SurplusKey, "a key that the template does not have", "leave it out");
    }
    findings
}

fn check_value(key: &TemplateKey, value: &str, report: &mut Report<'_>) {
    if value.is_empty() {
        return report.block(Rule::EmptyValue, None, "nothing", "give it a value; WeChat refuses empty ones");
    }
    if value.chars().all(char::is_whitespace) {
        report.advise(Rule::BlankValue, "white space only", "give it a visible value");
    }
    if let Some(found) = describe::control_character(value) {
        report.advise(Rule::ControlCharacter, found, "write it on one line, without control characters");
    }
    let Some(rule) = table::rule_of(value_type(&key.key)) else {
        report.advise(
            Rule::UnknownType,
            "a type that is not documented",
            "refresh the templates; only general rules were checked",
        );
        return check_length(&table::UNKNOWN, value, report);
    };
    check_length(rule, value, report);
    if let Some(found) = describe::outside(value, rule.alphabet) {
        report.advise(Rule::WrongAlphabet, found, format!("use {} only", rule.alphabet.wanted()));
    } else if let Some(fault) = rule.shape.and_then(|shape| shape.fault(value)) {
        report.advise(Rule::WrongFormat, fault, rule.shape.map(shape::Shape::wanted).unwrap_or_default());
    }
    if rule.listed && !key.allowed.is_empty() && !key.allowed.iter().any(|allowed| allowed == value) {
        let found = format!("a value outside the template's list of {}", key.allowed.len());
        report.advise(Rule::NotInList, found, "use one of the values the template lists");
    }
}

fn check_length(rule: &TypeRule, value: &str, report: &mut Report<'_>) {
    let Some((limit, excess)) = rule.limit.exceeded_by(value) else { return };
    let (kind, found) = match excess {
        Excess::Certain { count, unit } => (Rule::TooLong, format!("{count} {unit}")),
        Excess::Uncertain { scalars, utf16 } => {
            (Rule::LengthUncertain, format!("{scalars} characters, {utf16} UTF-16 units"))
        }
    };
    let suggestion = match (kind, rule.may_be_cut) {
        (Rule::TooLong, true) => format!("cut it: {}", cut(value, limit)),
        _ => format!("keep it within {limit}"),
    };
    let severity =
        if kind == Rule::TooLong && rule.documented { Severity::Blocking } else { Severity::Advisory };
    report.add(kind, Some(limit), found, suggestion, severity);
}

struct Report<'a> {
    key: &'a str,
    findings: &'a mut Vec<Finding>,
}

impl Report<'_> {
    fn add(
        &mut self,
        rule: Rule,
        limit: Option<u32>,
        found: impl Into<String>,
        suggestion: impl Into<String>,
        severity: Severity,
    ) {
        self.findings.push(Finding {
            key: self.key.to_owned(),
            rule,
            limit,
            found: found.into(),
            suggestion: suggestion.into(),
            severity,
        });
    }

    fn block(&mut self, rule: Rule, limit: Option<u32>, found: &str, suggestion: &str) {
        self.add(rule, limit, found, suggestion, Severity::Blocking);
    }

    fn advise(&mut self, rule: Rule, found: impl Into<String>, suggestion: impl Into<String>) {
        self.add(rule, None, found, suggestion, Severity::Advisory);
    }
}
