//! What comes back from Proxmox VE reaches the client to the letter, without what is only
//! between the two servers.

use crate::client::Client;
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

const NO_TICKET: &str = "HTTP/1.1 401 No ticket\r\n\
    Cache-Control: max-age=0\r\n\
    Connection: close\r\n\
    Server: pve-api-daemon/3.0\r\n\
    \r\n";

#[test]
fn reason_phrases_are_kept_to_the_letter() {
    let reasons = [
        "403 Permission check failed (/nodes/pve1, Sys.Audit)",
        "500 no such user ('ghost@pve')",
        "506 upload 'Content-Type 'text/xml' not implemented",
        "304 NOT MODIFIED",
        "200 OK",
        "200 ",
    ];
    for reason in reasons {
        let answer = format!("HTTP/1.1 {reason}\r\nContent-Length: 0\r\n\r\n");
        let pve = Pve::start(&[("/", &answer, Then::Stay)]);
        let gate = Gate::start(pve.address);
        let mut client = Client::connect(&gate);
        assert_eq!(client.get("/").line, format!("HTTP/1.1 {reason}"));
    }
}

#[test]
fn headers_keep_their_order_and_case_and_lose_what_is_between_servers() {
    let answer = ok("{\"data\":1}").replace(
        "Pragma",
        "pvestreamfile: /etc/shadow\r\nKeep-Alive: timeout=5\r\nPVEClientIP: ::1\r\nPragma",
    );
    let pve = Pve::start(&[("/", &answer, Then::Stay)]);
    let gate = Gate::start(pve.address);
    let answer = Client::connect(&gate).get("/");
    assert_eq!(answer.body, "{\"data\":1}");
    assert_eq!(
        answer.names(),
        [
            "Cache-Control",
            "Date",
            "Pragma",
            "Server",
            "Content-Length",
            "Content-Type",
            "Expires",
            "Strict-Transport-Security",
            "X-Content-Type-Options",
            "X-Frame-Options",
            "Referrer-Policy",
        ]
    );
}

/// Answers relayed from pvedaemon say both, and pveproxy keeps the connection.
#[test]
fn two_connection_lines_neither_reach_the_client_nor_cost_the_connection() {
    let relayed = ok("{\"data\":null}")
        .replace("Connection: Keep-Alive", "Connection: close\r\nConnection: Keep-Alive");
    let pve = Pve::start(&[("/", &relayed, Then::Stay)]);
    let gate = Gate::start(pve.address);
    let mut client = Client::connect(&gate);
    for _ in 0..3 {
        let answer = client.get("/");
        assert_eq!(answer.line, "HTTP/1.1 200 OK");
        assert_eq!(answer.header("connection"), None);
        assert_eq!(answer.body, "{\"data\":null}");
    }
    let connections: Vec<_> = pve.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0, 0]);
}

#[test]
fn an_empty_error_without_length_gets_one_and_the_client_stays() {
    let pve = Pve::start(&[("/", NO_TICKET, Then::Close)]);
    let gate = Gate::start(pve.address);
    let mut client = Client::connect(&gate);
    for _ in 0..2 {
        let answer = client.get("/");
        assert_eq!(answer.line, "HTTP/1.1 401 No ticket");
        assert_eq!(answer.header("content-length"), Some("0"));
        assert_eq!(answer.header("connection"), None);
    }
}

#[test]
fn a_body_that_ends_with_the_connection_comes_whole() {
    let answer = "HTTP/1.1 500 broken\r\nConnection: close\r\n\r\nall of it";
    let pve = Pve::start(&[("/", answer, Then::Close)]);
    let gate = Gate::start(pve.address);
    let mut client = Client::connect(&gate);
    assert_eq!(client.get("/").body, "all of it");
}

/// pveproxy's redirects announce no length and keep the connection for five more seconds.
#[test]
fn a_redirect_without_length_is_not_waited_for() {
    let answer = "HTTP/1.1 301 Moved\r\n\
        Connection: Keep-Alive\r\nLocation: /api2/html/access/ticket\r\n\r\n";
    let pve = Pve::start(&[("/", answer, Then::Stay)]);
    let gate = Gate::start(pve.address);
    let answer = Client::connect(&gate).get("/");
    assert_eq!(answer.line, "HTTP/1.1 301 Moved");
    assert_eq!(answer.header("location"), Some("/api2/html/access/ticket"));
    assert_eq!(answer.header("content-length"), Some("0"));
}

#[test]
fn an_old_client_is_answered_in_its_version() {
    let pve = Pve::start(&[("/", &ok("{}"), Then::Stay)]);
    let gate = Gate::start(pve.address);
    let mut client = Client::connect(&gate);
    let request = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    for _ in 0..2 {
        let answer = client.ask(request);
        assert_eq!(answer.line, "HTTP/1.0 200 OK");
        assert_eq!(answer.header("connection"), Some("keep-alive"));
    }
}

#[test]
fn a_switch_of_protocols_nobody_asked_for_goes_no_further() {
    let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    let pve = Pve::start(&[("/", answer, Then::Stay)]);
    let gate = Gate::start(pve.address);
    let answer = Client::connect(&gate).get("/");
    assert_eq!(answer.line, "HTTP/1.1 502 the answer of Proxmox VE broke off");
}

#[test]
fn an_answer_cut_short_does_not_look_whole() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this";
    let pve = Pve::start(&[("/", answer, Then::Close)]);
    let gate = Gate::start(pve.address);
    let mut client = Client::connect(&gate);
    client.send("GET / HTTP/1.1\r\n\r\n");
    let all = String::from_utf8(client.rest()).unwrap();
    let body = all.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    assert!(all.is_empty() || all.contains("Content-Length: 100"), "{all}");
    assert!(body.len() < 100, "{all}");
}

#[test]
fn a_head_is_answered_by_a_head_alone() {
    let pve = Pve::start(&[]);
    let gate = Gate::start(pve.address);
    let mut client = Client::connect(&gate);
    client.send("HEAD / HTTP/1.1\r\n\r\n");
    let all = String::from_utf8(client.rest()).unwrap();
    assert!(all.starts_with("HTTP/1.1 501 ") && all.ends_with("\r\n\r\n"), "{all}");
}

#[test]
fn what_happens_is_counted() {
    let pve = Pve::start(&[("/", &ok("12345"), Then::Stay), ("/no", NO_TICKET, Then::Close)]);
    let gate = Gate::start(pve.address);
    let mut client = Client::connect(&gate);
    client.get("/");
    client.get("/no");
    client.ask("HEAD / HTTP/1.1\r\n\r\n");
    // The last answer is counted when its connection has let go of it.
    client.rest();
    gate.counts("proxward_gate_requests_total{class=\"2xx\"}", 1);
    gate.counts("proxward_gate_requests_total{class=\"4xx\"}", 1);
    gate.counts("proxward_gate_requests_total{class=\"5xx\"}", 1);
    gate.counts("proxward_gate_refusals_total{rule=\"method\"}", 1);
    gate.counts("proxward_gate_answer_bytes_total{}", 5);
    gate.counts("proxward_gate_upstream_total{event=\"connect\"}", 1);
}

#[test]
fn a_page_may_load_from_its_own_host_alone_and_other_answers_say_nothing() {
    let page = ok("<html></html>").replace("application/json", "text/html");
    let pve = Pve::start(&[("/", &page, Then::Stay), ("/j", &ok("{}"), Then::Stay)]);
    let gate = Gate::start(pve.address);
    let mut client = Client::connect(&gate);
    let answer = client.get("/");
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.contains("connect-src 'self' wss://pve1:8006;"), "{policy}");
    assert!(policy.contains("frame-ancestors 'self'"), "{policy}");
    assert_eq!(client.get("/j").header("content-security-policy"), None);
}
