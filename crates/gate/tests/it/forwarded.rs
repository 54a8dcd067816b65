//! Who a client is behind a proxy that adds X-Forwarded-For.

use crate::client::Client;
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

#[test]
fn places_of_a_trusted_proxy_are_not_those_of_one_client() {
    let pve = Pve::start(&[("/", &ok("{}"), Then::Stay)]);
    let gate = Gate::with(pve.address, |config| {
        config.trusted_proxies = "127.0.0.1".parse().unwrap();
        config.limits.connections_per_address = 1;
    });
    let mut clients: Vec<_> = (0..5).map(|_| Client::connect(&gate)).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").line, "HTTP/1.1 200 OK");
    }
}

#[test]
fn what_a_client_forwards_never_reaches_proxmox() {
    let pve = Pve::start(&[("/", &ok("{}"), Then::Stay)]);
    let gate = Gate::with(pve.address, |config| {
        config.trusted_proxies = "127.0.0.1".parse().unwrap();
    });
    let mut client = Client::connect(&gate);
    client.ask("GET / HTTP/1.1\r\nX-Forwarded-For: 192.0.2.1\r\nForwarded: for=1.1.1.1\r\n\r\n");
    let seen = pve.seen();
    assert!(seen[0].headers.iter().all(|(name, _)| !name.to_lowercase().contains("forwarded")));
}
