//! Receipts: what was answered to a command id.

use sqlx::{
    Decode, Encode, PgConnection, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef, types::Oid},
};

use super::column;
use crate::{
    StoreError,
    error::while_doing,
    rows::{ReceiptColumns, ReceiptRow},
    work::Digest,
};

/// A digest as a column of type `uuid`: the only type of 16 bytes that has no length before it.
pub(crate) struct Uuid(pub(crate) Digest);

impl Type<Postgres> for Uuid {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(2950))
    }
}

impl PgHasArrayType for Uuid {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(2951))
    }
}

impl Encode<'_, Postgres> for Uuid {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for Uuid {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        Ok(Self(value.as_bytes()?.try_into()?))
    }
}

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
