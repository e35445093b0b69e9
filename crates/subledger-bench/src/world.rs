//! An engine on a database, beside a simulated WeChat: a channel that is set up, bound users, a key.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, anyhow, ensure};
use secrecy::{ExposeSecret, SecretString};
use subledger_bench_kit::closed_loop::{self, Limit};
use subledger_domain::{
    AppId, ChannelCode, LogName, UserId,
    app::{Created, Right},
    channel::{Policy, TokenMode},
};
use subledger_engine::{
    Caller, Engine, EngineSettings, channels::NewChannel, dispatch::DispatchSettings, gateway::Gateway,
    users::BindBy,
};
use subledger_projection::{Projections, ProjectionsConfig};
use subledger_sandbox::{AppSpec, Sandbox, SandboxConfig, Template};
use subledger_store::{Executor, ExecutorConfig, Store, SystemClock};
use subledger_wechat::WeChatConfig;
use tokio::net::TcpListener;

use crate::database::Database;

pub(crate) const CHANNEL: &str = "wechatmp123";
pub(crate) const TEMPLATE: &str = "TPL_demo_order_ready_000000000000000000_001";
pub(crate) const APPID: &str = "wx00000000demo0001";
const SECRET: &str = "bench-secret";
/// Users bound at once while the world is made.
const BINDERS: u64 = 64;

/// A channel in operation.
pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) wechat: Sandbox,
    pub(crate) wechat_url: String,
    pub(crate) code: ChannelCode,
    pub(crate) caller: Caller,
}

impl World {
    /// Sets everything up on an empty database. Nothing is dispatched yet.
    pub(crate) async fn new(database: &Database) -> anyhow::Result<Self> {
        // The WeChat client wants a provider even for plain HTTP; a second installation is refused and changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let wechat = Sandbox::new(SandboxConfig::default());
        wechat.create_app(AppSpec::new(APPID, SECRET)).map_err(|error| anyhow!("{error:?}"))?;
        let lines = "商品:{{thing1.DATA}}\n状态:{{phrase2.DATA}}\n";
        let template = Template::one_time(TEMPLATE, "取餐提醒", lines);
        wechat.create_template(APPID, template).map_err(|error| anyhow!("{error:?}"))?;
        let listener = TcpListener::bind("127.0.0.1:0").await.context("the simulated WeChat")?;
        let wechat_url = format!("http://{}", listener.local_addr()?);
        tokio::spawn(wechat.clone().serve(listener, std::future::pending()));

        let store =
            Store::open(&database.config(), Arc::new(SystemClock)).await.context("opening the store")?;
        let executor = Executor::start(store.clone(), ExecutorConfig::default());
        let projections = Projections::start(store.clone(), ProjectionsConfig::default());
        let wechat_config = WeChatConfig { base_url: wechat_url.clone(), ..WeChatConfig::default() };
        let gateway = Gateway::new(wechat_config, store.clone()).context("the gateway")?;
        let dispatch = DispatchSettings { sends_per_second: 1_000_000, ..DispatchSettings::default() };
        let settings =
            EngineSettings { dispatch, read_wait: Duration::from_secs(60), ..EngineSettings::default() };
        let engine = Engine::new(store, executor, projections, gateway, settings);
        let code: ChannelCode = CHANNEL.parse().context("the channel's code")?;
        let caller = Caller::app("bench".parse::<AppId>().context("the app's id")?, None);
        let channel = NewChannel {
            code: code.clone(),
            name: "Bench".to_owned(),
            appid: APPID.to_owned(),
            secret: SecretString::from(SECRET),
            token_mode: TokenMode::Stable,
            token_url: None,
            policy: Policy::default(),
            idempotency_key: None,
        };
        engine.register_channel(&caller, channel).await.context("registering the channel")?;
        engine.refresh_templates(&caller, &code).await.context("reading the templates")?;
        Ok(Self { engine, wechat, wechat_url, code, caller })
    }

    /// The channel's log.
    pub(crate) fn log(&self) -> LogName {
        LogName::channel(&self.code)
    }

    /// The path that grants are posted to.
    pub(crate) fn grants_path() -> String {
        format!("/api/v1/channels/{CHANNEL}/client-reports")
    }

    /// Makes so many users at WeChat and binds them as `user-0` and up; gives their openids.
    pub(crate) async fn bind_users(&self, users: u64) -> anyhow::Result<Vec<String>> {
        let openids: Result<Vec<String>, _> =
            (0..users).map(|_| self.wechat.create_user(APPID, None)).collect();
        let openids = openids.map_err(|error| anyhow!("{error:?}"))?;
        let shared = Arc::new(openids);
        let (engine, caller, code) = (self.engine.clone(), self.caller.clone(), self.code.clone());
        let known = Arc::clone(&shared);
        let bind = move |n: u64| {
            let (engine, caller, code) = (engine.clone(), caller.clone(), code.clone());
            let openid = usize::try_from(n).ok().and_then(|n| known.get(n)).cloned();
            async move {
                let by = BindBy::Openid(openid.context("no such user")?.parse()?);
                engine.bind_user(&caller, &code, user(n)?, by, None).await?;
                Ok(())
            }
        };
        closed_loop::run(BINDERS, 0, Limit { operations: users, time: Duration::MAX }, bind).await?;
        Ok(Arc::unwrap_or_clone(shared))
    }

    /// The user allows one message at WeChat; gives what the Mini Program would report.
    pub(crate) fn tap(&self, openid: &str) -> anyhow::Result<serde_json::Map<String, serde_json::Value>> {
        let spec = subledger_sandbox::TapSpec::new(openid, &[TEMPLATE], subledger_sandbox::Choice::Accept);
        let result = self.wechat.tap(APPID, &spec).map_err(|error| anyhow!("{error:?}"))?;
        result.as_object().cloned().context("the result of a tap is an object")
    }

    /// Sends that WeChat accepted.
    pub(crate) fn accepted_by_wechat(&self) -> usize {
        self.wechat.journal().iter().filter(|entry| entry.committed).count()
    }

    /// A key with the right to grant, known to the read models.
    pub(crate) async fn key(&self) -> anyhow::Result<String> {
        let rights = [Right::Grant].into_iter().collect();
        let app = Created { name: "Bench".to_owned(), rights, channels: None };
        let operator = Caller::operator("bench".parse().context("the operator's name")?);
        let key = self.engine.create_app(&operator, "shop".parse()?, app).await.context("making a key")?;
        self.caught_up(&LogName::main()).await?;
        Ok(key.expose_secret().to_owned())
    }

    /// Waits until the read models of a log show everything written.
    pub(crate) async fn caught_up(&self, log: &LogName) -> anyhow::Result<()> {
        ensure!(self.engine.caught_up(log, None).await, "the read models of {log} did not catch up");
        Ok(())
    }
}

/// The id of a user.
pub(crate) fn user(n: u64) -> anyhow::Result<UserId> {
    Ok(format!("user-{n}").parse()?)
}
