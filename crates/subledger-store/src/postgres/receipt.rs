//! Receipts: what was answered to a command id.

use sqlx::PgConnection;

use super::{Uuid, column};
use crate::{
    StoreError,
    error::while_doing,
    rows::{ReceiptColumns, ReceiptRow},
    work::Digest,
};

/// The receipts under these keys, as (log id, key).
pub(crate) async fn find_receipts(
    connection: &mut PgConnection,
    keys: &[(i64, Digest)],
) -> Result<Vec<ReceiptRow>, StoreError> {
    let rows: Vec<ReceiptColumns<Uuid>> = sqlx::query_as(
        "select r.log::bigint, r.key, r.fingerprint, r.outcome, r.position, r.recorded_at
         from unnest($1::bigint[], $2::uuid[]) as w (log, key)
         join receipt r on r.log = w.log and r.key = w.key",
    )
    .bind(column(keys, |(log, _)| *log))
    .bind(column(keys, |(_, key)| Uuid(*key)))
    .fetch_all(connection)
    .await
    .map_err(while_doing("reading receipts"))?;
    let receipt = |(log, Uuid(key), Uuid(fingerprint), outcome, position, recorded_at): ReceiptColumns<_>| {
        ReceiptRow { log, key, fingerprint, outcome: outcome.into(), position, recorded_at }
    };
    Ok(rows.into_iter().map(receipt).collect())
}
