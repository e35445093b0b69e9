//! `subledger demo`: everything in one process, on real HTTP over loopback.
//!
//! The demo is the service itself: the same store, engine and API that `serve` runs, with the simulated WeChat on a port
//! beside it. Nothing here takes a short cut past the API.

mod authorize;
mod client;
mod story;
mod world;

use std::{path::Path, process::ExitCode};

use anyhow::Context;
use subledger_store::MasterKey;
use tokio::sync::oneshot;

use self::world::World;
use super::serve::{bind, install_metrics, interrupted, serve_http};
use crate::{
    cli::Demo,
    node,
    settings::{Overrides, Settings},
    telemetry,
};

/// The channel of the demo, as in the integration guide.
pub(super) const CHANNEL: &str = "wechatmp123";

pub(super) async fn run(demo: Demo) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(&demo.data)
        .with_context(|| format!("cannot make the folder {}", demo.data.display()))?;
    let file = match demo.once {
        // Each run tells its own story: a new file, which stays.
        true => demo.data.join(format!("once-{}.db", jiff::Zoned::now().strftime("%Y%m%d-%H%M%S-%3f"))),
        false => demo.data.join("demo.db"),
    };
    let listen = demo.listen.clone().or_else(|| (!demo.once).then(|| "127.0.0.1:8080".to_owned()));
    let overrides = Overrides {
        listen: Some(listen.unwrap_or_else(|| "127.0.0.1:0".to_owned())),
        database: Some(format!("sqlite://{}", file.display())),
    };
    let mut settings = Settings::load(None, &overrides)?;
    // The story waits for one time-out, and the sandbox answers at once.
    settings.wechat.connect_timeout_ms = 500;
    settings.wechat.read_timeout_ms = 1_500;
    settings.log.filter = if demo.once { "error" } else { "warn" }.to_owned();
    telemetry::start(&settings.log)?;

    let world = World::start(!demo.once).await?;
    settings.wechat.base_url = world.url.clone();
    settings.wechat.authorization_base_url = world.url.clone();
    let config = settings.store_with(master_key(&demo.data)?);
    let engine = node::open_engine(&settings, &config).await?;
    let listener = bind(&settings.listen).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let metrics = install_metrics()?;
    engine.start_dispatch().await;
    engine.start_push_retry().await;
    engine.start_relay().await;
    engine.start_platforms().await;

    let (stop, stopped) = oneshot::channel::<()>();
    let until = async move {
        tokio::select! {
            _ = stopped => {}
            () = interrupted() => {}
        }
    };
    let serving = tokio::spawn({
        let (engine, settings) = (engine.clone(), settings.clone());
        async move { serve_http(engine, listener, &settings, metrics, until).await }
    });

    let told = match demo.once {
        true if demo.authorize => authorize::tell(&engine, &world, &url, &file, demo.json).await,
        true => story::tell(&engine, &world, &url, &file, demo.json).await,
        false => world::welcome(&engine, &world, &url, &file).await,
    };
    if demo.once || told.is_err() {
        let _ = stop.send(());
        serving.await.context("the service ended badly")??;
        world.stop();
        return told.map(|()| ExitCode::SUCCESS);
    }
    // Keep the sender: the service runs until it is interrupted.
    let _stop = stop;
    serving.await.context("the service ended badly")??;
    world.stop();
    Ok(ExitCode::SUCCESS)
}

/// The demo's own master key, kept beside its database so that a second start can read it.
fn master_key(data: &Path) -> anyhow::Result<MasterKey> {
    use secrecy::ExposeSecret;
    use std::{io::Write, os::unix::fs::OpenOptionsExt};

    let path = data.join("master.key");
    if let Ok(text) = std::fs::read_to_string(&path) {
        return MasterKey::parse(text.trim())
            .with_context(|| format!("{} does not hold a master key", path.display()));
    }
    let key = MasterKey::generate();
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    writeln!(file, "{}", key.encode().expose_secret())?;
    Ok(key)
}
