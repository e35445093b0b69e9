//! WeChat's pushes: set up at both ends, and what the books must hold of them.

use std::collections::{BTreeMap, HashMap, HashSet};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde_json::{Value, json};

use super::{
    check::Case,
    truth::{Truth, was_taken},
    world::World,
};

/// Characters of an `EncodingAESKey`.
const KEY_CHARS: usize = 43;

impl World {
    /// Enters the same token and key at both ends, as a person would; with another key each time.
    pub async fn set_pushes_up(&self, times: u64) {
        let mut dice = SmallRng::seed_from_u64(self.round.seed ^ self.round.number ^ times.rotate_left(32));
        let key: String = (0..KEY_CHARS)
            .map(|_| char::from(b"abcdefghijklmnopqrstuvwxyzABCDEFGH0123456789"[dice.random_range(0..44)]))
            .collect();
        let (mode, format) = self.round.push_shape();
        let token = format!("token{}", self.round.number);
        let ours = json!({ "mode": mode, "format": format, "token": token, "encoding_aes_key": key });
        self.client.put(&self.path("/callback"), &ours).await.expect_status(200);
        let url = format!("{}/callbacks/wechat/{}", self.client.url, self.channel);
        let theirs = json!({
            "url": url, "token": token, "encoding_aes_key": key, "mode": mode, "format": format,
            "timeout_ms": 5_000, "retry_ms": 50,
        });
        let set = self.wechat.put(&self.control("/push"), &theirs).await;
        assert_eq!(set["saved"], true, "WeChat's check of the push URL: {set}");
    }
}

/// All pushes that the service keeps, by key. Each was read and acted on, and was seen as often as WeChat says that it was
/// taken.
pub async fn inbox(
    world: &World,
    position: u64,
    pushes: impl Iterator<Item = &Value>,
) -> HashMap<String, Value> {
    let (mut kept, mut seen) = (HashMap::new(), 0);
    for push in super::log::list(world, "/pushes", position).await {
        assert!(matches!(push["state"].as_str(), Some("acted" | "ignored")), "not acted on: {push}");
        seen += push["seen"].as_u64().unwrap();
        let earlier = kept.insert(push["key"].as_str().unwrap().to_owned(), push);
        assert!(earlier.is_none(), "kept twice: {earlier:?}");
    }
    let (mut taken, mut delivered) = (0, 0);
    for delivery in pushes.flat_map(|push| push["deliveries"].as_array().unwrap()) {
        taken += u64::from(delivery["verdict"] == "taken");
        delivered += 1;
    }
    assert!(
        (taken..=delivered).contains(&seen),
        "{taken} of {delivered} pushes were taken, {seen} were seen"
    );
    kept
}

/// Seconds and templates of pushes: those that are alike in both may be told apart by nobody.
pub fn classes<'a>(pushes: impl Iterator<Item = &'a Value>) -> HashSet<(i64, String)> {
    pushes
        .map(|push| {
            let time: jiff::Timestamp = push["time"].as_str().unwrap().parse().unwrap();
            let mut templates: Vec<String> =
                push["template_ids"].as_array().unwrap().iter().map(Value::to_string).collect();
            templates.sort();
            (time.as_second(), templates.concat())
        })
        .collect()
}

/// Pushes of this event that the service took.
pub fn taken<'a>(truth: &'a Truth, event: &str) -> Vec<&'a Value> {
    truth.pushes.iter().filter(|push| push["event"] == event && was_taken(push)).collect()
}

/// Every push about settings and sends that was taken is on the books once, and none that was not.
pub fn acted_on_once(case: &Case<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    let (mut ended, mut named) = (HashSet::new(), HashMap::<String, String>::new());
    let mut final_words: BTreeMap<&str, u64> = BTreeMap::new();
    let mut rested_on = HashSet::new();
    let (mut sent, mut switched) = (HashSet::new(), HashSet::new());
    for event in &case.ours.events {
        let data = &event.data;
        let text = |field: &str| data[field].as_str().unwrap_or_default();
        let kind = event.kind.as_str();
        let pushed = data["evidence"]["source"] == "wechat_push";
        let reference = data["evidence"]["ref"].as_str().unwrap_or_default();
        let delivery = text("delivery");
        if pushed {
            rested_on.insert(reference);
        }
        if matches!(kind, "ledger.consumed" | "ledger.settled_late") {
            ended.insert(delivery);
            if let Some(msgid) = data["wechat_msgid"].as_str() {
                let of = named.entry(msgid.to_owned()).or_insert_with(|| delivery.to_owned());
                if of != delivery && kind == "ledger.settled_late" {
                    faults
                        .push(format!("{delivery} is settled by the message {msgid}, which is that of {of}"));
                }
            }
        }
        if !pushed {
            continue;
        }
        match kind {
            "ledger.confirmed" | "ledger.undelivered" | "ledger.stranger_reported" => {
                sent.insert(reference);
                // A push that is quicker than the answer may turn out to be about another send, and is judged anew.
                if kind == "ledger.stranger_reported" || ended.contains(delivery) {
                    *final_words.entry(reference).or_default() += 1;
                }
            }
            "ledger.settled_late" => drop(sent.insert(reference)),
            "ledger.suspended" => drop(switched.insert(reference)),
            _ => {}
        }
    }
    faults.extend(
        final_words
            .iter()
            .filter(|(_, times)| **times > 1)
            .map(|(push, times)| format!("the push {push} is acted on {times} times")),
    );
    let came = case.ground.inbox.iter().filter(|(_, push)| led_to_events(case, push));
    let came: HashSet<&str> = came.map(|(key, _)| key.as_str()).collect();
    for key in came.symmetric_difference(&rested_on) {
        faults.push(format!(
            "the push {key} is either kept and not on the books, or on the books and not kept"
        ));
    }
    let taken_sent = taken(case.truth, "subscribe_msg_sent_event").len();
    if sent.len() != taken_sent {
        faults.push(format!("{taken_sent} sent events were taken, {} are on the books", sent.len()));
    }
    let changes = taken(case.truth, "subscribe_msg_change_event");
    let fewest = classes(changes.iter().copied()).len();
    if !(fewest..=changes.len()).contains(&switched.len()) {
        faults.push(format!(
            "{} changes of settings were taken, {} are on the books",
            changes.len(),
            switched.len()
        ));
    }
    faults
}

/// Whether a push is kept as one that led to events of this pair.
fn led_to_events(case: &Case<'_>, push: &Value) -> bool {
    let acted = |item: &Value| {
        item["template_id"] == *case.pair.1
            && item["events"].as_array().is_some_and(|events| !events.is_empty())
    };
    push["subject"].is_string()
        && push["subject"] == case.ours.shown["subject"]
        && push["effect"]["items"].as_array().is_some_and(|items| items.iter().any(acted))
}
