//! What is recorded, and of whom.

use std::path::Path;
use std::time::Duration;

use gate::PolicySettings;
use gate::control::{Hidden, Request, SOCKET, call};
use serde_json::{Value, json};

use crate::client::Client;
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

/// Records of the state directory, without those of logins, in their order.
fn records(state: &Path, wanted: usize) -> Vec<Value> {
    for _ in 0..1000 {
        let text = std::fs::read_to_string(state.join("audit.jsonl")).unwrap_or_default();
        let records = text.lines().map_while(|line| serde_json::from_str::<Value>(line).ok());
        let of = |record: &Value| !record["of"].is_null();
        let records: Vec<Value> = records.filter(of).collect();
        if records.len() >= wanted {
            return records;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("fewer than {wanted} records")
}

fn pve() -> Pve {
    let login = r#"{"data":{"username":"root@pam","CSRFPreventionToken":"6B00CE46:x",
        "ticket":"PVE:root@pam:6B00CE46::JOxkx+DqOfuSHjN7nfLMlmStVUfGN"}}"#;
    Pve::start(&[
        ("/api2/json/version", &ok("{\"data\":{}}"), Then::Stay),
        ("/api2/json/access/ticket", &ok(login), Then::Stay),
    ])
}

#[test]
fn every_order_with_the_uid_and_process_that_gave_it() {
    let (pve, directory) = (pve(), tempfile::tempdir().unwrap());
    let state = directory.path().join("state");
    let gate = Gate::with(pve.address, |config| {
        config.state = Some(state.clone());
        config.trusted_proxies = "127.0.0.1".parse().unwrap();
    });
    let order = |request: &Request| call(&state.join(SOCKET), request);
    let create = Request::TokenCreate {
        name: "ci".into(),
        token: Hidden::new("ci@pve!deploy=12ab"),
        networks: Vec::new(),
        methods: Vec::new(),
        paths: Vec::new(),
        expires_in: None,
    };
    let value = order(&create).unwrap()["value"].as_str().unwrap().to_owned();
    for client in ["192.0.2.7", "192.0.2.7", "192.0.2.8"] {
        let answer = Client::connect(&gate).ask(format!(
            "GET /api2/json/version HTTP/1.1\r\nHost: a\r\nAuthorization: PVEAPIToken={value}\r\n\
             X-Forwarded-For: {client}\r\n\r\n"
        ));
        assert_eq!(answer.status(), "200");
    }
    // Refused, so that nothing has changed.
    order(&Request::TokenRevoke { name: "none".into() }).unwrap_err();
    order(&Request::TokenRotate { name: "ci".into(), overlap: 60 }).unwrap();
    order(&Request::TokenRevoke { name: "ci".into() }).unwrap();
    order(&Request::StepUpEnroll { user: "a@pve".into() }).unwrap();
    order(&Request::StepUpRemove { user: "a@pve".into() }).unwrap();
    order(&Request::SessionList { user: None }).unwrap();
    order(&Request::SessionRevoke { id: None, user: None, all: true }).unwrap();
    let records = records(&state, 9);
    let shown: Vec<Value> =
        records.iter().map(|one| json!([one["kind"], one["of"], one["by"]])).collect();
    let expected = [
        json!(["token.created", "ci", "operator"]),
        json!(["token.used", "ci", "caller"]),
        json!(["token.used", "ci", "caller"]),
        json!(["token.rotated", "ci", "operator"]),
        json!(["token.revoked", "ci", "operator"]),
        json!(["step_up.enrolled", "a@pve", "operator"]),
        json!(["step_up.removed", "a@pve", "operator"]),
        json!(["session.listed", "all", "operator"]),
        json!(["session.revoked", "all", "operator"]),
    ];
    assert_eq!(shown, expected);
    assert_eq!(records[0]["pid"], std::process::id());
    assert_eq!(records[0]["uid"], rustix::process::getuid().as_raw());
    assert_eq!(
        (&records[1]["client"], &records[2]["client"]),
        (&json!("192.0.2.7"), &json!("192.0.2.8"))
    );
    assert_eq!(records[1]["user"], "proxward@gate!ci");
    let text = std::fs::read_to_string(state.join("audit.jsonl")).unwrap();
    assert!(!text.contains("12ab") && !text.contains("otpauth"), "{text}");
}

#[test]
fn who_has_logged_out_and_what_became_of_the_policy() {
    let (pve, directory) = (pve(), tempfile::tempdir().unwrap());
    let state = directory.path().join("state");
    let gate = Gate::with(pve.address, |config| config.state = Some(state.clone()));
    let post = |path: &str, lines: &str, body: &str| {
        Client::connect(&gate).ask(format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n{lines}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    };
    let login = post("/api2/json/access/ticket", "", "username=root%40pam&password=x");
    let data: Value = serde_json::from_str(&login.body).unwrap();
    let text = |key: &str| data["data"][key].as_str().unwrap().replace(':', "%3A");
    let token = data["data"]["CSRFPreventionToken"].as_str().unwrap();
    let lines =
        format!("Cookie: PVEAuthCookie={}\r\nCSRFPreventionToken: {token}\r\n", text("ticket"));
    assert_eq!(post("/proxward/logout", &lines, "").status(), "200");
    let rules = |text: &str| serde_json::from_str::<PolicySettings>(text).unwrap().check().unwrap();
    let proposed = gate.running().propose_policy(rules(r#"{"profiles":["no-shell"]}"#)).unwrap();
    assert_eq!(gate.running().propose_policy(rules("{}")).unwrap(), None);
    let records = records(&state, 3);
    assert_eq!(records[0]["kind"], "session.logged_out");
    assert_eq!(
        (&records[0]["user"], &records[0]["client"]),
        (&json!("root@pam"), &json!("127.0.0.1"))
    );
    for (record, kind) in records[1..].iter().zip(["policy.proposed", "policy.taken_back"]) {
        assert_eq!((&record["kind"], &record["by"]), (&json!(kind), &json!("gate")));
        assert_eq!(record["of"], proposed.as_ref().unwrap().id.as_str());
    }
}
