//! Clients that never finish a request make room for those that do.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;

use crate::client::{Client, runtime};
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

fn pve() -> Pve {
    Pve::start(&[("/", &ok("{}"), Then::Stay)])
}

fn from(host: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 1, host], 0))
}

#[test]
fn over_its_quota_an_address_loses_its_oldest_silent_connection() {
    let pve = pve();
    let gate = Gate::with(pve.address, |config| config.limits.silent_per_address = 2);
    let mut heard = Client::connect(&gate);
    assert_eq!(heard.get("/").line, "HTTP/1.1 200 OK");
    let mut neighbour = Client::from(&gate, from(1)).unwrap();
    let mut clients: Vec<_> = (0..4).map(|_| Client::connect(&gate)).collect();
    let newest = clients.split_off(2);
    for mut oldest in clients {
        assert_eq!(oldest.rest(), b"");
    }
    gate.counts("proxward_gate_connections_total{outcome=\"silent\"}", 2);
    for client in newest.into_iter().chain([heard]).chain([neighbour]).rev() {
        let mut client = client;
        assert_eq!(client.get("/").line, "HTTP/1.1 200 OK");
    }
    neighbour = Client::connect(&gate);
    assert_eq!(neighbour.get("/").line, "HTTP/1.1 200 OK");
}

/// The flood: a thousand that drip a head and a thousand that say nothing, from many
/// addresses, with fewer places than that; lawful clients beside them get every answer.
#[test]
fn two_thousand_silent_and_slow_clients_cost_a_lawful_one_nothing() {
    let pve = pve();
    let gate = Gate::with(pve.address, |config| {
        config.limits.connections = 600;
        config.limits.connections_per_address = 300;
        config.limits.silent_per_address = 50;
    });
    let runtime = runtime();
    let address = gate.address;
    // 40 addresses, 50 connections each: half silent before TLS, half with part of a hello.
    let flood: Vec<_> = runtime.block_on(async {
        let mut flood = Vec::with_capacity(2000);
        for number in 0..2000_u32 {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(from(u8::try_from(10 + number % 40).unwrap())).unwrap();
            let mut stream = socket.connect(address).await.unwrap();
            if number % 2 == 0 {
                // The head of a TLS record that never comes.
                let _ = stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).await;
            }
            flood.push(stream);
        }
        flood
    });
    for _ in 0..20 {
        let mut lawful = Client::from(&gate, from(200)).unwrap();
        for _ in 0..3 {
            assert_eq!(lawful.get("/").line, "HTTP/1.1 200 OK");
        }
    }
    drop(flood);
}

#[test]
fn a_head_that_drips_in_over_tls_is_silent_until_it_is_whole() {
    let pve = pve();
    let gate = Gate::with(pve.address, |config| {
        config.limits.silent_per_address = 1;
        config.limits.head = Duration::from_secs(60);
    });
    let mut slow = Client::connect(&gate);
    slow.send("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ");
    let mut lawful = Client::connect(&gate);
    assert_eq!(lawful.get("/").line, "HTTP/1.1 200 OK");
    assert_eq!(slow.rest(), b"");
}

#[test]
fn a_body_that_never_comes_is_silent_too() {
    let pve = pve();
    let gate = Gate::with(pve.address, |config| config.limits.silent_per_address = 1);
    let mut slow = Client::connect(&gate);
    slow.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx");
    let mut lawful = Client::connect(&gate);
    assert_eq!(lawful.get("/").line, "HTTP/1.1 200 OK");
    assert_eq!(slow.rest(), b"");
    assert_eq!(pve.seen().len(), 1);
}

/// A client that was refused for want of places would see a reset; here it never does.
#[test]
fn a_new_connection_is_not_refused_for_a_silent_one() {
    let pve = pve();
    let gate = Gate::with(pve.address, |config| {
        config.limits.connections_per_address = 4;
        config.limits.silent_per_address = 64;
    });
    let silent: Vec<_> = (0..10).map(|_| TcpStream::connect(gate.address).unwrap()).collect();
    let mut lawful = Client::connect(&gate);
    assert_eq!(lawful.get("/").line, "HTTP/1.1 200 OK");
    let mut ended = 0;
    for mut stream in silent {
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let _ = stream.write(b"");
        ended += usize::from(matches!(stream.read(&mut [0]), Ok(0)));
    }
    assert_eq!(ended, 7);
}
