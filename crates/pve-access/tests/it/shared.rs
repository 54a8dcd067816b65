use std::fs;
use std::path::PathBuf;

use serde_json::Value;

/// The text of a file of the shared data, or `None` with a note when there is none.
pub(crate) fn text(file: &str) -> Option<String> {
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let root = std::env::var_os("PROXWARD_SHARED").map_or_else(|| workspace.into(), PathBuf::from);
    let path = root.join(file);
    if !path.exists() {
        eprintln!("skipped: {} is absent (set PROXWARD_SHARED)", path.display());
        return None;
    }
    Some(fs::read_to_string(&path).unwrap())
}

/// The same as JSON.
pub(crate) fn json(file: &str) -> Option<Value> {
    Some(serde_json::from_str(&text(file)?).unwrap())
}

/// The recorded answer with this name, as JSON.
pub(crate) fn golden_answer(id: &str) -> Option<Value> {
    let text = text("golden/pve-transcripts.jsonl")?;
    let mut records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let record = records.find(|record| record["id"] == id);
    let record = record.unwrap_or_else(|| panic!("no record {id}"));
    let response = &record["response"];
    let body = [&response["body_decoded"], &response["body"]].map(|body| body["text"].as_str());
    Some(serde_json::from_str(body[0].or(body[1]).unwrap()).unwrap())
}

pub(crate) fn array<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("no list {key}"))
}

pub(crate) fn string<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("no text {key}"))
}
