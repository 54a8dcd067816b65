//! JSON, with the line of every value: `serde_json` tells none, but a raw value is a part of the
//! text, and where a part begins says on which line.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::error::{FileError, Place};
use super::node::{Node, Value};
use crate::limits::DOCUMENT_DEPTH;

pub(super) fn read(file: &Place, text: &str) -> Result<Node, FileError> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| syntax(file, 0, &error))?;
    let start = text.as_ptr().addr();
    let ends = text.match_indices('\n').map(|(at, _)| at).collect();
    Reader { file, start, ends }.node(raw, DOCUMENT_DEPTH)
}

/// The members of an object in their order.
struct Members<'t>(Vec<(String, &'t RawValue)>);

impl<'t> Deserialize<'t> for Members<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Collect)
    }
}

struct Collect;

impl<'t> Visitor<'t> for Collect {
    type Value = Members<'t>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut known = std::collections::BTreeSet::new();
        let mut members = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, &'t RawValue>()? {
            if !known.insert(key.clone()) {
                return Err(A::Error::custom(format!("the key {key:?} stands twice")));
            }
            members.push((key, value));
        }
        Ok(Members(members))
    }
}

struct Reader<'a> {
    file: &'a Place,
    /// Address of the text.
    start: usize,
    /// Where each line ends.
    ends: Vec<usize>,
}

impl Reader<'_> {
    fn line(&self, raw: &RawValue) -> usize {
        let offset = raw.get().as_ptr().addr().saturating_sub(self.start);
        self.ends.partition_point(|end| *end < offset) + 1
    }

    fn node(&self, raw: &RawValue, depth: usize) -> Result<Node, FileError> {
        let line = self.line(raw);
        let text = raw.get();
        let failed = |error| syntax(self.file, line - 1, &error);
        let nested = text.starts_with(['{', '[']);
        if nested && depth == 0 {
            let what = format!("nested more than {DOCUMENT_DEPTH} levels deep");
            return Err(self.file.at(line).refused(what, "flatten it"));
        }
        let value = if text.starts_with('{') {
            let Members(members) = serde_json::from_str(text).map_err(failed)?;
            let members = members.into_iter();
            let member = |(key, raw)| Ok((key, self.node(raw, depth - 1)?));
            Value::Table(members.map(member).collect::<Result<_, FileError>>()?)
        } else if text.starts_with('[') {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(failed)?;
            let items = items.into_iter().map(|raw| self.node(raw, depth - 1));
            Value::List(items.collect::<Result<_, _>>()?)
        } else {
            match serde_json::from_str(text).map_err(failed)? {
                serde_json::Value::Bool(truth) => Value::Boolean(truth),
                serde_json::Value::String(text) => Value::Text(text),
                serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                    (Some(number), _) => Value::Integer(number),
                    (None, Some(number)) => Value::Float(number),
                    (None, None) => Value::Null,
                },
                _ => Value::Null,
            }
        };
        Ok(Node { line, value })
    }
}

/// `before` are the lines before the part that was read.
fn syntax(file: &Place, before: usize, error: &serde_json::Error) -> FileError {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    file.at(before + error.line().max(1)).refused(format!("not valid JSON: {what}"), "correct it")
}
