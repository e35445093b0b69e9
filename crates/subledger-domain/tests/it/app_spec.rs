//! A sender app exists once and holds a bounded number of keys.

use std::collections::BTreeSet;

use subledger_domain::app::*;

use crate::support::*;

fn created() -> Created {
    Created { name: "Orders".to_owned(), rights: BTreeSet::from([Right::Send, Right::Read]), channels: None }
}

fn added(n: usize) -> KeyAdded {
    KeyAdded { key: format!("key-{n}"), hash: "00".repeat(32) }
}

fn with_keys(n: usize) -> Vec<AppEvent> {
    let keys = (0..n).map(|n| AppEvent::KeyAdded(added(n)));
    std::iter::once(AppEvent::Created(created())).chain(keys).collect()
}

#[test]
fn an_app_is_created_once() {
    spec::<App>(vec![], AppCommand::Create(created()), with_keys(0));
    refused::<App>(with_keys(0), AppCommand::Create(created()), AppError::AlreadyCreated);
}

#[test]
fn an_app_that_does_not_exist_has_no_keys() {
    refused::<App>(vec![], AppCommand::AddKey(added(1)), AppError::NotCreated);
    let revoke = AppCommand::RevokeKey(KeyRevoked { key: "key-1".to_owned() });
    refused::<App>(vec![], revoke, AppError::NotCreated);
}

#[test]
fn keys_are_unique_and_few() {
    spec::<App>(with_keys(1), AppCommand::AddKey(added(1)), vec![AppEvent::KeyAdded(added(1))]);
    refused::<App>(with_keys(2), AppCommand::AddKey(added(1)), AppError::DuplicateKey);
    let error = AppError::TooManyKeys { limit: MAX_LIVE_KEYS };
    refused::<App>(with_keys(MAX_LIVE_KEYS), AppCommand::AddKey(added(99)), error);
}

#[test]
fn a_revoked_key_is_gone_and_makes_room() {
    let revoked = KeyRevoked { key: "key-0".to_owned() };
    let event = AppEvent::KeyRevoked(revoked.clone());
    let full = with_keys(MAX_LIVE_KEYS);
    spec::<App>(full.clone(), AppCommand::RevokeKey(revoked.clone()), vec![event.clone()]);
    let history = [full, vec![event]].concat();
    refused::<App>(history.clone(), AppCommand::RevokeKey(revoked), AppError::NoSuchKey);
    spec::<App>(history, AppCommand::AddKey(added(99)), vec![AppEvent::KeyAdded(added(99))]);
}

#[test]
fn every_right_has_a_name_that_leads_back_to_it() {
    let names: BTreeSet<_> = Right::ALL.iter().map(|right| right.as_str()).collect();
    assert_eq!(names.len(), Right::ALL.len());
    for right in Right::ALL {
        assert_eq!(Right::from_name(right.as_str()), Some(right));
        assert_eq!(serde_json::to_value(right).unwrap(), right.as_str());
    }
    assert_eq!(Right::from_name("everything"), None);
}
