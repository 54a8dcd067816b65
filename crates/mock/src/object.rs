//! Building JSON objects member by member.

use serde_json::Value;

/// Adds or replaces a member; anything but an object stays as it is.
pub(crate) fn set(entry: &mut Value, name: &str, value: impl Into<Value>) {
    if let Value::Object(entry) = entry {
        entry.insert(name.to_owned(), value.into());
    }
}

/// As [`set`], when there is a value.
pub(crate) fn set_some(entry: &mut Value, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        set(entry, name, value);
    }
}

/// Adds the members of one object to another.
pub(crate) fn extend(entry: &mut Value, more: Value) {
    if let (Value::Object(entry), Value::Object(more)) = (entry, more) {
        entry.extend(more);
    }
}
