//! Parameters of every method: those accepted are accepted again unchanged, and hold what the
//! method needs and nothing it does not know.
//!
//! The first two bytes choose the method, the third forms or JSON. Each line is a parameter: its
//! first character chooses the name, the rest is the value.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pve_schema::{Additional, Method, Params, Schema};
use serde_json::Value;

static METHODS: LazyLock<Vec<&Method>> =
    LazyLock::new(|| Schema::v9().methods().chain(Schema::v8().methods()).collect());

fuzz_target!(|input: (u16, bool, &str)| {
    let (method, json, text) = input;
    let method = METHODS[usize::from(method) % METHODS.len()];
    let mut params = parameters(method, json, text);
    match method.check(&mut params) {
        Ok(()) => check_accepted(method, &params),
        Err(errors) => {
            assert!(!errors.is_empty());
            assert!(errors.iter().all(|(name, text)| !name.is_empty() && !text.is_empty()));
        }
    }
});

fn check_accepted(method: &Method, params: &Params) {
    let declared = method.parameters();
    let mut again = params.clone();
    assert_eq!(method.check(&mut again), Ok(()), "{method:?} refuses {params:?} the second time");
    assert_eq!(&again, params, "{method:?}");
    for (name, property) in &declared.properties {
        let needed = !property.optional && property.alias.is_none() && property.one_of.is_empty();
        let given = params.get(name).is_some_and(|value| !value.is_null());
        // What ends in `[n]` stands for indexed names, of which none is needed.
        assert!(given || !needed || name.ends_with("[n]"), "{method:?} without {name}");
    }
    if matches!(declared.additional, Additional::Refused) {
        for name in params.keys() {
            assert!(declared.property(name).is_some(), "{method:?} with {name}");
        }
    }
}

fn parameters(method: &Method, json: bool, text: &str) -> Params {
    let names: Vec<&String> = method.parameters().properties.keys().collect();
    let mut params = Params::new();
    for line in text.split('\n') {
        let mut rest = line.chars();
        let Some(chosen) = rest.next() else {
            continue;
        };
        let chosen = u32::from(chosen) as usize % (names.len() + 1);
        let name = names.get(chosen).map_or("foreign", |name| name.as_str());
        let name = name.replace("[n]", "0");
        let text = Value::String(rest.as_str().to_owned());
        let value = match json {
            true => serde_json::from_str(rest.as_str()).unwrap_or(text),
            false => text,
        };
        let value = match params.remove(&name) {
            Some(Value::Array(mut list)) => {
                list.push(value);
                Value::Array(list)
            }
            Some(first) => Value::Array(vec![first, value]),
            None => value,
        };
        params.insert(name, value);
    }
    params
}
