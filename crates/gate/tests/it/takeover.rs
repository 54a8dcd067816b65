//! A successor that does not come up: the gate that ran goes on as if nothing had been.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use gate::control::{CallError, Hidden, Request, SOCKET, call};
use gate::{MetricsAddress, Takeover, TakeoverError};
use serde_json::Value;

use crate::client::Client;
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

fn pve() -> Pve {
    Pve::start(&[("/", &ok("x"), Then::Stay)])
}

/// An order whose answer says that it is on the disk.
fn keep(state: &Path, name: &str) -> Result<Value, CallError> {
    let token = Hidden::new("root@pam!ci=11111111-2222-3333-4444-555555555555");
    let (name, networks, methods, paths) = (name.to_owned(), vec![], vec![], vec![]);
    let order = Request::TokenCreate { name, token, networks, methods, paths, expires_in: None };
    call(&state.join(SOCKET), &order)
}

fn kept(state: &Path) -> Vec<String> {
    let list = call(&state.join(SOCKET), &Request::TokenList).unwrap();
    let names = list["tokens"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap());
    names.map(str::to_owned).collect()
}

/// Tries until it works out: the gate hears of what its successor did a moment after it.
fn soon<T, E: std::fmt::Debug>(mut attempt: impl FnMut() -> Result<T, E>) -> T {
    for _ in 0..1000 {
        if let Ok(done) = attempt() {
            return done;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    attempt().unwrap()
}

fn metrics(gate: &Gate) -> std::io::Result<String> {
    let Some(MetricsAddress::Tcp(address)) = gate.metrics_address() else { panic!() };
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn one_that_goes_with_the_state_gives_everything_back() {
    let (pve, place) = (pve(), tempfile::tempdir().unwrap());
    let state = place.path().join("state");
    let gate = Gate::with(pve.address, |config| {
        config.state = Some(state.clone());
        config.traffic.metrics_listen = Some("127.0.0.1:0".parse().unwrap());
    });
    keep(&state, "before").unwrap();
    let status = call(&state.join(SOCKET), &Request::Status).unwrap();
    assert_eq!(status["certificate"]["names"][0], "127.0.0.1");
    assert!(status["files"]["refused"].is_null() && status["files"]["out_of_reach"].is_null());
    let mut successor = Takeover::begin(&state).unwrap();
    assert_eq!(Client::connect(&gate).get("/").status(), "200", "nothing has changed yet");
    successor.release().unwrap();
    assert!(keep(&state, "between").is_err(), "kept without a state");
    assert!(metrics(&gate).is_err(), "the place for metrics is the successor's");
    // Waits in the kernel's queue, and is not refused.
    let mut waiting = TcpStream::connect(gate.address).unwrap();
    waiting.write_all(b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n").unwrap();
    drop(successor);
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 30"), "{answer}");
    assert_eq!(Client::connect(&gate).get("/").status(), "200");
    keep(&state, "after").unwrap();
    assert!(soon(|| metrics(&gate)).contains("# EOF"));
    // The next one that comes finds the gate whole.
    let new = Gate::successor(pve.address, &state);
    assert_eq!(new.address, gate.address);
    assert!(gate.ends());
    assert_eq!(kept(&state), ["after", "before"]);
}

#[test]
fn one_that_hangs_with_the_state_does_not_keep_the_gate_from_serving() {
    let (pve, place) = (pve(), tempfile::tempdir().unwrap());
    let state = place.path().join("state");
    let gate = Gate::with(pve.address, |config| config.state = Some(state.clone()));
    let mut successor = Takeover::begin(&state).unwrap();
    successor.release().unwrap();
    let hanging = state::Redb::open(&state).unwrap();
    drop(successor);
    assert_eq!(Client::connect(&gate).get("/").status(), "200");
    assert!(keep(&state, "between").is_err(), "kept without a state");
    drop(hanging);
    soon(|| keep(&state, "after"));
    assert_eq!(kept(&state), ["after"]);
}

#[test]
fn two_do_not_share_a_place() {
    let (pve, place) = (pve(), tempfile::tempdir().unwrap());
    let state = place.path().join("state");
    let _gate = Gate::with(pve.address, |config| config.state = Some(state.clone()));
    let first = Takeover::begin(&state).unwrap();
    let second = Takeover::begin(&state);
    assert!(matches!(second, Err(TakeoverError::Refused { .. })), "{second:?}");
    drop(first);
    soon(|| Takeover::begin(&state));
}
