//! YAML 1.2, with the line of every value. Anchors and merge keys are refused: a seed is data to
//! be read by people, and both make the line of a value a matter of opinion.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use serde_saphyr::options::MergeKeyPolicy;

use super::error::{FileError, Place};
use super::node::{Node, Value};
use crate::limits::{DOCUMENT_DEPTH, DOCUMENT_NODES};

pub(super) fn read(file: &Place, text: &str) -> Result<Node, FileError> {
    let budget = serde_saphyr::budget! {
        max_depth: DOCUMENT_DEPTH,
        flow_nesting_limit: DOCUMENT_DEPTH,
        max_nodes: DOCUMENT_NODES,
        max_events: 4 * DOCUMENT_NODES,
        max_documents: 1,
        max_aliases: 0,
        max_anchors: 0,
    };
    let options = serde_saphyr::options! {
        budget: budget,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        with_snippet: false,
    };
    let read = serde_saphyr::from_str_with_options::<Spanned<Any>>(text, options);
    let root = read.map_err(|error| {
        let line = error.location().map_or(0, |at| usize::try_from(at.line()).unwrap_or(0));
        let text = error.to_string();
        let what = text.lines().next().unwrap_or_default();
        let what = what.split(" at line ").next().unwrap_or_default();
        file.at(line).refused(format!("not valid YAML: {what}"), "correct the line")
    })?;
    Ok(Node { line: 1, value: root.value.0 })
}

struct Any(Value);

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Read).map(Any)
    }
}

struct Read;

fn line<T>(spanned: &Spanned<T>) -> usize {
    usize::try_from(spanned.referenced.line()).unwrap_or(0)
}

impl<'de> Visitor<'de> for Read {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Any::deserialize(deserializer).map(|any| any.0)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Boolean(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Value, E> {
        let number = i64::try_from(number);
        number.map(Value::Integer).map_err(|_| E::custom("whole number out of range"))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Spanned<Any>>()? {
            items.push(Node { line: line(&item), value: item.value.0 });
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let value = map.next_value::<Any>()?;
            members.push((key.value.clone(), Node { line: line(&key), value: value.0 }));
        }
        Ok(Value::Table(members))
    }
}
