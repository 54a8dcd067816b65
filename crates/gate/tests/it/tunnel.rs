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

#[test]
fn bytes_go_both_ways_from_the_first_to_the_last() {
    let pve = Pve::start(&[("/vncwebsocket", SWITCHED, Then::Echo)]);
    let gate = Gate::start(pve.address);
    let mut client = Client::connect(&gate);
    // A client that does not wait for the 101 loses nothing.
    let answer = client.ask(format!("{REQUEST}early"));
    assert_eq!(answer.line, "HTTP/1.1 101 Switching Protocols");
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert_eq!(answer.header("connection"), Some("upgrade"));
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(answer.header("sec-websocket-protocol"), Some("binary"));
    assert_eq!(client.exactly(17), b"RFB 003.008\nearly");
    let frame: Vec<u8> = (0..200_000_u32).map(|byte| byte.to_le_bytes()[0]).collect();
    for chunk in frame.chunks(20_000) {
        client.send(chunk);
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
    let gate = Gate::start(pve.address);
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
    let gate = Gate::start(pve.address);
    let answer =
        Client::connect(&gate).ask("GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
    assert_eq!(answer.line, "HTTP/1.1 200 OK");
    assert_eq!(pve.seen()[0].headers, []);
}

#[test]
fn silence_ends_a_tunnel() {
    let pve = Pve::start(&[("/vncwebsocket", SWITCHED, Then::Echo)]);
    let gate = Gate::with(pve.address, |config| {
        config.limits.tunnel_idle = Duration::from_millis(200);
    });
    let mut client = Client::connect(&gate);
    client.ask(REQUEST);
    assert_eq!(client.rest(), b"RFB 003.008\n");
}
