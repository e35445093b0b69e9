//! What the doctor found.

use serde::{Deserialize, Serialize};
use subledger_engine::doctor::{Check, Finding, Health, Report, Text};
use utoipa::ToSchema;

use super::words::words;
use crate::moment::Moment;

words! {
    /// How something stands: `ok`; `skipped` (not looked at, and why); `warn` (it works, but will not for long, or not as well as it
    /// could); `fail` (it does not work).
    HealthWord is Health { Ok, Skipped, Warn, Fail }

    /// What was looked at; docs/doctor.md has a section of the same name for each.
    CheckWord is Check {
        Database, Migrations, MasterKey, Clock, Egress, Sending, Token, Address, Templates, Quota, Pushes, Relay, Doubts, ReadModels
    }
}

/// The same in both languages.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TextView {
    /// In English.
    en: String,
    /// In Chinese.
    zh: String,
}

impl From<Text> for TextView {
    fn from(text: Text) -> Self {
        Self { en: text.en, zh: text.zh }
    }
}

/// One line of a report.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckFindingView {
    /// What was looked at.
    check: CheckWord,
    /// Of which channel, or log; null for what concerns the deployment.
    channel: Option<String>,
    /// How it stands.
    state: HealthWord,
    /// What was found.
    found: TextView,
    /// What to do; null if there is nothing to do.
    advice: Option<TextView>,
    /// Where it is explained.
    #[schema(example = "docs/doctor.md#token")]
    docs: String,
}

impl From<Finding> for CheckFindingView {
    fn from(finding: Finding) -> Self {
        Self {
            check: finding.check.into(),
            channel: finding.channel.map(|log| log.to_string()),
            state: finding.health.into(),
            found: finding.found.into(),
            advice: finding.advice.map(Into::into),
            docs: finding.check.docs(),
        }
    }
}

/// Everything that was found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DoctorView {
    /// The worst of it; what was skipped does not count.
    worst: HealthWord,
    /// When it was looked.
    checked_at: Moment,
    /// How many findings work, but will not for long.
    warnings: usize,
    /// How many do not work.
    failures: usize,
    /// The findings: the deployment's, then channel by channel.
    findings: Vec<CheckFindingView>,
}

impl From<Report> for DoctorView {
    fn from(report: Report) -> Self {
        Self {
            worst: report.worst().into(),
            checked_at: Moment(report.checked_at),
            warnings: report.count(Health::Warn),
            failures: report.count(Health::Fail),
            findings: report.findings.into_iter().map(Into::into).collect(),
        }
    }
}
