//! Receipts: what was answered to a command id.

use sqlx::PgConnection;

use super::column;
use crate::{
    StoreError,
    error::while_doing,
    rows::{ReceiptRow, bytes},
};

/// The receipts of these command ids, as (log id, command id).
pub(crate) async fn find_receipts(
    connection: &mut PgConnection,
    ids: &[(i64, &str)],
) -> Result<Vec<ReceiptRow>, StoreError> {
    let rows: Vec<(i64, String, Vec<u8>, String, i64, i64)> = sqlx::query_as(
        "select r.log::bigint, r.id, r.fingerprint, r.outcome, r.position, r.recorded_at
         from unnest($1::bigint[], $2::text[]) as w (log, id)
         join receipt r on r.log = w.log and r.id = w.id",
    )
    .bind(column(ids, |(log, _)| *log))
    .bind(column(ids, |(_, id)| *id))
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
