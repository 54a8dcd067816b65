//! Upstream that is away, slow or closes; the gate's own stop.

use std::net::TcpListener;
use std::time::Duration;

use crate::client::Client;
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

#[test]
fn upstream_that_is_away_is_said_in_its_own_shape() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gate = Gate::start(free);
    let answer = Client::connect(&gate).get("/");
    assert_eq!(answer.line, "HTTP/1.1 502 no connection to Proxmox VE");
    assert_eq!(answer.body, "{\"data\":null,\"message\":\"no connection to Proxmox VE\"}");
    gate.counts("proxward_gate_refusals_total{rule=\"upstream-unreachable\"}", 1);
}

#[test]
fn upstream_that_does_not_answer_is_not_waited_for_for_ever() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let gate = Gate::with(silent.local_addr().unwrap(), |config| {
        config.limits.upstream_response = Duration::from_millis(200);
    });
    let answer = Client::connect(&gate).get("/");
    assert_eq!(answer.line, "HTTP/1.1 504 Proxmox VE did not answer in time");
}

/// pveproxy may close between two requests at any time (its bug 5391).
#[test]
fn bug_5391_a_read_is_repeated_on_a_fresh_connection_and_a_write_is_not() {
    let pve = Pve::start(&[("/", &ok("{}"), Then::CloseOnNext)]);
    let gate = Gate::start(pve.address);
    let mut client = Client::connect(&gate);
    assert_eq!(client.get("/").line, "HTTP/1.1 200 OK");
    // On the first connection this is read and dropped, on the second answered.
    assert_eq!(client.get("/").line, "HTTP/1.1 200 OK");
    let put = "PUT / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx";
    assert_eq!(client.ask(put).line, "HTTP/1.1 502 the answer of Proxmox VE broke off");
    let seen: Vec<_> = pve.seen().iter().map(|seen| (seen.connection, seen.body.len())).collect();
    assert_eq!(seen, [(0, 0), (0, 0), (1, 0), (1, 1)]);
    gate.counts("proxward_gate_upstream_total{event=\"retry\"}", 1);
}

#[test]
fn a_connection_known_to_be_closed_is_not_used() {
    let pve = Pve::start(&[("/", &ok("{}"), Then::Close)]);
    let gate = Gate::start(pve.address);
    let mut client = Client::connect(&gate);
    for _ in 0..3 {
        let put = "PUT / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx";
        assert_eq!(client.ask(put).line, "HTTP/1.1 200 OK");
        // The close has to arrive; nothing else tells when it has.
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(pve.seen().len(), 3);
}

#[test]
fn an_idle_client_is_let_go() {
    let pve = Pve::start(&[("/", &ok("{}"), Then::Stay)]);
    let gate = Gate::with(pve.address, |config| {
        config.limits.idle = Duration::from_millis(200);
    });
    let mut silent = Client::connect(&gate);
    let mut lively = Client::connect(&gate);
    lively.get("/");
    assert_eq!(silent.rest(), b"");
    assert_eq!(lively.rest(), b"");
}

#[test]
fn a_stop_finishes_what_is_under_way_and_ends_what_is_idle() {
    // The listener accepts into its backlog; the answer comes when the test gives it.
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let gate = Gate::start(upstream.local_addr().unwrap());
    let mut idle = Client::connect(&gate);
    let mut busy = Client::connect(&gate);
    busy.send("GET / HTTP/1.1\r\n\r\n");
    let (mut request, _) = upstream.accept().unwrap();
    let mut head = [0; 4096];
    assert!(std::io::Read::read(&mut request, &mut head).unwrap() > 0);
    gate.stop();
    assert_eq!(idle.rest(), b"");
    std::io::Write::write_all(&mut request, ok("done").as_bytes()).unwrap();
    let answer = busy.answer();
    assert_eq!((answer.body.as_str(), answer.header("connection")), ("done", Some("close")));
    assert_eq!(busy.rest(), b"");
    busy.shutdown();
    idle.shutdown();
    let address = gate.address;
    let stopped = gate.join();
    assert_eq!((stopped.cut, stopped.failed), (0, 0));
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn what_outlasts_the_drain_is_cut_and_counted() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let gate = Gate::with(silent.local_addr().unwrap(), |config| {
        config.limits.drain = Duration::from_millis(200);
    });
    let mut client = Client::connect(&gate);
    client.send("GET / HTTP/1.1\r\n\r\n");
    let _request = silent.accept().unwrap();
    gate.stop();
    let stopped = gate.join();
    assert_eq!((stopped.cut, stopped.failed), (1, 0));
    assert_eq!(client.rest(), b"");
}
