//! How an explanation is written as JSON: moments as RFC 3339 in UTC.

use serde::{Serialize, Serializer};
use subledger_domain::{Evidence, Timestamp};

use crate::history::tell::utc;

pub(super) fn moment<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&utc(*at))
}

#[derive(Serialize)]
struct Shown<'a> {
    source: &'static str,
    #[serde(rename = "ref")]
    reference: &'a str,
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a> Shown<'a> {
    fn of(evidence: &'a Evidence) -> Self {
        Self {
            source: evidence.source.as_str(),
            reference: &evidence.reference,
            at: utc(evidence.at),
            reason: evidence.reason.as_deref(),
        }
    }
}

pub(super) fn evidence<S: Serializer>(evidence: &Option<Evidence>, serializer: S) -> Result<S::Ok, S::Error> {
    evidence.as_ref().map(Shown::of).serialize(serializer)
}

pub(super) fn some_evidence<S: Serializer>(evidence: &Evidence, serializer: S) -> Result<S::Ok, S::Error> {
    Shown::of(evidence).serialize(serializer)
}
