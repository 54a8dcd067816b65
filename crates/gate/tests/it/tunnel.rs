//! Websockets: consoles, seen from both ends.

use std::time::Duration;

use crate::client::Client;
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

const REQUEST: &str = "GET /vncwebsocket?port=5901&vncticket=PVEVNC%3Ax HTTP/1.1\r\n\
    Host: pve1:8006\r\n\
    Connection: keep-alive, Upgrade\r\n\
    Upgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Protocol: binary\r\n\
    Sec-WebSocket-Extensions: permessage-deflate\r\n\
    \r\n";

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\n\
    Connection: upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
    Sec-WebSocket-Protocol: binary\r\n\
    \r\n\
    RFB 003.008\n";

/// A gate that leaves console tickets to Proxmox VE: the scripted peer hands none out.
fn gate(pve: &Pve) -> Gate {
    Gate::with(pve.address, |config| config.sessions.pass_unknown_console_tickets = true)
}

/// A masked frame, its mask all zeros.
fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82];
    match u16::try_from(payload.len()).unwrap() {
        short @ 0..=125 => frame.push(0x80 | short.to_be_bytes()[1]),
        long => {
            frame.push(0x80 | 126);
            frame.extend(long.to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// The one who opened it keeps it; everybody else is with the successor, on the same port.
#[test]
fn a_console_stays_when_another_process_takes_over() {
    let pve = Pve::start(&[("/vncwebsocket", SWITCHED, Then::Echo), ("/", &ok("x"), Then::Stay)]);
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("state");
    let old = Gate::with(pve.address, |config| {
        config.sessions.pass_unknown_console_tickets = true;
        config.state = Some(state.clone());
    });
    let mut console = Client::connect(&old);
    console.ask(REQUEST);
    assert_eq!(console.exactly(12), b"RFB 003.008\n");
    let new = Gate::successor(pve.address, &state);
    assert_eq!(new.address, old.address);
    for round in [&b"one"[..], b"two", b"three"] {
        console.send(frame(round));
        assert_eq!(console.exactly(frame(round).len()), frame(round));
    }
    // The state is the successor's, and so is its socket.
    let request = gate::control::Request::Status;
    let status = gate::control::call(&state.join(gate::control::SOCKET), &request).unwrap();
    assert_eq!(status["listen"][0], new.address.to_string());
    assert_eq!(Client::connect(&new).get("/").status(), "200");
    console.shutdown();
    console.rest();
    assert!(old.ends(), "the old one outlives its last console");
    drop(old);
    let again = gate::control::call(&state.join(gate::control::SOCKET), &request);
    assert!(again.is_ok(), "the old one took the successor's socket along");
}

/// pveproxy holds frames in memory whole; what is announced as more than it takes goes nowhere.
#[test]
fn a_frame_over_the_bound_ends_the_console() {
    let pve = Pve::start(&[("/vncwebsocket", SWITCHED, Then::Echo)]);
    let gate = gate(&pve);
    let mut client = Client::connect(&gate);
    client.ask(REQUEST);
    assert_eq!(client.exactly(12), b"RFB 003.008\n");
    client.send([0x82, 0xFF, 0, 0, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0]);
    assert_eq!(client.rest(), b"");
}

#[test]
fn bytes_go_both_ways_from_the_first_to_the_last() {
    let pve = Pve::start(&[("/vncwebsocket", SWITCHED, Then::Echo)]);
    let gate = gate(&pve);
    let mut client = Client::connect(&gate);
    // A client that does not wait for the 101 loses nothing.
    let early = frame(b"early");
    let answer = client.ask([REQUEST.as_bytes(), &early].concat());
    assert_eq!(answer.line, "HTTP/1.1 101 Switching Protocols");
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(answer.header("connection"), Some("upgrade"));
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(answer.header("sec-websocket-protocol"), Some("binary"));
    assert_eq!(client.exactly(12), b"RFB 003.008\n");
    assert_eq!(client.exactly(early.len()), early);
    let bytes: Vec<u8> = (0..200_000_u32).map(|byte| byte.to_le_bytes()[0]).collect();
    for chunk in bytes.chunks(20_000) {
        let chunk = frame(chunk);
        client.send(&chunk);
        assert_eq!(client.exactly(chunk.len()), chunk);
    }
    client.shutdown();
    assert_eq!(client.rest(), b"");

    let seen = &pve.seen()[0];
    assert_eq!(seen.header("upgrade"), Some("websocket"));
    assert_eq!(seen.header("connection"), Some("Upgrade"));
    assert_eq!(seen.header("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_eq!(seen.header("sec-websocket-extensions"), None);
}

/// Bytes behind an upgrade request are not judged as heads, so nothing may follow a refusal.
#[test]
fn a_refused_upgrade_is_the_last_request_of_its_connection() {
    let pve = Pve::start(&[("/vncwebsocket", &ok("{}"), Then::Stay)]);
    let gate = gate(&pve);
    let mut client = Client::connect(&gate);
    client.send(format!("{REQUEST}GET /hidden HTTP/1.1\n\n"));
    let answer = client.answer();
    assert_eq!(answer.line, "HTTP/1.1 200 OK");
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(client.rest(), b"");
    assert_eq!(pve.seen().len(), 1);
}

#[test]
fn only_websockets_are_asked_for() {
    let pve = Pve::start(&[("/", &ok("{}"), Then::Stay)]);
    let gate = gate(&pve);
    let answer =
        Client::connect(&gate).ask("GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
    assert_eq!(answer.line, "HTTP/1.1 200 OK");
    assert_eq!(pve.seen()[0].headers, []);
}

#[test]
fn silence_ends_a_tunnel() {
    let pve = Pve::start(&[("/vncwebsocket", SWITCHED, Then::Echo)]);
    let gate = Gate::with(pve.address, |config| {
        config.sessions.pass_unknown_console_tickets = true;
        config.limits.tunnel_idle = Duration::from_millis(200);
    });
    let mut client = Client::connect(&gate);
    client.ask(REQUEST);
    assert_eq!(client.rest(), b"RFB 003.008\n");
    gate.counts("proxward_gate_limits_total{limit=\"tunnel_idle_seconds\"}", 1);
}
