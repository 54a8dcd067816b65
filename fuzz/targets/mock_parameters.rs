//! Forms, queries and JSON bodies: what was read can be written and read again.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use mock::fuzzing::{form, json_object};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let read = form(bytes);
    assert_eq!(form(written(&read).as_bytes()), read);
    if let Ok(read) = json_object(bytes)
        && !read.values().any(has_fraction)
    {
        let text = serde_json::to_vec(&read).expect("a map of JSON values");
        assert_eq!(json_object(&text), Ok(read));
    }
});

/// The form of these parameters; `a` is null and `a==` is blank.
fn written(parameters: &BTreeMap<String, Value>) -> String {
    let mut pieces = Vec::new();
    for (name, value) in parameters {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in values {
            pieces.push(match value {
                Value::Null => format!("{}=", escaped(name)),
                Value::String(text) if text.is_empty() => format!("{}==x", escaped(name)),
                Value::String(text) => format!("{}={}", escaped(name), escaped(text)),
                other => panic!("a form gave {other:?}"),
            });
        }
    }
    pieces.join("&")
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// Printing a fraction and reading it again may move its last bit.
fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_fraction),
        Value::Object(members) => members.values().any(has_fraction),
        _ => false,
    }
}
