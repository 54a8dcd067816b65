//! Several destinations: who stands in for the first, what moves there, and what does not.

use std::net::{SocketAddr, TcpListener};

use gate::Destination;

use crate::client::Client;
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

fn gate(first: SocketAddr, second: SocketAddr) -> Gate {
    Gate::with(first, |config| {
        let second = Destination::new(&format!("http://{second}"), None).unwrap();
        config.traffic.fallback = vec![second];
    })
}

fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

const PUT: &str = "PUT / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx";

#[test]
fn what_was_not_sent_goes_to_the_next_and_after_a_while_at_once() {
    let pve = Pve::start(&[("/", &ok("{}"), Then::Stay)]);
    let first = nobody();
    let gate = gate(first, pve.address);
    let up = |address| format!("proxward_gate_upstream_up{{upstream=\"http://{address}\"}}");
    gate.counts(&up(first), 1);
    for number in 0..6 {
        let mut client = Client::connect(&gate);
        // A write as well: it was never sent.
        let answer = if number % 2 == 0 { client.get("/") } else { client.ask(PUT) };
        assert_eq!(answer.line, "HTTP/1.1 200 OK");
    }
    gate.counts(&up(first), 0);
    gate.counts(&up(pve.address), 1);
    // Three that failed, one that was kept since, and no more tries of the first.
    gate.counts("proxward_gate_upstream_total{event=\"connect\"}", 4);
    assert_eq!(pve.seen().len(), 6);
    let health = Client::connect(&gate).get("/proxward/health");
    assert_eq!(health.status(), "200", "{}", health.body);
}

#[test]
fn a_read_moves_when_the_answer_breaks_off_and_a_write_never_does() {
    let broken = Pve::start(&[("/", "HTTP/1.1 200", Then::Close)]);
    let pve = Pve::start(&[("/", &ok("{}"), Then::Stay)]);
    let gate = gate(broken.address, pve.address);
    assert_eq!(Client::connect(&gate).ask(PUT).status(), "502");
    assert_eq!(pve.seen(), []);
    assert_eq!(Client::connect(&gate).get("/").status(), "200");
    assert_eq!((broken.seen().len(), pve.seen().len()), (2, 1));
}

#[test]
fn consoles_and_uploads_move_before_they_begin_and_not_after() {
    let upload = "POST /api2/json/nodes/a/storage/b/upload HTTP/1.1\r\nHost: a\r\n\
        Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 3\r\n\r\nabc";
    let path = "/api2/json/nodes/a/storage/b/upload";
    let pve = Pve::start(&[(path, &ok("{}"), Then::Stay)]);
    let moved = gate(nobody(), pve.address);
    assert_eq!(Client::connect(&moved).ask(upload).status(), "200");
    assert_eq!(pve.seen()[0].body, b"abc");
    let broken = Pve::start(&[(path, "HTTP/1.1 200", Then::Close)]);
    let stays = gate(broken.address, pve.address);
    assert_eq!(Client::connect(&stays).ask(upload).status(), "502");
    assert_eq!(pve.seen().len(), 1);
}

#[test]
fn with_nobody_left_the_client_is_told_and_with_one_alone_it_is_tried() {
    let gate = gate(nobody(), nobody());
    for _ in 0..5 {
        let answer = Client::connect(&gate).get("/");
        assert_eq!(answer.line, "HTTP/1.1 502 no connection to Proxmox VE");
    }
    // Three of each, and then none.
    gate.counts("proxward_gate_upstream_total{event=\"connect\"}", 6);
    assert_eq!(Client::connect(&gate).get("/proxward/health").status(), "503");

    let alone = Gate::start(nobody());
    for _ in 0..5 {
        assert_eq!(Client::connect(&alone).get("/").status(), "502");
    }
    alone.counts("proxward_gate_upstream_total{event=\"connect\"}", 5);
}
