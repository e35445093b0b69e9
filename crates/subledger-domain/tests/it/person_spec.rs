//! An erasure is recorded with its reason and its channels, as often as it happens.

use std::collections::BTreeSet;

use cqrs_es::Aggregate;
use subledger_domain::person::*;

use crate::support::*;

fn erased(contents: u32) -> Erased {
    Erased {
        channels: BTreeSet::from(["wechatmp123".parse().unwrap()]),
        userid: true,
        openids: 1,
        contents,
        pushes: 0,
        retracted: 0,
        evidence: operator(NOW),
    }
}

#[test]
fn an_erasure_is_recorded_and_may_happen_again() {
    let first = PersonEvent::Erased(erased(2));
    spec::<Person>(vec![], PersonCommand::Erase(erased(2)), vec![first.clone()]);
    let again = PersonEvent::Erased(erased(0));
    spec::<Person>(vec![first.clone()], PersonCommand::Erase(erased(0)), vec![again.clone()]);
    let mut person = Person::default();
    assert_eq!((person.erased(), person.times()), (None, 0));
    [first, again].into_iter().for_each(|event| person.apply(event));
    assert_eq!((person.erased(), person.times()), (Some(&erased(0)), 2), "the newest one counts");
}

#[test]
fn an_erasure_without_a_reason_or_a_channel_is_refused() {
    for reason in [None, Some("  ".to_owned())] {
        let mut silent = erased(1);
        silent.evidence.reason = reason;
        refused::<Person>(vec![], PersonCommand::Erase(silent), PersonError::NoReason);
    }
    let nowhere = Erased { channels: BTreeSet::new(), ..erased(1) };
    refused::<Person>(vec![], PersonCommand::Erase(nowhere), PersonError::NoChannel);
}
