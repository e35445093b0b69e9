//! The statements for PostgreSQL.
//!
//! Same files and same function names as [`crate::sqlite`]: a reader of one knows the other. Batches travel as arrays
//! and are unpacked by `unnest`; nothing here decides anything. A lock and the reads it protects are separate
//! statements, because each statement sees the database as it was when the statement began.

pub(crate) mod append;
pub(crate) mod by_stream;
pub(crate) mod connect;
pub(crate) mod erasure;
pub(crate) mod head;
pub(crate) mod inspect;
pub(crate) mod keys;
pub(crate) mod lease;
pub(crate) mod look;
pub(crate) mod migrate;
pub(crate) mod past;
pub(crate) mod platform;
pub(crate) mod push;
pub(crate) mod queue;
pub(crate) mod quota;
pub(crate) mod read;
pub(crate) mod receipt;
pub(crate) mod relay;
pub(crate) mod reseal;
pub(crate) mod retention;
pub(crate) mod scan;
pub(crate) mod snapshot;
pub(crate) mod token;
pub(crate) mod vault;
pub(crate) mod writer;

use sqlx::{
    Decode, Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef, types::Oid},
};

use crate::work::Digest;

/// One column of rows, as an array.
fn column<'a, T, C>(rows: &'a [T], value: impl Fn(&'a T) -> C) -> Vec<C> {
    rows.iter().map(value).collect()
}

/// A digest as a column of type `uuid`: the only type of 16 bytes that has no length before it.
struct Uuid(Digest);

impl Type<Postgres> for Uuid {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(oid::UUID)
    }
}

impl PgHasArrayType for Uuid {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(oid::UUID_ARRAY)
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

/// A row that travels as a value of a composite type.
trait Composite {
    /// The type.
    const TYPE: &'static str;
    /// How many columns it has.
    const COLUMNS: i32;

    /// Writes the columns, in the order of the type.
    fn columns(&self, columns: Columns<'_>) -> Result<(), BoxDynError>;
}

/// Rows as an array of their composite type.
fn composites<T: Composite>(rows: &[T]) -> Vec<Value<'_, T>> {
    rows.iter().map(Value).collect()
}

/// A row as a value of its composite type.
struct Value<'a, T>(&'a T);

impl<T: Composite> Type<Postgres> for Value<'_, T> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name(T::TYPE)
    }
}

impl<T: Composite> PgHasArrayType for Value<'_, T> {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::array_of(T::TYPE)
    }
}

impl<T: Composite> Encode<'_, Postgres> for Value<'_, T> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&T::COLUMNS.to_be_bytes());
        self.0.columns(Columns(buffer))?;
        Ok(IsNull::No)
    }
}

/// The columns of a composite value, in the form in which the server takes them: type, length, bytes.
struct Columns<'a>(&'a mut PgArgumentBuffer);

impl Columns<'_> {
    fn bigint(self, value: i64) -> Result<Self, BoxDynError> {
        self.put(oid::BIGINT, &value.to_be_bytes())
    }

    fn integer(self, value: i64) -> Result<Self, BoxDynError> {
        self.put(oid::INTEGER, &i32::try_from(value)?.to_be_bytes())
    }

    fn smallint(self, value: i16) -> Result<Self, BoxDynError> {
        self.put(oid::SMALLINT, &value.to_be_bytes())
    }

    fn text(self, value: &str) -> Result<Self, BoxDynError> {
        self.put(oid::TEXT, value.as_bytes())
    }

    fn bytea(self, value: &[u8]) -> Result<Self, BoxDynError> {
        self.put(oid::BYTEA, value)
    }

    fn uuid(self, value: &Digest) -> Result<Self, BoxDynError> {
        self.put(oid::UUID, value)
    }

    fn put(self, kind: Oid, bytes: &[u8]) -> Result<Self, BoxDynError> {
        let length = i32::try_from(bytes.len())?;
        self.0.extend_from_slice(&kind.0.to_be_bytes());
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(bytes);
        Ok(self)
    }
}

/// The numbers of built-in types, the same on every server.
mod oid {
    use super::Oid;

    pub(super) const BYTEA: Oid = Oid(17);
    pub(super) const BIGINT: Oid = Oid(20);
    pub(super) const SMALLINT: Oid = Oid(21);
    pub(super) const INTEGER: Oid = Oid(23);
    pub(super) const TEXT: Oid = Oid(25);
    pub(super) const UUID: Oid = Oid(2950);
    pub(super) const UUID_ARRAY: Oid = Oid(2951);
}
