//! Which request an exchange answers: method, path and parameters, written in one way.

use pve_schema::Params;
use serde_json::{Map, Value};

use super::masking;
use crate::wire::{Head, unescape};

/// What is compared. Secrets in it are masked, so that a recording without them still fits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(super) method: String,
    /// Decoded, without empty parts and a slash at the end.
    pub(super) path: String,
    /// Of query and body; every value is a text or a list of texts.
    pub(super) parameters: String,
}

impl Key {
    pub(crate) fn of(head: &Head, parameters: Params) -> Self {
        let path = unescape(head.path_and_query().0);
        Self::new(&head.method, &path, parameters.into_iter().collect())
    }

    pub(super) fn new(method: &str, path: &str, parameters: Map<String, Value>) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let path = format!("/{}", parts.join("/"));
        let mut parameters = Value::Object(parameters);
        plain(&mut parameters);
        masking::value(&path, &mut parameters);
        let path = secrets::mask::text(&path).into_owned();
        Self { method: method.to_owned(), path, parameters: parameters.to_string() }
    }
}

/// A form has texts where JSON has types; both mean the same to the API.
fn plain(value: &mut Value) {
    match value {
        Value::Bool(truth) => *value = Value::from(if *truth { "1" } else { "0" }),
        Value::Number(number) => *value = Value::from(number.to_string()),
        Value::Array(items) => items.iter_mut().for_each(plain),
        Value::Object(members) => members.values_mut().for_each(plain),
        Value::Null | Value::String(_) => {}
    }
}
