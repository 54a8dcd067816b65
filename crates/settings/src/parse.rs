//! TOML text, with the line of every value.

use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use crate::error::{ErrorKind, SettingsError};
use crate::limits::DEPTH;
use crate::node::{Node, Origin, Table, Value};

/// Reads a file's text.
pub(crate) fn file(path: &Arc<Path>, text: &str) -> Result<Table, SettingsError> {
    let lines = Lines::new(path, text);
    let parsed = DeTable::parse(text).map_err(|error| lines.syntax(&error))?;
    table(parsed.get_ref(), DEPTH, &|offset| lines.origin(offset))
}

/// Reads the value of a variable or a flag: as TOML when it is TOML, else as it is.
pub(crate) fn untyped(raw: &str, origin: &Origin) -> Result<Value, SettingsError> {
    let parsed = match DeValue::parse(raw) {
        Ok(parsed) => value(&parsed, DEPTH, &|_| origin.clone())?,
        Err(_) => Value::Text(raw.to_owned()),
    };
    Ok(match parsed {
        Value::Table(table) => Value::Table(table),
        parsed => Value::Untyped { raw: raw.to_owned(), parsed: Box::new(parsed) },
    })
}

fn table(
    table: &DeTable<'_>,
    depth: usize,
    origin: &dyn Fn(usize) -> Origin,
) -> Result<Table, SettingsError> {
    let mut nodes = Table::new();
    for (key, node) in table {
        // The line of the key: a table's own span is that of its header or its braces.
        let place = origin(key.span().start);
        let value = value(node, depth, origin)?;
        nodes.insert(key.get_ref().to_string(), Node { origin: place, value });
    }
    Ok(nodes)
}

fn value(
    value: &Spanned<DeValue<'_>>,
    depth: usize,
    origin: &dyn Fn(usize) -> Origin,
) -> Result<Value, SettingsError> {
    let refused = |kind, what: String, remedy| {
        Err(SettingsError::new(kind, origin(value.span().start), "", what, remedy))
    };
    Ok(match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Boolean(truth) => Value::Boolean(*truth),
        DeValue::Datetime(time) => Value::Text(time.to_string()),
        DeValue::Float(number) => match number.as_str().parse::<f64>() {
            Ok(number) => Value::Float(number),
            Err(_) => {
                return refused(ErrorKind::Value, format!("{number} is no number"), "write one");
            }
        },
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => {
                let what = format!("whole number out of range: {number}");
                return refused(ErrorKind::Value, what, "use one that fits 64 bits");
            }
        },
        DeValue::Array(_) | DeValue::Table(_) if depth == 0 => {
            let what = format!("nested more than {DEPTH} levels deep");
            return refused(ErrorKind::Limit, what, "flatten it");
        }
        DeValue::Array(items) => {
            let item = |item: &Spanned<DeValue<'_>>| {
                let place = origin(item.span().start);
                Ok(Node { origin: place, value: self::value(item, depth - 1, origin)? })
            };
            Value::Array(items.iter().map(item).collect::<Result<_, SettingsError>>()?)
        }
        DeValue::Table(inner) => Value::Table(table(inner, depth - 1, origin)?),
    })
}

/// Turns byte offsets into lines.
struct Lines<'a> {
    path: &'a Arc<Path>,
    /// Where each line ends.
    ends: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(path: &'a Arc<Path>, text: &str) -> Self {
        Self { path, ends: text.match_indices('\n').map(|(at, _)| at).collect() }
    }

    fn origin(&self, offset: usize) -> Origin {
        let line = self.ends.partition_point(|end| *end < offset) + 1;
        Origin::File { path: Arc::clone(self.path), line }
    }

    fn syntax(&self, error: &Error) -> SettingsError {
        let place = self.origin(error.span().map_or(0, |span| span.start));
        let what = format!("not valid TOML: {}", error.message());
        SettingsError::new(ErrorKind::Syntax, place, "", what, "correct the line")
    }
}
