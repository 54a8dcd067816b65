//! From values to types, through serde, without losing the place of an error.

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use crate::fault::Fault;
use crate::node::{Node, Value};

/// One value on its way into a type.
#[derive(Clone, Copy)]
pub(crate) struct De<'a> {
    value: &'a Value,
    node: &'a Node,
    /// The keys its table may have, and its own, to refuse it by name when nobody wants it.
    known: &'static [&'static str],
    key: &'a str,
}

impl<'a> De<'a> {
    pub(crate) fn new(node: &'a Node) -> Self {
        Self { value: &node.value, node, known: &[], key: "" }
    }

    /// The text, where text is asked for: that of a variable or a flag unless it is a TOML string.
    fn text(self) -> Option<&'a str> {
        match self.value {
            Value::Text(text) => Some(text),
            Value::Untyped { raw, parsed } => match &**parsed {
                Value::Text(text) => Some(text),
                _ => Some(raw),
            },
            _ => None,
        }
    }

    fn visit_table<V: Visitor<'a>>(
        self,
        visitor: V,
        known: &'static [&'static str],
    ) -> Result<V::Value, Fault> {
        match self.value {
            Value::Table(table) => {
                visitor.visit_map(Members { left: table.iter(), next: None, known })
            }
            // A derived struct would take an array as its fields in order.
            value if value.is_array() => Err(Fault::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn visit_list<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Value::Untyped { .. } if !self.value.is_array() => {
                let mut elements = Elements { left: std::slice::from_ref(self.node).iter(), at: 0 };
                visitor.visit_seq(&mut elements)
            }
            _ => self.deserialize_any(visitor),
        }
    }
}

impl<'a> Deserializer<'a> for De<'a> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(truth) => visitor.visit_bool(*truth),
            Value::Table(_) => self.visit_table(visitor, &[]),
            Value::Untyped { parsed, .. } => {
                Self { value: parsed, ..self }.deserialize_any(visitor)
            }
            Value::Array(items) => {
                let mut elements = Elements { left: items.iter(), at: 0 };
                let list = visitor.visit_seq(&mut elements)?;
                match elements.left.len() {
                    0 => Ok(list),
                    // A pair must not swallow a third element.
                    _ => Err(Fault::invalid_length(items.len(), &"fewer elements")),
                }
            }
        }
    }

    fn deserialize_str<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.text() {
            Some(text) => visitor.visit_borrowed_str(text),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit_list(visitor)
    }

    fn deserialize_tuple<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.visit_list(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.visit_list(visitor)
    }

    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.visit_table(visitor, fields)
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let expected = format!("one of {}", variants.join(", "));
        match (self.text(), self.value) {
            (Some(text), _) => visitor.visit_enum(de::value::StrDeserializer::new(text)),
            (None, Value::Table(table)) => match table.iter().next() {
                Some((name, node)) if table.len() == 1 => {
                    visitor.visit_enum(Variant { name, node })
                }
                _ => Err(Fault::invalid_length(table.len(), &expected.as_str())),
            },
            (None, other) => {
                let found = Unexpected::Other(other.describe());
                Err(Fault::invalid_type(found, &expected.as_str()))
            }
        }
    }

    /// Nobody asked for this key: a mistake, not something to pass over.
    fn deserialize_ignored_any<V: Visitor<'a>>(self, _: V) -> Result<V::Value, Fault> {
        Err(Fault::unknown_key(self.known, self.key))
    }

    forward_to_deserialize_any! {
        <W: Visitor<'a>>
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 bytes byte_buf unit unit_struct map
    }
}

struct Members<'a> {
    left: std::collections::btree_map::Iter<'a, String, Node>,
    next: Option<(&'a String, &'a Node)>,
    known: &'static [&'static str],
}

impl<'a> MapAccess<'a> for Members<'a> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'a>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        self.next = self.left.next();
        let Some((key, node)) = self.next else {
            return Ok(None);
        };
        let name = de::value::BorrowedStrDeserializer::new(key);
        seed.deserialize(name).map(Some).map_err(|fault: Fault| fault.under(key, &node.origin))
    }

    fn next_value_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let Some((key, node)) = self.next.take() else {
            return Err(Fault::custom("a value was asked for before its key"));
        };
        let value = De { value: &node.value, node, known: self.known, key };
        seed.deserialize(value).map_err(|fault| fault.under(key, &node.origin))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left.len())
    }
}

struct Elements<'a> {
    left: std::slice::Iter<'a, Node>,
    at: usize,
}

impl<'a> SeqAccess<'a> for Elements<'a> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'a>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        let Some(node) = self.left.next() else {
            return Ok(None);
        };
        let at = self.at;
        self.at += 1;
        seed.deserialize(De::new(node)).map(Some).map_err(|fault| fault.at(at, &node.origin))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left.len())
    }
}

/// `kind = { name = value }`
struct Variant<'a> {
    name: &'a str,
    node: &'a Node,
}

impl Variant<'_> {
    fn placed<T>(&self, read: Result<T, Fault>) -> Result<T, Fault> {
        read.map_err(|fault| fault.under(self.name, &self.node.origin))
    }
}

impl<'a> EnumAccess<'a> for Variant<'a> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'a>>(self, seed: S) -> Result<(S::Value, Self), Fault> {
        let name = de::value::BorrowedStrDeserializer::new(self.name);
        let variant = self.placed(seed.deserialize(name))?;
        Ok((variant, self))
    }
}

impl<'a> VariantAccess<'a> for Variant<'a> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        let found = Unexpected::Other(self.node.value.describe());
        self.placed(Err(Fault::invalid_type(found, &"the word alone")))
    }

    fn newtype_variant_seed<S: DeserializeSeed<'a>>(self, seed: S) -> Result<S::Value, Fault> {
        self.placed(seed.deserialize(De::new(self.node)))
    }

    fn tuple_variant<V: Visitor<'a>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.placed(De::new(self.node).visit_list(visitor))
    }

    fn struct_variant<V: Visitor<'a>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.placed(De::new(self.node).visit_table(visitor, fields))
    }
}
