//! The demo's world: a simulated WeChat with one Mini Program, two templates and a few users.

use std::path::Path;

use anyhow::{Context, ensure};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use subledger_domain::{
    AppId, LogName,
    app::{Created, Right},
};
use subledger_engine::{Caller, Engine};
use subledger_sandbox::{
    AppSpec, CallPath, Choice, FaultKind, FaultSpec, PushFaultKind, PushFaultSpec, PushSpec, Sandbox,
    SandboxConfig, SettleSpec, TapSpec, Template,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{CHANNEL, client::Client};

/// The Mini Program's AppID and AppSecret in the simulated WeChat.
pub(super) const APPID: &str = "wx00000000demo0001";
pub(super) const SECRET: &str = "demo-app-secret-0001";
/// Two templates, with ids as long as real ones.
pub(super) const ORDER_READY: &str = "TPL_demo_order_ready_000000000000000000_001";
pub(super) const LEVEL_NOTICE: &str = "TPL_demo_level_notice_00000000000000000_002";
/// What WeChat's console and the channel share. The simulated WeChat forgets it with each start, the channel does not.
const PUSH_TOKEN: &str = "demoPushToken01";
const PUSH_KEY: &str = "Qm9vdHN0cmFwRGVtb0tleUZvckxvY2FsU2FuZGJveDc";
/// The port the simulated WeChat prefers, so that its address in the documents holds.
const PREFERRED: &str = "127.0.0.1:9090";

/// The simulated WeChat and its people.
pub(super) struct World {
    pub(super) sandbox: Sandbox,
    pub(super) url: String,
    /// Userid and openid.
    pub(super) users: Vec<(&'static str, String)>,
    stop: CancellationToken,
}

impl World {
    /// Starts the simulated WeChat, on its usual port if that is wanted and free.
    pub(super) async fn start(preferred: bool) -> anyhow::Result<Self> {
        let usual = if preferred { TcpListener::bind(PREFERRED).await.ok() } else { None };
        let listener = match usual {
            Some(listener) => listener,
            None => {
                TcpListener::bind("127.0.0.1:0").await.context("no free port for the simulated WeChat")?
            }
        };
        let url = format!("http://{}", listener.local_addr()?);
        let sandbox = Sandbox::new(SandboxConfig::default());
        sandbox.create_app(AppSpec::new(APPID, SECRET))?;
        let order = "商品:{{thing1.DATA}}\n时间:{{date2.DATA}}\n状态:{{phrase3.DATA}}\n";
        sandbox.create_template(APPID, Template::one_time(ORDER_READY, "取餐提醒", order))?;
        let level = "等级:{{character_string2.DATA}}\n说明:{{thing5.DATA}}\n";
        sandbox.create_template(APPID, Template::one_time(LEVEL_NOTICE, "等级通知", level))?;
        let users = ["zhangsan", "lisi", "wangwu"]
            .into_iter()
            .map(|userid| Ok((userid, sandbox.create_user(APPID, None)?)))
            .collect::<anyhow::Result<_>>()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(sandbox.clone().serve(listener, stopped));
        Ok(Self { sandbox, url, users, stop })
    }

    pub(super) fn openid(&self, userid: &str) -> anyhow::Result<&str> {
        let user = self.users.iter().find(|(name, _)| *name == userid);
        user.map(|(_, openid)| openid.as_str()).context("no such user in the demo")
    }

    /// The user taps "allow"; what `wx.requestSubscribeMessage` returns.
    pub(super) fn tap(&self, userid: &str, template: &str) -> anyhow::Result<serde_json::Value> {
        Ok(self.sandbox.tap(APPID, &TapSpec::new(self.openid(userid)?, &[template], Choice::Accept))?)
    }

    /// Has WeChat push to the channel, as its console would: it checks the URL first.
    pub(super) async fn push_to(&self, url: &str) -> anyhow::Result<()> {
        let spec = PushSpec {
            token: Some(PUSH_TOKEN.to_owned()),
            encoding_aes_key: Some(PUSH_KEY.to_owned()),
            ..PushSpec::to(&format!("{url}/callbacks/wechat/{CHANNEL}"))
        };
        let setup = self.sandbox.configure_push(APPID, &spec).await?;
        ensure!(setup.saved, "WeChat's check of the push URL failed: {:?}", setup.check);
        Ok(())
    }

    /// Waits until everything that WeChat has to push has come.
    pub(super) async fn pushed(&self) -> anyhow::Result<()> {
        let settled = self.sandbox.settle(&SettleSpec::default()).await?;
        ensure!(settled.settled, "WeChat's pushes did not come: {settled:?}");
        Ok(())
    }

    /// The next send is accepted by WeChat, its answer is lost, and WeChat's event about it is late.
    pub(super) fn lose_the_next_answer(&self) -> anyhow::Result<()> {
        let late = PushFaultSpec {
            event: Some("subscribe_msg_sent_event".to_owned()),
            seconds: Some(3_600),
            ..PushFaultSpec::new(PushFaultKind::Late)
        };
        self.sandbox.inject_push_fault(late)?;
        self.sandbox.inject(FaultSpec::on(FaultKind::HangAfterCommit, CallPath::Send))?;
        Ok(())
    }

    pub(super) fn stop(&self) {
        self.stop.cancel();
    }
}

/// Makes the demo's sender app, or one more key for it.
pub(super) async fn api_key(engine: &Engine) -> anyhow::Result<SecretString> {
    let caller = Caller::operator("demo".parse::<AppId>()?);
    let app: AppId = "demo".parse()?;
    let created =
        Created { name: "Demo".to_owned(), rights: Right::ALL.into_iter().collect(), channels: None };
    let key = match engine.create_app(&caller, app.clone(), created).await {
        Ok(key) => key,
        Err(error) if error.code == "app_exists" => {
            // One key per start is enough: drop those of earlier starts.
            let (known, _) = engine
                .store()
                .load::<subledger_domain::app::App>(
                    &LogName::main(),
                    &subledger_domain::StreamName::app(&app),
                )
                .await?;
            for old in known.keys().keys() {
                engine.revoke_key(&caller, app.clone(), old).await?;
            }
            engine.add_key(&caller, app).await?
        }
        Err(error) => return Err(error.into()),
    };
    engine.caught_up(&LogName::main(), None).await;
    Ok(key)
}

/// Sets the channel up over the API and says what to try.
pub(super) async fn welcome(engine: &Engine, world: &World, url: &str, file: &Path) -> anyhow::Result<()> {
    let key = api_key(engine).await?;
    let client = Client::new(url, key.clone())?;
    let known = client.get(&format!("/channels/{CHANNEL}")).await.is_ok();
    if !known {
        let channel = json!({ "code": CHANNEL, "name": "示例面包店", "appid": APPID, "secret": SECRET });
        client.post("/channels", &channel).await?;
    }
    client.post(&format!("/channels/{CHANNEL}/templates/refresh"), &json!({})).await?;
    configure_callback(&client).await?;
    for (userid, openid) in &world.users {
        client
            .post(&format!("/channels/{CHANNEL}/users"), &json!({ "userid": userid, "openid": openid }))
            .await?;
    }
    if known {
        // Before WeChat pushes: the books know these taps.
        remember(&client, world).await?;
        world.push_to(url).await?;
    } else {
        world.push_to(url).await?;
        for number in 1..=3 {
            let result = world.tap("zhangsan", ORDER_READY)?;
            let report =
                json!({ "report_id": format!("demo-tap-{number}"), "userid": "zhangsan", "result": result });
            client.post(&format!("/channels/{CHANNEL}/client-reports"), &report).await?;
        }
    }
    let key = key.expose_secret();
    println!("subledger demo");
    println!();
    println!("  API             {url}/api/v1");
    println!("  API reader      {url}/docs");
    println!("  Simulated WeChat {}/sandbox", world.url);
    println!("  Database        {}", file.display());
    println!("  API key         {key}");
    println!("  Channel         {CHANNEL}, templates {ORDER_READY}");
    println!("                  and {LEVEL_NOTICE}");
    println!("  Users           zhangsan (starts with 3 grants for the first template), lisi, wangwu");
    println!();
    println!("Send a message:");
    println!();
    println!("  curl -s {url}/api/v1/channels/{CHANNEL}/messages \\");
    println!("    -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\");
    println!("    -d '{{\"template_id\":\"{ORDER_READY}\",\"recipients\":[{{\"userid\":\"zhangsan\"}}],");
    println!(
        "         \"data\":{{\"thing1\":\"牛角面包\",\"date2\":\"2026-11-23 09:30\",\"phrase3\":\"待取餐\"}}}}'"
    );
    println!();
    println!("What WeChat really accepted:");
    println!();
    println!("  curl -s {}/sandbox/journal", world.url);
    println!();
    println!("Ctrl-C ends the demo; the database stays.");
    Ok(())
}

/// Tells the channel what stands in WeChat's console.
pub(super) async fn configure_callback(client: &Client) -> anyhow::Result<serde_json::Value> {
    let callback = json!({ "mode": "secure", "token": PUSH_TOKEN, "encoding_aes_key": PUSH_KEY });
    client.put(&format!("/channels/{CHANNEL}/callback"), &callback).await
}

/// The simulated WeChat lives in memory and starts empty: the users tap there for what our books still hold, so that both
/// sides agree again. Nothing is reported; the books know.
async fn remember(client: &Client, world: &World) -> anyhow::Result<()> {
    for (userid, _) in &world.users {
        let ledgers = client.get(&format!("/channels/{CHANNEL}/users/{userid}/ledgers")).await?;
        for ledger in ledgers["items"].as_array().into_iter().flatten() {
            let open = ledger["balance"].as_u64().unwrap_or(0) + ledger["reserved"].as_u64().unwrap_or(0);
            for _ in 0..open {
                world.tap(userid, ledger["template_id"].as_str().unwrap_or_default())?;
            }
        }
    }
    Ok(())
}
