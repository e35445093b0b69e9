//! Bytes on disk: of an event with its indexes, with its receipt, and of a grant with its send and everything about them.
//!
//! What the tables and indexes take, as the database itself counts, less what they took before; nothing is compacted
//! first, so the room that random inserts leave in pages is part of the figure. Snapshots do not grow with the log and are
//! left out of the bytes of an event; they are in those of a grant and its send.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, ensure};
use subledger_bench_kit::{
    Labels, Order, Record,
    closed_loop::{self, Limit},
};
use subledger_domain::TemplateId;
use subledger_engine::{
    grants::{ClientReport, Tapper},
    send::{Recipient, SendRequest, To},
};

use crate::{
    cli::SizeOptions,
    node::Node,
    server::Server,
    works::{self, Tap, log},
    world::{self, TEMPLATE, World},
};

/// Events of each stream.
const EVENTS_PER_STREAM: u64 = 20;
/// Commands under way at once.
const CALLERS: u64 = 64;
/// The seed of the order in which streams are visited.
const SEED: u64 = 7;
/// How long all deliveries may take to end.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) async fn run(
    server: &Server,
    labels: &Labels,
    options: &SizeOptions,
) -> anyhow::Result<Vec<Record>> {
    let record = |variant: &str, count: u64, bytes: i64| {
        let each = bytes as f64 / count.max(1) as f64;
        let record = labels.record("size", server.name(), variant).value(each, "bytes");
        Record { operations: count, ..record }.setting("bytes", bytes)
    };
    let mut records = Vec::new();
    for (variant, receipts) in [("event", false), ("event-receipt", true)] {
        let bytes = events(server, options.events, receipts).await?;
        records.push(record(variant, options.events, bytes));
    }
    let bytes = grants_and_sends(server, options.sends).await?;
    records.push(record("grant-send", options.sends, bytes));
    Ok(records)
}

async fn events(server: &Server, events: u64, receipts: bool) -> anyhow::Result<i64> {
    let database = server.fresh("size").await?;
    let node = Node::open(&database).await?;
    node.close().await;
    let empty = database.bytes(Some("snapshot")).await?;
    let node = Node::open(&database).await?;
    let template: TemplateId = TEMPLATE.parse()?;
    let executor = node.executor.clone();
    let streams = events.div_ceil(EVENTS_PER_STREAM);
    let command = move |n| {
        let subject = Order::Shuffled { seed: SEED }.stream(n, streams);
        let work = Tap { subject, n, template: template.clone() };
        let executor = executor.clone();
        async move { works::submit(&executor, n, receipts, work).await.map(drop) }
    };
    let all = Limit { operations: events, time: Duration::MAX };
    closed_loop::run(CALLERS, 0, all, command).await?;
    node.expect_head(&log(), events).await?;
    node.close().await;
    let bytes = database.bytes(Some("snapshot")).await? - empty;
    server.remove("size").await?;
    Ok(bytes)
}

async fn grants_and_sends(server: &Server, sends: u64) -> anyhow::Result<i64> {
    let database = server.fresh("size").await?;
    let world = World::new(&database).await?;
    let openids = world.bind_users(sends).await?;
    world.caught_up(&world.log()).await?;
    let bound = database.bytes(None).await?;
    let world = std::sync::Arc::new(world);
    let shared = std::sync::Arc::clone(&world);
    let openids = std::sync::Arc::new(openids);
    let journey = move |n: u64| {
        let (world, openids) = (std::sync::Arc::clone(&shared), std::sync::Arc::clone(&openids));
        async move {
            let openid = usize::try_from(n).ok().and_then(|n| openids.get(n)).context("no such user")?;
            grant_and_send(&world, n, openid).await
        }
    };
    let all = Limit { operations: sends, time: Duration::MAX };
    closed_loop::run(CALLERS, 0, all, journey).await?;
    world.engine.start_dispatch().await;
    settled(&world, sends).await?;
    world.caught_up(&world.log()).await?;
    world.engine.shutdown().await;
    let bytes = database.bytes(None).await? - bound;
    server.remove("size").await?;
    Ok(bytes)
}

async fn grant_and_send(world: &World, n: u64, openid: &str) -> anyhow::Result<()> {
    let report = ClientReport {
        id: format!("report-{n}").parse()?,
        who: Tapper::Userid(world::user(n)?),
        tapped_at: None,
        result: world.tap(openid)?,
    };
    world.engine.record_report(&world.caller, &world.code, report).await?;
    let data = [("thing1", "牛角面包"), ("phrase2", "待取餐")];
    let request = SendRequest {
        template: TEMPLATE.parse()?,
        recipients: vec![Recipient { to: To::Userid(world::user(n)?), data: BTreeMap::default() }],
        data: data.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        page: Some("pages/order/show?id=42".to_owned()),
        state: Default::default(),
        lang: Default::default(),
        expires_at: None,
        idempotency_key: Some(format!("send-{n}")),
    };
    world.engine.send(&world.caller, &world.code, request).await?;
    Ok(())
}

/// Waits until every delivery has left the queue.
async fn settled(world: &World, sends: u64) -> anyhow::Result<()> {
    let empty = async {
        while world.engine.store().queue_stats(&world.log(), subledger_store::Claimable::All).await?
            != Default::default()
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, empty).await.context("the queue did not empty")??;
    let accepted = world.accepted_by_wechat();
    ensure!(u64::try_from(accepted)? == sends, "WeChat accepted {accepted} of {sends}");
    Ok(())
}
