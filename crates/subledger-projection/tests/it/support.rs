//! Databases, a clock that stands still, and works that ask aggregates what a test wants asked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, Executor as _, PgConnection};
use subledger_domain::{
    AppId, Decide, LogName, MessageId, StreamName, SubjectId, TemplateId, Timestamp, UserRef,
    app::{App, AppCommand},
    binding::{Binding, BindingCommand},
    channel::{Channel, ChannelCommand},
    ledger::{Ledger, LedgerCommand},
    message::{Message, MessageCommand},
};
use subledger_projection::{Projections, ProjectionsConfig, Queries};
use subledger_store::{
    Cause, Clock, Database, Executor, ExecutorConfig, Known, MasterKey, Position, Stage, Stop, Store,
    StoreConfig, StreamRef, Submission, Work,
};

pub(crate) const SOON: Duration = Duration::from_secs(20);

/// How long a node of a test that died keeps its logs.
pub(crate) const LEASE: Duration = Duration::from_secs(1);

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

/// An empty database of one test.
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
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let name = format!("projection_{}_{number}", std::process::id());
        let mut connection = PgConnection::connect(&admin).await.unwrap();
        for statement in [format!("drop database if exists {name}"), format!("create database {name}")] {
            connection.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await.unwrap();
        }
        let (server, _) = admin.rsplit_once('/').unwrap();
        Some(Self { url: format!("{server}/{name}"), admin: Some(admin.clone()), _directory: None })
    }

    pub(crate) async fn remove(&self) {
        let Some(admin) = &self.admin else { return };
        let (_, name) = self.url.rsplit_once('/').unwrap();
        let mut connection = PgConnection::connect(admin).await.unwrap();
        let statement = format!("drop database if exists {name} with (force)");
        connection.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await.unwrap();
    }

    /// A connection to the server, not to this database.
    pub(crate) async fn admin(&self) -> PgConnection {
        PgConnection::connect(self.admin.as_ref().unwrap()).await.unwrap()
    }

    pub(crate) async fn open(&self, clock: &StoppedClock) -> Store {
        let config = StoreConfig {
            url: self.url.clone().into(),
            master_key: MasterKey::from_bytes([7; 32]),
            max_connections: 8,
        };
        Store::open(&config, Arc::new(clock.clone())).await.unwrap()
    }
}

/// A clock that only goes on when told to, so that the same script leaves the same log on both databases.
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

/// What to ask of which aggregate.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Channel(ChannelCommand),
    Binding(UserRef, BindingCommand),
    Ledger(SubjectId, TemplateId, LedgerCommand),
    Message(MessageId, MessageCommand),
    App(AppId, AppCommand),
}

/// One command of several asks; all are accepted, or the work is refused.
#[derive(Debug, Clone)]
pub(crate) struct Script(pub(crate) Vec<Ask>);

fn put<A: Decide>(stage: &mut Stage<'_>, name: &StreamName, ask: &A::Ask) -> Result<(), Stop<String>>
where
    A::Ask: Clone,
{
    stage.ask::<A>(name, ask.clone())?.map(|_| ()).map_err(|refusal| Stop::Refuse(refusal.to_string()))
}

impl Work for Script {
    type Answer = ();
    type Refusal = String;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        let stream = |ask: &Ask| match ask {
            Ask::Channel(_) => StreamRef::of::<Channel>(StreamName::channel()),
            Ask::Binding(user, _) => StreamRef::of::<Binding>(StreamName::binding(*user)),
            Ask::Ledger(subject, template, _) => {
                StreamRef::of::<Ledger>(StreamName::ledger(*subject, template))
            }
            Ask::Message(id, _) => StreamRef::of::<Message>(StreamName::message(*id)),
            Ask::App(id, _) => StreamRef::of::<App>(StreamName::app(id)),
        };
        self.0.iter().map(stream).collect()
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<(), Stop<String>> {
        for ask in &self.0 {
            match ask {
                Ask::Channel(ask) => put::<Channel>(stage, &StreamName::channel(), ask)?,
                Ask::Binding(user, ask) => put::<Binding>(stage, &StreamName::binding(*user), ask)?,
                Ask::Ledger(subject, template, ask) => {
                    put::<Ledger>(stage, &StreamName::ledger(*subject, template), ask)?;
                }
                Ask::Message(id, ask) => put::<Message>(stage, &StreamName::message(*id), ask)?,
                Ask::App(id, ask) => put::<App>(stage, &StreamName::app(id), ask)?,
            }
        }
        Ok(())
    }
}

/// A node: a store with an executor, and no projections unless started.
pub(crate) struct Node {
    pub(crate) clock: StoppedClock,
    pub(crate) store: Store,
    pub(crate) executor: Executor,
    pub(crate) queries: Queries,
}

impl Node {
    pub(crate) async fn on(place: &Place) -> Self {
        Self::with_clock(place, StoppedClock::new()).await
    }

    pub(crate) async fn with_clock(place: &Place, clock: StoppedClock) -> Self {
        let store = place.open(&clock).await;
        let config = ExecutorConfig { queue: 1_000, batch: 100, cache_bytes: 1 << 20, executors: 1 };
        let executor = Executor::start(store.clone(), config);
        Self { clock, queries: Queries::new(store.clone()), store, executor }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Asks, a second after whatever was before. The position after it, or the refusal.
    pub(crate) async fn ask(&self, log: &LogName, asks: Vec<Ask>) -> Result<Position, String> {
        self.clock.pass_seconds(1);
        let cause = Cause { by: "app:shop".into(), command: "test".into(), request: None };
        let submission = Submission { log: log.clone(), receipt: None, cause, work: Script(asks) };
        match self.executor.submit(submission).await {
            Ok(done) => Ok(done.position),
            Err(subledger_store::SubmitError::Refused(refusal)) => Err(refusal),
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Projections that apply `batch` events at a time.
    pub(crate) fn project(&self, batch: u32) -> Projections {
        let max_backoff = Duration::from_millis(200);
        let config = ProjectionsConfig { batch, max_backoff, lease: LEASE, ..ProjectionsConfig::default() };
        Projections::start(self.store.clone(), config)
    }

    /// Runs projections until they have applied everything, then stops them.
    pub(crate) async fn catch_up(&self) {
        let projections = self.project(500);
        for head in self.store.heads().await.unwrap() {
            projections.wait_for(&head.log, head.position, SOON).await.unwrap();
        }
        projections.shutdown().await;
    }

    /// Runs one statement that is not the crate's own: tampering, or looking behind the curtain.
    pub(crate) async fn sql(&self, statement: &'static str) -> u64 {
        match self.store.database() {
            Database::Sqlite(db) => {
                let mut writer = db.views_writer().await;
                writer.execute(statement).await.unwrap().rows_affected()
            }
            Database::Postgres(pool) => pool.execute(statement).await.unwrap().rows_affected(),
        }
    }

    /// [`Self::sql`] on the log instead of the read models.
    pub(crate) async fn log_sql(&self, statement: &'static str) -> u64 {
        match self.store.database() {
            Database::Sqlite(db) => db.unclaimed().await.execute(statement).await.unwrap().rows_affected(),
            Database::Postgres(pool) => pool.execute(statement).await.unwrap().rows_affected(),
        }
    }

    /// One number asked of the database.
    pub(crate) async fn number(&self, statement: &'static str) -> i64 {
        match self.store.database() {
            Database::Sqlite(db) => sqlx::query_scalar(statement).fetch_one(&db.views_readers).await.unwrap(),
            Database::Postgres(pool) => sqlx::query_scalar(statement).fetch_one(pool).await.unwrap(),
        }
    }
}
