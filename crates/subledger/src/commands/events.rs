//! `subledger events`: the log itself.

use std::process::ExitCode;

use serde_json::{Value, json};
use subledger_domain::{LogName, StreamName};
use subledger_store::{Position, Recorded, Store};

use super::{known_log, settings};
use crate::{cli::Events, node, output};

/// Events read in one go.
const CHUNK: u32 = 1_000;

pub(super) async fn run(events: Events) -> anyhow::Result<ExitCode> {
    match events {
        Events::List { log, after, limit, stream, common, json } => {
            let store = node::open_store(&settings(&common)?.store()?).await?;
            let log = known_log(&store, log).await?;
            match stream {
                Some(stream) => list_stream(&store, &log, stream, after, limit, json).await?,
                None => list(&store, &log, after, limit, json).await?,
            }
            store.close().await;
        }
        Events::Export { log, all: _, out, after, common } => {
            super::export::run(log, &out, after, &common).await?;
        }
        Events::Tail { log, after, common, json } => {
            let store = node::open_store(&settings(&common)?.store()?).await?;
            tail(&store, &known_log(&store, log).await?, after, json).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(store: &Store, log: &LogName, after: u64, limit: u32, json: bool) -> anyhow::Result<()> {
    let mut after = Position(after);
    let mut left = limit;
    while left > 0 {
        let events = store.read_log(log, after, left.min(CHUNK)).await?;
        let Some(last) = events.last() else { break };
        after = last.position;
        left = left.saturating_sub(u32::try_from(events.len()).unwrap_or(u32::MAX));
        for event in &events {
            print(event, json)?;
        }
    }
    if left == limit && !json {
        let head = store.head(log).await?;
        println!("No events after that position; log {log} ends at {}.", head.position);
    }
    Ok(())
}

async fn list_stream(
    store: &Store,
    log: &LogName,
    stream: String,
    after: u64,
    limit: u32,
    json: bool,
) -> anyhow::Result<()> {
    let stream = StreamName::from_stored(stream);
    let (mut version, mut left) = (0, limit as usize);
    while left > 0 {
        let events = store.read_stream(log, &stream, version, CHUNK).await?;
        let Some(last) = events.last() else { break };
        version = last.version;
        for event in events.iter().filter(|event| event.position.0 > after).take(left) {
            print(event, json)?;
            left -= 1;
        }
    }
    if left == limit as usize && !json {
        println!("Stream {stream} of log {log} holds no such events.");
    }
    Ok(())
}

async fn tail(store: &Store, log: &LogName, after: Option<u64>, json: bool) -> anyhow::Result<()> {
    let mut head = store.tail(log);
    let mut after = match after {
        Some(after) => Position(after),
        None => store.head(log).await?.position,
    };
    let follow = async {
        loop {
            let events = store.read_log(log, after, CHUNK).await?;
            match events.last() {
                Some(last) => after = last.position,
                None if head.changed().await.is_err() => return anyhow::Ok(()),
                None => {}
            }
            for event in &events {
                print(event, json)?;
            }
        }
    };
    tokio::select! {
        ended = follow => ended,
        () = super::serve::interrupted() => Ok(()),
    }
}

fn print(event: &Recorded, json: bool) -> anyhow::Result<()> {
    let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or(Value::Null);
    if json {
        return output::json(&json!({
            "log": event.log, "position": event.position, "stream": event.stream, "version": event.version,
            "kind": event.kind_name(), "schema": event.schema, "recorded_at": output::time(event.recorded_at),
            "data": parse(&event.data), "cause": parse(&event.cause),
        }));
    }
    println!(
        "{:>8}  {}  {:<28} {}  {}",
        event.position.0,
        output::time(event.recorded_at),
        event.kind_name(),
        event.stream,
        String::from_utf8_lossy(&event.data)
    );
    Ok(())
}
