//! Orders from the machine itself.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use gate::control::{CallError, Request, SOCKET, call};

use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

fn pve() -> Pve {
    Pve::start(&[("/", &ok("{}"), Then::Stay)])
}

#[test]
fn the_socket_answers_and_ends_with_the_gate() {
    let (pve, directory) = (pve(), tempfile::tempdir().unwrap());
    let state = directory.path().join("state");
    let socket = state.join(SOCKET);
    let gate = Gate::with(pve.address, |config| config.state = Some(state.clone()));
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let list = call(&socket, &Request::BanList).unwrap();
    assert_eq!(list, serde_json::json!({ "bans": [], "locks": [] }));
    let status = call(&socket, &Request::LoginStatus).unwrap();
    assert_eq!(status["bans"], 0);
    let missing = call(&socket, &Request::BanRemove { of: "192.0.2.1".into() });
    assert!(matches!(missing, Err(CallError::NotFound(_))), "{missing:?}");
    drop(gate);
    let gone = call(&socket, &Request::BanList);
    assert!(matches!(gone, Err(CallError::Unreachable { .. })), "{gone:?}");
}

#[test]
fn what_is_no_order_is_refused_and_the_next_is_answered() {
    let (pve, directory) = (pve(), tempfile::tempdir().unwrap());
    let state = directory.path().join("state");
    let _gate = Gate::with(pve.address, |config| config.state = Some(state.clone()));
    for bad in ["\n", "{}\n", "{\"verb\":\"shell\"}\n", "\0\u{1}\n", "{\"verb\":\"ban_remove\"}\n"]
    {
        let mut stream = UnixStream::connect(state.join(SOCKET)).unwrap();
        stream.write_all(bad.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("\"kind\":\"request\""), "{bad}: {answer}");
    }
    call(&state.join(SOCKET), &Request::BanList).unwrap();
}

#[test]
fn a_second_gate_on_the_same_state_is_refused() {
    let (pve, directory) = (pve(), tempfile::tempdir().unwrap());
    let state = directory.path().join("state");
    let first = Gate::with(pve.address, |config| config.state = Some(state.clone()));
    let error = Gate::try_with(pve.address, |config| config.state = Some(state.clone()));
    assert!(error.unwrap_err().to_string().contains("in use by another process"));
    drop(first);
    drop(Gate::with(pve.address, |config| config.state = Some(state.clone())));
}
