//! The merged configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::de::{DeserializeOwned, Error as _};

use crate::deserialize::De;
use crate::error::SettingsError;
use crate::fault::Fault;
use crate::node::{Node, Origin, Table, Value};
use crate::parse;

/// A merged configuration that knows where each value came from.
///
/// It has no `Debug`: it may hold a secret somebody put into a file.
#[derive(Clone)]
pub struct Document {
    root: Table,
    sections: &'static [&'static str],
}

/// A value that is set somewhere, for `config show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The full key as TOML writes it: `gate.listen`, `cells."a.b".memory`.
    pub key: String,
    /// The value as TOML writes it, masked.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

impl Document {
    pub(crate) fn new(root: Table, sections: &'static [&'static str]) -> Self {
        Self { root, sections }
    }

    /// One section as the type that describes it. An absent section is an empty one, so that
    /// the type's own defaults apply. A key that `T` does not have is refused, with or without
    /// `deny_unknown_fields`.
    ///
    /// # Errors
    /// [`SettingsError`], with the place of the value at fault.
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, SettingsError> {
        let empty = Node { origin: Origin::Default, value: Value::Table(Table::new()) };
        let node = self.root.get(name).unwrap_or(&empty);
        let read = match self.sections.contains(&name) {
            true => T::deserialize(De::new(node)),
            // A section the program asks for and does not declare would be refused in a file.
            false => Err(Fault::custom("the program does not declare this section")),
        };
        read.map_err(|fault| fault.under(name, &node.origin).into_error())
    }

    /// Puts a value where none is set: from a file of another format, whose line it keeps. Read
    /// like a variable. Returns whether it was needed; under a key that is no table it is not.
    ///
    /// # Errors
    /// A value that is read as TOML and nested too deep.
    pub fn fill(
        &mut self,
        key: &str,
        raw: &str,
        (path, line): (&Path, usize),
    ) -> Result<bool, SettingsError> {
        let origin = Origin::File { path: path.into(), line };
        let value = parse::untyped(raw, &origin)?;
        let mut table = &mut self.root;
        let (tables, last) = key.rsplit_once('.').unwrap_or(("", key));
        for name in tables.split('.').filter(|name| !name.is_empty()) {
            let empty = || Node { origin: origin.clone(), value: Value::Table(Table::new()) };
            match &mut table.entry(name.to_owned()).or_insert_with(empty).value {
                Value::Table(inner) => table = inner,
                _ => return Ok(false),
            }
        }
        let free = !table.contains_key(last);
        if free {
            table.insert(last.to_owned(), Node { origin, value });
        }
        Ok(free)
    }

    /// The keys whose values are others than in `former`, or are set in one of both only, sorted.
    /// Where they are set does not count.
    #[must_use]
    pub fn changed(&self, former: &Self) -> Vec<String> {
        let (mut here, mut there) = (BTreeMap::new(), BTreeMap::new());
        leaves(&self.root, &mut Vec::new(), &mut here);
        leaves(&former.root, &mut Vec::new(), &mut there);
        let keys: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
        let differs = |key: &&&String| match (here.get(**key), there.get(**key)) {
            (Some(one), Some(other)) => !one.says(other),
            _ => true,
        };
        keys.iter().filter(differs).map(|key| (*key).clone()).collect()
    }

    /// A text of the configuration that has to be known before its section is read; `None` when it
    /// is not set or no text.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        let (tables, last) = key.rsplit_once('.').unwrap_or(("", key));
        let mut table = &self.root;
        for name in tables.split('.').filter(|name| !name.is_empty()) {
            let Value::Table(inner) = &table.get(name)?.value else { return None };
            table = inner;
        }
        match &table.get(last)?.value {
            Value::Text(text) | Value::Untyped { raw: text, .. } => Some(text),
            _ => None,
        }
    }

    /// Where the value of `key` came from; [`Origin::Default`] for one that is set nowhere and
    /// for tables. The key as in [`Entry::key`].
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        let found = self.entries().find(|entry| entry.key == key);
        found.map_or(Origin::Default, |entry| entry.origin)
    }

    /// Everything that is set, sorted by key. Values of keys that look secret, and secrets
    /// within values, are masked.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        let mut entries = Vec::new();
        collect(&self.root, &mut Vec::new(), &mut entries);
        entries.into_iter()
    }
}

/// Every value that is no table, by its key.
fn leaves<'t>(table: &'t Table, path: &mut Vec<String>, into: &mut BTreeMap<String, &'t Value>) {
    for (key, node) in table {
        path.push(key.clone());
        match &node.value {
            Value::Table(inner) => leaves(inner, path, into),
            value => {
                into.insert(join_key(path), value);
            }
        }
        path.pop();
    }
}

fn collect(table: &Table, path: &mut Vec<String>, into: &mut Vec<Entry>) {
    for (key, node) in table {
        path.push(key.clone());
        match &node.value {
            Value::Table(inner) => collect(inner, path, into),
            value => {
                // `[gate.passwords]` hides all it holds.
                let (_, tables) = path.split_last().unwrap_or((key, &[]));
                let hidden = tables.iter().find_map(|table| masked(table));
                let value = hidden.unwrap_or_else(|| shown(key, value)).to_string();
                into.push(Entry { key: join_key(path), value, origin: node.origin.clone() });
            }
        }
        path.pop();
    }
}

/// A key as TOML writes it. Parts that are indices, `[1]`, are appended as they are.
pub(crate) fn join_key(path: &[String]) -> String {
    let mut key = String::new();
    for part in path {
        if is_index(part) {
            key.push_str(part);
            continue;
        }
        if !key.is_empty() {
            key.push('.');
        }
        let bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        if part.is_empty() || !part.bytes().all(bare) {
            key.push_str(&toml::Value::from(part.as_str()).to_string());
        } else {
            key.push_str(part);
        }
    }
    key
}

/// `[1]`; an address in brackets is a key.
fn is_index(part: &str) -> bool {
    let number = part.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    number.is_some_and(|number| number.parse::<usize>().is_ok())
}

/// The value without secrets, under the key it stands for.
fn shown(key: &str, value: &Value) -> toml::Value {
    match value {
        Value::Untyped { parsed, .. } => shown(key, parsed),
        Value::Text(text) => secrets::mask::header(key, text).into_owned().into(),
        Value::Boolean(truth) => (*truth).into(),
        Value::Integer(number) => masked(key).unwrap_or_else(|| (*number).into()),
        Value::Float(number) => masked(key).unwrap_or_else(|| (*number).into()),
        Value::Array(items) => {
            toml::Value::Array(items.iter().map(|item| shown(key, &item.value)).collect())
        }
        Value::Table(table) => {
            let member = |(name, node): (&String, &Node)| {
                (name.clone(), masked(key).unwrap_or_else(|| shown(name, &node.value)))
            };
            toml::Value::Table(table.iter().map(member).collect())
        }
    }
}

/// What stands for any value of this key, when it is a secret one.
fn masked(key: &str) -> Option<toml::Value> {
    let probe = secrets::mask::header(key, "probe");
    (probe != "probe").then(|| probe.into_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_joined_as_toml_writes_them() {
        let join = |parts: &[&str]| {
            join_key(&parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(join(&["gate", "listen", "[1]"]), "gate.listen[1]");
        assert_eq!(join(&["cells", "[::1]:8006", "x"]), "cells.\"[::1]:8006\".x");
        assert_eq!(join(&["cells", ""]), "cells.\"\"");
    }
}
