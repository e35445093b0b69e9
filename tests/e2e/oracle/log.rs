//! The service's side: its event feed, its ledgers and its messages, read through the public API.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{truth::Pair, world::World};

/// One event of a ledger.
#[derive(Debug, Clone)]
pub struct Event {
    pub position: u64,
    pub kind: String,
    pub recorded_at: String,
    pub data: Value,
}

/// The service's side of a pair.
#[derive(Debug, Clone, Default)]
pub struct Ours {
    pub events: Vec<Event>,
    /// The ledger as the API shows it.
    pub shown: Value,
}

pub struct Log {
    pub pairs: BTreeMap<Pair, Ours>,
    pub events: u64,
}

impl Log {
    /// Reads everything up to this position, which must be the last.
    pub async fn read(world: &World, position: u64) -> Self {
        let mut pairs: BTreeMap<Pair, Ours> = BTreeMap::new();
        let mut people: HashMap<String, String> = HashMap::new();
        for ledger in list(world, "/ledgers", position).await {
            let text = |field: &str| ledger[field].as_str().unwrap().to_owned();
            people.insert(text("subject"), text("openid"));
            let pair = (text("openid"), text("template_id"));
            pairs.insert(pair, Ours { events: Vec::new(), shown: ledger.clone() });
        }
        let mut after = 0;
        while after < position {
            let path = format!("/events?log={}&after={after}&limit=1000", world.channel);
            let page = world.client.get(&path).await;
            for event in page.expect_status(200)["items"].as_array().unwrap() {
                after += 1;
                assert_eq!(event["position"].as_u64(), Some(after), "the log has a hole: {event}");
                let stream: Vec<&str> = event["stream"].as_str().unwrap().split('/').collect();
                let ["ledger", subject, template] = stream[..] else { continue };
                let pair = (people[subject].clone(), template.to_owned());
                pairs.get_mut(&pair).expect("a ledger with events is listed").events.push(Event {
                    position: after,
                    kind: event["kind"].as_str().unwrap().to_owned(),
                    recorded_at: event["recorded_at"].as_str().unwrap().to_owned(),
                    data: event["data"].clone(),
                });
            }
        }
        assert_eq!(after, position, "something happened while nothing should");
        Self { pairs, events: position }
    }
}

/// Checks that each message's recipients are in exactly one state each. Answers how many there were.
pub async fn messages_add_up(world: &World, position: u64) -> BTreeMap<String, u64> {
    let mut states: BTreeMap<String, u64> = BTreeMap::new();
    let messages = list(world, "/messages", position).await;
    let asked: HashMap<String, (usize, u64)> = {
        let known = world.known.lock().unwrap();
        known.asked.values().map(|one| (one.msgid.clone(), (one.openids.len(), one.skipped))).collect()
    };
    assert_eq!(messages.len(), asked.len(), "one message for each request");
    for message in messages {
        let (targeted, skipped) = asked[message["msgid"].as_str().unwrap()];
        let counts = message["counts"].as_object().unwrap();
        let sum: u64 = counts.values().filter_map(Value::as_u64).sum();
        assert_eq!(message["targeted"].as_u64(), Some(sum), "targeted is the sum of the states: {message}");
        assert_eq!(targeted as u64, sum, "{message}");
        assert!(message["counts"]["skipped"].as_u64() >= Some(skipped), "{message}");
        for (state, count) in counts {
            *states.entry(state.clone()).or_default() += count.as_u64().unwrap();
        }
    }
    states
}

/// All items of a list, as it is at this position or later.
pub async fn list(world: &World, path: &str, position: u64) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        // The list of pushes is no read model and knows no position.
        let at = if path == "/pushes" { String::new() } else { format!("&min_position={position}") };
        let path = world.path(&format!("{path}?limit=200{at}{cursor}"));
        let page = world.client.get(&path).await;
        let page = page.expect_status(200);
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}
