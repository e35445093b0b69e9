//! What a ledger's events say of taps: who told of each, and what was taken for one.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::log::Event;

/// One source's word for a tap.
#[derive(Debug, Clone)]
pub struct Source {
    pub source: String,
    pub reference: String,
    pub at: i64,
}

impl Source {
    fn of(data: &Value) -> Self {
        let evidence = &data["evidence"];
        let text = |field: &str| evidence[field].as_str().unwrap_or_default().to_owned();
        Self { source: text("source"), reference: text("ref"), at: evidence["at"].as_i64().unwrap_or(0) }
    }
}

/// References on the books, each once.
#[derive(Debug, Default)]
pub struct Heard {
    pub reports: Vec<String>,
    pub pushes: Vec<String>,
}

/// What the books know of taps.
#[derive(Debug, Default)]
pub struct Told {
    pub accepts: Heard,
    pub refusals: Heard,
    /// The first source of each lot.
    pub lots: BTreeMap<u64, Source>,
    /// The second source of each lot that has one.
    pub pairs: BTreeMap<u64, Source>,
    /// Accepts of a long-term template that both sources told of.
    pub pairs_without_lot: usize,
    pub faults: Vec<String>,
}

impl Told {
    /// Reads a ledger's events.
    pub fn of(events: &[Event]) -> Self {
        let mut told = Self::default();
        // What was noted is told of once more when it corroborates.
        let mut noted: HashSet<(bool, String)> = HashSet::new();
        for event in events {
            let one = Source::of(&event.data);
            let choice = event.data["choice"].as_str();
            let accept = match event.kind.as_str() {
                "ledger.granted" | "ledger.consented" => true,
                "ledger.rejected" => false,
                "ledger.corroborated" | "ledger.tap_noted" => choice == Some("accept"),
                _ => continue,
            };
            if let (Some(lot), "ledger.granted") = (event.data["lot"].as_u64(), event.kind.as_str()) {
                told.lots.insert(lot, one.clone());
            }
            if let (Some(lot), "ledger.corroborated") = (event.data["lot"].as_u64(), event.kind.as_str())
                && told.pairs.insert(lot, one.clone()).is_some()
            {
                told.faults.push(format!("lot {lot} is corroborated twice"));
            }
            if accept && event.kind == "ledger.corroborated" && event.data["lot"].is_null() {
                told.pairs_without_lot += 1;
            }
            let key = (accept, format!("{}:{}", one.source, one.reference));
            if event.kind == "ledger.corroborated" && noted.remove(&key) {
                continue;
            }
            if event.kind == "ledger.tap_noted" {
                noted.insert(key);
            }
            let heard = if accept { &mut told.accepts } else { &mut told.refusals };
            let list = match one.source.as_str() {
                "client_report" => &mut heard.reports,
                "wechat_push" => &mut heard.pushes,
                _ => continue,
            };
            if list.contains(&one.reference) {
                told.faults.push(format!("{one:?} is on the books twice"));
            }
            list.push(one.reference);
        }
        told
    }
}
