//! A checker that cannot fail proves nothing: each lie below is told about every pair it can be told about, and must be noticed.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    book::Book,
    check::{Case, Ground},
    log::{Event, Log, Ours},
    truth::{Truth, Truths},
    world::World,
};

/// Changes what a pair looks like; false if there is nothing to change.
type Lie = fn(&mut Truth, &mut Ours) -> bool;

const LIES: &[(&str, Lie)] = &[
    ("a grant is missing", |_, ours| remove(ours, "ledger.granted")),
    ("a grant is there twice", |_, ours| repeat(ours, "ledger.granted")),
    ("a tap nobody made is on the books", |_, ours| {
        change(ours, "ledger.granted", |event| event.data["evidence"]["ref"] = json!("tap-of-nobody"))
    }),
    ("a refusal is missing", |_, ours| remove(ours, "ledger.rejected")),
    ("what was sent is released", |_, ours| {
        change(ours, "ledger.consumed", |event| {
            event.kind = "ledger.released".to_owned();
            event.data["why"] = json!("retracted");
        })
    }),
    ("what was sent is never settled", |_, ours| remove(ours, "ledger.consumed")),
    ("a grant pays for a second message", |_, ours| repeat(ours, "ledger.reserved")),
    ("the newest lot is spent first", |_, ours| {
        change(ours, "ledger.reserved", |event| {
            event.data["lot"] = json!(event.data["lot"].as_u64().unwrap() + 1)
        })
    }),
    ("the user got a second card", |truth, _| {
        let sent =
            truth.sends.iter().find(|send| send["committed"] == true && send["page"] != "pages/stranger");
        let again = sent.cloned();
        truth.accepted_sends += i64::from(again.is_some());
        truth.remaining -= i64::from(again.is_some());
        let told = again.is_some();
        truth.sends.extend(again);
        told
    }),
    ("WeChat accepted what no grant was set aside for", |truth, _| {
        truth.accepted_sends += 1;
        truth.remaining -= 1;
        truth.sends.push(json!({ "page": "pages/o?n=nobody", "committed": true, "errcode": 0 }));
        true
    }),
    ("WeChat never saw what we call sent", |truth, ours| {
        let consumed = ours.events.iter().any(|event| event.kind == "ledger.consumed");
        let sent =
            truth.sends.iter().position(|send| send["committed"] == true && send["page"] != "pages/stranger");
        let Some(at) = sent
            .filter(|_| consumed && truth.sends.iter().filter(|send| send["committed"] == true).count() == 1)
        else {
            return false;
        };
        truth.sends.remove(at);
        truth.accepted_sends -= 1;
        truth.remaining += 1;
        true
    }),
    ("WeChat counts one less", |truth, _| {
        truth.remaining -= 1;
        true
    }),
    ("the balance shown is one more", |_, ours| {
        let Some(balance) = ours.shown["balance"].as_u64() else { return false };
        ours.shown["balance"] = json!(balance + 1);
        true
    }),
    ("drift out of nothing", |truth, ours| {
        let mut book = Book::default();
        ours.events.iter().for_each(|event| book.read(&event.kind, &event.data));
        let lots = book.open();
        if truth.ever_off || lots.is_empty() {
            return false;
        }
        (ours.shown["balance"], ours.shown["voided"]) =
            (json!(0), json!(lots.len() as u64 + ours.shown["voided"].as_u64().unwrap()));
        let data = json!({ "delivery": "nobody-0", "lots": lots });
        let kind = "ledger.drift_found".to_owned();
        ours.events.push(Event { position: 0, kind, recorded_at: String::new(), data });
        true
    }),
];

/// Lies that need what not every short run has.
const RARE_LIES: &[(&str, Lie)] = &[
    ("a consent is missing", |_, ours| remove(ours, "ledger.consented")),
    ("a deadline closed a doubt before its time", |_, ours| {
        let Some(at) = closed_by_policy(ours) else { return false };
        let delivery = ours.events[at].data["delivery"].clone();
        let doubt = |event: &&Event| event.kind == "ledger.doubted" && event.data["delivery"] == delivery;
        let since = ours.events[..at].iter().rev().find(doubt).map(|event| event.recorded_at.clone());
        since.map(|since| ours.events[at].recorded_at = since).is_some()
    }),
    ("a deadline closed a doubt the other way", |_, ours| {
        let Some(at) = closed_by_policy(ours) else { return false };
        let sent = ours.events[at].data["outcome"] == "sent";
        ours.events[at].data["outcome"] = json!(if sent { "not_sent" } else { "sent" });
        true
    }),
];

fn closed_by_policy(ours: &Ours) -> Option<usize> {
    ours.events.iter().rposition(|event| {
        event.kind == "ledger.settled_late" && event.data["evidence"]["source"] == "policy"
    })
}

/// Tells every lie about every pair it can be told about, and counts them.
pub fn are_noticed(
    world: &World,
    ground: &Ground,
    truths: &Truths,
    log: &Log,
    told: &mut BTreeMap<&'static str, u64>,
) {
    for (name, lie) in LIES.iter().chain(RARE_LIES) {
        for (pair, truth) in &truths.pairs {
            let Some(ours) = log.pairs.get(pair) else { continue };
            let (mut truth, mut ours) = (truth.clone(), ours.clone());
            if !lie(&mut truth, &mut ours) {
                continue;
            }
            let mut case = Case::new(world, ground, pair, truths, (&truth, &ours));
            case.check();
            // Where something may have been too much on the books, a drift is believed.
            let made_up = ours.events.last().is_some_and(|event| event.position == 0);
            if case.faults.is_empty() && case.surplus > 0 && made_up {
                continue;
            }
            *told.entry(name).or_default() += 1;
            assert!(
                !case.faults.is_empty(),
                "the checker believes that {name}: {pair:?} {}",
                super::tell::failure(&case, "")
            );
        }
    }
}

/// Every lie was told about somebody, but for the rare ones.
pub fn were_told(told: &BTreeMap<&'static str, u64>) {
    let untold: Vec<_> =
        LIES.iter().map(|(name, _)| name).filter(|name| !told.contains_key(**name)).collect();
    assert!(untold.is_empty(), "these lies could be told about nobody: {untold:?}");
}

fn find(ours: &Ours, kind: &str) -> Option<usize> {
    ours.events.iter().rposition(|event| event.kind == kind)
}

fn remove(ours: &mut Ours, kind: &str) -> bool {
    let found = find(ours, kind);
    found.map(|at| ours.events.remove(at)).is_some()
}

fn repeat(ours: &mut Ours, kind: &str) -> bool {
    let Some(at) = find(ours, kind) else { return false };
    let again = ours.events[at].clone();
    ours.events.insert(at + 1, again);
    true
}

fn change(ours: &mut Ours, kind: &str, change: impl FnOnce(&mut Event)) -> bool {
    let Some(at) = find(ours, kind) else { return false };
    change(&mut ours.events[at]);
    true
}
