//! What is wrong with a file, in one line.

use std::sync::Arc;

/// A refused file: `FILE:LINE: KEY: what is wrong; remedy`, in one line. It repeats no value of a
/// key that looks secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.line())]
pub struct FileError(Box<Inner>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    place: Place,
    what: String,
    remedy: String,
}

impl FileError {
    /// The line, counted from 1; 0 for the file as a whole.
    #[must_use]
    pub fn line_number(&self) -> usize {
        self.0.place.line
    }

    /// The key path at fault (`qemu[2].memory`); empty for the file as a whole.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.0.place.key
    }

    fn line(&self) -> String {
        let Inner { place, what, remedy } = &*self.0;
        let mut line = place.to_string();
        if !place.key.is_empty() {
            line += &format!(": {}", place.key);
        }
        let last = place.key.rsplit('.').next().unwrap_or_default();
        let what = secrets::mask::header(last, what.trim_end());
        line += &format!(": {what}; {remedy}");
        line.replace(|c: char| c.is_control(), " ")
    }
}

/// A line of a file, and the key that stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    file: Arc<str>,
    line: usize,
    key: String,
}

impl Place {
    pub(crate) fn file(name: &str) -> Self {
        Self { file: name.into(), line: 0, key: String::new() }
    }

    pub(crate) fn at(&self, line: usize) -> Self {
        Self { line, ..self.clone() }
    }

    /// The place of a member.
    pub(crate) fn member(&self, key: &str, line: usize) -> Self {
        let key = if self.key.is_empty() { key.to_owned() } else { format!("{}.{key}", self.key) };
        Self { file: Arc::clone(&self.file), line, key }
    }

    /// The place of an element.
    pub(crate) fn element(&self, index: usize, line: usize) -> Self {
        Self { file: Arc::clone(&self.file), line, key: format!("{}[{index}]", self.key) }
    }

    pub(crate) fn line(&self) -> usize {
        self.line
    }

    pub(crate) fn refused(&self, what: impl Into<String>, remedy: impl Into<String>) -> FileError {
        FileError(Box::new(Inner { place: self.clone(), what: what.into(), remedy: remedy.into() }))
    }
}

/// `FILE:LINE`, or the file alone.
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}
