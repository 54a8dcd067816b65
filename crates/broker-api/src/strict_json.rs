//! JSON with one reading: no key twice, bounded depth and size, nothing behind it.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::limits::{JSON_DEPTH, JSON_MEMBERS};

/// Why a text was refused, with line and column.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotStrict(#[from] serde_json::Error);

/// Reads one value that fills the text, blanks around it aside (RFC 8259).
///
/// # Errors
/// [`NotStrict`]: no JSON, a key twice in one object, more than [`JSON_DEPTH`] levels or
/// [`JSON_MEMBERS`] members, a number no `f64` holds, or something behind the value.
pub fn parse(bytes: &[u8]) -> Result<Value, NotStrict> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { levels: JSON_DEPTH }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Reads a value with so many more levels below it.
#[derive(Clone, Copy)]
struct Strict {
    levels: usize,
}

impl Strict {
    fn below<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.levels.checked_sub(1) {
            Some(levels) => Ok(Self { levels }),
            None => Err(E::custom(format_args!("nested more than {JSON_DEPTH} levels deep"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element_seed(below)? {
            if items.len() >= JSON_MEMBERS {
                return Err(too_many());
            }
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if members.contains_key(&key) {
                return Err(A::Error::custom("the same key twice in one object"));
            }
            if members.len() >= JSON_MEMBERS {
                return Err(too_many());
            }
            members.insert(key, map.next_value_seed(below)?);
        }
        Ok(Value::Object(members))
    }
}

fn too_many<E: serde::de::Error>() -> E {
    E::custom(format_args!("more than {JSON_MEMBERS} members"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_has_two_readings_is_refused() {
        let deep = format!("{}1{}", "[".repeat(JSON_DEPTH + 1), "]".repeat(JSON_DEPTH + 1));
        let long = format!("[{}1]", "1,".repeat(JSON_MEMBERS));
        for (text, why) in [
            (r#"{"a":1,"a":2}"#, "twice"),
            (r#"{"x":{"a":1,"a":1}}"#, "twice"),
            (r#"{"a":1,"\u0061":2}"#, "twice"),
            (r"{} {}", "trailing"),
            (r#"{"a":1}x"#, "trailing"),
            (r"{'a':1}", "key must be a string"),
            (r"[1,]", "trailing comma"),
            (r#""\ud800""#, "hex escape"),
            ("1e999", "out of range"),
            ("NaN", "expected"),
            ("", "EOF"),
            (&deep, "levels"),
            (&long, "members"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(parse(b"\"\xff\"").is_err());
        let fits = format!("{}1{}", "[".repeat(JSON_DEPTH), "]".repeat(JSON_DEPTH));
        assert!(parse(fits.as_bytes()).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_as_serde_json_does_or_stricter(text in "[\\[\\]{}:,\" a1.e\\\\-]{0,60}") {
            if let Ok(value) = parse(text.as_bytes()) {
                prop_assert_eq!(&value, &serde_json::from_str::<Value>(&text).unwrap());
                prop_assert_eq!(parse(value.to_string().as_bytes()).unwrap(), value);
            }
        }
    }
}
