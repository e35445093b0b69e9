//! Deleting sealed rows: people who are erased, and what was kept long enough.

use subledger_domain::{ChannelCode, Openid, UserId};
use subledger_store::{Amount, Effect, Held, KeptContent, RetentionClass, Store, verify_chain};

use crate::{
    fixture::{Db, START},
    works::{
        Custom, Effects, Grant, Reserve, all, delivery, in_one_batch, ledger, log, receipt, row, submit,
        submit_with,
    },
};

fn channel() -> ChannelCode {
    "mp".parse().unwrap()
}

fn openid(number: usize) -> Openid {
    format!("oPERSON-number-{number:04}").parse().unwrap()
}

fn userid() -> UserId {
    "plain-userid-of-someone".parse().unwrap()
}

fn keep(store: &Store, number: usize) -> Effects {
    let openid = openid(number);
    Effects(vec![
        Effect::KeepOpenid { subject: store.subject_of(&channel(), &openid), openid },
        Effect::KeepUserId { user: store.user_ref_of(&userid()), userid: userid() },
        Effect::KeepContent {
            delivery: delivery(number as u128, 0),
            shared: true,
            contents: b"shared".to_vec(),
        },
        Effect::KeepContent {
            delivery: delivery(number as u128, 3),
            shared: false,
            contents: b"own".to_vec(),
        },
    ])
}

fn forget(store: &Store, number: usize) -> Effects {
    Effects(vec![
        Effect::ForgetOpenid { subject: store.subject_of(&channel(), &openid(number)) },
        Effect::ForgetUserId { user: store.user_ref_of(&userid()) },
        Effect::ForgetContent { delivery: delivery(number as u128, 9), shared: true },
        Effect::ForgetContent { delivery: delivery(number as u128, 3), shared: false },
    ])
}

/// Kept openids, userids and contents of person `number`.
async fn kept(store: &Store, number: usize) -> (usize, usize, usize) {
    let subject = store.subject_of(&channel(), &openid(number));
    let openids = store.openids(&log("mp"), &[subject]).await.unwrap().len();
    let userids = store.userids(&[store.user_ref_of(&userid())]).await.unwrap().len();
    let message = delivery(number as u128, 0).message;
    (openids, userids, store.kept_contents(&log("mp"), &[message]).await.unwrap().len())
}

pub async fn what_is_forgotten_goes_with_its_command(db: Db) {
    let (store, executor) = db.node().await;
    submit(&executor, "mp", keep(&store, 1)).await.unwrap();
    submit(&executor, "mp", keep(&store, 2)).await.unwrap();
    submit(&executor, "mp", Grant(ledger(1))).await.unwrap();
    let message = delivery(1, 0).message;
    let mut contents = store.kept_contents(&log("mp"), &[message]).await.unwrap();
    contents.sort();
    let expected = [None, Some(3)].map(|recipient| KeptContent { message, recipient });
    assert_eq!(contents, expected);
    assert!(store.kept_contents(&log("mp2"), &[message]).await.unwrap().is_empty());

    let effects = forget(&store, 1).0;
    let refused = Custom::<()>::new(Vec::new(), move |stage| {
        effects.iter().cloned().for_each(|effect| stage.effect(effect));
        Err(subledger_store::Stop::Refuse("no".to_owned()))
    });
    assert!(submit(&executor, "mp", refused).await.is_err());
    assert_eq!(kept(&store, 1).await, (1, 1, 2), "a refused command deletes nothing");

    submit(&executor, "mp", forget(&store, 1)).await.unwrap();
    assert_eq!(kept(&store, 1).await, (0, 0, 0));
    assert_eq!(kept(&store, 2).await, (1, 0, 2), "nobody else's");
    submit(&executor, "mp", forget(&store, 1)).await.unwrap();
    submit(&executor, "mp", Grant(ledger(1))).await.unwrap();
    verify_chain(&all(&store, "mp").await).unwrap();
}

pub async fn within_one_batch_the_last_word_counts(db: Db) {
    let (store, executor) = db.node().await;
    let (keep, forget) = (|| keep(&store, 1), || forget(&store, 1));
    for (commands, left) in [
        (vec![keep(), forget()], (0, 0, 0)),
        (vec![forget(), keep()], (1, 1, 2)),
        (vec![forget(), keep(), forget()], (0, 0, 0)),
        (vec![keep(), forget(), keep(), keep()], (1, 1, 2)),
        (vec![Effects([keep().0, forget().0].concat())], (0, 0, 0)),
        (vec![Effects([forget().0, keep().0].concat())], (1, 1, 2)),
    ] {
        let length = commands.len();
        let commands = commands.into_iter().map(|work| submit(&executor, "mp", work)).collect();
        for done in in_one_batch(&executor, "mp", commands).await {
            done.unwrap();
        }
        assert_eq!(kept(&store, 1).await, left, "{length} commands");
    }
}

pub async fn what_was_deleted_leaves_the_files(db: Db) {
    let (store, executor) = db.node().await;
    // Enough rows for pages to be split and moved.
    for number in 0..400 {
        submit(&executor, "mp", keep(&store, number)).await.unwrap();
    }
    let sealed = db.bytes("select sealed from identity order by subject").await;
    assert_eq!(sealed.len(), 400);
    if !db.is_sqlite() {
        // As the server does by itself: statistics hold samples of what they are made of.
        db.tamper("analyze").await;
        let sampled = db
            .bytes(
                "select convert_to(coalesce(histogram_bounds::text, most_common_vals::text), 'UTF8') from pg_stats
                 where attname in ('sealed', 'kept_at') and tablename in ('identity', 'user_identity', 'content')
                 and coalesce(histogram_bounds::text, most_common_vals::text) is not null",
            )
            .await;
        let holds =
            |text: &[u8]| sealed.iter().any(|row| String::from_utf8_lossy(text).contains(&hex::encode(row)));
        assert!(!sampled.is_empty(), "the search itself must work");
        assert!(!sampled.iter().any(|text| holds(text)), "statistics keep sealed values");
    }
    for number in (0..400).step_by(2) {
        submit(&executor, "mp", forget(&store, number)).await.unwrap();
    }
    for full in [false, true] {
        assert!(store.scrub(full).await.unwrap());
        assert_eq!(kept(&store, 1).await.0, 1);
        assert_eq!(kept(&store, 2).await, (0, 0, 0));
        let left = db.bytes("select sealed from identity order by subject").await;
        assert_eq!(left.len(), 200);
        if db.is_sqlite() {
            let path = db.url.strip_prefix("sqlite://").unwrap();
            let mut bytes = std::fs::read(path).unwrap();
            bytes.extend(std::fs::read(format!("{path}-wal")).unwrap_or_default());
            let found = |needle: &[u8]| bytes.windows(needle.len()).any(|part| part == needle);
            assert!(left.iter().all(|kept| found(kept)), "the search itself must work");
            let gone = sealed.iter().filter(|row| !left.contains(row));
            assert_eq!(gone.filter(|row| found(row)).count(), 0, "sealed rows linger, full: {full}");
        }
    }
}

const DAY: i64 = 24 * 3_600;

pub async fn contents_go_after_their_message_has_ended(db: Db) {
    let (store, executor) = db.node().await;
    let whose = |number: u128| Effects(vec![Effect::Enqueue(row(delivery(number, 0), number, START))]);
    for number in 1..=3 {
        submit(&executor, "mp", keep(&store, number)).await.unwrap();
    }
    // 1 has ended; 2 waits; 3 is in doubt.
    submit(&executor, "mp", whose(2)).await.unwrap();
    submit(&executor, "mp", whose(3)).await.unwrap();
    submit(&executor, "mp", Effects(vec![Effect::MarkInDoubt(delivery(3, 0))])).await.unwrap();
    db.clock.advance_seconds(100 * DAY);
    let class = RetentionClass::Contents;
    let days_ago = |days: i64| START.plus_seconds((100 - days) * DAY);
    let held = store.held(class, days_ago(0)).await.unwrap();
    assert_eq!(held, Held { due: Amount::default(), open: 6, oldest_left: None });
    assert_eq!(
        store.note_ended().await.unwrap(),
        2,
        "the age of contents begins when their message has ended"
    );
    assert_eq!(store.note_ended().await.unwrap(), 0);
    assert_eq!(store.delete_due(class, days_ago(0), 100).await.unwrap(), Amount::default());

    db.clock.advance_seconds(10 * DAY);
    let limit = START.plus_seconds(105 * DAY);
    let held = store.held(class, limit).await.unwrap();
    assert_eq!((held.due.rows, held.open), (2, 4));
    assert_eq!(store.delete_due(class, limit, 1).await.unwrap().rows, 1, "no more than asked for");
    let rest = store.delete_due(class, limit, 100).await.unwrap();
    assert_eq!(rest.rows, 1);
    assert!(rest.bytes > 0 && rest.bytes < held.due.bytes);
    assert_eq!(store.delete_due(class, limit, 100).await.unwrap(), Amount::default());
    assert_eq!([kept(&store, 1).await.2, kept(&store, 2).await.2, kept(&store, 3).await.2], [0, 2, 2]);

    // What was noted too early stays as long as a delivery is open: nothing is deleted under its feet.
    db.tamper("update content set ended_at = 1").await;
    assert_eq!(store.delete_due(class, limit, 100).await.unwrap(), Amount::default());
    submit(&executor, "mp", Effects(vec![Effect::Dequeue(delivery(2, 0))])).await.unwrap();
    assert_eq!(store.delete_due(class, limit, 100).await.unwrap().rows, 2);
    assert_eq!([kept(&store, 2).await.2, kept(&store, 3).await.2], [0, 2]);
}

pub async fn receipts_go_by_age_in_pieces(db: Db) {
    let (store, executor) = db.node().await;
    for number in 0..5 {
        let key = receipt(&format!("old-{number}"), 1);
        submit_with(&executor, "mp", Some(key), Grant(ledger(1))).await.unwrap();
    }
    db.clock.advance_seconds(31 * DAY);
    submit_with(&executor, "mp2", Some(receipt("new", 1)), Grant(ledger(1))).await.unwrap();
    let (class, limit) = (RetentionClass::Receipts, START.plus_seconds(DAY));
    let held = store.held(class, limit).await.unwrap();
    assert_eq!((held.due.rows, held.open), (5, 0));
    assert_eq!(held.oldest_left, Some(START.plus_seconds(31 * DAY)));
    let mut gone = Amount::default();
    for expected in [2, 2, 1, 0] {
        let piece = store.delete_due(class, limit, 2).await.unwrap();
        assert_eq!(piece.rows, expected);
        gone = Amount { rows: gone.rows + piece.rows, bytes: gone.bytes + piece.bytes };
    }
    assert_eq!(gone, held.due, "a dry run tells what goes");
    // An executor remembers what it answered lately for longer; another one does not.
    executor.shutdown().await;
    let (_, executor) = db.node().await;
    assert!(
        !submit_with(&executor, "mp", Some(receipt("old-1", 1)), Grant(ledger(1))).await.unwrap().replayed
    );
    assert!(submit_with(&executor, "mp2", Some(receipt("new", 1)), Grant(ledger(1))).await.unwrap().replayed);
}

pub async fn two_sweeps_at_once_delete_each_row_once(db: Db) {
    let (store, executor) = db.node().await;
    let commands = (0..600).map(|number| {
        submit_with(&executor, "mp", Some(receipt(&format!("r-{number}"), 1)), Grant(ledger(number % 7)))
    });
    for done in futures::future::join_all(commands).await {
        done.unwrap();
    }
    let other = db.open().await;
    let sweep = async |store: &Store| {
        let mut rows = 0;
        loop {
            let piece = store.delete_due(RetentionClass::Receipts, START.plus_seconds(1), 50).await.unwrap();
            rows += piece.rows;
            if piece.rows == 0 {
                return rows;
            }
        }
    };
    // Commands go on meanwhile.
    let work = submit(&executor, "mp", Reserve(ledger(1), delivery(1, 0)));
    let (mine, theirs, done) = tokio::join!(sweep(&store), sweep(&other), work);
    assert_eq!(mine + theirs, 600);
    done.unwrap();
}
