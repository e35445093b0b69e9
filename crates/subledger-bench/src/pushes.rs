//! Pushes of WeChat over HTTP: the service's own router on loopback, one push of another user a request, in secure mode.
//!
//! WeChat gives a push up that is not answered within five seconds, so the longest time tells as much as the rate. An answer
//! means that the raw body, the events and the receipt are on disk. Requests are sealed beforehand, by the simulated
//! WeChat's code.

use std::{fs, io::Write, path::Path, time::SystemTime};

use anyhow::{Context, ensure};
use secrecy::SecretString;
use subledger_bench_kit::{
    Labels, Record,
    load::{self, Options},
    process,
};
use subledger_domain::channel::{CallbackFormat, CallbackMode};
use subledger_engine::callback::{CallbackRequest, SecretChange};
use subledger_http::HttpSettings;
use subledger_sandbox::PushSealer;

use crate::{
    cli::PushesOptions,
    grants::{metrics, serve},
    server::Server,
    world::{APPID, CHANNEL, TEMPLATE, World},
};

const TOKEN: &str = "benchToken01";
const KEY: &str = "Qm9vdHN0cmFwRGVtb0tleUZvckxvY2FsU2FuZGJveDc";
/// Pushes before the measurement, so that connections to the database are open.
const WARM_UP: u64 = 2_000;

pub(crate) async fn run(
    server: &Server,
    labels: &Labels,
    options: &PushesOptions,
) -> anyhow::Result<Vec<Record>> {
    let database = server.fresh("pushes").await?;
    let world = World::new(&database).await?;
    let given = |secret: &str| SecretChange::Given(SecretString::from(secret));
    let callback = CallbackRequest {
        mode: CallbackMode::Secure,
        format: CallbackFormat::Json,
        token: given(TOKEN),
        key: given(KEY),
        original_id: None,
    };
    world.engine.configure_callback(&world.caller, &world.code, callback).await.context("the callback")?;
    let folder = tempfile::tempdir().context("a folder for the requests")?;
    let (warm, measured) = (folder.path().join("warm"), folder.path().join("measured"));
    write_requests(&warm, 0, WARM_UP)?;
    write_requests(&measured, WARM_UP, options.pushes)?;
    let router = subledger_http::router(world.engine.clone(), HttpSettings::default(), metrics()?);
    let address = serve(router).await?;
    let client = |requests| Options {
        address,
        requests: Some(requests),
        path: String::new(),
        key: String::new(),
        template: String::new(),
        users: 0,
        run: String::new(),
        connections: options.connections,
        seconds: options.seconds,
        rate: 0,
    };
    load::spawn(&client(warm)).await?;
    world.caught_up(&world.log()).await?;
    let head = async || anyhow::Ok(world.engine.store().head(&world.log()).await?.position.0);
    let (before, cpu) = (head().await?, process::cpu(None)?);
    let report = load::spawn(&client(measured)).await?;
    let cpu = process::cpu(None)?.saturating_sub(cpu);
    let recorded = head().await? - before;
    ensure!(recorded == report.answered, "{} were taken and {recorded} recorded", report.answered);
    let record = labels.record("pushes", server.name(), "secure-json");
    let mut record = report.measured().into_record(record, "pushes/s");
    record.callers = options.connections;
    record.streams = report.answered;
    let share = cpu.as_secs_f64() / report.seconds.max(f64::MIN_POSITIVE);
    let record = record
        .setting("client_cores", format!("{:.2}", report.cpu_share()))
        .setting("server_cores", format!("{share:.2}"));
    world.engine.shutdown().await;
    server.remove("pushes").await?;
    Ok(vec![record])
}

/// Pushes of so many users, the first of them with this number.
fn write_requests(file: &Path, first: u64, count: u64) -> anyhow::Result<()> {
    let sealer = PushSealer::new(APPID, TOKEN, KEY).context("the key of this benchmark")?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let now = i64::try_from(now)?;
    let mut lines = std::io::BufWriter::new(fs::File::create(file)?);
    for number in first..first + count {
        let message = serde_json::json!({
            "ToUserName": "gh_000000000001",
            "FromUserName": format!("oBENCH_user_{number:016}"),
            "CreateTime": now,
            "MsgType": "event",
            "Event": "subscribe_msg_popup_event",
            "List": { "TemplateId": TEMPLATE, "SubscribeStatusString": "accept", "PopupScene": "0" },
        });
        let push = sealer.seal(number, now, &message.to_string());
        writeln!(lines, "/callbacks/wechat/{CHANNEL}?{}\t{}", push.query, push.body)?;
    }
    lines.flush()?;
    Ok(())
}
