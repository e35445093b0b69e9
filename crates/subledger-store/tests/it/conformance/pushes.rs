//! Pushes from WeChat as they are kept.

use std::collections::BTreeMap;

use subledger_domain::{Timestamp, ledger::Ledger};
use subledger_store::{
    Amount, Effect, Executor, Held, KeptPush, KindHealth, MAX_PUSH_BYTES, PushFilter, PushFormat, PushHealth,
    PushKey, PushKind, PushMode, PushPage, PushRow, PushState, RelayEnd, RelayHealth, RelayRoom, RelayState,
    RetentionClass, Stop, Store, StoreError, StreamRef, SubmitError, Work, verify_chain,
};

use crate::{
    fixture::{Db, START},
    works::{Custom, Effects, Grant, all, in_one_batch, ledger, log, receipt, subject, submit, submit_with},
};

/// A moment that is still far away for every clock, the servers' included.
pub const FAR: Timestamp = Timestamp::from_seconds(4_000_000_000);
const EFFECT: &str = r#"{"granted":1}"#;

pub fn key(number: u128) -> PushKey {
    PushKey::from_bytes(number.to_be_bytes())
}

pub fn body(number: u128) -> Vec<u8> {
    format!("<xml>oPERSON-{number:04}</xml>").into_bytes()
}

/// A popup of this sender; 0 is nobody.
pub fn row(number: u128, whose: u128) -> PushRow {
    PushRow {
        key: key(number),
        received_at: START,
        kind: PushKind::Popup,
        event: "subscribe_msg_popup_event".to_owned(),
        subject: (whose > 0).then(|| subject(whose)),
        mode: PushMode::Secure,
        format: PushFormat::Xml,
        body: body(number),
        relay_due_at: None,
    }
}

pub fn settle(number: u128, state: PushState) -> Effect {
    Effect::SettlePush { key: key(number), state, effect: EFFECT.to_owned() }
}

pub async fn write(executor: &Executor, name: &str, effects: Vec<Effect>) {
    submit(executor, name, Effects(effects)).await.unwrap();
}

/// Keeps a push and settles it, in one command.
async fn keep(executor: &Executor, name: &str, row: PushRow, state: PushState) {
    let effects = match state {
        PushState::Pending => Vec::new(),
        state => vec![Effect::SettlePush { key: row.key, state, effect: EFFECT.to_owned() }],
    };
    write(executor, name, [vec![Effect::KeepPush(row)], effects].concat()).await;
}

async fn state(store: &Store, number: u128) -> Option<PushState> {
    store.push(&log("mp"), key(number)).await.unwrap().map(|found| found.push.state)
}

/// A tap reported by a push: a grant, the push, and what came of it.
fn tapped(number: u128) -> Custom<u64> {
    let grant = Grant(ledger(1));
    Custom::new(vec![StreamRef::of::<Ledger>(ledger(1))], move |stage| {
        stage.effect(Effect::KeepPush(row(number, 1)));
        let balance = grant.decide(stage)?;
        stage.effect(settle(number, PushState::Acted));
        Ok(balance)
    })
}

pub async fn a_push_its_events_and_its_receipt_are_one_commit(db: Db) {
    let (store, executor) = db.node().await;
    let id = || Some(receipt(&format!("push:{}", key(1)), 1));
    let done = submit_with(&executor, "mp", id(), tapped(1)).await.unwrap();
    assert_eq!((done.answer, done.replayed), (1, false));
    let found = store.push(&log("mp"), key(1)).await.unwrap().unwrap();
    assert_eq!(found.body, body(1));
    let expected = KeptPush {
        id: found.push.id,
        log: log("mp"),
        key: key(1),
        received_at: START,
        kind: PushKind::Popup,
        event: "subscribe_msg_popup_event".to_owned(),
        subject: Some(subject(1)),
        mode: PushMode::Secure,
        format: PushFormat::Xml,
        state: PushState::Acted,
        effect: Some(EFFECT.to_owned()),
        seen: 1,
        last_seen_at: START,
        relay: RelayState::None,
        relay_due_at: None,
        relay_attempts: 0,
        relay_node: None,
        relay_status: None,
        relay_since: START,
    };
    assert_eq!(found.push, expected);
    assert!(store.push(&log("mp2"), key(1)).await.unwrap().is_none());
    let again = submit_with(&executor, "mp", id(), tapped(1)).await.unwrap();
    assert_eq!((again.answer, again.replayed), (1, true));
    assert_eq!(db.number("select count(*) from push").await, 1);
    assert_eq!(verify_chain(&all(&store, "mp").await).unwrap().0, done.position);

    db.clock.advance_seconds(60);
    assert!(store.note_push_again(&log("mp"), key(1)).await.unwrap());
    assert!(!store.note_push_again(&log("mp"), key(2)).await.unwrap());
    assert!(!store.note_push_again(&log("mp2"), key(1)).await.unwrap());
    let noted = store.push(&log("mp"), key(1)).await.unwrap().unwrap().push;
    assert_eq!(noted, KeptPush { seen: 2, last_seen_at: START.plus_seconds(60), ..expected });
}

pub async fn a_command_that_leaves_nothing_leaves_no_push(db: Db) {
    let (store, executor) = db.node().await;
    let refused = Custom::<()>::new(Vec::new(), |stage| {
        stage.effect(Effect::KeepPush(row(1, 1)));
        Err(Stop::Refuse("no".to_owned()))
    });
    assert!(matches!(submit(&executor, "mp", refused).await, Err(SubmitError::Refused(_))));
    let secret = || Effect::KeepSecret { reference: "ref-1".into(), secret: "x".to_owned().into() };
    write(&executor, "mp", vec![secret()]).await;
    // The database refuses the secret, after the push was written.
    let poison = Effects(vec![Effect::KeepPush(row(2, 1)), settle(2, PushState::Acted), secret()]);
    let commands = vec![submit(&executor, "mp", poison), submit(&executor, "mp", Effects(vec![]))];
    let ended = in_one_batch(&executor, "mp", commands).await;
    assert!(matches!(ended[0], Err(SubmitError::Store { .. })));
    let id = Some(receipt("push:3", 1));
    submit_with(&executor, "mp", id, tapped(3)).await.unwrap();
    assert_eq!([state(&store, 1).await, state(&store, 2).await], [None, None]);
    assert_eq!(state(&store, 3).await, Some(PushState::Acted));
}

pub async fn a_second_push_of_a_key_is_not_kept(db: Db) {
    let (store, executor) = db.node().await;
    let other = || PushRow { body: b"other".to_vec(), relay_due_at: Some(START), ..row(1, 2) };
    let keep = |row| submit(&executor, "mp", Effects(vec![Effect::KeepPush(row)]));
    let ended = in_one_batch(&executor, "mp", vec![keep(row(1, 1)), keep(other())]).await;
    assert!(ended.iter().all(Result::is_ok));
    let first = store.push(&log("mp"), key(1)).await.unwrap().unwrap();
    assert_eq!((&first.body, first.push.relay), (&body(1), RelayState::None));
    keep(other()).await.unwrap();
    assert_eq!(store.push(&log("mp"), key(1)).await.unwrap().unwrap(), first);
    // One after the other, or in one batch: what was said last of what became of it holds.
    write(&executor, "mp", vec![settle(1, PushState::Failed)]).await;
    assert_eq!(state(&store, 1).await, Some(PushState::Failed));
    keep(other()).await.unwrap();
    assert_eq!(state(&store, 1).await, Some(PushState::Failed));
    write(&executor, "mp", vec![Effect::KeepPush(other()), settle(1, PushState::Acted)]).await;
    let last = store.push(&log("mp"), key(1)).await.unwrap().unwrap();
    assert_eq!((last.push.state, last.push.effect.as_deref()), (PushState::Acted, Some(EFFECT)));
    assert_eq!((last.body, last.push.id), (first.body, first.push.id));
    // Another log has its own.
    write(&executor, "mp2", vec![Effect::KeepPush(other())]).await;
    assert_eq!(store.push(&log("mp2"), key(1)).await.unwrap().unwrap().body, b"other");
    write(&executor, "mp", vec![settle(9, PushState::Acted)]).await;
    assert_eq!(state(&store, 9).await, None);
}

pub async fn within_one_batch_a_push_may_be_kept_settled_and_forgotten(db: Db) {
    let (store, executor) = db.node().await;
    let one = |effect| submit(&executor, "mp", Effects(vec![effect]));
    let forget = |whose| Effect::ForgetPushes { subject: subject(whose) };
    write(&executor, "mp", vec![Effect::KeepPush(row(1, 7)), Effect::KeepPush(row(2, 8))]).await;
    let ended = in_one_batch(
        &executor,
        "mp",
        vec![
            one(Effect::KeepPush(row(3, 7))),
            one(Effect::KeepPush(row(4, 8))),
            one(settle(4, PushState::Ignored)),
            one(settle(2, PushState::Acted)),
            one(forget(7)),
            one(settle(1, PushState::Acted)),
            one(Effect::KeepPush(row(5, 7))),
            one(settle(5, PushState::Undecodable)),
        ],
    )
    .await;
    assert!(ended.iter().all(Result::is_ok));
    let mut states = Vec::new();
    for number in 1..=5 {
        states.push(state(&store, number).await);
    }
    let expected =
        [None, Some(PushState::Acted), None, Some(PushState::Ignored), Some(PushState::Undecodable)];
    assert_eq!(states, expected);
}

pub async fn what_cannot_be_kept_is_a_fault_of_its_command(db: Db) {
    let (store, executor) = db.node().await;
    let long = PushRow { body: vec![b'x'; MAX_PUSH_BYTES + 1], ..row(1, 1) };
    let settled = |effect: String| Effect::SettlePush { key: key(3), state: PushState::Acted, effect };
    let commands = vec![
        Effect::KeepPush(long),
        Effect::KeepPush(PushRow { body: vec![b'x'; MAX_PUSH_BYTES], ..row(2, 1) }),
        Effect::KeepPush(row(3, 1)),
        settled("x".repeat(4097)),
        settled("a\0b".to_owned()),
    ];
    let commands = commands.into_iter().map(|effect| submit(&executor, "mp", Effects(vec![effect])));
    let ended = in_one_batch(&executor, "mp", commands.collect()).await;
    let faults: Vec<bool> = ended.iter().map(|ended| matches!(ended, Err(SubmitError::Fault(_)))).collect();
    assert_eq!(faults, [true, false, false, true, true]);
    assert_eq!(state(&store, 1).await, None);
    let found = store.push(&log("mp"), key(2)).await.unwrap().unwrap();
    assert_eq!(found.body.len(), MAX_PUSH_BYTES);
    assert_eq!(state(&store, 3).await, Some(PushState::Pending));
}

pub async fn a_word_of_wechat_is_kept_short_and_printable(db: Db) {
    let (store, executor) = db.node().await;
    let event = format!("a\0b\n\u{7f}{}", "推".repeat(100));
    write(&executor, "mp", vec![Effect::KeepPush(PushRow { event, ..row(1, 0) })]).await;
    let found = store.push(&log("mp"), key(1)).await.unwrap().unwrap().push;
    assert_eq!(found.event, format!("ab{}", "推".repeat(62)));
    assert_eq!(found.subject, None);
}

pub async fn bodies_are_sealed_in_their_place(db: Db) {
    let (store, executor) = db.node().await;
    for number in 1..=2 {
        keep(&executor, "mp", row(number, number), PushState::Pending).await;
    }
    submit(&executor, "mp", Grant(ledger(1))).await.unwrap();
    let needles = [body(1), b"oPERSON".to_vec()];
    let found = |haystack: &[u8], needle: &[u8]| haystack.windows(needle.len()).any(|part| part == needle);
    if db.is_sqlite() {
        let path = db.url.strip_prefix("sqlite://").unwrap();
        let mut bytes = std::fs::read(path).unwrap();
        bytes.extend(std::fs::read(format!("{path}-wal")).unwrap());
        assert!(found(&bytes, b"subscribe_msg_popup_event"), "the search itself must work");
        assert!(!needles.iter().any(|needle| found(&bytes, needle)));
    }
    let sealed = db.bytes("select sealed from push order by id").await;
    assert_eq!(sealed.len(), 2);
    assert!(!sealed.iter().any(|row| needles.iter().any(|needle| found(row, needle))));
    // A body that was copied to another push does not open there.
    let copy =
        "update push set sealed = (select p.sealed from push p where p.state = 0 order by p.id limit 1)";
    db.tamper(copy).await;
    assert_eq!(store.push(&log("mp"), key(1)).await.unwrap().unwrap().body, body(1));
    assert!(matches!(store.push(&log("mp"), key(2)).await, Err(StoreError::Corrupt(_))));
    let pending = store.pending_pushes(10).await.unwrap();
    assert_eq!(pending.iter().map(|found| found.push.key).collect::<Vec<_>>(), [key(1)]);
    assert_eq!(numbers(&store, PushFilter::default(), PushPage::Newest, 9).await, [2, 1]);
}

/// Numbers of the pushes of a list.
async fn numbers(store: &Store, filter: PushFilter, page: PushPage, limit: u32) -> Vec<u128> {
    let listed = store.pushes(&log("mp"), &filter, page, limit).await.unwrap();
    assert!(listed.windows(2).all(|pair| pair[0].id > pair[1].id), "the newest first");
    listed.iter().map(|push| u128::from_be_bytes(*push.key.as_bytes())).collect()
}

pub async fn lists_run_from_the_newest_and_are_filtered(db: Db) {
    let (store, executor) = db.node().await;
    let kinds = [PushKind::Popup, PushKind::Sent, PushKind::Other];
    let states = [PushState::Acted, PushState::Pending, PushState::Ignored, PushState::Failed];
    for number in 1..=24_u128 {
        let at = number as usize;
        let mut row = PushRow { kind: kinds[at % 3], ..row(number, number % 5) };
        row.relay_due_at = (number % 2 == 0).then_some(START);
        keep(&executor, "mp", row, states[at % 4]).await;
        // A neighbour log, between the others in order of arrival.
        keep(&executor, "mp2", self::row(number, number % 5), PushState::Acted).await;
    }
    let all = || PushFilter::default();
    assert_eq!(numbers(&store, all(), PushPage::Newest, 5).await, [24, 23, 22, 21, 20]);
    let ids: BTreeMap<u128, u64> = {
        let listed = store.pushes(&log("mp"), &all(), PushPage::Newest, 100).await.unwrap();
        assert_eq!(listed.len(), 24);
        assert!(listed.iter().all(|push| push.log == log("mp")));
        listed.iter().map(|push| (u128::from_be_bytes(*push.key.as_bytes()), push.id)).collect()
    };
    assert_eq!(numbers(&store, all(), PushPage::Before(ids[&20]), 3).await, [19, 18, 17]);
    assert_eq!(numbers(&store, all(), PushPage::After(ids[&20]), 3).await, [23, 22, 21]);
    assert_eq!(numbers(&store, all(), PushPage::After(ids[&22]), 9).await, [24, 23]);
    for page in [PushPage::After(ids[&24]), PushPage::After(u64::MAX), PushPage::Before(0)] {
        assert!(numbers(&store, all(), page, 9).await.is_empty(), "{page:?}");
    }
    assert_eq!(numbers(&store, all(), PushPage::Before(u64::MAX), 2).await, [24, 23]);
    assert!(store.pushes(&log("nosuch"), &all(), PushPage::Newest, 9).await.unwrap().is_empty());

    // Every filter, alone and with others, against the definition.
    let mut filters = vec![all()];
    for kind in kinds.iter().chain(&[PushKind::Undecodable]) {
        filters.push(PushFilter { kind: Some(*kind), ..all() });
        for state in PushState::ALL {
            filters.push(PushFilter { kind: Some(*kind), state: Some(*state), ..all() });
        }
    }
    for state in PushState::ALL {
        filters.push(PushFilter { state: Some(*state), ..all() });
    }
    for relay in RelayState::ALL {
        filters.push(PushFilter { relay: Some(*relay), ..all() });
        filters.push(PushFilter { relay: Some(*relay), state: Some(PushState::Pending), ..all() });
        filters.push(PushFilter { relay: Some(*relay), subject: Some(subject(3)), ..all() });
    }
    filters.push(PushFilter { subject: Some(subject(2)), ..all() });
    filters.push(PushFilter { subject: Some(subject(2)), state: Some(PushState::Failed), ..all() });
    let before = PushPage::Before(ids[&20]);
    for filter in filters {
        let meets = |number: &u128| {
            let at = *number as usize;
            let relay = if number.is_multiple_of(2) { RelayState::Waiting } else { RelayState::None };
            let whose = (!number.is_multiple_of(5)).then(|| subject(number % 5));
            filter.kind.is_none_or(|kind| kind == kinds[at % 3])
                && filter.state.is_none_or(|state| state == states[at % 4])
                && filter.relay.is_none_or(|wanted| wanted == relay)
                && filter.subject.is_none_or(|subject| Some(subject) == whose)
        };
        let expected: Vec<u128> = (1..=24).rev().filter(meets).collect();
        assert_eq!(numbers(&store, filter, PushPage::Newest, 100).await, expected, "{filter:?}");
        let expected: Vec<u128> = (1..20).rev().filter(meets).take(3).collect();
        assert_eq!(numbers(&store, filter, before, 3).await, expected, "{filter:?}");
    }
    // An id that was given out is not given to another push, even if it was the newest.
    write(&executor, "mp", vec![Effect::ForgetPushes { subject: subject(4) }]).await;
    keep(&executor, "mp", row(25, 1), PushState::Acted).await;
    assert_eq!(numbers(&store, all(), PushPage::After(ids[&24]), 9).await, [25]);
}

pub async fn health_tells_counts_and_the_state_of_the_relay(db: Db) {
    let (store, executor) = db.node().await;
    let mp = log("mp");
    assert_eq!(store.push_health(&mp).await.unwrap(), PushHealth::default());
    let at = |seconds| START.plus_seconds(seconds);
    let relayed = |number: u128, whose, kind, seconds| PushRow {
        kind,
        received_at: at(seconds),
        relay_due_at: Some(START),
        ..row(number, whose)
    };
    keep(&executor, "mp", relayed(1, 1, PushKind::Popup, 1), PushState::Acted).await;
    keep(&executor, "mp", relayed(2, 2, PushKind::Popup, 2), PushState::Pending).await;
    keep(&executor, "mp", relayed(3, 3, PushKind::Sent, 3), PushState::Acted).await;
    let quiet = PushRow { kind: PushKind::Undecodable, received_at: at(4), ..row(4, 0) };
    keep(&executor, "mp", quiet, PushState::Undecodable).await;
    keep(&executor, "mp2", row(5, 0), PushState::Failed).await;
    let health = store.push_health(&mp).await.unwrap();
    let kind = |kept, seconds| KindHealth { kept, last_at: at(seconds) };
    let kinds =
        [(PushKind::Popup, kind(2, 2)), (PushKind::Sent, kind(1, 3)), (PushKind::Undecodable, kind(1, 4))];
    assert_eq!(health.kinds, BTreeMap::from(kinds));
    let states = [(PushState::Pending, 1), (PushState::Acted, 2), (PushState::Undecodable, 1)];
    assert_eq!(health.states, BTreeMap::from(states));
    let waiting = |waiting, oldest: Option<i64>, status: Option<&str>| RelayHealth {
        waiting,
        given_up: 0,
        oldest_waiting_at: oldest.map(at),
        last_status: status.map(str::to_owned),
    };
    assert_eq!(health.relay, waiting(3, Some(1), None));

    let lease = std::time::Duration::from_secs(60);
    let claimed = store.claim_relays("node-1", lease, &RelayRoom::of(10)).await.unwrap();
    let ids: Vec<u64> = claimed.iter().map(|claim| claim.push.id).collect();
    assert_eq!(store.push_health(&mp).await.unwrap().relay, waiting(3, Some(1), None));
    assert!(store.settle_relay(&mp, ids[1], "node-1", RelayEnd::Done).await.unwrap());
    assert_eq!(store.push_health(&mp).await.unwrap().relay, waiting(2, Some(1), Some("ok")));
    let again = RelayEnd::Again { due_at: FAR, status: "503".to_owned() };
    assert!(store.settle_relay(&mp, ids[0], "node-1", again).await.unwrap());
    assert_eq!(store.push_health(&mp).await.unwrap().relay, waiting(2, Some(1), Some("503")));
    let given_up = RelayEnd::GivenUp { status: "410".to_owned() };
    assert!(store.settle_relay(&mp, ids[2], "node-1", given_up).await.unwrap());
    let relay = store.push_health(&mp).await.unwrap().relay;
    assert_eq!(relay, RelayHealth { given_up: 1, ..waiting(1, Some(1), Some("503")) });
    db.tamper("update push set relay = 3 where relay = 1").await;
    let relay = store.push_health(&mp).await.unwrap().relay;
    assert_eq!(relay, RelayHealth { given_up: 1, ..waiting(0, None, Some("410")) });
}

pub async fn what_was_not_acted_on_is_found_oldest_first(db: Db) {
    let (store, executor) = db.node().await;
    for (number, name, seconds, state) in [
        (1, "mp", 30, PushState::Pending),
        (2, "mp2", 10, PushState::Pending),
        (3, "mp", 5, PushState::Acted),
        (4, "mp", 20, PushState::Pending),
        (5, "mp2", 6, PushState::Failed),
    ] {
        let row = PushRow { received_at: START.plus_seconds(seconds), ..row(number, 1) };
        keep(&executor, name, row, state).await;
    }
    let pending = async |limit| {
        let found = store.pending_pushes(limit).await.unwrap();
        let number = |key: PushKey| u128::from_be_bytes(*key.as_bytes());
        found.iter().map(|found| (found.push.log.clone(), number(found.push.key))).collect::<Vec<_>>()
    };
    assert_eq!(pending(10).await, [(log("mp2"), 2), (log("mp"), 4), (log("mp"), 1)]);
    assert_eq!(pending(1).await, [(log("mp2"), 2)]);
    write(&executor, "mp2", vec![settle(2, PushState::Acted)]).await;
    assert_eq!(store.pending_pushes(1).await.unwrap()[0].body, body(4));
}

const DAY: i64 = 24 * 3_600;

pub async fn pushes_go_by_age_unless_they_wait(db: Db) {
    let (store, executor) = db.node().await;
    let relayed = |number| PushRow { relay_due_at: Some(START), ..row(number, number) };
    keep(&executor, "mp", row(1, 1), PushState::Acted).await;
    keep(&executor, "mp2", row(2, 2), PushState::Undecodable).await;
    keep(&executor, "mp", row(3, 3), PushState::Pending).await;
    for number in [4, 5, 6] {
        keep(&executor, "mp", relayed(number), PushState::Ignored).await;
    }
    keep(&executor, "mp", relayed(7), PushState::Pending).await;
    let later = PushRow { received_at: START.plus_seconds(40 * DAY), ..row(8, 8) };
    keep(&executor, "mp", later, PushState::Acted).await;
    // 4 is done, 5 is leased, 6 and 7 wait.
    let claimed =
        store.claim_relays("node-1", std::time::Duration::from_secs(60), &RelayRoom::of(2)).await.unwrap();
    assert!(store.settle_relay(&log("mp"), claimed[0].push.id, "node-1", RelayEnd::Done).await.unwrap());
    let (class, limit) = (RetentionClass::Pushes, START.plus_seconds(30 * DAY));
    let held = store.held(class, limit).await.unwrap();
    assert_eq!((held.due.rows, held.open), (3, 4));
    assert_eq!(held.oldest_left, Some(START.plus_seconds(40 * DAY)));
    let mut gone = Amount::default();
    for expected in [2, 1, 0] {
        let piece = store.delete_due(class, limit, 2).await.unwrap();
        assert_eq!(piece.rows, expected);
        gone = Amount { rows: gone.rows + piece.rows, bytes: gone.bytes + piece.bytes };
    }
    assert_eq!(gone, held.due, "a dry run tells what goes");
    assert_eq!(numbers(&store, PushFilter::default(), PushPage::Newest, 9).await, [8, 7, 6, 5, 3]);
    assert!(store.push(&log("mp2"), key(2)).await.unwrap().is_none());
    // What was acted on and relayed at last goes with the next sweep.
    assert!(store.settle_relay(&log("mp"), claimed[1].push.id, "node-1", RelayEnd::Done).await.unwrap());
    write(&executor, "mp", vec![settle(3, PushState::Acted)]).await;
    assert_eq!(store.delete_due(class, limit, 9).await.unwrap().rows, 2);
    let held = store.held(class, limit).await.unwrap();
    assert_eq!(held, Held { due: Amount::default(), open: 2, oldest_left: held.oldest_left });
}

pub async fn a_person_is_forgotten_with_every_push(db: Db) {
    let (store, executor) = db.node().await;
    for number in 0..200 {
        let mut row = row(number, 1 + number % 2);
        row.relay_due_at = (number % 3 == 0).then_some(START);
        keep(&executor, "mp", row, PushState::Acted).await;
    }
    keep(&executor, "mp2", row(1, 1), PushState::Acted).await;
    let sealed = db.bytes("select sealed from push where id < 1000000 order by id").await;
    if !db.is_sqlite() {
        // As the server does by itself: statistics hold samples of what they are made of.
        db.tamper("analyze").await;
        let sampled = "select count(*) from pg_stats where tablename = 'push' and attname = ";
        assert_eq!(db.number(&format!("{sampled}'sealed'")).await, 0);
        assert_eq!(db.number(&format!("{sampled}'subject'")).await, 1, "the search itself must work");
    }
    let (mp, person) = (log("mp"), subject(1));
    assert_eq!(store.count_pushes_of(&mp, &[person, subject(9)]).await.unwrap(), 100);
    // Another's claim is under way meanwhile.
    let claimed =
        store.claim_relays("node-1", std::time::Duration::from_secs(60), &RelayRoom::of(10)).await.unwrap();
    assert_eq!(claimed.len(), 2);
    write(&executor, "mp", vec![Effect::ForgetPushes { subject: person }]).await;
    assert_eq!(store.count_pushes_of(&mp, &[person]).await.unwrap(), 0);
    assert_eq!(store.count_pushes_of(&mp, &[subject(2)]).await.unwrap(), 100, "nobody else's");
    assert_eq!(store.count_pushes_of(&log("mp2"), &[person]).await.unwrap(), 1, "of that log alone");
    let of = |whose| claimed.iter().find(|claim| claim.push.subject == Some(subject(whose))).unwrap();
    assert!(!store.settle_relay(&mp, of(1).push.id, "node-1", RelayEnd::Done).await.unwrap());
    assert!(store.settle_relay(&mp, of(2).push.id, "node-1", RelayEnd::Done).await.unwrap());
    assert!(store.scrub(false).await.unwrap());
    let left = db.bytes("select sealed from push").await;
    assert_eq!(left.len(), 101);
    if db.is_sqlite() {
        let path = db.url.strip_prefix("sqlite://").unwrap();
        let mut bytes = std::fs::read(path).unwrap();
        bytes.extend(std::fs::read(format!("{path}-wal")).unwrap_or_default());
        let found = |needle: &[u8]| bytes.windows(needle.len()).any(|part| part == needle);
        assert!(left.iter().all(|kept| found(kept)), "the search itself must work");
        assert!(!sealed.iter().filter(|row| !left.contains(row)).any(|row| found(row)), "sealed rows linger");
    }
}
