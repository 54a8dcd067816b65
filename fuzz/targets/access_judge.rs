//! A line of `access judge`: any bytes give an answer or a reason, and the reasons of each verdict
//! give the verdict.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pve_access::{Access, Release, Subject, judge};

fuzz_target!(|line: &[u8]| {
    let Ok(answer) = judge::answer(Release::V9, line) else {
        return;
    };
    let answer = serde_json::to_value(&answer).expect("answers are JSON");
    let record: serde_json::Value = serde_json::from_slice(line).expect("was a record");
    let text = record["user_cfg"].as_str().or(record["raw"].as_str());
    let Some((text, cases)) = text.zip(record["cases"].as_array()) else {
        return;
    };
    let (access, _) = Access::parse(Release::V9, text).expect("was answered");
    for (case, result) in cases.iter().zip(answer["results"].as_array().expect("a list")) {
        let (subject, path) = (case["subject"].as_str(), case["path"].as_str());
        let Some((Ok(subject), path)) = subject.map(str::parse::<Subject>).zip(path) else {
            continue;
        };
        let why = access.explain(&subject, path, None);
        assert_eq!(serde_json::json!(why.permissions), result["permissions"], "{text:?}");
    }
});
