//! Who may come at all, by the client's true address.

use gate::{AddressPolicy, Config};

use crate::client::{Client, clear_text};
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

fn pve() -> Pve {
    Pve::start(&[("/", &ok("{}"), Then::Stay)])
}

fn deny(list: &str) -> impl FnOnce(&mut Config) {
    move |config| config.addresses.deny = list.parse().unwrap()
}

#[test]
fn a_denied_address_gets_no_byte() {
    let pve = pve();
    let gate = Gate::with(pve.address, deny("127.0.0.2"));
    assert_eq!(Client::connect(&gate).get("/").line, "HTTP/1.1 200 OK");
    assert!(Client::from(&gate, "127.0.0.2:0".parse().unwrap()).is_err());
    gate.counts("proxward_gate_connections_total{outcome=\"denied\"}", 1);
    gate.counts("proxward_gate_refusals_total{rule=\"address\"}", 1);
    assert_eq!(pve.seen().len(), 1);
}

#[test]
fn neither_does_it_in_clear_text() {
    let pve = pve();
    let gate = Gate::with(pve.address, deny("127.0.0.0/8"));
    assert_eq!(clear_text(&gate, b"GET / HTTP/1.1\r\nHost: pve1\r\n\r\n"), "");
}

#[test]
fn only_the_named_are_admitted_where_the_policy_is_deny() {
    let pve = pve();
    let gate = Gate::with(pve.address, |config| {
        config.addresses.allow = "127.0.0.1".parse().unwrap();
        config.addresses.policy = AddressPolicy::Deny;
    });
    assert_eq!(Client::connect(&gate).get("/").line, "HTTP/1.1 200 OK");
    assert!(Client::from(&gate, "127.0.0.2:0".parse().unwrap()).is_err());
}

#[test]
fn a_proxy_header_names_the_address_that_is_judged() {
    let pve = pve();
    let gate = Gate::with(pve.address, |config| {
        config.proxy_protocol_from = "127.0.0.1".parse().unwrap();
        config.addresses.deny = "192.0.2.8, 127.0.0.1".parse().unwrap();
    });
    let header = |client: &str| format!("PROXY TCP4 {client} 127.0.0.1 4660 8006\r\n");
    let mut admitted = Client::try_after(&gate, header("192.0.2.7").as_bytes()).unwrap();
    assert_eq!(admitted.get("/").line, "HTTP/1.1 200 OK");
    assert!(Client::try_after(&gate, header("192.0.2.8").as_bytes()).is_err());
}

#[test]
fn each_request_of_a_proxy_is_judged_by_its_own_address() {
    let pve = pve();
    let gate = Gate::with(pve.address, |config| {
        config.trusted_proxies = "127.0.0.1".parse().unwrap();
        config.addresses.deny = "203.0.113.0/24, 127.0.0.0/8".parse().unwrap();
    });
    let from = |client: &str| {
        let line = format!("GET / HTTP/1.1\r\nHost: pve1\r\nX-Forwarded-For: {client}\r\n\r\n");
        Client::connect(&gate).ask(line)
    };
    assert_eq!(from("192.0.2.7").line, "HTTP/1.1 200 OK");
    for denied in ["203.0.113.9", "::ffff:203.0.113.9", "192.0.2.7, 203.0.113.9", "nonsense"] {
        let answer = from(denied);
        assert_eq!(answer.line, "HTTP/1.1 403 permission denied", "{denied}");
        assert_eq!(answer.body, "{\"data\":null,\"message\":\"permission denied\"}");
        assert_eq!(answer.header("connection"), Some("close"));
    }
    assert_eq!(pve.seen().len(), 1);
    gate.counts("proxward_gate_refusals_total{rule=\"address\"}", 4);
}

#[test]
fn another_header_is_believed_where_it_is_named() {
    let pve = pve();
    let gate = Gate::with(pve.address, |config| {
        config.trusted_proxies = "127.0.0.1".parse().unwrap();
        config.real_ip_header = "x-real-ip".parse().unwrap();
        config.addresses.deny = "203.0.113.0/24".parse().unwrap();
    });
    let with = |line: &str| {
        Client::connect(&gate).ask(format!("GET / HTTP/1.1\r\nHost: pve1\r\n{line}\r\n\r\n")).line
    };
    assert_eq!(with("X-Real-IP: 203.0.113.9"), "HTTP/1.1 403 permission denied");
    assert_eq!(with("X-Forwarded-For: 203.0.113.9"), "HTTP/1.1 200 OK");
}
