//! How fast read models are built from a log: `cargo bench -p subledger-projection`.
//!
//! Writes a log of a million events (`SUBLEDGER_BENCH_EVENTS`) through the executor, then reads it, folds its balances and
//! rebuilds all its projections, on SQLite and, where `SUBLEDGER_TEST_POSTGRES` names a server, on PostgreSQL. The history
//! is that of campaigns: users are bound, tap, some refuse; messages to a thousand of them are accepted, reserved,
//! started and settled, a few with a refusal or with WeChat's "no permission".

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    dead_code,
    unused_macros,
    unused_imports
)]

#[path = "../tests/it/support.rs"]
mod support;

use std::time::Instant;

use subledger_domain::{
    DeliveryId, Evidence, EvidenceSource, LogName, MessageId, SubjectId, TemplateId, TemplateKind, Timestamp,
    UserRef,
    binding::BindingCommand,
    channel::{ChannelCommand, Policy, Registered, SecretRef, TokenMode},
    ledger::{Answer, AttemptOutcome, Choice, LedgerCommand, RefusedSend, Taps, UnknownBalance},
    message::{Accepted, MessageCommand, Planned},
};
use subledger_projection::{digest, rebuild, rebuild_balances};
use subledger_store::{Cause, Clock, Executor, ExecutorConfig, Position, Store, Submission};

use support::{Ask, Place, Script, StoppedClock};

/// Recipients of a campaign.
const SIZE: u32 = 1_000;
/// Users there are.
const USERS: u32 = 60_000;

fn log() -> LogName {
    LogName::new("wechatmp123")
}

/// 128 bits that look like a keyed hash.
fn hash(kind: u8, number: u32) -> [u8; 16] {
    let hash = mixed(u64::from(kind) << 32 | u64::from(number));
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&hash.to_be_bytes());
    bytes[8..].copy_from_slice(&hash.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes
}

fn mixed(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn template(number: u32) -> TemplateId {
    format!("p1_template_{:031}", number % 3).parse().unwrap()
}

fn evidence(number: u32, at: Timestamp) -> Evidence {
    Evidence::new(EvidenceSource::ClientReport, format!("report-{number:08x}"), at)
}

fn tap(user: u32, template_number: u32, choice: Choice, at: Timestamp) -> Ask {
    let word = if choice == Choice::Accept { "accept" } else { "reject" };
    let ask = LedgerCommand::RecordChoice {
        choice,
        word: word.into(),
        kind: TemplateKind::OneTime,
        taps: Taps::default(),
        window: 300,
        evidence: evidence(user, at),
    };
    Ask::Ledger(SubjectId::from_bytes(hash(1, user)), template(template_number), ask)
}

/// The commands of a campaign, in order.
fn campaign(number: u32, at: Timestamp) -> Vec<Script> {
    let user = |index: u32| (number * SIZE + index) % USERS;
    // Message ids begin with the time, so they are in order.
    let mut id = hash(2, number);
    id[..4].copy_from_slice(&number.to_be_bytes());
    let message = MessageId::from_bytes(id);
    let delivery = |index| DeliveryId::new(message, index);
    let of_ledger =
        |index: u32, ask| Ask::Ledger(SubjectId::from_bytes(hash(1, user(index))), template(number), ask);
    let mut taps = Vec::new();
    for index in 0..SIZE {
        if number * SIZE < USERS {
            let ask = BindingCommand::Bind {
                subject: SubjectId::from_bytes(hash(1, user(index))),
                evidence: evidence(index, at),
            };
            taps.push(Ask::Binding(UserRef::from_bytes(hash(3, user(index))), ask));
        }
        taps.push(tap(user(index), number, Choice::Accept, at));
        if index % 20 == 0 {
            taps.push(tap(user(index), number + 1, Choice::Reject, at));
        }
    }
    let mut plan = vec![Ask::Message(
        message,
        MessageCommand::Accept(Accepted {
            app: "shop".parse().unwrap(),
            template: template(number),
            kind: TemplateKind::OneTime,
            targeted: SIZE,
            expires_at: at.plus_seconds(86_400),
        }),
    )];
    plan.extend((0..SIZE).map(|index| {
        of_ledger(
            index,
            LedgerCommand::Reserve {
                delivery: delivery(index),
                kind: TemplateKind::OneTime,
                unknown_balance: UnknownBalance::Attempt,
                user: Some(UserRef::from_bytes(hash(3, user(index)))),
            },
        )
    }));
    plan.push(Ask::Message(
        message,
        MessageCommand::Plan(Planned { from: 0, reserved: SIZE, skipped: vec![] }),
    ));
    let expires_at = at.plus_seconds(86_400);
    let starts = (0..SIZE)
        .map(|index| of_ledger(index, LedgerCommand::Start { delivery: delivery(index), expires_at }));
    let settles = (0..SIZE).map(|index| {
        let answer =
            |code, class: &str| Answer { code: Some(code), rid: Some("rid-1".into()), class: class.into() };
        let outcome = match index % 50 {
            7 | 8 => AttemptOutcome::Refused { answer: answer(47003, "argument") },
            9 => AttemptOutcome::NoPermission { answer: answer(43101, "no_permission") },
            _ => AttemptOutcome::Accepted {
                wechat_msgid: Some(
                    (3_300_000_000_000_000_000 + u64::from(number * SIZE + index)).to_string(),
                ),
            },
        };
        of_ledger(
            index,
            LedgerCommand::Settle {
                delivery: delivery(index),
                attempt: 1,
                refused_send: RefusedSend::default(),
                outcome,
            },
        )
    });
    vec![Script(taps), Script(plan), Script(starts.collect()), Script(settles.collect())]
}

async fn fill(store: &Store, clock: &StoppedClock, events: u64) {
    let config = ExecutorConfig { cache_bytes: 512 << 20, ..ExecutorConfig::default() };
    let executor = Executor::start(store.clone(), config);
    let cause = Cause { by: "app:shop".into(), command: "bench".into(), request: None };
    let submit = async |script| {
        let submission = Submission { log: log(), receipt: None, cause: cause.clone(), work: script };
        executor.submit(submission).await.unwrap().position
    };
    submit(Script(vec![Ask::Channel(ChannelCommand::Register(Registered {
        appid: "wx0123456789abcdef".into(),
        name: "取餐提醒".into(),
        secret: Some(SecretRef("s1".into())),
        token_mode: TokenMode::Stable,
        token_url: None,
        policy: Policy::default(),
    }))]))
    .await;
    let mut number = 0;
    let mut end = Position(0);
    while end.0 < events {
        clock.pass_seconds(60);
        for script in campaign(number, clock.now()) {
            end = submit(script).await;
        }
        number += 1;
    }
    executor.shutdown().await;
}

async fn measure(place: &Place, name: &str, events: u64) {
    let clock = StoppedClock::new();
    let store = place.open(&clock).await;
    let begun = Instant::now();
    fill(&store, &clock, events).await;
    let head = store.head(&log()).await.unwrap().position;
    println!("{name}: {head} events written in {:.1} s", begun.elapsed().as_secs_f64());
    let rate = |begun: Instant| head.0 as f64 / begun.elapsed().as_secs_f64();
    for round in 1..=3 {
        let begun = Instant::now();
        let mut scan = store.scan(&log(), Position(0), head, 4_096).await.unwrap();
        let mut bytes = 0;
        while let Some(chunk) = scan.next().await {
            let chunk = chunk.unwrap();
            bytes += chunk.events.iter().map(|event| chunk.payload(event).len()).sum::<usize>();
        }
        println!(
            "{name}, round {round}: scan alone        {:>9.0} events/s ({bytes} bytes of payload)",
            rate(begun)
        );
        let begun = Instant::now();
        let balances = rebuild_balances(&store, &log()).await.unwrap();
        println!(
            "{name}, round {round}: balances alone    {:>9.0} events/s ({} ledgers)",
            rate(begun),
            balances.ledgers
        );
        let begun = Instant::now();
        let mut built = None;
        rebuild(&store, Some(&[log()]), |progress| {
            if progress.done == head && built.is_none() {
                built = Some(rate(begun));
            }
        })
        .await
        .unwrap();
        println!(
            "{name}, round {round}: all projections   {:>9.0} events/s; with swapping and dropping the old rows {:>9.0}",
            built.unwrap_or_default(),
            rate(begun)
        );
    }
    for projection in subledger_projection::ProjectionName::of_log(&log()) {
        let digest = digest(&store, &log(), *projection).await.unwrap();
        println!("{name}: {projection}: {} rows, digest {}", digest.rows, &digest.digest[..16]);
    }
    store.close().await;
}

fn main() {
    let events =
        std::env::var("SUBLEDGER_BENCH_EVENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let only = std::env::var("SUBLEDGER_BENCH_ONLY").unwrap_or_default();
        if only != "postgres" {
            measure(&Place::sqlite(), "SQLite", events).await;
        }
        if only != "sqlite"
            && let Some(place) = Place::postgres().await
        {
            measure(&place, "PostgreSQL", events).await;
            place.remove().await;
        }
    });
}
