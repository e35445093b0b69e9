//! The books balance: whatever is sent, dropped or sent twice, every accepting tap pays for exactly one message.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use subledger_sandbox::{CallPath, Choice, FaultKind, FaultSpec, TapSpec, Template};
use tokio::task::JoinSet;

use crate::support::{APP, World, code};

const ROUNDS: usize = 12;
const TAPS_A_ROUND: usize = 4;
const SENDS_A_ROUND: usize = 25;

#[tokio::test]
async fn accepted_messages_equal_accepting_taps_when_oversent() {
    for seed in [1, 2, 3] {
        run(seed).await;
    }
}

async fn run(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let world = World::new().await;
    let token = world.token().await;
    let users: Vec<String> = (0..4).map(|_| world.user()).collect();
    let titled = |i: i32| Template::one_time("", &format!("题{i}"), "一:{{thing1.DATA}}");
    let templates: Vec<String> =
        (0..3).map(|i| world.wechat.create_template(APP, titled(i)).unwrap()).collect();
    let mut taps: BTreeMap<(String, String), u64> = BTreeMap::new();
    for kind in [FaultKind::DropBeforeCommit, FaultKind::DropAfterCommit, FaultKind::Garbage] {
        let spec =
            FaultSpec { times: 0, probability: 0.1, commit: kind == FaultKind::Garbage, ..on_send(kind) };
        world.wechat.inject(spec).unwrap();
    }
    world
        .wechat
        .inject(FaultSpec { ms: Some(3), times: 0, probability: 0.3, ..on_send(FaultKind::Latency) })
        .unwrap();
    for _ in 0..ROUNDS {
        for _ in 0..TAPS_A_ROUND {
            let (user, template) = (pick(&mut rng, &users), pick(&mut rng, &templates));
            let choice = if rng.random_range(0..4) == 0 { Choice::Reject } else { Choice::Accept };
            world.wechat.tap(APP, &TapSpec::new(&user, &[&template], choice)).unwrap();
            *taps.entry((user, template)).or_default() += u64::from(choice.is_accept());
        }
        let mut sends = JoinSet::new();
        for _ in 0..SENDS_A_ROUND {
            let body = body(&pick(&mut rng, &users), &pick(&mut rng, &templates));
            sends.spawn(world.send_request(&token, &body).send());
        }
        while let Some(sent) = sends.join_next().await {
            drop(sent.unwrap());
        }
    }
    world.wechat.clear_faults();
    for user in &users {
        for template in &templates {
            // One more than could ever have been granted: the last must be refused.
            let mut last = 0;
            for _ in 0..=ROUNDS * TAPS_A_ROUND {
                last = code(&world.send(&token, &body(user, template)).await);
                if last != 0 {
                    break;
                }
            }
            assert_eq!(last, 43101);
        }
    }
    balance(&world, &taps);
}

fn balance(world: &World, taps: &BTreeMap<(String, String), u64>) {
    let mut accepted: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut msgids = BTreeSet::new();
    let mut unanswered = 0;
    for entry in world.wechat.journal() {
        assert_eq!(entry.committed, entry.msgid.is_some());
        assert_eq!(entry.committed, entry.errcode == Some(0));
        if let Some(msgid) = entry.msgid {
            assert!(msgids.insert(msgid), "a msgid came twice");
            *accepted.entry((entry.openid.unwrap(), entry.template_id.unwrap())).or_default() += 1;
            unanswered += u64::from(!entry.answered);
        }
    }
    let granted: BTreeMap<_, _> =
        taps.iter().filter(|(_, n)| **n > 0).map(|(k, n)| (k.clone(), *n)).collect();
    assert_eq!(accepted, granted);
    assert!(accepted.values().sum::<u64>() > 20, "the run is too quiet to prove anything");
    assert!(unanswered > 0, "no accepted send lost its answer");
}

fn on_send(kind: FaultKind) -> FaultSpec {
    FaultSpec::on(kind, CallPath::Send)
}

fn pick(rng: &mut StdRng, from: &[String]) -> String {
    from[rng.random_range(0..from.len())].clone()
}

fn body(user: &str, template: &str) -> serde_json::Value {
    json!({ "touser": user, "template_id": template, "data": { "thing1": { "value": "一" } } })
}
