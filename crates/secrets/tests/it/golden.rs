//! Recorded exchanges of a genuine PVE hold every form of its tickets, tokens and passwords,
//! raw, percent-encoded, in headers, bodies and JSON within JSON. None survives masking.

use secrets::mask;
use std::collections::HashSet;
use std::path::PathBuf;

const SKIPPED: &str =
    "skipped: the recorded exchanges are not there (PROXWARD_SHARED names their folder)";

/// A signature is 344 characters of base64; digests of bodies and file hashes are shorter.
const SIGNATURE_MIN_CHARS: usize = 200;

#[test]
fn no_recorded_credential_survives() {
    let Some(lines) = recorded("golden/pve-transcripts.jsonl") else {
        println!("{SKIPPED}");
        return;
    };
    let mut signatures = 0;
    for line in lines.lines() {
        let mut document: serde_json::Value = serde_json::from_str(line).unwrap();
        signatures += usize::from(longest_base64(line) >= SIGNATURE_MIN_CHARS);
        mask::json(&mut document);
        // a recorded body in base64 is not a credential
        for masked in [mask::text(line).into_owned(), document.to_string()] {
            let lengths = masked.split("\"base64\":").next().map_or(0, longest_base64);
            assert!(lengths < SIGNATURE_MIN_CHARS, "{masked}");
            assert!(!masked.contains("-test-pw"), "{masked}");
            for secret in token_secrets(line) {
                assert!(!masked.contains(secret), "{secret} in {masked}");
            }
        }
    }
    assert!(signatures > 50, "only {signatures} records with a ticket: nothing was proven");
}

#[test]
fn every_recorded_ticket_is_masked_alone_too() {
    let Some(text) = recorded("golden/ticket-vectors.json") else {
        println!("{SKIPPED}");
        return;
    };
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let vectors = document.get("vectors").and_then(|v| v.as_object()).unwrap();
    for (name, vector) in vectors {
        let vector = vector.as_str().unwrap();
        let (who, secret) = match vector.split_once("::") {
            Some((who, _)) => (format!("{who}::"), true),
            None => (format!("{}:", &vector[..8]), vector.len() > 40),
        };
        assert!(secret, "{name}: neither ticket nor CSRF token: {vector}");
        assert_eq!(mask::text(vector), format!("{who}***"), "{name}");
        let encoded: String = vector
            .bytes()
            .map(|b| match b {
                b':' | b'+' | b'/' | b'=' | b'@' => format!("%{b:02X}"),
                _ => char::from(b).to_string(),
            })
            .collect();
        let masked = mask::text(&encoded).into_owned();
        assert!(masked.ends_with("***") && longest_base64(&masked) < 40, "{name}: {masked}");
    }
}

fn recorded(file: &str) -> Option<String> {
    let shared = std::env::var_os("PROXWARD_SHARED").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")),
        PathBuf::from,
    );
    std::fs::read_to_string(shared.join(file)).ok()
}

/// The longest run of base64, also percent-encoded; runs of one letter are filler of bodies.
fn longest_base64(text: &str) -> usize {
    let other = |c: char| !(c.is_ascii_alphanumeric() || "+/%=".contains(c));
    let varied = |run: &&str| run.bytes().collect::<HashSet<_>>().len() > 20;
    text.split(other).filter(varied).map(str::len).max().unwrap_or(0)
}

/// What stands behind `user@realm!id=` in `Authorization` headers.
fn token_secrets(line: &str) -> impl Iterator<Item = &str> {
    let ids = line.split("PVEAPIToken=").skip(1);
    ids.filter_map(|rest| rest.split(['"', '\\', ' ']).next()?.split_once('=').map(|(_, s)| s))
        .filter(|secret| secret.len() > 8)
}
