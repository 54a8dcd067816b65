//! Recorded requests whose parameters a genuine PVE 8.4 refused: the same errors here.

use std::collections::BTreeMap;

use pve_schema::{Errors, Params, Schema, Verb};
use serde_json::Value;

use crate::shared;

/// Errors that come from the server around the schema or from a handler behind it.
const NOT_THE_SCHEMA: [(&str, &str); 4] = [
    ("val-uri-param-conflict", "the server compares path variables with parameters"),
    ("upload-bad-extension", "the handler looks at the file name"),
    ("api-password-change-self-confirm-missing", "the handler asks for the password"),
    ("tfa-add-totp-no-password", "the handler asks for the password"),
];

#[test]
fn recorded_errors_are_reproduced() {
    let Some(records) = shared::read("golden/pve-transcripts.jsonl") else {
        return;
    };
    let mut compared = 0;
    for line in records.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let Some(expected) = recorded_errors(&record) else {
            continue;
        };
        let id = record["id"].as_str().unwrap();
        let errors = check(&record);
        if NOT_THE_SCHEMA.iter().any(|(known, _)| *known == id) {
            assert_eq!(errors, Errors::new(), "{id}: the schema must not refuse it");
        } else {
            assert_eq!(errors, expected, "{id}");
            compared += 1;
        }
    }
    assert!(compared >= 9, "only {compared} records compared");
}

#[test]
fn recorded_successes_are_accepted() {
    let Some(records) = shared::read("golden/pve-transcripts.jsonl") else {
        return;
    };
    let mut accepted = 0;
    for line in records.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let ok = record["response"]["status"] == 200 && request(&record).is_some();
        let json =
            record["response"]["body"]["text"].as_str().is_some_and(|b| b.starts_with("{\"data\""));
        let root = request(&record).is_some_and(|(_, path, _)| path.trim_matches('/').is_empty());
        if ok && json && !root {
            assert_eq!(check(&record), Errors::new(), "{}", record["id"]);
            accepted += 1;
        }
    }
    assert!(accepted >= 40, "only {accepted} records");
}

fn recorded_errors(record: &Value) -> Option<Errors> {
    let body: Value =
        serde_json::from_str(record.pointer("/response/body/text")?.as_str()?).ok()?;
    serde_json::from_value(body.get("errors")?.clone()).ok()
}

fn check(record: &Value) -> Errors {
    let (verb, path, mut params) = request(record).unwrap();
    let found = Schema::v8().find(&path).unwrap_or_else(|| panic!("{path}"));
    for (name, value) in &found.variables {
        params.insert((*name).to_owned(), Value::String(value.clone()));
    }
    found.method(verb).unwrap().check(&mut params).err().unwrap_or_default()
}

/// Verb, decoded path and parameters of a request to the API.
fn request(record: &Value) -> Option<(Verb, String, Params)> {
    let request = &record["request"];
    let mut line = request["line"].as_str()?.split(' ');
    let (verb, target) = (Verb::from_http(line.next()?)?, line.next()?);
    let rest = ["/api2/json", "/api2/extjs"].iter().find_map(|base| target.strip_prefix(base))?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let body = request.pointer("/body/text").and_then(Value::as_str).unwrap_or_default();
    let kind = header(request, "content-type").unwrap_or_default();
    let mut params = if kind == "application/json" {
        serde_json::from_str(body).ok()?
    } else if kind.starts_with("multipart/") {
        multipart(body)
    } else {
        form(body)
    };
    params.extend(form(query));
    Some((verb, decode(path), params))
}

fn header<'r>(request: &'r Value, name: &str) -> Option<&'r str> {
    let headers = request["headers"].as_array()?;
    let pair = headers
        .iter()
        .find(|pair| pair[0].as_str().is_some_and(|h| h.eq_ignore_ascii_case(name)))?;
    pair[1].as_str()
}

fn form(text: &str) -> Params {
    let mut values: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for part in text.split('&').filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        values.entry(decode(key)).or_default().push(decode(value).into());
    }
    let single = |mut list: Vec<Value>| match list.len() {
        1 => list.remove(0),
        _ => Value::Array(list),
    };
    values.into_iter().map(|(key, list)| (key, single(list))).collect()
}

/// Field names and values; the file itself reaches the method as `filename` and `tmpfilename`.
fn multipart(body: &str) -> Params {
    let mut params = Params::new();
    for part in body.split("Content-Disposition: form-data; name=\"").skip(1) {
        let (name, rest) = part.split_once('"').unwrap();
        let file = rest.split_once("filename=\"").and_then(|(_, name)| name.split('"').next());
        let content = rest.split_once("\r\n\r\n").unwrap().1.split("\r\n").next().unwrap();
        params.insert(name.to_owned(), file.unwrap_or(content).into());
    }
    params
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match hex.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap();
            }
            _ => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
