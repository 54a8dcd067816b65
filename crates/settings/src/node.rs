//! A configuration value and where it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file, counted from 1.
    File {
        /// The path as it was given.
        path: Arc<Path>,
        /// The line of the key, or of the element within an array; 0 for the file as a whole.
        line: usize,
    },
    /// A variable of the environment.
    Environment {
        /// Its name, `PROXWARD_…`.
        name: Arc<str>,
    },
    /// A flag of the command line.
    Flag {
        /// Its name with dashes, `--listen`.
        name: Arc<str>,
    },
    /// Set nowhere: the program's own value.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment { name } => write!(f, "environment {name}"),
            Self::Flag { name } => write!(f, "flag {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) origin: Origin,
    pub(crate) value: Value,
}

pub(crate) type Table = BTreeMap<String, Node>;

#[derive(Clone)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Array(Vec<Node>),
    Table(Table),
    /// From outside TOML, where `8006` may be meant as text or as a number: which one, the type
    /// that is asked for decides.
    Untyped {
        raw: String,
        parsed: Box<Value>,
    },
}

impl Value {
    pub(crate) fn is_array(&self) -> bool {
        match self {
            Self::Untyped { parsed, .. } => parsed.is_array(),
            other => matches!(other, Self::Array(_)),
        }
    }

    /// Whether both are the same value, wherever they come from.
    pub(crate) fn says(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Untyped { parsed, .. }, other) => parsed.says(other),
            (one, Self::Untyped { parsed, .. }) => one.says(parsed),
            (Self::Text(one), Self::Text(other)) => one == other,
            (Self::Integer(one), Self::Integer(other)) => one == other,
            (Self::Float(one), Self::Float(other)) => one.total_cmp(other).is_eq(),
            (Self::Boolean(one), Self::Boolean(other)) => one == other,
            (Self::Array(one), Self::Array(other)) => {
                let same = |(one, other): (&Node, &Node)| one.value.says(&other.value);
                one.len() == other.len() && one.iter().zip(other).all(same)
            }
            (Self::Table(one), Self::Table(other)) => {
                let same = |(one, other): ((&String, &Node), (&String, &Node))| {
                    one.0 == other.0 && one.1.value.says(&other.1.value)
                };
                one.len() == other.len() && one.iter().zip(other).all(same)
            }
            _ => false,
        }
    }

    /// What it is, in the words of an error message.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number with a fraction",
            Self::Boolean(_) => "true or false",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
            Self::Untyped { parsed, .. } => parsed.describe(),
        }
    }
}
