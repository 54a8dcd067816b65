//! Who is asking: PROXY headers from those that send them, and places for each address.

use std::time::Duration;

use crate::client::{Client, clear_text};
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

fn pve() -> Pve {
    Pve::start(&[("/", &ok("{}"), Then::Stay)])
}

fn behind_proxy(pve: &Pve) -> Gate {
    Gate::with(pve.address, |config| {
        config.proxy_protocol_from = "127.0.0.1".parse().unwrap();
        config.limits.connections_per_address = 1;
    })
}

#[test]
fn both_versions_tell_the_client_apart_from_the_proxy() {
    let pve = pve();
    let gate = behind_proxy(&pve);
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    v2.extend([192, 0, 2, 7, 127, 0, 0, 1, 0x12, 0x34, 0x1f, 0x46]);
    let v1 = b"PROXY TCP4 192.0.2.8 127.0.0.1 4660 8006\r\n";
    let mut first = Client::try_after(&gate, &v2).unwrap();
    let mut second = Client::try_after(&gate, v1).unwrap();
    assert_eq!(first.get("/").line, "HTTP/1.1 200 OK");
    assert_eq!(second.get("/").line, "HTTP/1.1 200 OK");
    // One place for each address: a second connection of the same client has none.
    assert!(Client::try_after(&gate, v1).is_err());
    gate.counts("proxward_gate_connections_total{outcome=\"busy\"}", 1);
}

#[test]
fn from_a_proxy_the_header_is_required() {
    let pve = pve();
    let gate = behind_proxy(&pve);
    assert!(Client::try_after(&gate, b"").is_err());
    assert_eq!(clear_text(&gate, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "");
    gate.counts("proxward_gate_connections_total{outcome=\"no_proxy_header\"}", 2);
}

#[test]
fn from_anyone_else_it_is_no_header() {
    let pve = pve();
    // The line is taken for a request in clear text, which never gets its blank line.
    let gate = Gate::with(pve.address, |config| {
        config.limits.handshake = Duration::from_millis(500);
    });
    let v1 = b"PROXY TCP4 192.0.2.8 127.0.0.1 4660 8006\r\n";
    assert!(Client::try_after(&gate, v1).is_err());
    assert_eq!(pve.seen(), []);
}

#[test]
fn places_are_given_back() {
    let pve = pve();
    let gate = Gate::with(pve.address, |config| config.limits.connections_per_address = 1);
    for _ in 0..20 {
        let mut client = Client::connect(&gate);
        assert_eq!(client.get("/").line, "HTTP/1.1 200 OK");
        assert!(Client::try_after(&gate, b"").is_err());
        let other = Client::from(&gate, "127.0.0.2:0".parse().unwrap());
        assert_eq!(other.unwrap().get("/").line, "HTTP/1.1 200 OK");
        client.shutdown();
        client.rest();
    }
}
