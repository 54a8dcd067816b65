//! The sources of a configuration, read and merged in their order.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::document::{Document, join_key};
use crate::error::{ErrorKind, SettingsError};
use crate::node::{Node, Origin, Table, Value};
use crate::words::closest;
use crate::{environment, file, parse};

/// Whether a file has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The usual place: without a file everything has its default.
    Optional,
    /// Named by the user: without a file the program must not guess.
    Required,
}

/// Collects sources; [`Layers::load`] reads them. Files win over earlier files, the environment
/// over files, flags over the environment.
///
/// ```
/// # use settings::Layers;
/// let document = Layers::new(&["gate", "ban"])
///     .text("proxward.toml", "[gate]\nlisten = ['127.0.0.1:8006']")
///     .environment([("PROXWARD_BAN_AFTER".into(), "5".into())], &[])
///     .flag("gate.listen", "--listen", ["[::1]:8006"])
///     .load()?;
/// assert_eq!(document.origin("gate.listen").to_string(), "flag --listen");
/// # Ok::<(), settings::SettingsError>(())
/// ```
///
/// It has no `Debug`: it holds the environment.
#[derive(Clone)]
pub struct Layers {
    sections: &'static [&'static str],
    files: Vec<Source>,
    variables: Vec<(OsString, OsString)>,
    ignored: Vec<String>,
    flags: Vec<(String, String, Vec<String>)>,
}

#[derive(Clone)]
enum Source {
    File(PathBuf, Presence),
    Directory(PathBuf),
    Text(PathBuf, String),
}

impl Layers {
    /// No sources yet. `sections` are the tables the top level may have; others are refused.
    #[must_use]
    pub fn new(sections: &'static [&'static str]) -> Self {
        let (files, variables, ignored, flags) = Default::default();
        Self { sections, files, variables, ignored, flags }
    }

    /// A TOML file. It must belong to root or this user, and nobody else may write to it.
    #[must_use]
    pub fn file(mut self, path: &Path, presence: Presence) -> Self {
        self.files.push(Source::File(path.into(), presence));
        self
    }

    /// The `*.toml` files of a directory, by name. It may be absent.
    #[must_use]
    pub fn directory(mut self, path: &Path) -> Self {
        self.files.push(Source::Directory(path.into()));
        self
    }

    /// TOML text in place of a file; `name` is what errors call it.
    #[must_use]
    pub fn text(mut self, name: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        self.files.push(Source::Text(name.into(), text.into()));
        self
    }

    /// Variables of the environment (`std::env::vars_os()`). `PROXWARD_GATE_LISTEN` is
    /// `gate.listen`, `PROXWARD_GATE_TLS__CERT` is `gate.tls.cert`; others than `PROXWARD_…` and
    /// the `ignored` ones are skipped, a `PROXWARD_…` that stands for no key is refused. Keys
    /// that are not lower-case `snake_case` can not be set here.
    ///
    /// A value is read as TOML, else taken as text. Where text is asked for it is text in any
    /// case (`8006` for a string), and a list of one element where a list is asked for.
    #[must_use]
    pub fn environment(
        mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        ignored: &[&str],
    ) -> Self {
        self.variables.extend(variables);
        self.ignored.extend(ignored.iter().map(|name| (*name).to_owned()));
        self
    }

    /// A flag of the command line, read like a variable. Without a value it is not set, with
    /// several it is a list.
    #[must_use]
    pub fn flag<V: Into<String>>(
        mut self,
        key: &str,
        flag: &str,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        let values: Vec<String> = values.into_iter().map(Into::into).collect();
        self.flags.push((key.to_owned(), flag.to_owned(), values));
        self
    }

    /// Reads and merges everything. Tables are merged key by key, any other value is replaced.
    ///
    /// # Errors
    /// [`SettingsError`]: the first thing wrong, in the order of the sources.
    pub fn load(self) -> Result<Document, SettingsError> {
        let mut root = Table::new();
        for source in self.files {
            for (path, text) in read(source)? {
                let path: Arc<Path> = path.into();
                let table = parse::file(&path, &text)?;
                check_sections(&table, self.sections)?;
                merge(&mut root, table, &mut Vec::new())?;
            }
        }
        environment::merge(&mut root, self.variables, &self.ignored, self.sections)?;
        for (key, flag, values) in self.flags {
            let origin = Origin::Flag { name: flag.into() };
            let mut values = values.iter().map(|raw| parse::untyped(raw, &origin));
            let value = match (values.next(), values.len()) {
                (None, _) => continue,
                (Some(only), 0) => only?,
                (Some(first), _) => {
                    let node = |value| Node { origin: origin.clone(), value };
                    let all = std::iter::once(first).chain(values).map(|value| value.map(node));
                    Value::Array(all.collect::<Result<_, _>>()?)
                }
            };
            let path: Vec<String> = key.split('.').map(str::to_owned).collect();
            merge_at(&mut root, &path, Node { origin, value })?;
        }
        check_sections(&root, self.sections)?;
        Ok(Document::new(root, self.sections))
    }
}

fn read(source: Source) -> Result<Vec<(PathBuf, String)>, SettingsError> {
    match source {
        Source::Text(name, text) => Ok(vec![(name, text)]),
        Source::File(path, presence) => match (file::read(&path)?, presence) {
            (Some(text), _) => Ok(vec![(path, text)]),
            (None, Presence::Optional) => Ok(Vec::new()),
            (None, Presence::Required) => Err(file::missing(&path)),
        },
        Source::Directory(path) => {
            let mut texts = Vec::new();
            for path in file::list(&path)? {
                let text = file::read(&path)?.ok_or_else(|| file::missing(&path))?;
                texts.push((path, text));
            }
            Ok(texts)
        }
    }
}

fn check_sections(root: &Table, sections: &[&str]) -> Result<(), SettingsError> {
    for (name, node) in root {
        let refused = |kind, what: String, remedy: String| {
            Err(SettingsError::new(kind, node.origin.clone(), name, what, remedy))
        };
        let is_table = matches!(node.value, Value::Table(_));
        if !sections.contains(&name.as_str()) {
            if !is_table {
                let what = "a key outside any section".to_owned();
                let remedy = "put it below the [section] it belongs to".to_owned();
                return refused(ErrorKind::UnknownKey, what, remedy);
            }
            let remedy = match closest(sections, name) {
                Some(meant) => format!("did you mean [{meant}]?"),
                None => format!("remove it, or use one of: {}", sections.join(", ")),
            };
            return refused(ErrorKind::UnknownSection, "unknown section".into(), remedy);
        }
        if !is_table {
            let what = format!("expected a table, found {}", node.value.describe());
            return refused(ErrorKind::Type, what, format!("write [{name}] and its keys below"));
        }
    }
    Ok(())
}

/// Merges a single value under the tables that lead to it.
pub(crate) fn merge_at(root: &mut Table, path: &[String], node: Node) -> Result<(), SettingsError> {
    let Some((last, tables)) = path.split_last() else {
        return Ok(());
    };
    let origin = node.origin.clone();
    let innermost = Table::from([(last.clone(), node)]);
    let outermost = tables.iter().rev().fold(innermost, |inner, name| {
        Table::from([(name.clone(), Node { origin: origin.clone(), value: Value::Table(inner) })])
    });
    merge(root, outermost, &mut Vec::new())
}

fn merge(base: &mut Table, over: Table, path: &mut Vec<String>) -> Result<(), SettingsError> {
    for (key, node) in over {
        let Some(have) = base.get_mut(&key) else {
            base.insert(key, node);
            continue;
        };
        path.push(key);
        match (&mut have.value, node.value) {
            (Value::Table(have), Value::Table(more)) => merge(have, more, path)?,
            (Value::Table(_), other) => {
                let what =
                    format!("expected the table of {}, found {}", have.origin, other.describe());
                return Err(conflict(path, node.origin, &what));
            }
            (other, Value::Table(_)) => {
                let what =
                    format!("found a table, expected {} as in {}", other.describe(), have.origin);
                return Err(conflict(path, node.origin, &what));
            }
            (_, value) => *have = Node { origin: node.origin, value },
        }
        path.pop();
    }
    Ok(())
}

fn conflict(path: &[String], origin: Origin, what: &str) -> SettingsError {
    let remedy = "make both the same kind of value";
    SettingsError::new(ErrorKind::Conflict, origin, join_key(path), what, remedy)
}
