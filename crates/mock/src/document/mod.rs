//! Files that steer a mock (seeds, faults): TOML, JSON and YAML as one tree that knows its lines.
//!
//! Serde would lose the line of a parameter that turns out wrong only when the API's own checks
//! see it, so a file is read into a [`Table`] from which its owner takes what it knows. What is
//! left is unknown and refused.

mod error;
mod json;
mod node;
mod table;
mod toml;
mod yaml;

pub use error::FileError;
pub(crate) use error::Place;
#[cfg(test)]
pub(crate) use node::Node;
pub(crate) use node::Value;
pub(crate) use table::{Field, Table};

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `.toml`, and whatever has another ending.
    Toml,
    /// `.json`
    Json,
    /// `.yaml`, `.yml`; version 1.2.
    Yaml,
}

impl Form {
    /// The form that the ending of a file's name says; TOML when it says none.
    #[must_use]
    pub fn of(path: &std::path::Path) -> Self {
        match path.extension().and_then(std::ffi::OsStr::to_str) {
            Some("json") => Self::Json,
            Some("yaml" | "yml") => Self::Yaml,
            _ => Self::Toml,
        }
    }
}

/// Reads a text of at most `limit` bytes; `name` is what errors call it.
pub(crate) fn read(name: &str, text: &str, form: Form, limit: usize) -> Result<Table, FileError> {
    let place = Place::file(name);
    if text.len() > limit {
        let what = format!("{} bytes, at most {limit}", text.len());
        return Err(place.refused(what, "shorten it"));
    }
    let node = match form {
        Form::Toml => toml::read(&place, text),
        Form::Json => json::read(&place, text),
        Form::Yaml => yaml::read(&place, text),
    }?;
    Table::of(&place, node)
}

#[cfg(test)]
mod tests;
