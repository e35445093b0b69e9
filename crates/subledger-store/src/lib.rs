//! The event log of subledger, on SQLite and on PostgreSQL.
//!
//! [`Store`] reads: logs, streams, vaults, the queue. [`Executor`] writes: it carries out [`Work`] in batches, each batch
//! in one transaction. Only the executor appends; a position, once read, never gains a neighbour below it; positions are
//! dense, so a hole is tampering. The log holds no personal data and no secret: those are sealed in side tables.

mod attest;
mod chain;
mod config;
mod cqrs;
mod database;
mod database_file;
mod effects;
mod error;
mod executor;
mod fold;
mod json_rows;
mod metric_definitions;
mod postgres;
mod push;
mod recorded;
mod rows;
mod sqlite;
mod store;
mod tail;
mod vault;
mod views;
mod work;

pub use attest::{AttestError, Attestation, SigningKey};
pub use chain::{ChainCheck, ChainError, verify_chain};
pub use config::{MasterKey, MasterKeyError, StoreConfig};
pub use cqrs::{LogContext, LogEventStore};
pub use database::{Database, SqliteDatabase};
pub use effects::{Effect, QueueRow, QueueState};
pub use error::{DriverError, NewerEvent, OpenError, StoreError, SubmitError};
pub use executor::{Executor, ExecutorConfig};
pub use push::{
    KeptPush, MAX_PUSH_BYTES, OpenPush, PushFilter, PushFormat, PushKey, PushKeyError, PushKind, PushMode,
    PushPage, PushRow, PushState, RelayState,
};
pub use recorded::{Cause, Head, Link, Position, Recorded};
pub use store::{
    Amount, AuthorizationEnd, Authorizer, Begun, BegunAuthorization, BegunStatus, ByStream, Chunk, Claimable,
    Claimed, ClaimedRelay, Clock, CodeStatus, DataKeyState, DatabaseFacts, Held, Inspector, KeptContent,
    KeptToken, KeyError, KeyNode, KeyState, KindHealth, Lease, LogSnapshot, Look, MasterKeyState, NewCode,
    Pace, PlatformTicket, PushHealth, QueueEntry, QueueStats, QuotaFailure, QuotaPoll, QuotaRate,
    QuotaSample, RawEvent, RawQueueRow, RawReceipt, RelayEnd, RelayHealth, RelayRoom, ResealReport, Resealed,
    RetentionClass, Scan, Scanned, SchemaFound, SecretMark, Snapshot, Store, StoredCode, StoredReceipt,
    StrayReceipt, Swept, SystemClock, Timestamped, TokenAsk, TokenClaim, TokenClaimed, TokenState, TokenTurn,
    TokenWish, WatchedPlatform,
};
pub use work::{AnyState, Done, Known, ReceiptKey, Stage, StageError, Stop, StreamRef, Submission, Work};
