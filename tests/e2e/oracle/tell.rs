//! How a failure is told: what does not hold, how to play it again, and both histories of the pair, in order.

use std::fmt::Write;

use serde_json::{Value, json};

use super::check::Case;

pub fn failure(case: &Case<'_>, place: &str) -> String {
    let (openid, template) = case.pair;
    let user = case.world.openids.iter().position(|one| one == openid).unwrap_or_default();
    let mut text = format!("{place}\nplay it again for this user alone: SUBLEDGER_ORACLE_USER={user}\n");
    let _ = writeln!(text, "user {user} ({openid}), template {template}, policy {}", case.world.policy);
    for fault in &case.faults {
        let _ = writeln!(text, "  DOES NOT HOLD: {fault}");
    }
    let _ = writeln!(text, "named: {:?}", case.named);
    let _ = writeln!(text, "the ledger shows: {}", case.ours.shown);
    let _ = writeln!(text, "our events:");
    for event in &case.ours.events {
        let _ = writeln!(text, "  {} {} {} {}", event.position, event.recorded_at, event.kind, event.data);
    }
    let _ = writeln!(text, "at WeChat:");
    for line in theirs(case) {
        let _ = writeln!(text, "  {line}");
    }
    text
}

/// Acts, sends and pushes of the pair, by time.
fn theirs(case: &Case<'_>) -> Vec<String> {
    let truth = case.truth;
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut add = |entry: &Value, fields: &[&str]| {
        let shown: serde_json::Map<String, Value> =
            fields.iter().map(|field| ((*field).to_owned(), entry[*field].clone())).collect();
        lines.push((entry["time"].as_str().unwrap_or_default().to_owned(), json!(shown).to_string()));
    };
    for act in &truth.acts {
        add(act, &["kind", "id", "answers", "template_id", "state", "place", "push"]);
    }
    for send in &truth.sends {
        add(send, &["page", "errcode", "msgid", "committed", "answered", "fault", "sent_code", "push"]);
    }
    for push in &truth.pushes {
        add(push, &["seq", "event", "act", "msgid", "faults", "state", "body", "deliveries"]);
    }
    lines.sort();
    lines.into_iter().map(|(time, line)| format!("{time} {line}")).collect()
}
