//! Databases that can be copied, a node without a service, and a checker of our own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, Executor as _, PgConnection, SqliteConnection};
use subledger_audit::proof::{self, Check, Finding, Options, Report};
use subledger_domain::{LogName, Timestamp};
use subledger_projection::{Projections, ProjectionsConfig};
use subledger_store::{Clock, Inspector, MasterKey, Recorded, Store, StoreConfig};

/// Runs each test on both databases.
macro_rules! on_both_databases {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test($crate::support::Place::sqlite()).await;
                }
            )+
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    if let Some(place) = $crate::support::Place::postgres().await {
                        super::$test(place.clone()).await;
                        place.remove().await;
                    }
                }
            )+
        }
    };
}
pub(crate) use on_both_databases;

/// A database of one test.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) url: String,
    admin: Option<String>,
    _directory: Option<Arc<tempfile::TempDir>>,
}

static DATABASES: AtomicU32 = AtomicU32::new(0);

impl Place {
    pub(crate) fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("subledger.db").display());
        Self { url, admin: None, _directory: Some(Arc::new(directory)) }
    }

    /// A fresh database, or nothing (said loudly) where there is no server to test with.
    pub(crate) async fn postgres() -> Option<Self> {
        let Ok(admin) = std::env::var("SUBLEDGER_TEST_POSTGRES") else {
            let required = std::env::var("SUBLEDGER_REQUIRE_POSTGRES").is_ok_and(|value| value == "1");
            assert!(!required, "SUBLEDGER_REQUIRE_POSTGRES=1 but SUBLEDGER_TEST_POSTGRES is not set");
            eprintln!("SKIPPED on PostgreSQL: SUBLEDGER_TEST_POSTGRES is not set");
            return None;
        };
        Some(Self::made(&admin, None).await)
    }

    async fn made(admin: &str, template: Option<&str>) -> Self {
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let name = format!("audit_{}_{number}", std::process::id());
        let template = template.map(|name| format!(" template {name}")).unwrap_or_default();
        let mut connection = PgConnection::connect(admin).await.unwrap();
        for statement in
            [format!("drop database if exists {name}"), format!("create database {name}{template}")]
        {
            connection.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await.unwrap();
        }
        let (server, _) = admin.rsplit_once('/').unwrap();
        Self { url: format!("{server}/{name}"), admin: Some(admin.to_owned()), _directory: None }
    }

    /// The same database once more. Nobody may be connected to this one.
    pub(crate) async fn copy(&self) -> Self {
        match &self.admin {
            Some(admin) => Self::made(admin, self.url.rsplit_once('/').map(|(_, name)| name)).await,
            None => {
                let copy = Self::sqlite();
                let path = |url: &str| url.strip_prefix("sqlite://").unwrap().to_owned();
                std::fs::copy(path(&self.url), path(&copy.url)).unwrap();
                std::fs::copy(views(&path(&self.url)), views(&path(&copy.url))).unwrap();
                copy
            }
        }
    }

    pub(crate) async fn remove(&self) {
        let Some(admin) = &self.admin else { return };
        let (_, name) = self.url.rsplit_once('/').unwrap();
        let mut connection = PgConnection::connect(admin).await.unwrap();
        let statement = format!("drop database if exists {name} with (force)");
        connection.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await.unwrap();
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.admin.is_none()
    }

    pub(crate) async fn open(&self, clock: &StoppedClock) -> Store {
        let config = StoreConfig {
            url: self.url.clone().into(),
            master_key: MasterKey::from_bytes([7; 32]),
            max_connections: 8,
        };
        Store::open(&config, Arc::new(clock.clone())).await.unwrap()
    }

    /// Runs statements behind everybody's back. Each must touch a row.
    pub(crate) async fn tamper(&self, sql: &str) {
        for statement in sql.split(";;") {
            let text = || AssertSqlSafe(statement.to_owned());
            let touched = if self.is_sqlite() {
                let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
                let file = views(self.url.strip_prefix("sqlite://").unwrap());
                let attach = AssertSqlSafe(format!("attach '{file}' as views"));
                sqlx::query(attach).execute(&mut connection).await.unwrap();
                let done = sqlx::query(text()).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                done.rows_affected()
            } else {
                let mut connection = PgConnection::connect(&self.url).await.unwrap();
                let done = sqlx::query(text()).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                done.rows_affected()
            };
            assert!(touched > 0, "{statement} touched nothing");
        }
    }

    /// Moves an event to another position: SQLite keeps it in one number with the log's.
    pub(crate) fn moved(&self, position: u64) -> String {
        let column = if self.is_sqlite() { "place = place - position +" } else { "position =" };
        format!("{column} {position}")
    }

    /// A literal of bytes.
    pub(crate) fn blob(&self, bytes: &[u8]) -> String {
        let digits = hex::encode(bytes);
        if self.is_sqlite() { format!("x'{digits}'") } else { format!("'\\x{digits}'::bytea") }
    }

    pub(crate) async fn verify_with(&self, options: Options) -> Report {
        let inspector = Inspector::open(&self.url).await.unwrap();
        let report = proof::verify(&inspector, &options, |_| {}).await.unwrap();
        inspector.close().await;
        report
    }

    pub(crate) async fn verify(&self) -> Report {
        self.verify_with(Options::default()).await
    }

    /// Computes the chain of the log anew, as somebody could who can write to the database: what is left to find is what
    /// the chain does not show. An implementation of its own, from the documentation.
    pub(crate) async fn rechain(&self, log: &LogName) {
        let inspector = Inspector::open(&self.url).await.unwrap();
        let number = inspector.logs().await.unwrap().into_iter().find(|(_, name, _)| name == log).unwrap().0;
        let events = inspector.events(number, 0, 100_000).await.unwrap();
        inspector.close().await;
        let mut link = [0; 32];
        let mut statements = Vec::new();
        for event in events {
            let position = event.position;
            link = link_of(&link, &event.recorded(log).unwrap());
            let blob = self.blob(&link);
            statements.push(format!(
                "update event set link = {blob} where log = {number} and position = {position}"
            ));
        }
        statements.push(format!("update head set link = {} where id = {number}", self.blob(&link)));
        self.tamper(&statements.join(";;")).await;
    }
}

/// The link of an event, computed from `docs/proof.md` alone.
pub(crate) fn link_of(before: &[u8; 32], event: &Recorded) -> [u8; 32] {
    let mut bytes = before.to_vec();
    let text = |bytes: &mut Vec<u8>, text: &[u8]| {
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text);
    };
    text(&mut bytes, b"subledger event 1");
    text(&mut bytes, event.log.as_str().as_bytes());
    bytes.extend(event.position.0.to_le_bytes());
    text(&mut bytes, event.stream.as_str().as_bytes());
    bytes.extend(event.version.to_le_bytes());
    bytes.extend(event.kind.to_le_bytes());
    bytes.extend(event.schema.to_le_bytes());
    bytes.extend(event.recorded_at.micros().to_le_bytes());
    text(&mut bytes, &event.data);
    text(&mut bytes, &event.cause);
    *blake3::hash(&bytes).as_bytes()
}

/// A clock that only goes on when told to.
#[derive(Clone)]
pub(crate) struct StoppedClock(Arc<AtomicI64>);

impl StoppedClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_750_000_000_000_000)))
    }

    pub(crate) fn pass_seconds(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }
}

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }
}

/// The file of the read models of a SQLite log.
fn views(log: &str) -> String {
    format!("{}.views.db", log.strip_suffix(".db").unwrap())
}

/// Runs projections until they have applied everything, then stops them.
pub(crate) async fn catch_up(store: &Store) {
    let projections = Projections::start(store.clone(), ProjectionsConfig::default());
    for head in store.heads().await.unwrap() {
        projections.wait_for(&head.log, head.position, Duration::from_secs(20)).await.unwrap();
    }
    projections.shutdown().await;
}

/// Asserts that this is found, and gives it.
#[track_caller]
pub(crate) fn found(findings: &[Finding], check: Check, position: Option<i64>) -> &Finding {
    let fits = |finding: &&Finding| finding.check == check && finding.position == position;
    let texts = || findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    findings.iter().find(fits).unwrap_or_else(|| panic!("no {check} at {position:?} among:\n{}", texts()))
}
