//! The serialisers that take a row apart: its fields by name, each as its column wants it.

use serde::{
    Serialize, Serializer,
    ser::{Error as _, Impossible, SerializeMap, SerializeStruct},
};
use serde_json::Error;

use crate::table::{Column, Kind};

/// The fields of one row. Answers with how many there were.
pub(super) struct Fields<'a> {
    pub(super) out: &'a mut Vec<u8>,
    pub(super) columns: &'static [Column],
    pub(super) next: usize,
}

/// Refuses the shapes that cannot be; the others are written out where the macro is used.
macro_rules! refuse {
    ($what:literal: $($name:ident($($arg:ty),*) -> $answer:ty;)*) => {
        $(fn $name(self, $(_: $arg),*) -> Result<$answer, Error> {
            Err(Error::custom($what))
        })*
    };
}

/// The compound shapes, none of which is a single value.
macro_rules! refuse_compounds {
    ($what:literal) => {
        type SerializeSeq = Impossible<Self::Ok, Error>;
        type SerializeTuple = Impossible<Self::Ok, Error>;
        type SerializeTupleStruct = Impossible<Self::Ok, Error>;
        type SerializeTupleVariant = Impossible<Self::Ok, Error>;
        type SerializeStructVariant = Impossible<Self::Ok, Error>;

        refuse! { $what:
            serialize_seq(Option<usize>) -> Self::SerializeSeq;
            serialize_tuple(usize) -> Self::SerializeTuple;
            serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
            serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
            serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
            serialize_bytes(&[u8]) -> Self::Ok;
            serialize_f32(f32) -> Self::Ok;
            serialize_f64(f64) -> Self::Ok;
            serialize_unit() -> Self::Ok;
            serialize_unit_struct(&'static str) -> Self::Ok;
        }

        fn serialize_newtype_variant<T: Serialize + ?Sized>(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: &T,
        ) -> Result<Self::Ok, Error> {
            Err(Error::custom($what))
        }
    };
}

impl<'a> Serializer for Fields<'a> {
    type Ok = usize;
    type Error = Error;
    type SerializeMap = Self;
    type SerializeStruct = Self;

    refuse_compounds!("a row is a struct");
    refuse! { "a row is a struct":
        serialize_bool(bool) -> usize;
        serialize_i8(i8) -> usize;
        serialize_i16(i16) -> usize;
        serialize_i32(i32) -> usize;
        serialize_i64(i64) -> usize;
        serialize_u8(u8) -> usize;
        serialize_u16(u16) -> usize;
        serialize_u32(u32) -> usize;
        serialize_u64(u64) -> usize;
        serialize_char(char) -> usize;
        serialize_str(&str) -> usize;
        serialize_none() -> usize;
        serialize_unit_variant(&'static str, u32, &'static str) -> usize;
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<usize, Error> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<usize, Error> {
        value.serialize(self)
    }

    /// A struct with flattened parts comes as a map.
    fn serialize_map(self, _: Option<usize>) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Error> {
        Ok(self)
    }
}

impl Fields<'_> {
    fn column(&mut self) -> Result<&'static Column, Error> {
        let column = self.columns.get(self.next);
        self.next += 1;
        column.ok_or_else(|| Error::custom("a row has more fields than its table has columns"))
    }

    fn put<T: Serialize + ?Sized>(&mut self, column: &Column, value: &T) -> Result<(), Error> {
        if column.kind != Kind::Json {
            return value.serialize(Cell { out: self.out, kind: column.kind });
        }
        let at = self.out.len();
        // The length, and the version of the binary form of jsonb.
        self.out.extend_from_slice(&[0, 0, 0, 0, 1]);
        serde_json::to_writer(&mut *self.out, value)?;
        let length = if &self.out[at + 5..] == b"null" {
            self.out.truncate(at + 4);
            u32::MAX
        } else {
            (self.out.len() - at - 4) as u32
        };
        self.out[at..at + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }
}

fn misplaced(column: &Column) -> Error {
    Error::custom(format!("a row has another field where its table has column {}", column.name))
}

impl SerializeStruct for Fields<'_> {
    type Ok = usize;
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        let column = self.column()?;
        if column.name != name {
            return Err(misplaced(column));
        }
        self.put(column, value)
    }

    fn end(self) -> Result<usize, Error> {
        Ok(self.next)
    }
}

impl SerializeMap for Fields<'_> {
    type Ok = usize;
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, _: &T) -> Result<(), Error> {
        Err(Error::custom("a row is a struct"))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, _: &T) -> Result<(), Error> {
        Err(Error::custom("a row is a struct"))
    }

    fn serialize_entry<K: Serialize + ?Sized, V: Serialize + ?Sized>(
        &mut self,
        key: &K,
        value: &V,
    ) -> Result<(), Error> {
        let column = self.column()?;
        if !key.serialize(Named(column.name))? {
            return Err(misplaced(column));
        }
        self.put(column, value)
    }

    fn end(self) -> Result<usize, Error> {
        Ok(self.next)
    }
}

/// Whether a key is this name.
struct Named(&'static str);

impl Serializer for Named {
    type Ok = bool;
    type Error = Error;
    type SerializeMap = Impossible<bool, Error>;
    type SerializeStruct = Impossible<bool, Error>;

    refuse_compounds!("a field has a name");
    refuse! { "a field has a name":
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
        serialize_bool(bool) -> bool;
        serialize_i8(i8) -> bool;
        serialize_i16(i16) -> bool;
        serialize_i32(i32) -> bool;
        serialize_i64(i64) -> bool;
        serialize_u8(u8) -> bool;
        serialize_u16(u16) -> bool;
        serialize_u32(u32) -> bool;
        serialize_u64(u64) -> bool;
        serialize_char(char) -> bool;
        serialize_none() -> bool;
        serialize_unit_variant(&'static str, u32, &'static str) -> bool;
    }

    fn serialize_str(self, name: &str) -> Result<bool, Error> {
        Ok(name == self.0)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<bool, Error> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<bool, Error> {
        value.serialize(self)
    }
}

/// One value of a column that is no JSON.
struct Cell<'a> {
    out: &'a mut Vec<u8>,
    kind: Kind,
}

impl Cell<'_> {
    fn put(self, kind: Kind, bytes: &[u8]) -> Result<(), Error> {
        if self.kind != kind {
            return Err(Error::custom(format!("a column of {:?} got {kind:?}", self.kind)));
        }
        self.out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

impl Serializer for Cell<'_> {
    type Ok = ();
    type Error = Error;
    type SerializeMap = Impossible<(), Error>;
    type SerializeStruct = Impossible<(), Error>;

    refuse_compounds!("only a column of JSON holds more than one value");
    refuse! { "only a column of JSON holds more than one value":
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
    }

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.put(Kind::Flag, &[u8::from(value)])
    }

    fn serialize_i8(self, value: i8) -> Result<(), Error> {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<(), Error> {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<(), Error> {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<(), Error> {
        self.put(Kind::Int, &value.to_be_bytes())
    }

    fn serialize_u8(self, value: u8) -> Result<(), Error> {
        self.serialize_i64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<(), Error> {
        self.serialize_i64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<(), Error> {
        self.serialize_i64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<(), Error> {
        self.serialize_i64(i64::try_from(value).map_err(Error::custom)?)
    }

    fn serialize_char(self, value: char) -> Result<(), Error> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), Error> {
        self.put(Kind::Text, value.as_bytes())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Error> {
        self.serialize_str(variant)
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.out.extend_from_slice(&u32::MAX.to_be_bytes());
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }
}
