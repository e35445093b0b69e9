//! Rows of the tables of keys, and where sealed values stand.

use crate::{
    StoreError,
    vault::{DataKeyId, WrappedKey},
};

/// A data key: number, when it was made, when it was retired.
pub(crate) type DataKeyRow = (i64, i64, Option<i64>);

/// A wrapped data key: id of the master key, number of the data key, sealed.
pub(crate) type WrappedRow = (String, i64, Vec<u8>);

/// A running node: name, id of its master key, the newest data key it knows.
pub(crate) type NodeRow = (String, String, i64);

/// How far a table has come: name, data key, position, seen, resealed, damaged, micros, started at, done at.
pub(crate) type ResealRow = (String, i64, Option<String>, i64, i64, i64, i64, i64, Option<i64>);

/// Wrapped keys as rows hold them.
pub(crate) fn wrapped(rows: Vec<WrappedRow>) -> Result<Vec<WrappedKey>, StoreError> {
    rows.into_iter()
        .map(|(master, key, sealed)| Ok(WrappedKey { master, key: number(key)?, sealed }))
        .collect()
}

/// The number of a data key.
pub(crate) fn number(id: i64) -> Result<DataKeyId, StoreError> {
    DataKeyId::try_from(id).map_err(|_| StoreError::Corrupt(format!("data key {id}")))
}

/// A column of sealed values. What a value is bound to is `tag`, then the columns of the key.
#[derive(Debug)]
pub(crate) struct SealedColumn {
    /// In reports, and the first part of the place: see [`crate::store::place`].
    pub(crate) tag: &'static str,
    /// The table.
    pub(crate) table: &'static str,
    /// The column. Rows in which it is null are passed over.
    pub(crate) column: &'static str,
    /// Columns of a unique index, in its order: what finds a row, and what its place is made of.
    pub(crate) key: &'static [(&'static str, Part)],
}

/// What a column of a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The number of a log; its name stands in the place.
    Log,
    /// A number; eight bytes in the place, the lowest first.
    Number,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// Sixteen bytes that PostgreSQL keeps as a `uuid`.
    Digest,
}

/// A value of a column of a key.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum KeyValue {
    /// Of [`Part::Log`] and [`Part::Number`].
    Number(i64),
    /// Of [`Part::Text`].
    Text(String),
    /// Of [`Part::Bytes`] and [`Part::Digest`].
    Bytes(Vec<u8>),
}

impl KeyValue {
    /// As a number, if it is one.
    pub(crate) const fn number(&self) -> Option<i64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// As text, if it is that.
    pub(crate) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// As bytes, if it is that.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }
}

/// A sealed value and its row's key.
pub(crate) type SealedValue = (Vec<KeyValue>, Vec<u8>);

/// A value to be put in the place of another, if that is still there.
pub(crate) struct Replacement {
    pub(crate) key: Vec<KeyValue>,
    pub(crate) old: Vec<u8>,
    pub(crate) new: Vec<u8>,
}

/// Every column of sealed values. A table with a new one is a new member, or rotating data keys leaves it behind.
pub(crate) static SEALED: &[SealedColumn] = &[
    SealedColumn { tag: "secret", table: "secret", column: "sealed", key: &[("reference", Part::Text)] },
    SealedColumn {
        tag: "identity",
        table: "identity",
        column: "sealed",
        key: &[("log", Part::Log), ("subject", Part::Bytes)],
    },
    SealedColumn {
        tag: "user_identity",
        table: "user_identity",
        column: "sealed",
        key: &[("user_ref", Part::Bytes)],
    },
    SealedColumn {
        tag: "content",
        table: "content",
        column: "sealed",
        key: &[("log", Part::Log), ("message", Part::Bytes), ("idx", Part::Number)],
    },
    SealedColumn {
        tag: "push",
        table: "push",
        column: "sealed",
        key: &[("log", Part::Log), ("key", Part::Digest)],
    },
    SealedColumn {
        tag: "token",
        table: "token",
        column: "sealed",
        key: &[("appid", Part::Text), ("mode", Part::Text)],
    },
    SealedColumn {
        tag: "platform",
        table: "platform",
        column: "ticket",
        key: &[("component_appid", Part::Text)],
    },
    SealedColumn {
        tag: "platform_authorization",
        table: "platform_authorization",
        column: "sealed",
        key: &[("id", Part::Bytes)],
    },
    SealedColumn {
        tag: "platform_code",
        table: "platform_code",
        column: "sealed",
        key: &[("component_appid", Part::Text), ("code", Part::Bytes)],
    },
    SealedColumn {
        tag: "authorizer",
        table: "authorizer",
        column: "refresh_token",
        key: &[("component_appid", Part::Text), ("appid", Part::Text)],
    },
];
