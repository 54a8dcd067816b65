//! What ends a session, a proxy token or an address's welcome ends the consoles opened by it.

use std::path::Path;

use gate::Config;
use gate::control::{Hidden, Request, SOCKET, call};

use crate::client::Client;
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

const PATH: &str = "/api2/json/nodes/a/vncwebsocket";

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\n\
    Connection: upgrade\r\n\
    \r\n";

/// A masked frame, its mask all zeros.
const FRAME: &[u8] = b"\x82\x82\0\0\0\0hi";

fn pve() -> Pve {
    let login = r#"{"data":{"username":"root@pam","CSRFPreventionToken":"6B00CE46:x",
        "ticket":"PVE:root@pam:6B00CE46::JOxkx+DqOfuSHjN7nfLMlmStVUfGN"}}"#;
    Pve::start(&[
        ("/api2/json/access/ticket", &ok(login), Then::Stay),
        ("/api2/json//access/ticket", "HTTP/1.1 401 authentication failure\r\n\r\n", Then::Close),
        (PATH, SWITCHED, Then::Echo),
    ])
}

fn settings(state: &Path) -> impl FnOnce(&mut Config) {
    let state = state.to_owned();
    move |config| {
        config.state = Some(state);
        config.trusted_proxies = "127.0.0.1".parse().unwrap();
        config.sessions.pass_unknown_console_tickets = true;
        config.login.ban_after = 1;
    }
}

/// The Cookie line of a new session, and its CSRF token.
fn login(gate: &Gate) -> (String, String) {
    let answer = post(gate, "/api2/json/access/ticket", "", "username=root%40pam&password=x");
    let data: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let text = |key: &str| data["data"][key].as_str().unwrap().to_owned();
    let cookie = text("ticket").replace(':', "%3A");
    (format!("Cookie: PVEAuthCookie={cookie}\r\n"), text("CSRFPreventionToken"))
}

fn post(gate: &Gate, path: &str, lines: &str, body: &str) -> String {
    let answer = Client::connect(gate).ask(format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n{lines}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    answer.body
}

/// A console that works.
fn open(gate: &Gate, lines: &str) -> Client {
    let mut console = Client::connect(gate);
    let answer = console.ask(format!(
        "GET {PATH}?port=5900&vncticket=PVEVNC%3Ax HTTP/1.1\r\nHost: a\r\n{lines}\
         Connection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ));
    assert_eq!(answer.status(), "101");
    works(&mut console);
    console
}

fn works(console: &mut Client) {
    console.send(FRAME);
    assert_eq!(console.exactly(FRAME.len()), FRAME);
}

/// Ends without another byte; a client that waits for ever fails by its own timeout.
fn ends(mut console: Client) {
    assert_eq!(console.rest(), b"");
}

#[test]
fn logout_and_revocation_end_a_sessions_consoles_and_no_others() {
    let (pve, directory) = (pve(), tempfile::tempdir().unwrap());
    let state = directory.path().join("state");
    let gate = Gate::with(pve.address, settings(&state));
    let (one, csrf) = login(&gate);
    let (two, _) = login(&gate);
    let (first, second, mut third) = (open(&gate, &one), open(&gate, &one), open(&gate, &two));
    post(&gate, "/proxward/logout", &format!("{one}CSRFPreventionToken: {csrf}\r\n"), "");
    ends(first);
    ends(second);
    works(&mut third);
    call(&state.join(SOCKET), &Request::SessionRevoke { id: None, user: None, all: true }).unwrap();
    ends(third);
}

#[test]
fn a_ban_and_the_end_of_a_proxy_token_end_consoles() {
    let (pve, directory) = (pve(), tempfile::tempdir().unwrap());
    let state = directory.path().join("state");
    let gate = Gate::with(pve.address, settings(&state));
    let (session, _) = login(&gate);
    let from = |client: &str, lines: &str| format!("X-Forwarded-For: {client}\r\n{lines}");
    let banned = open(&gate, &from("203.0.113.1", &session));
    let mut other = open(&gate, &from("203.0.113.2", &session));
    post(
        &gate,
        "/api2/json//access/ticket",
        &from("203.0.113.1", ""),
        "username=a%40pve&password=x",
    );
    ends(banned);
    works(&mut other);
    let create = Request::TokenCreate {
        name: "ci".into(),
        token: Hidden::new("ci@pve!deploy=12ab"),
        networks: Vec::new(),
        methods: Vec::new(),
        paths: Vec::new(),
        expires_in: None,
    };
    let value = call(&state.join(SOCKET), &create).unwrap()["value"].clone();
    let line = format!("Authorization: PVEAPIToken={}\r\n", value.as_str().unwrap());
    let by_token = open(&gate, &line);
    call(&state.join(SOCKET), &Request::TokenRevoke { name: "ci".into() }).unwrap();
    ends(by_token);
    works(&mut other);
}

#[test]
fn the_lifetime_ends_a_console_and_idleness_does_not() {
    let pve = pve();
    let start = |idle, lifetime| {
        Gate::with(pve.address, |config| {
            config.sessions.pass_unknown_console_tickets = true;
            (config.sessions.idle, config.sessions.lifetime) = (idle, lifetime);
        })
    };
    let (idle, short) = (start(1, 3600), start(3600, 2));
    let mut stays = open(&idle, &login(&idle).0);
    ends(open(&short, &login(&short).0));
    works(&mut stays);
}

#[test]
fn a_console_that_a_former_process_keeps_ends_with_its_session() {
    let (pve, directory) = (pve(), tempfile::tempdir().unwrap());
    let state = directory.path().join("state");
    let old = Gate::with(pve.address, settings(&state));
    let (session, _) = login(&old);
    let console = open(&old, &session);
    let mut other = open(&old, "Cookie: PVEAuthCookie=PVE%3Aa@pve%3A6B00CE44%3A%3Ax\r\n");
    let _new = Gate::successor(pve.address, &state);
    works(&mut other);
    call(&state.join(SOCKET), &Request::SessionRevoke { id: None, user: None, all: true }).unwrap();
    ends(console);
    works(&mut other);
    other.shutdown();
    other.rest();
    assert!(old.ends(), "the old one outlives its last console");
}
