//! What WeChat said of daily quotas.

use subledger_domain::{LogName, Timestamp};
use subledger_store::{Effect, QuotaFailure, QuotaRate, QuotaSample};

use crate::{
    fixture::{Db, START},
    works::{Effects, delivery, log, row, submit},
};

const DAY: i64 = 86_400;

fn at(seconds: i64) -> Timestamp {
    START.plus_seconds(seconds)
}

fn sample(seconds: i64, used: u64) -> QuotaSample {
    let rate = used.is_multiple_of(2).then_some(QuotaRate { calls: 9, seconds: 60 });
    QuotaSample { read_at: at(seconds), limit: 100, used, remain: 100 - used, ours: used / 2, rate }
}

pub async fn samples_are_kept_for_a_few_days(db: Db) {
    let (store, executor) = db.node().await;
    for name in ["mp", "mp2"] {
        submit(&executor, name, Effects(vec![Effect::Enqueue(row(delivery(1, 0), 1, START))])).await.unwrap();
    }
    let logs = [log("mp"), log("mp2")];
    for one in &logs {
        store.keep_quota(one, &sample(0, 1)).await.unwrap();
        store.keep_quota(one, &sample(DAY, 2)).await.unwrap();
    }
    assert_eq!(store.quota_samples(&logs[0], at(0)).await.unwrap(), [sample(0, 1), sample(DAY, 2)]);
    assert_eq!(store.quota_samples(&logs[0], at(1)).await.unwrap(), [sample(DAY, 2)]);
    store.keep_quota(&logs[0], &sample(3 * DAY + 1, 4)).await.unwrap();
    assert_eq!(store.quota_samples(&logs[0], at(0)).await.unwrap(), [sample(DAY, 2), sample(3 * DAY + 1, 4)]);
    assert_eq!(store.quota_samples(&logs[1], at(0)).await.unwrap().len(), 2, "each channel has its own");
    // Of a log that does not exist nothing can be kept, and nothing breaks.
    let nowhere = LogName::new("nowhere");
    store.keep_quota(&nowhere, &sample(0, 1)).await.unwrap();
    assert!(store.quota_samples(&nowhere, at(0)).await.unwrap().is_empty());
}

pub async fn failures_are_counted_until_one_comes_through(db: Db) {
    let (store, executor) = db.node().await;
    submit(&executor, "mp", Effects(vec![Effect::Enqueue(row(delivery(1, 0), 1, START))])).await.unwrap();
    assert!(store.quota_polls(None).await.unwrap().is_empty());
    let poll = async || {
        let polls = store.quota_polls(None).await.unwrap();
        assert_eq!((polls.len(), &polls[0].log), (1, &log("mp")));
        polls.into_iter().next().unwrap()
    };
    store.note_quota_failure(&log("mp"), at(1), None, "not_reached").await.unwrap();
    store.note_quota_failure(&log("mp"), at(2), Some(40001), "token_conflict").await.unwrap();
    let failed = poll().await;
    let failure = QuotaFailure { failures: 2, errcode: Some(40001), word: "token_conflict".to_owned() };
    assert_eq!((failed.polled_at, failed.failure, failed.newest), (at(2), Some(failure), None));
    store.keep_quota(&log("mp"), &sample(3, 40)).await.unwrap();
    let told = poll().await;
    assert_eq!((told.polled_at, told.failure, told.newest), (at(3), None, Some((at(3), 20))));
    store.note_quota_failure(&log("mp"), at(4), None, "no_answer").await.unwrap();
    let failed = poll().await;
    assert_eq!(failed.failure.map(|failure| failure.failures), Some(1));
    assert_eq!(failed.newest, Some((at(3), 20)), "the sample stays");
}
