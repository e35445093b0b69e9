//! What every end-to-end test needs: processes, a database, a client, a world at WeChat.

mod client;
mod cluster;
mod database;
mod platform;
mod process;
pub mod push;
mod server;
mod wechat;

pub use client::{Answer as Answered, Client, Record};
pub use cluster::{Cluster, Roster};
pub use database::{Database, MASTER_KEY};
pub use platform::{COMPONENT, Told};
pub use process::{Process, Talking, binary, run_cli, run_cli_with, spawn_cli_with};
pub use push::Pusher;
pub use server::Server;
pub use wechat::{APPID, CHANNEL, SECRET, TEMPLATE, Wechat};

use std::time::{Duration, Instant};

/// Waits until `check` gives something, asking again and again; panics with `what` when the time is over.
pub async fn eventually<T>(what: &str, limit: Duration, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(begun.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A running service with its sandbox, set up with the channel, its template and a key with every right.
pub struct Stage {
    pub database: Database,
    pub wechat: Wechat,
    pub service: Option<Process>,
    pub client: Client,
}

impl Stage {
    /// Starts everything on this database.
    pub async fn start(database: Database) -> Self {
        let stage = Self::bare(database).await;
        stage.set_up().await;
        stage
    }

    /// The same without the channel.
    pub async fn bare(database: Database) -> Self {
        let wechat = Wechat::start().await;
        let key = create_app(&database, &["app", "create", "shop", "--json"]);
        let (service, url) = Process::serve(&database, &wechat).await;
        let client = Client::new(&url, &key);
        Self { database, wechat, service: Some(service), client }
    }

    async fn set_up(&self) {
        let channel =
            serde_json::json!({ "code": CHANNEL, "name": "Bakery", "appid": APPID, "secret": SECRET });
        self.client.post("/channels", &channel).await.expect_status(201);
        let refreshed =
            self.client.post(&format!("/channels/{CHANNEL}/templates/refresh"), &serde_json::json!({})).await;
        refreshed.expect_status(200);
    }

    /// Kills the service without warning.
    pub fn kill(&mut self) {
        if let Some(mut service) = self.service.take() {
            service.kill();
        }
    }

    /// Starts the service again on the same database.
    pub async fn restart(&mut self) {
        let (service, url) = Process::serve(&self.database, &self.wechat).await;
        self.client.moved(&url);
        self.service = Some(service);
    }
}

/// Runs an `app` command and gives the key it printed.
pub fn create_app(database: &Database, arguments: &[&str]) -> String {
    let printed = run_cli(database, arguments);
    assert!(printed.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&printed.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&printed.stdout).unwrap();
    answer["key"].as_str().unwrap().to_owned()
}

/// Runs a test on both databases; PostgreSQL loudly not at all where there is none.
#[macro_export]
macro_rules! on_both_databases {
    ($name:ident) => {
        mod $name {
            #[tokio::test(flavor = "multi_thread")]
            async fn on_sqlite() {
                super::$name($crate::support::Database::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_postgres() {
                if let Some(database) = $crate::support::Database::postgres(stringify!($name)) {
                    super::$name(database).await;
                }
            }
        }
    };
}
