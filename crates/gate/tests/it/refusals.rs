//! What never reaches Proxmox VE, and what the client is told instead.

use std::time::Duration;

use crate::client::{Client, clear_text};
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

fn pve() -> Pve {
    Pve::start(&[("/", &ok("{}"), Then::Stay)])
}

/// A refused head behind a lawful request: the first is answered in full, then the second.
#[test]
fn a_bad_head_does_not_harm_the_request_before_it() {
    let pve = pve();
    let gate = Gate::start(pve.address);
    let mut client = Client::connect(&gate);
    client.send("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\nX: y\n\n");
    assert_eq!(client.answer().line, "HTTP/1.1 200 OK");
    let refused = client.answer();
    assert!(refused.line.starts_with("HTTP/1.1 400 "), "{refused:?}");
    assert_eq!(refused.header("content-type"), Some("application/json;charset=UTF-8"));
    assert_eq!(client.rest(), b"");
}

#[test]
fn as_the_genuine_server_says_it() {
    let cases = [
        ("NONSENSE\r\n\r\n", "HTTP/1.0 400 bad request", "bad request"),
        (
            "GET / HTTP/2.0\r\n\r\n",
            "HTTP/1.0 506 http protocol version 2.0 not supported",
            "http protocol version 2.0 not supported",
        ),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nno colon here\r\n\r\n",
            "HTTP/1.1 506 unable to parse request header",
            "unable to parse request header",
        ),
        ("GET user@evil/api2 HTTP/1.1\r\n\r\n", "HTTP/1.0 400 invalid url", "invalid url"),
        ("OPTIONS / HTTP/1.1\r\n\r\n", "HTTP/1.1 501 method 'OPTIONS' not available", ""),
        ("get / HTTP/1.1\r\n\r\n", "HTTP/1.1 501 method 'get' not available", ""),
        (
            "DELETE / HTTP/1.1\r\nContent-Length: 3\r\n\r\na=b",
            "HTTP/1.1 501 Unexpected content for method 'DELETE'",
            "Unexpected content for method 'DELETE'",
        ),
        (
            "PUT / HTTP/1.1\r\nContent-Length: 524289\r\n\r\n",
            "HTTP/1.1 501 for data too large",
            "for data too large",
        ),
    ];
    let pve = pve();
    let gate = Gate::start(pve.address);
    for (request, line, body) in cases {
        let mut client = Client::connect(&gate);
        let answer = client.ask(request);
        assert_eq!((answer.line.as_str(), answer.body.as_str()), (line, body));
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(answer.header("server"), Some("pve-api-daemon/3.0"));
        assert_eq!(client.rest(), b"", "{request}");
    }
    assert_eq!(pve.seen(), []);
}

#[test]
fn only_what_the_gate_itself_refuses_and_why() {
    let cases = [
        ("GET https://evil/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /%00 HTTP/1.1\r\n\r\n", 400),
        ("GET /a%0d%0ab HTTP/1.1\r\n\r\n", 400),
        ("GET /%ff HTTP/1.1\r\n\r\n", 400),
    ];
    let pve = pve();
    let gate = Gate::start(pve.address);
    for (request, status) in cases {
        let answer = Client::connect(&gate).ask(request);
        assert!(answer.line.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer:?}");
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert!(body["data"].is_null() && body["message"].is_string(), "{answer:?}");
    }
    assert_eq!(pve.seen(), []);
}

/// pveproxy falls silent for five seconds over these.
#[test]
fn too_large_a_head_is_said_aloud() {
    let pve = pve();
    let gate = Gate::start(pve.address);
    let many = "X: a\r\n".repeat(64);
    let long = format!("X: {}\r\n", "a".repeat(9000));
    let endless = "a".repeat(20_000);
    for head in [
        format!("GET / HTTP/1.1\r\n{many}\r\n"),
        format!("GET / HTTP/1.1\r\n{long}\r\n"),
        format!("GET /{endless}"),
    ] {
        let answer = Client::connect(&gate).ask(head);
        assert_eq!(answer.line, "HTTP/1.1 431 Request Header Fields Too Large");
        assert_eq!(answer.body, "{\"data\":null,\"message\":\"Request Header Fields Too Large\"}");
    }
    let most = "X: a\r\n".repeat(63);
    let answer = Client::connect(&gate).ask(format!("GET / HTTP/1.1\r\n{most}\r\n"));
    assert_eq!(answer.line, "HTTP/1.1 200 OK");
}

#[test]
fn a_drip_fed_head_ends_at_its_deadline_however_lively() {
    let pve = pve();
    let gate = Gate::with(pve.address, |config| {
        config.limits.head = Duration::from_millis(300);
    });
    let mut client = Client::connect(&gate);
    for byte in "GET / HTTP/1.1\r\nX: ".bytes() {
        client.send([byte]);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(client.answer().line, "HTTP/1.1 408 the request head took too long");
    assert_eq!(pve.seen(), []);
}

#[test]
fn a_body_that_stops_or_stalls_is_refused_before_upstream_hears_of_it() {
    let pve = pve();
    let gate = Gate::with(pve.address, |config| {
        config.limits.body = Duration::from_millis(300);
    });
    let short = "PUT / HTTP/1.1\r\nContent-Length: 20\r\n\r\ncomment=short";
    let mut client = Client::connect(&gate);
    client.send(short);
    client.shutdown();
    assert_eq!(client.answer().line, "HTTP/1.1 400 the request body ended early");
    let mut client = Client::connect(&gate);
    assert_eq!(client.ask(short).line, "HTTP/1.1 408 the request body took too long");
    assert_eq!(pve.seen(), []);
}

/// The answer must survive the reset that unread bytes cause.
#[test]
fn a_refused_body_is_read_for_long_enough_to_be_told() {
    let pve = pve();
    let gate = Gate::start(pve.address);
    for _ in 0..5 {
        let mut client = Client::connect(&gate);
        let body = "a".repeat(600_000);
        let answer = client.ask(format!("PUT / HTTP/1.1\r\nContent-Length: 600000\r\n\r\n{body}"));
        assert_eq!(answer.line, "HTTP/1.1 501 for data too large");
    }
}

#[test]
fn clear_text_leads_to_https_and_nowhere_else() {
    let pve = pve();
    let gate = Gate::start(pve.address);
    let answer = clear_text(&gate, b"GET /?x=1 HTTP/1.1\r\nHost: pve1:8006\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 301 Moved Permanently\r\n"), "{answer}");
    assert!(answer.contains("\r\nLocation: https://pve1:8006/?x=1\r\n"), "{answer}");
    let answer =
        clear_text(&gate, b"POST /a HTTP/1.1\r\nHost: pve1\r\nContent-Length: 3\r\n\r\na=b");
    assert!(answer.starts_with("HTTP/1.1 308 Permanent Redirect\r\n"), "{answer}");
    for hostile in ["GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a@evil\r\n\r\n"] {
        assert_eq!(clear_text(&gate, hostile.as_bytes()), "");
    }
    assert_eq!(pve.seen(), []);
}
