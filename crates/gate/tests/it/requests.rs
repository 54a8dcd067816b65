//! What reaches Proxmox VE of a client's request.

use std::time::Duration;

use crate::client::Client;
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

const UPLOAD: &str = "/api2/json/nodes/pve1/storage/local/upload";

#[test]
fn only_listed_headers_arrive_and_unchanged() {
    let pve = Pve::start(&[("/api2/json/version", &ok("{}"), Then::Stay)]);
    let gate = Gate::start(pve.address);
    let answer = Client::connect(&gate).ask(
        "PUT /api2/json/version?a=%20b HTTP/1.1\r\n\
         Host: pve1.example:8006\r\n\
         Cookie: a=1\r\n\
         Cookie: PVEAuthCookie=PVE%3Aroot@pam\r\n\
         CSRFPreventionToken: 6B00CE44:x\r\n\
         Authorization: PVEAPIToken=root@pam!ci=1\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\
         PVEDisableProxy: true\r\n\
         PVEClientIP: 192.0.2.1\r\n\
         pvestreamfile: /etc/shadow\r\n\
         X-Forwarded-For: 192.0.2.1\r\n\
         X-Forwarded-Host: evil\r\n\
         Forwarded: for=192.0.2.1\r\n\
         Connection: keep-alive, Cookie\r\n\
         Range: bytes=0-1\r\n\
         Content-Length: 3\r\n\
         \r\n\
         a=b",
    );
    assert_eq!(answer.line, "HTTP/1.1 200 OK");
    let seen = &pve.seen()[0];
    assert_eq!(seen.line, "PUT /api2/json/version?a=%20b HTTP/1.1");
    assert_eq!(seen.body, b"a=b");
    let headers: Vec<_> =
        seen.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        headers,
        [
            ("Host", "pve1.example:8006"),
            // Of two credentials the one that pveproxy would use; of the other cookies none
            // that it does not read.
            ("Cookie", "PVEAuthCookie=PVE:root@pam"),
            ("CSRFPreventionToken", "6B00CE44:x"),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Content-Length", "3"),
        ]
    );
}

#[test]
fn absolute_form_becomes_origin_form() {
    let pve = Pve::start(&[("/a", &ok("{}"), Then::Stay)]);
    let gate = Gate::start(pve.address);
    let request = "GET https://pve1:8006/a?b HTTP/1.1\r\nHost: pve1:8006\r\n\r\n";
    assert_eq!(Client::connect(&gate).ask(request).line, "HTTP/1.1 200 OK");
    assert_eq!(pve.seen()[0].line, "GET /a?b HTTP/1.1");
}

#[test]
fn requests_share_a_connection_and_answers_keep_their_order() {
    let pve = Pve::start(&[("/a", &ok("a"), Then::Stay), ("/b", &ok("b"), Then::Stay)]);
    let gate = Gate::start(pve.address);
    let mut client = Client::connect(&gate);
    client.send("GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\nGET /a HTTP/1.1\r\n\r\n");
    let bodies = [client.answer().body, client.answer().body, client.answer().body];
    assert_eq!(bodies, ["a", "b", "a"]);
    assert!(pve.seen().iter().all(|seen| seen.connection == 0));
}

#[test]
fn a_connection_is_used_until_upstream_says_close() {
    let close = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";
    let pve = Pve::start(&[("/", &ok("{}"), Then::Stay), ("/last", close, Then::Stay)]);
    let gate = Gate::start(pve.address);
    let mut client = Client::connect(&gate);
    for _ in 0..120 {
        client.get("/");
    }
    client.get("/last");
    client.get("/");
    let used: Vec<_> = pve.seen().iter().skip(119).map(|seen| seen.connection).collect();
    assert_eq!(used, [0, 0, 1]);
}

#[test]
fn the_largest_ordinary_body_arrives_whole() {
    let pve = Pve::start(&[("/", &ok("{}"), Then::Stay)]);
    let gate = Gate::start(pve.address);
    let body = "a".repeat(524_288);
    let request = format!("PUT / HTTP/1.1\r\nContent-Length: 524288\r\n\r\n{body}");
    assert_eq!(Client::connect(&gate).ask(request).line, "HTTP/1.1 200 OK");
    assert_eq!(pve.seen()[0].body, body.as_bytes());
}

#[test]
fn an_upload_has_no_bound() {
    let pve = Pve::start(&[(UPLOAD, &ok("{}"), Then::Stay)]);
    let gate = Gate::start(pve.address);
    let mut client = Client::connect(&gate);
    client.send(format!("POST {UPLOAD} HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n"));
    for _ in 0..30 {
        client.send(vec![b'x'; 100_000]);
    }
    assert_eq!(client.answer().line, "HTTP/1.1 200 OK");
    assert_eq!(pve.seen()[0].body.len(), 3_000_000);
    assert_eq!(pve.seen()[0].header("content-length"), Some("3000000"));
}

/// Upstream waits for the rest of a body that will not come: the request ends by the client's
/// limit, not by the one on upstream's answers, which is 120 s.
#[test]
fn an_upload_whose_client_falls_silent_ends_at_once() {
    let pve = Pve::start(&[(UPLOAD, &ok("{}"), Then::Stay)]);
    let gate = Gate::with(pve.address, |config| {
        config.limits.body_idle = Duration::from_millis(100);
    });
    let mut client = Client::connect(&gate);
    client.send(format!("POST {UPLOAD} HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc"));
    assert_eq!(client.answer().status(), "502");
}

/// pveproxy never says 100; a client that waits for it is told, one that did not is not.
#[test]
fn expectations_are_met_where_they_are_real() {
    let pve = Pve::start(&[("/", &ok("{}"), Then::Stay)]);
    let gate = Gate::start(pve.address);
    let head = "PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    let mut client = Client::connect(&gate);
    assert_eq!(client.ask(format!("{head}a=b")).line, "HTTP/1.1 200 OK");
    client.send(head);
    let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
    assert_eq!(client.exactly(interim.len()), interim);
    assert_eq!(client.ask("a=b").line, "HTTP/1.1 200 OK");
    assert!(pve.seen().iter().all(|seen| seen.header("expect").is_none() && seen.body == b"a=b"));
}

#[test]
fn one_empty_line_before_a_request_is_forgiven() {
    let pve = Pve::start(&[("/", &ok("{}"), Then::Stay)]);
    let gate = Gate::start(pve.address);
    let mut client = Client::connect(&gate);
    assert_eq!(
        client.ask("PUT / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx\r\n").line,
        "HTTP/1.1 200 OK"
    );
    assert_eq!(client.get("/").line, "HTTP/1.1 200 OK");
}
