//! Receipts: what was answered to a command id.

use rusqlite::{Connection, ffi::SQLITE_CONSTRAINT_PRIMARYKEY, params};
use sqlx::SqliteConnection;

use crate::{
    StoreError,
    error::while_doing,
    json_rows::JsonRows,
    rows::{ReceiptRow, bytes},
};

/// The receipts of these command ids, as (log id, command id).
pub(crate) async fn find_receipts(
    connection: &mut SqliteConnection,
    ids: &[(i64, &str)],
) -> Result<Vec<ReceiptRow>, StoreError> {
    let json = JsonRows::of(ids, |row, (log, id)| row.int(*log).text(id)).into_text();
    let rows: Vec<(i64, String, Vec<u8>, String, i64, i64)> = sqlx::query_as(
        "select r.log, r.id, r.fingerprint, r.outcome, r.position, r.recorded_at
         from json_each(?1) w cross join receipt r on r.log = w.value ->> 0 and r.id = w.value ->> 1",
    )
    .bind(json)
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading receipts"))?;
    let receipt = |(log, id, fingerprint, outcome, position, recorded_at): (_, _, _, String, _, _)| {
        Ok(ReceiptRow {
            log,
            id,
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
            "insert into receipt (log, id, fingerprint, outcome, position, recorded_at)
             values (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .map_err(failed)?;
    for receipt in receipts {
        let inserted = statement.execute(params![
            receipt.log,
            receipt.id,
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
