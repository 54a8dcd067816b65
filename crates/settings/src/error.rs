//! What is wrong with a configuration, in one line.

use std::fmt;

use crate::node::Origin;

/// A refused configuration: `PLACE: KEY: what is wrong; remedy`, in one line, without secrets.
#[derive(Debug)]
pub struct SettingsError(Box<Inner>);

/// The sort of a [`SettingsError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A file or directory is absent though named, or can not be read.
    Unreadable,
    /// Others may change a file or directory.
    Permissions,
    /// Not TOML; a key given twice.
    Syntax,
    /// A section that does not exist.
    UnknownSection,
    /// A key or variable that does not exist.
    UnknownKey,
    /// A value of the wrong type.
    Type,
    /// A value of the right type that is not allowed.
    Value,
    /// A required key is not set.
    Missing,
    /// Two layers disagree on whether a key is a table; one value under two names.
    Conflict,
    /// A limit of this crate.
    Limit,
}

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    origin: Origin,
    key: String,
    what: String,
    remedy: String,
}

impl SettingsError {
    pub(crate) fn new(
        kind: ErrorKind,
        origin: Origin,
        key: impl Into<String>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (key, what, remedy) = (key.into(), what.into(), remedy.into());
        Self(Box::new(Inner { kind, origin, key, what, remedy }))
    }

    /// The sort of error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The place of the value at fault; [`Origin::Default`] when there is none.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.0.origin
    }

    /// The key at fault, `gate.listen`; empty when a whole file is at fault.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.0.key
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { origin, key, what, remedy, .. } = &*self.0;
        let mut line = match origin {
            Origin::Default => String::new(),
            Origin::File { path, line: 0 } => format!("{}: ", path.display()),
            origin => format!("{origin}: "),
        };
        if !key.is_empty() {
            line = format!("{line}{key}: ");
        }
        line = format!("{line}{what}; {remedy}");
        f.write_str(&line.replace(|c: char| c.is_control(), " "))
    }
}

impl std::error::Error for SettingsError {}
