//! Every answer recorded from a genuine PVE must be understood.

use std::path::{Path, PathBuf};

use pve_client::{ClientError, Params};
use serde_json::Value;

use crate::anonymous;
use crate::server::{Answer, Server};

fn shared() -> PathBuf {
    std::env::var_os("PROXWARD_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    )
}

/// The recorded answer as bytes, where it was recorded whole and as text.
fn bytes(response: &Value) -> Option<String> {
    let body = match &response["body"] {
        Value::Null => "",
        body => body["text"].as_str()?,
    };
    let mut text = format!("{}\r\n", response["line"].as_str()?);
    for pair in response["headers"].as_array()? {
        let (name, value) = (pair[0].as_str()?, pair[1].as_str()?);
        // Masked records have another length than recorded, and gzip is stored unpacked.
        match name {
            "Content-Length" => text.push_str(&format!("Content-Length: {}\r\n", body.len())),
            "Content-Encoding" => return None,
            _ => text.push_str(&format!("{name}: {value}\r\n")),
        }
    }
    Some(format!("{text}\r\n{body}"))
}

#[tokio::test]
async fn recorded_answers_are_understood() {
    let file = shared().join("golden/pve-transcripts.jsonl");
    let Ok(text) = std::fs::read_to_string(&file) else {
        println!("skipped: {} is not there; set PROXWARD_SHARED", file.display());
        return;
    };
    let mut judged = 0;
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let response = &record["response"];
        let target = record["request"]["line"].as_str().unwrap_or("");
        let in_scope = target.contains(" /api2/json") && response["status"] != 101;
        let Some(answer) = bytes(response).filter(|_| in_scope) else {
            continue;
        };
        let status = response["status"].as_u64().unwrap();
        let expected_data = response["body"]["text"]
            .as_str()
            .and_then(|text| serde_json::from_str::<Value>(text).ok())
            .map(|envelope| envelope["data"].clone());
        let expected_reason = response["reason"].as_str().unwrap().to_owned();

        let server = Server::start(move |_| Answer::Close(answer.clone())).await;
        let outcome = anonymous(&server).get("/x", &Params::new()).await;
        let id = record["id"].as_str().unwrap();
        match (status, outcome) {
            (200, Ok(reply)) => {
                if reply.raw.is_none() {
                    assert_eq!(Some(reply.data), expected_data, "{id}");
                }
            }
            (401, Err(ClientError::Auth { reason }))
            | (403, Err(ClientError::Permission { reason }))
            | (_, Err(ClientError::Api { reason, .. })) => {
                assert_eq!(reason, expected_reason, "{id}");
            }
            (300..=399, Err(ClientError::Redirect { .. })) => {}
            (status, outcome) => panic!("{id}: {status} {outcome:?}"),
        }
        judged += 1;
    }
    assert!(judged > 100, "only {judged} answers were in scope");
}
