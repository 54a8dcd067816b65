//! What a caller may do: asked with the caller's own credential, and remembered for seconds.

use std::time::Duration;

use crate::client::{Answer, Client};
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

const PERMISSIONS: &str = "/api2/json/access/permissions";

fn ask(gate: &Gate, user: &str, path: &str) -> Answer {
    Client::connect(gate).ask(format!(
        "GET /proxward/permissions?path={path} HTTP/1.1\r\nHost: pve1:8006\r\n\
         Cookie: PVEAuthCookie=PVE:{user}:6B00CE46::AA\r\n\r\n"
    ))
}

fn granted() -> Pve {
    let answer = ok("{\"data\":{\"/vms/100\":{\"VM.Audit\":1,\"VM.Console\":0}}}");
    Pve::start(&[(PERMISSIONS, &answer, Then::Stay)])
}

#[test]
fn each_caller_and_path_is_asked_for_once() {
    let pve = granted();
    let gate = Gate::start(pve.address);
    for _ in 0..2 {
        let answer = ask(&gate, "a@pve", "/vms/100");
        let expected = r#"{"data":{"held":["VM.Audit","VM.Console"],"path":"/vms/100"}}"#;
        assert_eq!((answer.status(), answer.body.as_str()), ("200", expected));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    assert_eq!(pve.seen().len(), 1);
    let seen = &pve.seen()[0];
    assert_eq!(seen.line, "GET /api2/json/access/permissions?path=%2Fvms%2F100 HTTP/1.1");
    assert_eq!(seen.header("cookie"), Some("PVEAuthCookie=PVE:a@pve:6B00CE46::AA"));
    assert!(ask(&gate, "b@pve", "/vms/100").body.contains("VM.Audit"));
    assert!(ask(&gate, "a@pve", "/vms").body.contains("\"held\":[]"));
    assert_eq!(pve.seen().len(), 3);
}

#[test]
fn nobody_and_no_path_are_refused_unasked() {
    let pve = granted();
    let gate = Gate::start(pve.address);
    assert_eq!(Client::connect(&gate).get("/proxward/permissions").status(), "401");
    assert_eq!(ask(&gate, "a@pve", "vms").status(), "400");
    assert_eq!(ask(&gate, "a@pve", &format!("/{}", "a".repeat(300))).status(), "400");
    assert_eq!(pve.seen(), []);
}

/// Nothing that is not an answer is remembered.
#[test]
fn a_refusal_is_asked_for_again() {
    let refused = "HTTP/1.1 401 Authentication failed!\r\nConnection: close\r\n\r\n";
    let pve = Pve::start(&[(PERMISSIONS, refused, Then::Close)]);
    let gate = Gate::start(pve.address);
    for _ in 0..2 {
        assert_eq!(ask(&gate, "a@pve", "/").status(), "401");
    }
    assert_eq!(pve.seen().len(), 2);
}

#[test]
fn a_changed_user_cfg_drops_what_is_remembered() {
    let place = tempfile::tempdir().unwrap();
    let version = place.path().join(".version");
    let write = |count: u32| {
        let text = format!("{{\"starttime\":1,\"user.cfg\":{count}}}");
        std::fs::write(&version, text).unwrap();
    };
    write(1);
    let pve = granted();
    let gate = Gate::with(pve.address, |config| config.sessions.version_file = version.clone());
    ask(&gate, "a@pve", "/");
    ask(&gate, "a@pve", "/");
    assert_eq!(pve.seen().len(), 1);
    write(2);
    for _ in 0..500 {
        std::thread::sleep(Duration::from_millis(10));
        ask(&gate, "a@pve", "/");
        if pve.seen().len() == 2 {
            return;
        }
    }
    panic!("still believed");
}
