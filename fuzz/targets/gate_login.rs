//! Logins: what the gate judges and sends on is what upstream would have read.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use mock::fuzzing::{form, json_object};
use serde_json::Value;

fuzz_target!(|input: (bool, &[u8], Option<&str>)| {
    let (json, body, query) = input;
    let Some(sent) = gate::fuzzing::login(json, body, query) else {
        return;
    };
    let mut expected = match json {
        _ if body.is_empty() => BTreeMap::new(),
        true => match json_object(body) {
            Ok(object) => object.into_iter().map(|(name, value)| (name, as_form(value))).collect(),
            Err(text) => panic!("the gate reads what upstream refuses: {text}"),
        },
        false => form(body),
    };
    expected.extend(form(query.unwrap_or_default().as_bytes()));
    expected.remove("_dc");
    assert_eq!(form(&sent), expected);
});

fn as_form(value: Value) -> Value {
    match value {
        Value::Bool(truth) => Value::from(u8::from(truth).to_string()),
        Value::Number(number) => Value::from(number.to_string()),
        other => other,
    }
}
