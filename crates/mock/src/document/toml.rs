//! TOML, with the line of every value.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{FileError, Place};
use super::node::{Node, Value};
use crate::limits::DOCUMENT_DEPTH;

pub(super) fn read(file: &Place, text: &str) -> Result<Node, FileError> {
    let lines = Lines { file, ends: text.match_indices('\n').map(|(at, _)| at).collect() };
    let parsed = DeTable::parse(text).map_err(|error| {
        let at = lines.place(error.span().map_or(0, |span| span.start));
        at.refused(format!("not valid TOML: {}", error.message()), "correct the line")
    })?;
    Ok(Node { line: 1, value: lines.table(parsed.get_ref(), DOCUMENT_DEPTH)? })
}

/// Turns byte offsets into lines.
struct Lines<'a> {
    file: &'a Place,
    /// Where each line ends.
    ends: Vec<usize>,
}

impl Lines<'_> {
    fn line(&self, offset: usize) -> usize {
        self.ends.partition_point(|end| *end < offset) + 1
    }

    fn place(&self, offset: usize) -> Place {
        self.file.at(self.line(offset))
    }

    fn table(&self, table: &DeTable<'_>, depth: usize) -> Result<Value, FileError> {
        let member = |(key, node): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            // The line of the key: a table's own span is that of its header or its braces.
            let line = self.line(key.span().start);
            let key: &std::borrow::Cow<'_, str> = key.get_ref();
            Ok((key.to_string(), Node { line, value: self.value(node, depth)? }))
        };
        let mut members: Vec<(String, Node)> =
            table.iter().map(member).collect::<Result<_, FileError>>()?;
        members.sort_by_key(|(_, node)| node.line);
        Ok(Value::Table(members))
    }

    fn value(&self, node: &Spanned<DeValue<'_>>, depth: usize) -> Result<Value, FileError> {
        let refused =
            |what: String, remedy: &str| Err(self.place(node.span().start).refused(what, remedy));
        Ok(match node.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Boolean(truth) => Value::Boolean(*truth),
            DeValue::Datetime(time) => Value::Text(time.to_string()),
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => Value::Float(number),
                _ => return refused(format!("{number} is no number to use"), "write a finite one"),
            },
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => Value::Integer(number),
                    Err(_) => {
                        let what = format!("whole number out of range: {number}");
                        return refused(what, "use one that fits 64 bits");
                    }
                }
            }
            DeValue::Array(_) | DeValue::Table(_) if depth == 0 => {
                let what = format!("nested more than {DOCUMENT_DEPTH} levels deep");
                return refused(what, "flatten it");
            }
            DeValue::Array(items) => {
                let item = |item: &Spanned<DeValue<'_>>| {
                    let line = self.line(item.span().start);
                    Ok(Node { line, value: self.value(item, depth - 1)? })
                };
                Value::List(items.iter().map(item).collect::<Result<_, FileError>>()?)
            }
            DeValue::Table(inner) => self.table(inner, depth - 1)?,
        })
    }
}
