//! Doubts that a deadline closed: as the channel's policy says, not before their time, and none is left over.

use std::collections::HashMap;

use super::{check::Case, plan::DEADLINE_S};

/// What does not hold of a pair's doubts.
pub fn faults(case: &Case<'_>) -> Vec<String> {
    let (mut faults, mut doubted) = (Vec::new(), HashMap::new());
    let (has_deadline, verdict) = (case.world.round.has_deadline(), case.policy("doubt_verdict"));
    let outcome = if verdict == "release" { "not_sent" } else { "sent" };
    for event in &case.ours.events {
        let delivery = event.data["delivery"].as_str().unwrap_or_default();
        let at = || event.recorded_at.parse::<jiff::Timestamp>();
        match event.kind.as_str() {
            "ledger.doubted" => drop(doubted.insert(delivery, at())),
            "ledger.consumed" | "ledger.released" | "ledger.denied" | "ledger.forfeited" => {
                doubted.remove(delivery);
            }
            "ledger.settled_late" => {
                let since = doubted.remove(delivery);
                let evidence = &event.data["evidence"];
                if evidence["source"] != "policy" {
                    continue;
                }
                if !has_deadline {
                    faults.push(format!("{delivery} is closed by a deadline that is far away"));
                }
                let reference = format!("doubt_verdict={verdict} doubt_deadline_s={DEADLINE_S}");
                if evidence["ref"] != reference || event.data["outcome"] != outcome {
                    faults.push(format!("{delivery} is closed as the policy does not say: {}", event.data));
                }
                let Some((Ok(since), Ok(at))) = since.map(|since| (since, at())) else {
                    faults.push(format!("{delivery} is closed by a deadline and was not in doubt"));
                    continue;
                };
                if at.duration_since(since).as_secs() < i64::try_from(DEADLINE_S).unwrap() {
                    faults.push(format!(
                        "{delivery} is closed {} after it came in doubt",
                        at.duration_since(since)
                    ));
                }
            }
            _ => {}
        }
    }
    if has_deadline && !doubted.is_empty() {
        faults.push(format!("in doubt beyond the deadline: {:?}", doubted.keys()));
    }
    faults
}
