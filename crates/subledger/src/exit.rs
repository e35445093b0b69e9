//! Exit codes, the same for every command: 0 done, 1 failed, 2 wrong use or settings, 3 the database.
//! And how an error is told: in one line, each cause once.

use subledger_engine::EngineError;
use subledger_store::{KeyError, OpenError, StoreError};

use crate::remote::RemoteError;

/// The command failed.
pub(crate) const FAILED: u8 = 1;
/// A flag, a setting or the master key is wrong.
pub(crate) const USAGE: u8 = 2;
/// The database cannot be reached, is broken, or holds what only a newer version can read.
pub(crate) const DATABASE: u8 = 3;

/// Nobody scanned the link of an authorization in time.
pub(crate) const NOT_SCANNED: u8 = 4;
/// The authorization lacks a permission set that sending needs.
pub(crate) const SET_MISSING: u8 = 5;

/// Settings that cannot work; says which and what would.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SettingsError(pub(crate) String);

/// The exit code of an error.
pub(crate) fn code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if cause.is::<SettingsError>() || cause.downcast_ref().is_some_and(RemoteError::is_usage) {
            return USAGE;
        }
        match cause.downcast_ref::<OpenError>() {
            Some(OpenError::WrongMasterKey { .. } | OpenError::Url(_)) => return USAGE,
            Some(_) => return DATABASE,
            None => {}
        }
        if cause.is::<StoreError>() || matches!(cause.downcast_ref(), Some(KeyError::Store(_))) {
            return DATABASE;
        }
    }
    FAILED
}

/// The whole chain in one line, without causes that say again what was said, and for a refused use case the fields at fault.
pub(crate) fn explain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    if let Some(refused) = error.chain().find_map(|cause| cause.downcast_ref::<EngineError>()) {
        for field in &refused.fields {
            text.push_str(&format!("\n  {}: {} ({})", field.pointer, field.detail, field.rule));
        }
    }
    text
}
