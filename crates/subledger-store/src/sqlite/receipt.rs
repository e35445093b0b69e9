//! Receipts: what was answered to a command id.

use rusqlite::{Connection, ffi::SQLITE_CONSTRAINT_PRIMARYKEY, params};
use sqlx::SqliteConnection;

use crate::{
    StoreError,
    error::while_doing,
    json_rows::JsonRows,
    rows::{ReceiptColumns, ReceiptRow, bytes},
    work::Digest,
};

/// The receipts under these keys, as (log id, key).
pub(crate) async fn find_receipts(
    connection: &mut SqliteConnection,
    keys: &[(i64, Digest)],
) -> Result<Vec<ReceiptRow>, StoreError> {
    let (json, blob) = JsonRows::of(keys, |row, (log, key)| row.int(*log).bytes(key)).into_parts();
    let rows: Vec<ReceiptColumns<Vec<u8>>> = sqlx::query_as(
        "select r.log, r.key, r.fingerprint, r.outcome, r.position, r.recorded_at
         from json_each(?1) w cross join receipt r
             on r.log = w.value ->> 0 and r.key = substr(?2, w.value ->> 1, w.value ->> 2)",
    )
    .bind(json)
    .bind(blob)
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading receipts"))?;
    let receipt = |(log, key, fingerprint, outcome, position, recorded_at): ReceiptColumns<_>| {
        Ok(ReceiptRow {
            log,
            key: bytes(key)?,
            fingerprint: bytes(fingerprint)?,
            outcome: outcome.into(),
            position,
            recorded_at,
        })
    };
    rows.into_iter().map(receipt).collect()
}

/// Adds receipts. `false`: one is there already.
pub(crate) fn insert_receipts(connection: &Connection, receipts: &[ReceiptRow]) -> Result<bool, StoreError> {
    let failed = while_doing("adding receipts");
    let mut statement = connection
        .prepare_cached(
            "insert into receipt (log, key, fingerprint, outcome, position, recorded_at)
             values (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .map_err(failed)?;
    for receipt in receipts {
        let inserted = statement.execute(params![
            receipt.log,
            &receipt.key[..],
            &receipt.fingerprint[..],
            &*receipt.outcome,
            receipt.position,
            receipt.recorded_at
        ]);
        match inserted {
            Ok(_) => {}
            Err(rusqlite::Error::SqliteFailure(error, _))
                if error.extended_code == SQLITE_CONSTRAINT_PRIMARYKEY =>
            {
                return Ok(false);
            }
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(true)
}
