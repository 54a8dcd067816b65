//! A change of the policy: in force at once, and gone unless somebody gets through it.

use gate::control::{CallError, Request, SOCKET, call};
use gate::{Config, PolicyRules, PolicySettings};
use serde_json::Value;
use std::path::Path;

use crate::client::{Answer, Client};
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

const TICKET: &str = "Cookie: PVEAuthCookie=PVE%3Aroot@pam%3A6B00CE44%3A%3Ax\r\n";

fn pve() -> Pve {
    let rights = r#"{"data":{"/":{"Sys.Modify":1}}}"#;
    Pve::start(&[
        ("/api2/json/version", &ok("{\"data\":{}}"), Then::Stay),
        ("/api2/json/nodes", &ok("{\"data\":[]}"), Then::Stay),
        ("/api2/json/access/permissions", &ok(rights), Then::Stay),
    ])
}

fn rules(text: &str) -> PolicyRules {
    serde_json::from_str::<PolicySettings>(text).unwrap().check().unwrap()
}

fn closed() -> PolicyRules {
    rules(r#"{"rule":[{"effect":"deny","path":"/nodes"}]}"#)
}

fn with(state: &Path, policy: PolicyRules) -> impl FnOnce(&mut Config) {
    let state = state.to_owned();
    move |config| {
        config.state = Some(state);
        config.policy = policy;
    }
}

fn get(gate: &Gate, path: &str) -> Answer {
    Client::connect(gate).ask(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{TICKET}\r\n"))
}

fn post(client: &mut Client, body: &str) -> Answer {
    client.ask(format!(
        "POST /proxward/api/policy/confirm HTTP/1.1\r\nHost: a\r\n{TICKET}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

fn status(state: &Path) -> Value {
    call(&state.join(SOCKET), &Request::PolicyStatus).unwrap()
}

fn trial(state: &Path) -> Option<String> {
    status(state)["on_trial"]["id"].as_str().map(str::to_owned)
}

#[test]
fn a_first_start_is_no_change_and_another_one_is() {
    let (pve, directory) = (pve(), tempfile::tempdir().unwrap());
    let state = directory.path().join("state");
    let gate = Gate::with(pve.address, with(&state, PolicyRules::default()));
    assert_eq!(trial(&state), None);
    drop(gate);
    let gate = Gate::with(pve.address, with(&state, closed()));
    let id = trial(&state).unwrap();
    assert_eq!(get(&gate, "/api2/json/nodes").status(), "403");
    // The operator alone proves nothing: somebody has to have got through.
    let socket = state.join(SOCKET);
    let confirm = || call(&socket, &Request::PolicyConfirm { id: id.clone() });
    assert!(matches!(confirm(), Err(CallError::Refused(why)) if why.contains("nobody was seen")));
    assert_eq!(get(&gate, "/api2/json/version").status(), "200");
    assert_eq!(confirm().unwrap()["seen"]["user"], "root@pam");
    drop(gate);
    let gate = Gate::with(pve.address, with(&state, closed()));
    assert_eq!(trial(&state), None);
    assert_eq!(get(&gate, "/api2/json/nodes").status(), "403");
}

#[test]
fn a_restart_takes_back_what_was_not_confirmed() {
    let (pve, directory) = (pve(), tempfile::tempdir().unwrap());
    let state = directory.path().join("state");
    drop(Gate::with(pve.address, with(&state, PolicyRules::default())));
    drop(Gate::with(pve.address, with(&state, closed())));
    let gate = Gate::with(pve.address, with(&state, closed()));
    assert_eq!(trial(&state), None);
    assert_eq!(get(&gate, "/api2/json/nodes").status(), "200");
}

#[test]
fn a_reload_is_confirmed_over_a_new_connection() {
    let (pve, directory) = (pve(), tempfile::tempdir().unwrap());
    let state = directory.path().join("state");
    let gate = Gate::with(pve.address, with(&state, PolicyRules::default()));
    let mut old = Client::connect(&gate);
    let version = format!("GET /api2/json/version HTTP/1.1\r\nHost: a\r\n{TICKET}\r\n");
    assert_eq!(old.ask(&version).status(), "200");
    let proposed = gate.running().propose_policy(closed()).unwrap().unwrap();
    let body = format!("{{\"id\":\"{}\"}}", proposed.id);
    let answer = post(&mut old, &body);
    assert_eq!(answer.status(), "409", "{answer:?}");
    assert_eq!(post(&mut Client::connect(&gate), "{\"id\":\"0\"}").status(), "409");
    assert_eq!(post(&mut Client::connect(&gate), &body).status(), "200");
    assert_eq!(trial(&state), None);
    assert_eq!(get(&gate, "/api2/json/nodes").status(), "403");
    assert_eq!(gate.running().propose_policy(closed()).unwrap(), None);
}
