//! How a call fails, in the two ways Perl knows: an exception with a code, or a plain `die`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::data::Data;

/// What a handler answers when it succeeds.
#[derive(Debug)]
pub(crate) struct Success {
    pub(crate) data: Data,
    /// Length of the whole list when `data` is one page of it.
    pub(crate) total: Option<u64>,
    /// What waits beside `data`, as lines that go and come.
    pub(crate) changes: Option<String>,
    /// A file that is answered in the place of all this, whatever the format.
    pub(crate) download: Option<Box<Download>>,
}

/// A text to be saved.
#[derive(Debug)]
pub(crate) struct Download {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl From<Value> for Success {
    fn from(data: Value) -> Self {
        Self { data: Data::Value(data), total: None, changes: None, download: None }
    }
}

impl Default for Success {
    fn default() -> Self {
        Value::Null.into()
    }
}

impl Success {
    /// A list that is written at once, see [`Data::written`].
    pub(crate) fn written(rows: &impl Serialize) -> Outcome {
        let data = Data::written(rows).map_err(|error| Failure::die(error.to_string()))?;
        Ok(Self { data, ..Self::default() })
    }
}

/// The result of every handler.
pub(crate) type Outcome = Result<Success, Failure>;

/// Why a call failed. Messages end with a line break, as they do on the wire.
#[derive(Debug)]
pub(crate) enum Failure {
    /// `PVE::Exception`: its code is sent as a JSON string, because Perl has printed it before.
    Exception { code: u16, message: String, errors: BTreeMap<String, String> },
    /// A plain `die`: status 500, sent as a JSON number.
    Die(String),
}

impl Failure {
    /// `die "…\n"`.
    pub(crate) fn die(message: impl Into<String>) -> Self {
        Self::Die(message.into() + "\n")
    }

    /// `raise_param_exc`: one or more parameters are wrong.
    pub(crate) fn parameters(errors: BTreeMap<String, String>) -> Self {
        let message = "Parameter verification failed.\n".to_owned();
        Self::Exception { code: 400, message, errors }
    }

    /// One wrong parameter.
    pub(crate) fn parameter(name: &str, text: &str) -> Self {
        Self::parameters(BTreeMap::from([(name.to_owned(), text.to_owned())]))
    }

    /// `raise_perm_exc`; `what` is the missing right or a reason, empty when there is none to name.
    pub(crate) fn permission(what: &str) -> Self {
        let message = match what {
            "" => "Permission check failed\n".to_owned(),
            what => format!("Permission check failed ({what})\n"),
        };
        Self::Exception { code: 403, message, errors: BTreeMap::new() }
    }

    /// A 401 raised by a handler.
    pub(crate) fn unauthorized(message: &str) -> Self {
        let message = message.to_owned() + "\n";
        Self::Exception { code: 401, message, errors: BTreeMap::new() }
    }

    /// The status of the answer.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Exception { code, .. } => *code,
            Self::Die(_) => 500,
        }
    }

    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Exception { message, .. } | Self::Die(message) => message,
        }
    }

    /// The status as the `extjs` format shows it: text for exceptions, a number for `die`.
    pub(crate) fn shown_status(&self) -> Value {
        match self {
            Self::Exception { code, .. } => Value::String(code.to_string()),
            Self::Die(_) => Value::from(500),
        }
    }

    pub(crate) fn errors(&self) -> Option<&BTreeMap<String, String>> {
        match self {
            Self::Exception { errors, .. } if !errors.is_empty() => Some(errors),
            _ => None,
        }
    }
}
