//! Grants over HTTP: the same route, the same body and the same answer, over cqrs-es.
//!
//! The key is looked up by its SHA-256, as ours is. Users are bound beforehand, in memory: looking a binding up in its
//! stream would cost it one more read. It answers the balance it would have to load once more to know; here it does not.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    routing::post,
    serve::ListenerExt,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use subledger_bench_kit::{
    Labels, Record,
    load::{self, Options as Client},
    process,
};
use subledger_domain::{
    At, Evidence, EvidenceSource, SubjectId, TemplateKind, Timestamp,
    ledger::{Choice, Ledger, LedgerCommand},
};
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;

use crate::store::{Framework, Server};

const KEY: &str = "slk_bench_0123456789abcdef0123456789abcdef";
const TEMPLATE: &str = "TPL_demo_order_ready_000000000000000000_001";
/// Seconds of load before the measurement.
const WARM_UP: f64 = 1.0;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Users
    #[arg(long, default_value_t = 10_000)]
    users: u64,
    /// Connections, one request under way on each
    #[arg(long, default_value_t = 64)]
    connections: u64,
    /// Seconds of the measurement
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
}

struct App {
    framework: Framework<Ledger>,
    key: [u8; 32],
    users: BTreeMap<String, SubjectId>,
    in_vain: AtomicU64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    report_id: String,
    userid: String,
    result: Map<String, Value>,
}

#[derive(Serialize)]
struct ChoiceView {
    template_id: String,
    choice: &'static str,
    lot: Option<u64>,
    balance: Option<u64>,
    listed: bool,
}

#[derive(Serialize)]
struct Answer {
    choices: Vec<ChoiceView>,
    popup_error: Option<i64>,
    position: Option<u64>,
}

type Refusal = (StatusCode, String);

async fn grant(
    State(app): State<Arc<App>>,
    Path(_channel): Path<String>,
    headers: HeaderMap,
    Json(report): Json<Report>,
) -> Result<Json<Answer>, Refusal> {
    let wrong = |status: StatusCode, what: &str| (status, what.to_owned());
    let bearer =
        headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let bearer = bearer.ok_or_else(|| wrong(StatusCode::UNAUTHORIZED, "no key"))?;
    let hash: [u8; 32] = Sha256::digest(bearer.as_bytes()).into();
    if !bool::from(hash.ct_eq(&app.key)) {
        return Err(wrong(StatusCode::UNAUTHORIZED, "unknown key"));
    }
    let subject =
        app.users.get(&report.userid).ok_or_else(|| wrong(StatusCode::NOT_FOUND, "unknown user"))?;
    let mut choices = Vec::new();
    for (template, word) in report.result.iter().filter(|(key, _)| *key != "errMsg") {
        let word = word.as_str().unwrap_or_default();
        let choice =
            Choice::from_wechat(word).ok_or_else(|| wrong(StatusCode::BAD_REQUEST, "unknown choice"))?;
        let now = now();
        let ask = || LedgerCommand::RecordChoice {
            choice,
            word: word.to_owned(),
            kind: TemplateKind::OneTime,
            evidence: Evidence::new(EvidenceSource::ClientReport, report.report_id.as_str(), now),
        };
        let id = format!("{subject}/{template}");
        let done = app.framework.execute(&id, || At { now, command: ask() }, &app.in_vain).await;
        done.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")))?;
        choices.push(ChoiceView {
            template_id: template.clone(),
            choice: "accept",
            lot: None,
            balance: None,
            listed: true,
        });
    }
    Ok(Json(Answer { choices, popup_error: None, position: None }))
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

pub(crate) async fn run(
    server: &Server,
    pool: u32,
    labels: &Labels,
    options: &Options,
) -> anyhow::Result<Vec<Record>> {
    let database = server.fresh("peer_grants", pool).await?;
    let users = (0..options.users)
        .map(|n| (format!("user-{n}"), SubjectId::from_bytes(u128::from(n).to_be_bytes())))
        .collect();
    let app = Arc::new(App {
        framework: database.framework(),
        key: Sha256::digest(KEY.as_bytes()).into(),
        users,
        in_vain: AtomicU64::new(0),
    });
    let router = Router::new()
        .route("/api/v1/channels/{code}/client-reports", post(grant))
        .with_state(Arc::clone(&app));
    let listener = TcpListener::bind("127.0.0.1:0").await.context("the server's port")?;
    let address: SocketAddr = listener.local_addr()?;
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    let client = |run: &str, seconds| Client {
        address,
        requests: None,
        path: "/api/v1/channels/wechatmp123/client-reports".to_owned(),
        key: KEY.to_owned(),
        template: TEMPLATE.to_owned(),
        users: options.users,
        run: run.to_owned(),
        connections: options.connections,
        seconds,
        rate: 0,
    };
    load::spawn(&client("warm", WARM_UP)).await?;
    let (before, cpu) = (database.events().await?, process::cpu(None)?);
    let report = load::spawn(&client("served", options.seconds)).await?;
    let cpu: Duration = process::cpu(None)?.saturating_sub(cpu);
    let stored = database.events().await? - before;
    ensure!(stored == report.answered, "{} were answered and {stored} are in the table", report.answered);
    let mut record =
        report.measured().into_record(labels.record("grants", server.name(), "served"), "grants/s");
    record.callers = options.connections;
    record.streams = options.users;
    database.close().await;
    let record = record
        .setting("client_cores", format!("{:.2}", report.cpu_share()))
        .setting("server_cores", format!("{:.2}", cpu.as_secs_f64() / report.seconds))
        .setting("in_vain", app.in_vain.load(Ordering::Relaxed));
    Ok(vec![record])
}
