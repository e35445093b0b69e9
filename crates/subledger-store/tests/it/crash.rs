//! A process killed in the middle of its commits.
//!
//! The test starts this very binary again as a child that only commits and prints what was acknowledged; kills it with
//! SIGKILL at some point; and looks at what is left.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use subledger_domain::ledger::Ledger;
use subledger_store::{Effect, PushKey, PushState, StreamRef, Work, verify_chain};

use crate::{
    conformance::pushes::row,
    fixture::{self, Db},
    works::{Custom, GrantTwice, all, ledger, log, receipt, submit_with},
};

const CHILD_URL: &str = "SUBLEDGER_TEST_CRASH_URL";
const CHILD_ROUND: &str = "SUBLEDGER_TEST_CRASH_ROUND";
const ROUNDS: u32 = 6;
const CALLERS: u32 = 16;
/// A server notices a lost client at once, or when it has done what it was doing.
const PATIENCE: Duration = Duration::from_secs(30);

/// In every other round each command keeps a push as well and settles it. On PostgreSQL a batch with such rows is written in
/// several statements, one without them in one.
fn pushes(round: &str) -> bool {
    round.parse::<u32>().unwrap() % 2 == 1
}

fn pushed(grant: GrantTwice, key: PushKey) -> Custom<u64> {
    Custom::new(vec![StreamRef::of::<Ledger>(grant.0.clone())], move |stage| {
        stage.effect(Effect::KeepPush(subledger_store::PushRow { key, ..row(1, 1) }));
        stage.effect(Effect::SettlePush { key, state: PushState::Acted, effect: "{}".to_owned() });
        grant.decide(stage)
    })
}

/// The child: commits until it is killed. Does nothing when run as a test by itself.
#[test]
fn child_that_commits_until_killed() {
    let (Ok(url), Ok(round)) = (std::env::var(CHILD_URL), std::env::var(CHILD_ROUND)) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let db = Db { url, clock: fixture::TestClock::default() };
        let (_store, executor) = db.node().await;
        let callers = (0..CALLERS).map(|caller| {
            let (executor, round) = (executor.clone(), round.clone());
            tokio::spawn(async move {
                for n in 0.. {
                    let id = format!("{round}-{caller}-{n}");
                    let grant = GrantTwice(ledger(u128::from(n % 5_u32)));
                    let key = Some(receipt(&id, 1));
                    if pushes(&round) {
                        let pushed = pushed(grant, PushKey::of(id.as_bytes()));
                        submit_with(&executor, "mp", key, pushed).await.unwrap();
                    } else {
                        submit_with(&executor, "mp", key, grant).await.unwrap();
                    }
                    // One write per line, so that a kill never leaves a mixed line behind.
                    use std::io::Write;
                    std::io::stderr().write_all(format!("acknowledged {id}\n").as_bytes()).unwrap();
                }
            })
        });
        futures::future::join_all(callers).await;
    });
}

/// Starts the child, kills it after this many acknowledgements, and answers with all that it printed.
fn run_and_kill(url: &str, round: u32, after: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child_that_commits_until_killed", "--nocapture"])
        .env(CHILD_URL, url)
        .env(CHILD_ROUND, round.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let id = |line: String| line.strip_prefix("acknowledged ").map(str::to_owned);
    let mut acknowledged = Vec::new();
    while acknowledged.len() < after {
        let line = lines.next().expect("the child ended by itself").unwrap();
        acknowledged.extend(id(line));
    }
    child.kill().unwrap();
    // What it acknowledged between the decision to kill it and its end counts as well.
    acknowledged.extend(lines.map_while(Result::ok).filter_map(id));
    child.wait().unwrap();
    acknowledged
}

/// Waits until no connection of the child is left. A server finishes what it was told before it notices that nobody listens:
/// until then each look at the database may find more than the one before.
async fn nobody_is_left(db: &Db) {
    if db.is_sqlite() {
        return;
    }
    let others = "select count(*) from pg_stat_activity \
                  where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()";
    let begun = std::time::Instant::now();
    while db.number(others).await > 0 {
        assert!(begun.elapsed() < PATIENCE, "the connections of a killed process stay");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn nothing_acknowledged_is_lost_and_no_half_batch_stays(db: Db) {
    let mut acknowledged = Vec::new();
    let (mut receipts_before, mut kept) = (0, 0);
    for round in 0..ROUNDS {
        let url = db.url.clone();
        let after = 40 + 37 * round as usize;
        acknowledged
            .extend(tokio::task::spawn_blocking(move || run_and_kill(&url, round, after)).await.unwrap());
        nobody_is_left(&db).await;
        let (store, executor) = db.node().await;
        store.check().await.unwrap();
        let events = all(&store, "mp").await;
        let head = store.head(&log("mp")).await.unwrap();
        assert_eq!(verify_chain(&events), Ok((head.position, head.link)));
        // Each command writes two events and one receipt: halves would show in either count.
        let receipts = db.number("select count(*) from receipt").await;
        assert_eq!(events.len() as i64, 2 * receipts);
        assert!(receipts >= acknowledged.len() as i64);
        kept += if pushes(&round.to_string()) { receipts - receipts_before } else { 0 };
        receipts_before = receipts;
        assert_eq!(db.number("select count(*) from push where state = 1").await, kept);
        assert_eq!(db.number("select count(*) from push").await, kept);
        for id in &acknowledged {
            let again =
                submit_with(&executor, "mp", Some(receipt(id, 1)), GrantTwice(ledger(1))).await.unwrap();
            assert!(again.replayed, "{id} was acknowledged and is lost");
            let round = id.split('-').next().unwrap();
            let push = store.push(&log("mp"), PushKey::of(id.as_bytes())).await.unwrap();
            assert_eq!(push.is_some(), pushes(round), "{id}");
        }
        executor.shutdown().await;
        store.close().await;
    }
}

#[test]
fn sqlite_survives_being_killed() {
    fixture::on_sqlite(nothing_acknowledged_is_lost_and_no_half_batch_stays);
}

#[test]
fn postgres_survives_being_killed() {
    fixture::on_postgres(nothing_acknowledged_is_lost_and_no_half_batch_stays);
}
