//! JSON documents.

use super::keys::{self, Key, Kind};
use super::limits::{JSON_MAX_DEPTH, MARK};
use serde_json::Value;

/// PVE answers the creation of an API token with its id under the first name and its secret
/// under the second.
const NEW_TOKEN: (&str, &str) = ("full-tokenid", "value");

/// Masks a JSON document in place: the values of secret names, whatever their type (`null`
/// and booleans stay), and in every other text what [`super::text`] finds.
///
/// Below [`JSON_MAX_DEPTH`] levels everything is masked. The names themselves are not changed.
pub fn json(value: &mut Value) {
    mask(value, JSON_MAX_DEPTH);
}

fn mask(value: &mut Value, levels: usize) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => replace(text, super::text),
        _ if levels == 0 => *value = Value::from(MARK),
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, levels - 1)),
        Value::Object(members) => {
            let new_token = members.contains_key(NEW_TOKEN.0);
            for (name, member) in members.iter_mut() {
                match keys::find(name.as_bytes()) {
                    Some(Key { kind, .. }) if kind != Kind::Basic => hide(name, member),
                    _ if new_token && name == NEW_TOKEN.1 => hide("secret", member),
                    _ => mask(member, levels - 1),
                }
            }
        }
    }
}

fn hide(name: &str, value: &mut Value) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::String(text) => replace(text, |text| super::header(name, text)),
        Value::Number(_) | Value::Array(_) | Value::Object(_) => *value = Value::from(MARK),
    }
}

fn replace(text: &mut String, mask: impl Fn(&str) -> std::borrow::Cow<'_, str>) {
    if let std::borrow::Cow::Owned(masked) = mask(text) {
        *text = masked;
    }
}
