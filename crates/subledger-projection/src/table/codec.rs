//! How a field of a row stands in a column.

use std::{borrow::Cow, marker::PhantomData};

use serde::{Serialize, de::DeserializeOwned};
use subledger_domain::{DeliveryId, MessageId, SubjectId, Timestamp, UserRef};
use subledger_store::Position;

use crate::{
    rows::codes::Coded,
    tuples::{Cells, Fields, Unreadable},
};

/// Writes and reads a `T` as one field.
pub(super) trait Codec<T> {
    fn put(value: &T, to: &mut Fields<'_, '_>);
    fn take(from: &mut Cells<'_>) -> Result<T, Unreadable>;
}

/// Two bytes.
pub(super) struct Small;
/// Four bytes.
pub(super) struct Int;
/// Eight bytes.
pub(super) struct Big;
/// A word as a small number.
pub(super) struct Code;
/// Text.
pub(super) struct Text;
/// Text that has a number in the database.
pub(super) struct Term;
/// Microseconds.
pub(super) struct Time;
/// 128 bits.
pub(super) struct Id;
/// A message and an index.
pub(super) struct Delivery;
/// JSON.
pub(super) struct Json;
/// Null instead of nothing.
pub(super) struct Opt<C>(PhantomData<C>);
/// Null instead of zero.
pub(super) struct Zero<C>(PhantomData<C>);

fn odd() -> Unreadable {
    Unreadable::new("a number is out of range")
}

/// What goes into columns for numbers. Beyond what a column holds there is nothing: the database refuses the row.
pub(super) trait Number: Sized + Copy {
    fn widen(self) -> i64;
    fn narrow(value: i64) -> Option<Self>;
}

macro_rules! number {
    ($($number:ty),+) => {
        $(impl Number for $number {
            fn widen(self) -> i64 {
                i64::try_from(self).unwrap_or(i64::MAX)
            }

            fn narrow(value: i64) -> Option<Self> {
                Self::try_from(value).ok()
            }
        })+
    };
}

number!(u16, u32, u64, i64);

impl Number for Position {
    fn widen(self) -> i64 {
        self.0.widen()
    }

    fn narrow(value: i64) -> Option<Self> {
        u64::narrow(value).map(Self)
    }
}

macro_rules! numeric {
    ($($codec:ident $put:ident),+) => {
        $(impl<T: Number> Codec<T> for $codec {
            fn put(value: &T, to: &mut Fields<'_, '_>) {
                to.$put(value.widen());
            }

            fn take(from: &mut Cells<'_>) -> Result<T, Unreadable> {
                T::narrow(from.int()?).ok_or_else(odd)
            }
        })+
    };
}

numeric!(Small small, Int int, Big big);

impl<T: Coded> Codec<T> for Code {
    fn put(value: &T, to: &mut Fields<'_, '_>) {
        to.small(value.code());
    }

    fn take(from: &mut Cells<'_>) -> Result<T, Unreadable> {
        T::from_code(from.int()?).ok_or_else(|| Unreadable::new("a number stands for no word"))
    }
}

impl Codec<Timestamp> for Time {
    fn put(value: &Timestamp, to: &mut Fields<'_, '_>) {
        to.big(value.micros());
    }

    fn take(from: &mut Cells<'_>) -> Result<Timestamp, Unreadable> {
        from.int().map(Timestamp::from_micros)
    }
}

impl Codec<String> for Text {
    fn put(value: &String, to: &mut Fields<'_, '_>) {
        to.text(value);
    }

    fn take(from: &mut Cells<'_>) -> Result<String, Unreadable> {
        from.text().map(str::to_owned)
    }
}

impl Codec<Cow<'static, str>> for Text {
    fn put(value: &Cow<'static, str>, to: &mut Fields<'_, '_>) {
        to.text(value);
    }

    fn take(from: &mut Cells<'_>) -> Result<Cow<'static, str>, Unreadable> {
        from.text().map(|text| Cow::Owned(text.to_owned()))
    }
}

macro_rules! ids_as_text {
    ($($id:ty),+) => {
        $(impl Codec<$id> for Text {
            fn put(value: &$id, to: &mut Fields<'_, '_>) {
                to.text(value.as_str());
            }

            fn take(from: &mut Cells<'_>) -> Result<$id, Unreadable> {
                from.text()?.parse().map_err(Unreadable::new)
            }
        }

        impl Codec<$id> for Term {
            fn put(value: &$id, to: &mut Fields<'_, '_>) {
                to.term(value.as_str());
            }

            fn take(from: &mut Cells<'_>) -> Result<$id, Unreadable> {
                from.text()?.parse().map_err(Unreadable::new)
            }
        })+
    };
}

ids_as_text!(subledger_domain::TemplateId, subledger_domain::AppId, subledger_domain::ChannelCode);

macro_rules! hashes {
    ($($id:ty),+) => {
        $(impl Codec<$id> for Id {
            fn put(value: &$id, to: &mut Fields<'_, '_>) {
                to.bytes(value.as_bytes());
            }

            fn take(from: &mut Cells<'_>) -> Result<$id, Unreadable> {
                let bytes = from.bytes()?.try_into();
                bytes.map(<$id>::from_bytes).map_err(|_| Unreadable::new("an id has not 128 bits"))
            }
        })+
    };
}

hashes!(SubjectId, UserRef, MessageId);

/// The message, then the index without leading zeros.
impl Codec<DeliveryId> for Delivery {
    fn put(value: &DeliveryId, to: &mut Fields<'_, '_>) {
        let mut bytes = [0; 20];
        bytes[..16].copy_from_slice(value.message.as_bytes());
        let index = value.index.to_be_bytes();
        let digits = &index[value.index.leading_zeros() as usize / 8..];
        bytes[16..16 + digits.len()].copy_from_slice(digits);
        to.bytes(&bytes[..16 + digits.len()]);
    }

    fn take(from: &mut Cells<'_>) -> Result<DeliveryId, Unreadable> {
        delivery(from.bytes()?)
    }
}

/// See [`Delivery`].
pub(super) fn delivery(bytes: &[u8]) -> Result<DeliveryId, Unreadable> {
    let wrong = || Unreadable::new("a delivery is not a message and an index");
    let (message, index) = bytes.split_first_chunk().ok_or_else(wrong)?;
    if index.len() > 4 {
        return Err(wrong());
    }
    let index = index.iter().fold(0, |index, byte| index << 8 | u32::from(*byte));
    Ok(DeliveryId::new(MessageId::from_bytes(*message), index))
}

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    fn put(value: &T, to: &mut Fields<'_, '_>) {
        // What is not JSON is refused by the database: it comes out as null.
        match serde_json::to_string(value) {
            Ok(json) => to.text(&json),
            Err(_) => to.null(),
        }
    }

    fn take(from: &mut Cells<'_>) -> Result<T, Unreadable> {
        serde_json::from_str(from.text()?).map_err(Unreadable::new)
    }
}

impl<T, C: Codec<T>> Codec<Option<T>> for Opt<C> {
    fn put(value: &Option<T>, to: &mut Fields<'_, '_>) {
        match value {
            Some(value) => C::put(value, to),
            None => to.null(),
        }
    }

    fn take(from: &mut Cells<'_>) -> Result<Option<T>, Unreadable> {
        if from.skip_null() { Ok(None) } else { C::take(from).map(Some) }
    }
}

impl<C: Codec<u32>> Codec<u32> for Zero<C> {
    fn put(value: &u32, to: &mut Fields<'_, '_>) {
        if *value == 0 { to.null() } else { C::put(value, to) }
    }

    fn take(from: &mut Cells<'_>) -> Result<u32, Unreadable> {
        if from.skip_null() { Ok(0) } else { C::take(from) }
    }
}
