//! The `data` of an answer.

use serde::Serialize;
use serde::ser::Serializer;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Error, Value};

/// What a call answers in `data`, members in the order of their names.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Data {
    Value(Value),
    /// JSON as it will be sent. Long lists are written row by row from the state: a tree of
    /// values costs ten times the writing, and it would be made for every poll.
    Written(Box<RawValue>),
}

impl Data {
    /// Writes rows, whose types declare their members in the order of their names.
    pub(crate) fn written(rows: &impl Serialize) -> Result<Self, Error> {
        to_raw_value(rows).map(Self::Written)
    }

    /// Bytes of what has been written already, so that its copy need not grow.
    pub(crate) fn written_bytes(&self) -> usize {
        match self {
            Self::Value(_) => 0,
            Self::Written(text) => text.get().len(),
        }
    }

    /// The value, null for what has been written already.
    pub(crate) fn value(&self) -> &Value {
        match self {
            Self::Value(value) => value,
            Self::Written(_) => &Value::Null,
        }
    }
}

/// A list of the rows that the iterator of this function gives.
pub(crate) struct List<F>(pub(crate) F);

impl<F, I> Serialize for List<F>
where
    F: Fn() -> I,
    I: Iterator<Item: Serialize>,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}
