//! What tests do to a mock beside its API, from the same process and over HTTP.

use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use mock::{Api, Config, ControlError, ControlListener, Mock, Seed};
use serde_json::{Value, json};
use telemetry::Clock;

use crate::client::START;

fn built() -> Mock {
    Mock::builder().plain().frozen_at(Duration::from_secs(START)).start().unwrap()
}

/// Status and body of one request.
fn exchange(mut stream: impl std::io::Read + std::io::Write, request: &str) -> (u16, Value) {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

fn pve(mock: &Mock, verb: &str, path: &str, body: &str) -> Value {
    let authorization = mock.authorization().unwrap();
    let (status, answer) = exchange(
        TcpStream::connect(mock.local_addr()).unwrap(),
        &format!(
            "{verb} /api2/json{path} HTTP/1.1\r\nConnection: close\r\nAuthorization: {}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            authorization.expose(),
            body.len()
        ),
    );
    assert_eq!(status, 200, "{path} {answer}");
    answer["data"].clone()
}

/// The status that a fault has put before the list of pools.
fn refused_pools(mock: &Mock) -> u16 {
    let authorization = mock.authorization().unwrap();
    let request = format!(
        "GET /api2/json/pools HTTP/1.1\r\nConnection: close\r\nAuthorization: {}\r\n\r\n",
        authorization.expose()
    );
    exchange(TcpStream::connect(mock.local_addr()).unwrap(), &request).0
}

fn pools(mock: &Mock) -> Vec<String> {
    let pools = pve(mock, "GET", "/pools", "");
    let names = pools.as_array().unwrap().iter().map(|pool| pool["poolid"].as_str().unwrap());
    names.map(str::to_owned).collect()
}

#[test]
fn two_releases_and_a_file_serve_side_by_side() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("state");
    let start = |api, file: Option<&std::path::Path>| {
        let builder = Mock::builder().api(api).plain();
        let builder = if let Some(file) = file { builder.state_file(file) } else { builder };
        builder.start().unwrap()
    };
    let (new, old, kept) =
        (start(Api::V9, None), start(Api::V8, None), start(Api::V9, Some(&file)));
    let release = |mock| pve(mock, "GET", "/version", "")["release"].clone();
    assert_eq!((release(&new), release(&old)), (json!("9.2"), json!("8.4")));
    pve(&old, "POST", "/pools", "poolid=old");
    pve(&kept, "POST", "/pools", "poolid=kept");
    assert_eq!((pools(&new), pools(&old)), (vec![], vec!["old".to_owned()]));
    let handle = kept.control();
    drop(kept);
    assert!(matches!(handle.reset(), Err(ControlError::NotKept(_))), "its mock has ended");
    let again = start(Api::V9, Some(&file));
    assert_eq!(pools(&again), ["kept"]);
}

#[test]
fn a_snapshot_brings_everything_back() {
    let mock = built();
    let control = mock.control();
    pve(&mock, "POST", "/pools", "poolid=first");
    let taken = control.snapshot("one").unwrap();
    assert_eq!((taken.taken, control.snapshots()), (START, vec![taken.clone()]));
    pve(&mock, "POST", "/pools", "poolid=second");
    pve(&mock, "DELETE", "/pools?poolid=first", "");
    control.advance(Duration::from_secs(60)).unwrap();
    control.restore("one", false).unwrap();
    assert_eq!(pools(&mock), ["first"]);
    assert_eq!(control.now(), Duration::from_secs(START + 60));
    control.restore("one", true).unwrap();
    assert_eq!(control.now(), Duration::from_secs(START));
    control.reset().unwrap();
    assert!(pools(&mock).is_empty(), "and the token of the run is still good");
    control.delete_snapshot("one").unwrap();
    assert_eq!(control.restore("one", false), Err(ControlError::NoSnapshot("one".to_owned())));
    assert_eq!(control.snapshot("../x"), Err(ControlError::Name));
    for at in 0..32 {
        control.snapshot(&at.to_string()).unwrap();
    }
    assert_eq!(control.snapshot("more"), Err(ControlError::TooMany));
    control.snapshot("0").unwrap();
}

#[test]
fn tasks_end_when_the_clock_has_been_moved() {
    let mock = built();
    let control = mock.control();
    control.set_time_scale(1.0).unwrap();
    pve(&mock, "POST", "/nodes/pve1/qemu/100/status/stop", "");
    assert_eq!(control.status().tasks_running, 1);
    let running = control.status().guests_running;
    control.advance(Duration::from_secs(3600)).unwrap();
    let status = control.status();
    assert_eq!((status.tasks_running, status.guests_running), (0, running - 1));
    assert!(status.clock.frozen && status.clock.at.ends_with('Z'));
    assert_eq!(control.set_time_scale(-1.0), Err(ControlError::TimeScale));
    assert_eq!(control.set_clock(Duration::MAX), Err(ControlError::Time));
    control.freeze(false).unwrap();
    assert!(!control.status().clock.frozen);
}

#[test]
fn what_is_restored_outlives_the_mock_and_time_does_not_go_back() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("state");
    let at = Duration::from_secs(START);
    let start = || Mock::builder().plain().frozen_at(at).state_file(&file).start().unwrap();
    let mock = start();
    let control = mock.control();
    pve(&mock, "POST", "/pools", "poolid=first");
    control.snapshot("one").unwrap();
    pve(&mock, "POST", "/pools", "poolid=second");
    control.restore("one", false).unwrap();
    pve(&mock, "POST", "/pools", "poolid=third");
    control.advance(Duration::from_secs(60)).unwrap();
    pve(&mock, "POST", "/nodes/pve1/qemu/100/status/stop", "");
    drop(mock);
    let mock = start();
    assert_eq!(pools(&mock), ["first", "third"]);
    assert_eq!(mock.control().now(), Duration::from_secs(START + 60));
    mock.control().reset().unwrap();
    drop(mock);
    assert!(pools(&start()).is_empty());
}

#[test]
fn without_a_clock_or_a_seed_of_its_own_a_mock_says_so() {
    let mock =
        Mock::start(Config::new(Seed::empty()), TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    let control = mock.control();
    assert_eq!(control.advance(Duration::from_secs(1)), Err(ControlError::NoClock));
    assert!(matches!(control.reset(), Err(ControlError::Seed(_))));
    assert!(control.status().clock.system);
}

/// A mock with the control API at `place`.
fn controlled(place: &str) -> (Mock, String) {
    let (clock, hands) = Clock::steered(Duration::from_secs(START), false);
    let control = ControlListener::bind(place).unwrap();
    let shown = control.to_string();
    let config = Config {
        clock,
        virtual_clock: Some(hands),
        control: Some(control),
        resettable: true,
        ..Config::new(Seed::small())
    };
    let mock = Mock::start(config, TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    (mock, shown)
}

#[test]
fn the_same_over_http() {
    let (mock, place) = controlled("127.0.0.1:0");
    let host = place.strip_prefix("http://").unwrap();
    let raw = |request: &str| exchange(TcpStream::connect(host).unwrap(), request);
    let call = |verb: &str, path: &str, body: &str| {
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let length = body.len();
        raw(&format!(
            "{verb} {path} HTTP/1.1\r\nHost: {host}\r\n{kind}Content-Length: {length}\r\n\r\n{body}"
        ))
    };
    assert_eq!(call("PUT", "/snapshots/one", "").1["guests"], 4);
    pve(&mock, "POST", "/pools", "poolid=a");
    assert_eq!(call("POST", "/snapshots/one/restore", "{\"clock\":true}").0, 200);
    assert!(pools(&mock).is_empty());
    assert_eq!(call("GET", "/snapshots", "").1[0]["name"], "one");
    assert_eq!(call("DELETE", "/snapshots/one", "").0, 200);
    assert_eq!(call("DELETE", "/snapshots/one", "").0, 404);
    assert_eq!(call("POST", "/reset", "").0, 200);
    let moved = call("POST", "/clock/advance", "{\"seconds\":1.5}").1;
    assert_eq!(moved["unix"], json!(1_795_000_001.5));
    let set = call("PUT", "/clock", "{\"at\":\"2026-07-01T12:00:00+02:00\",\"frozen\":false}").1;
    assert_eq!(set["frozen"], false);
    assert_eq!(call("PUT", "/clock", "{\"at\":1795000000,\"frozen\":true}").0, 200);
    assert_eq!(call("GET", "/clock", "").1["at"], "2026-11-18T11:06:40.000Z");
    assert_eq!(call("PUT", "/time-scale", "{\"factor\":0}").1["factor"], 0.0);
    let status = call("GET", "/status", "").1;
    assert_eq!((&status["guests"], &status["version"]), (&json!(4), &json!("9.2.3")));
    let rule = "{\"rules\":[{\"path\":\"/pools\",\"status\":596}]}";
    assert_eq!(call("PUT", "/faults", rule).1, json!({ "rules": 1 }));
    assert_eq!(refused_pools(&mock), 596);
    let wrong = call("PUT", "/faults", "{\"rules\":[{\"path\":\"/nowhere\",\"status\":500}]}");
    assert!(wrong.0 == 400 && wrong.1["error"].as_str().unwrap().contains("/nowhere"), "{wrong:?}");
    assert_eq!(refused_pools(&mock), 596, "a wrong rule changes nothing");
    assert_eq!(call("PUT", "/faults", "{}").1, json!({ "rules": 0 }));
    assert!(pools(&mock).is_empty());
    for (row, refused) in [
        (("GET", "/nowhere", ""), 404),
        (("PUT", "/faults", "{\"rule\":[]}"), 400),
        (("GET", "/reset", ""), 405),
        (("OPTIONS", "/reset", ""), 405),
        (("PUT", "/clock", "{\"on\":1}"), 400),
        (("PUT", "/clock", "{}"), 400),
        (("POST", "/clock/advance", "{\"seconds\":-1}"), 400),
        (("PUT", "/time-scale", "{\"factor\":\"x\"}"), 400),
        (("PUT", "/snapshots/a%20b", ""), 400),
    ] {
        assert_eq!(call(row.0, row.1, row.2).0, refused, "{row:?}");
    }
    let page =
        format!("POST /reset HTTP/1.1\r\nHost: {host}\r\nOrigin: https://page.example\r\n\r\n");
    assert_eq!(raw(&page).0, 403);
    assert_eq!(raw("POST /reset HTTP/1.1\r\nHost: rebound.example\r\n\r\n").0, 403);
    assert_eq!(raw("nonsense\r\n\r\n").0, 400);
    // Nothing of it stands on PVE's own address.
    let other = exchange(
        TcpStream::connect(mock.local_addr()).unwrap(),
        "POST /reset HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    );
    assert_ne!(other.0, 200);
}

#[test]
fn a_socket_serves_too_and_goes_with_the_mock() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("control");
    let (mock, shown) = controlled(path.to_str().unwrap());
    assert_eq!(shown, format!("unix:{}", path.display()));
    let request = "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(exchange(UnixStream::connect(&path).unwrap(), request).1["nodes"], 1);
    drop(mock);
    assert!(!path.exists());
}
