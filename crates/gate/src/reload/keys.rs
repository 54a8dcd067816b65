//! Every key that a type reads, found by reading it: nothing can be forgotten.

use serde::de::value::Error;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer as _,
    MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// The keys of a section as dotted paths. Lists and free tables are one key.
pub(super) fn of<T: DeserializeOwned>() -> Vec<String> {
    let mut found = Vec::new();
    T::deserialize(Probe { path: String::new(), found: &mut found }).map(|_| ()).unwrap();
    found
}

struct Probe<'f> {
    path: String,
    found: &'f mut Vec<String>,
}

impl Probe<'_> {
    fn leaf(self) {
        self.found.push(self.path);
    }
}

macro_rules! leaves {
    ($($name:ident $visit:ident $value:expr;)*) => {$(
        fn $name<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Error> {
            self.leaf();
            visitor.$visit($value)
        }
    )*};
}

impl Deserializer<'static> for Probe<'_> {
    type Error = Error;

    leaves! {
        deserialize_any visit_str "x";
        deserialize_bool visit_bool false;
        deserialize_i8 visit_i8 1;
        deserialize_i16 visit_i16 1;
        deserialize_i32 visit_i32 1;
        deserialize_i64 visit_i64 1;
        deserialize_u8 visit_u8 1;
        deserialize_u16 visit_u16 1;
        deserialize_u32 visit_u32 1;
        deserialize_u64 visit_u64 1;
        deserialize_f32 visit_f32 1.0;
        deserialize_f64 visit_f64 1.0;
        deserialize_char visit_char 'x';
        deserialize_str visit_str "x";
        deserialize_string visit_str "x";
        deserialize_bytes visit_bytes b"x";
        deserialize_byte_buf visit_bytes b"x";
        deserialize_identifier visit_str "x";
    }

    fn deserialize_option<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'static>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'static>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(Fields { left: fields, now: "", probe: self })
    }

    fn deserialize_enum<V: Visitor<'static>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.leaf();
        visitor.visit_enum(First(variants))
    }

    fn deserialize_seq<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Error> {
        self.leaf();
        visitor.visit_seq(Empty)
    }

    fn deserialize_map<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Error> {
        self.leaf();
        visitor.visit_map(Empty)
    }

    fn deserialize_tuple<V: Visitor<'static>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'static>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_unit<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'static>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

struct Fields<'f> {
    left: &'static [&'static str],
    now: &'static str,
    probe: Probe<'f>,
}

impl MapAccess<'static> for Fields<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'static>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((first, left)) = self.left.split_first() else {
            return Ok(None);
        };
        (self.now, self.left) = (first, left);
        let name: serde::de::value::StrDeserializer<'_, Error> = self.now.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'static>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let path = match self.probe.path.as_str() {
            "" => self.now.to_owned(),
            outer => format!("{outer}.{}", self.now),
        };
        seed.deserialize(Probe { path, found: self.probe.found })
    }
}

struct First(&'static [&'static str]);

impl EnumAccess<'static> for First {
    type Error = Error;
    type Variant = Unit;

    fn variant_seed<S: DeserializeSeed<'static>>(self, seed: S) -> Result<(S::Value, Unit), Error> {
        let name: serde::de::value::StrDeserializer<'_, Error> = self.0[0].into_deserializer();
        Ok((seed.deserialize(name)?, Unit))
    }
}

struct Unit;

impl VariantAccess<'static> for Unit {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'static>>(self, _: S) -> Result<S::Value, Error> {
        Err(Error::custom("the first word of a key has no value"))
    }

    fn tuple_variant<V: Visitor<'static>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("the first word of a key has no value"))
    }

    fn struct_variant<V: Visitor<'static>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        Err(Error::custom("the first word of a key has no value"))
    }
}

struct Empty;

impl SeqAccess<'static> for Empty {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'static>>(
        &mut self,
        _: S,
    ) -> Result<Option<S::Value>, Error> {
        Ok(None)
    }
}

impl MapAccess<'static> for Empty {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'static>>(
        &mut self,
        _: K,
    ) -> Result<Option<K::Value>, Error> {
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'static>>(&mut self, _: S) -> Result<S::Value, Error> {
        Err(Error::custom("there is no value"))
    }
}
