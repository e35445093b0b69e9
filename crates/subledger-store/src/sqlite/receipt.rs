//! Receipts: what was answered to a command id.

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
    let receipt = |(log, id, fingerprint, outcome, position, recorded_at)| {
        Ok(ReceiptRow { log, id, fingerprint: bytes(fingerprint)?, outcome, position, recorded_at })
    };
    rows.into_iter().map(receipt).collect()
}

/// Adds receipts.
pub(crate) async fn insert_receipts(
    connection: &mut SqliteConnection,
    receipts: &[ReceiptRow],
) -> Result<(), StoreError> {
    let (json, blob) = JsonRows::of(receipts, |row, receipt| {
        row.int(receipt.log)
            .text(&receipt.id)
            .int(receipt.position)
            .int(receipt.recorded_at)
            .bytes(&receipt.fingerprint)
            .bytes(receipt.outcome.as_bytes())
    })
    .into_parts();
    sqlx::query(
        "insert into receipt (log, id, position, recorded_at, fingerprint, outcome)
         select value ->> 0, value ->> 1, value ->> 2, value ->> 3,
                substr(?2, value ->> 4, value ->> 5), cast(substr(?2, value ->> 6, value ->> 7) as text)
         from json_each(?1)",
    )
    .bind(json)
    .bind(blob)
    .execute(connection)
    .await
    .map_err(while_doing("adding receipts"))?;
    Ok(())
}
