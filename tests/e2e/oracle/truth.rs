//! What really happened, read from the simulated WeChat's journals.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use super::{driver::report_id, world::World};

/// A user and a template.
pub type Pair = (String, String);

/// One template's answer in one tap.
#[derive(Debug, Clone)]
pub struct Answer {
    pub tap: String,
    pub time: jiff::Timestamp,
    pub accept: bool,
    /// The push that speaks of it.
    pub push: Option<u64>,
}

/// WeChat's side of a pair.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    pub remaining: i64,
    pub accepts: i64,
    pub capped: i64,
    pub accepted_sends: i64,
    pub forfeited: i64,
    pub cleared: i64,
    pub returned: i64,
    pub answers: Vec<Answer>,
    /// The template or the main switch was off at some time.
    pub ever_off: bool,
    /// The journal's entries of sends.
    pub sends: Vec<Value>,
    /// Acts, to be shown.
    pub acts: Vec<Value>,
    /// Pushes that speak of it.
    pub pushes: Vec<Value>,
}

/// Everything of one round.
pub struct Truths {
    pub pairs: BTreeMap<Pair, Truth>,
    pub pushes: HashMap<u64, Value>,
}

impl Truths {
    pub async fn read(world: &World) -> Self {
        let appid = &world.appid;
        let books = world.wechat.get(&world.control("/books")).await;
        assert_eq!(books["waiting_deliveries"], 0, "pushes are still to come");
        let mut pairs: BTreeMap<Pair, Truth> = BTreeMap::new();
        for user in books["users"].as_array().unwrap() {
            for (template, count) in user["templates"].as_object().unwrap() {
                let number = |field: &str| count[field].as_i64().unwrap();
                let truth = Truth {
                    remaining: number("remaining"),
                    accepts: number("accept_taps"),
                    capped: number("capped"),
                    accepted_sends: number("accepted_sends"),
                    forfeited: number("forfeited"),
                    cleared: number("cleared"),
                    returned: number("returned"),
                    ..Truth::default()
                };
                pairs.insert((user["openid"].as_str().unwrap().to_owned(), template.clone()), truth);
            }
        }
        let mut truths = Self { pairs, pushes: HashMap::new() };
        let kept: HashSet<String> = {
            let known = world.known.lock().unwrap();
            let kept = known.taps.iter().filter(|(_, tapped)| tapped.keep);
            kept.map(|(number, _)| report_id(*number)).collect()
        };
        for act in world.wechat.pages("/sandbox/acts", appid).await {
            truths.act(&act, &world.templates, &kept);
        }
        for entry in world.wechat.pages("/sandbox/journal", appid).await {
            if let Some(truth) = truths.pair(&entry["openid"], &entry["template_id"]) {
                truth.sends.push(entry);
            }
        }
        for push in world.wechat.pages("/sandbox/pushes", appid).await {
            for template in push["template_ids"].as_array().unwrap() {
                if let Some(truth) = truths.pair(&push["openid"], template) {
                    truth.pushes.push(push.clone());
                }
            }
            truths.pushes.insert(push["seq"].as_u64().unwrap(), push);
        }
        truths
    }

    fn pair(&mut self, openid: &Value, template: &Value) -> Option<&mut Truth> {
        self.pairs.get_mut(&(openid.as_str()?.to_owned(), template.as_str()?.to_owned()))
    }

    fn act(&mut self, act: &Value, templates: &[String], kept: &HashSet<String>) {
        if act["kind"] == "tap" {
            let time = act["time"].as_str().unwrap().parse().unwrap();
            for answer in act["answers"].as_array().unwrap() {
                let truth = self.pair(&act["openid"], &answer["template_id"]).unwrap();
                let word = answer["choice"].as_str().unwrap();
                truth.answers.push(Answer {
                    tap: act["id"].as_str().unwrap().to_owned(),
                    time,
                    accept: word.starts_with("accept"),
                    push: act["push"].as_u64(),
                });
                // "Always keep" with a refusal switches the template off.
                let stays = answer["silent"] == true || kept.contains(act["id"].as_str().unwrap());
                truth.ever_off |= word == "reject" && stays;
                truth.acts.push(act.clone());
            }
            return;
        }
        for template in templates {
            if act["template_id"].is_null() || act["template_id"] == template.as_str() {
                let truth = self.pair(&act["openid"], &Value::from(template.as_str())).unwrap();
                truth.ever_off |= matches!(act["state"].as_str(), Some("reject" | "main_switch_off"));
                truth.acts.push(act.clone());
            }
        }
    }
}

/// Whether the receiver took a push at least once.
pub fn was_taken(push: &Value) -> bool {
    push["deliveries"].as_array().is_some_and(|all| all.iter().any(|one| one["verdict"] == "taken"))
}
