//! Tokens of the gate itself, and codes shown to it.

use std::path::Path;
use std::time::Duration;

use gate::control::{CallError, Hidden, Request, SOCKET, call};
use gate::{Config, PolicySettings};

use crate::client::{Answer, Client};
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

fn pve() -> Pve {
    let login = r#"{"data":{"username":"root@pam","CSRFPreventionToken":"6B00CE46:x",
        "ticket":"PVE:root@pam:6B00CE46::JOxkx+DqOfuSHjN7nfLMlmStVUfGN"}}"#;
    Pve::start(&[
        ("/api2/json/version", &ok("{\"data\":{}}"), Then::Stay),
        ("/api2/json/nodes", &ok("{\"data\":[]}"), Then::Stay),
        ("/api2/json/pools", &ok("{\"data\":null}"), Then::Stay),
        ("/api2/json/access/ticket", &ok(login), Then::Stay),
        ("/api2/json/access/permissions", &ok("{\"data\":{}}"), Then::Stay),
    ])
}

fn with(state: &Path, policy: &str) -> impl FnOnce(&mut Config) {
    let settings: PolicySettings = serde_json::from_str(policy).unwrap();
    let (state, rules) = (state.to_owned(), settings.check().unwrap());
    move |config| {
        config.state = Some(state);
        config.policy = rules;
        config.sessions.api_tokens = gate::Policy::Refuse;
        config.login.lock_after = 3;
        config.trusted_proxies = "127.0.0.1".parse().unwrap();
    }
}

fn create(socket: &Path, name: &str) -> String {
    let request = Request::TokenCreate {
        name: name.to_owned(),
        token: Hidden::new("ci@pve!deploy=12ab;"),
        networks: vec!["192.0.2.0/24".to_owned()],
        methods: vec!["GET".to_owned()],
        paths: vec!["/version".to_owned()],
        expires_in: None,
    };
    assert!(!format!("{request:?}").contains("12ab"));
    assert!(matches!(call(socket, &request), Err(CallError::Refused(_))));
    let Request::TokenCreate { name, networks, methods, paths, .. } = request else { panic!() };
    let token = Hidden::new("ci@pve!deploy=12ab%41");
    let request = Request::TokenCreate { name, token, networks, methods, paths, expires_in: None };
    call(socket, &request).unwrap()["value"].as_str().unwrap().to_owned()
}

fn get(gate: &Gate, path: &str, token: &str, client: &str) -> Answer {
    Client::connect(gate).ask(format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: PVEAPIToken={token}\r\n\
         X-Forwarded-For: {client}\r\n\r\n"
    ))
}

const INSIDE: &str = "192.0.2.7";

#[test]
fn a_proxy_token_is_the_token_behind_it_within_its_limits() {
    let (pve, directory) = (pve(), tempfile::tempdir().unwrap());
    let state = directory.path().join("state");
    let gate = Gate::with(pve.address, with(&state, "{}"));
    let socket = state.join(SOCKET);
    let value = create(&socket, "ci");
    assert!(value.starts_with("proxward@gate!ci="), "{value}");
    assert_eq!(get(&gate, "/api2/json/version", &value, INSIDE).status(), "200");
    // Escaped, so that Proxmox VE decodes the very secret.
    let seen = pve.seen().pop().unwrap();
    assert_eq!(seen.header("authorization"), Some("PVEAPIToken=ci@pve!deploy=12ab%2541"));
    let other = get(&gate, "/api2/json/nodes", &value, INSIDE);
    assert_eq!(
        other.line,
        "HTTP/1.1 403 Forbidden by the policy of this gate: the limits of this proxy token"
    );
    assert_eq!(get(&gate, "/api2/json/version", &value, "198.51.100.1").status(), "401");
    assert_eq!(get(&gate, "/api2/json/version", "proxward@gate!ci=x", INSIDE).status(), "401");
    assert_eq!(get(&gate, "/api2/json/version", "proxward@gate!no=x", INSIDE).status(), "401");
    assert_eq!(pve.seen().len(), 1);
    gate.counts("proxward_gate_logins_total{channel=\"api_token\",outcome=\"failure\"}", 3);
    let list = call(&socket, &Request::TokenList).unwrap().to_string();
    assert!(list.contains("ci@pve!deploy") && !list.contains("12ab"), "{list}");
    drop(gate);
    // It outlasts the process, and neither value nor secret lies in the state.
    let file =
        std::fs::read_dir(&state).unwrap().flat_map(|file| std::fs::read(file.unwrap().path()));
    let found = file.flatten().collect::<Vec<u8>>();
    let (_, random) = value.split_once('=').unwrap();
    for secret in [random.as_bytes(), b"12ab%41"] {
        assert!(!found.windows(secret.len()).any(|part| part == secret));
    }
    let gate = Gate::with(pve.address, with(&state, "{}"));
    assert_eq!(get(&gate, "/api2/json/version", &value, INSIDE).status(), "200");
}

#[test]
fn rotation_overlaps_and_revocation_does_not() {
    let (pve, directory) = (pve(), tempfile::tempdir().unwrap());
    let state = directory.path().join("state");
    let gate = Gate::with(pve.address, with(&state, "{}"));
    let socket = state.join(SOCKET);
    let first = create(&socket, "ci");
    let rotate = |overlap| {
        let request = Request::TokenRotate { name: "ci".to_owned(), overlap };
        call(&socket, &request).unwrap()["value"].as_str().unwrap().to_owned()
    };
    let status = |value: &str| {
        get(&gate, "/api2/json/version", value, INSIDE).line.split(' ').nth(1).unwrap().to_owned()
    };
    let second = rotate(3600);
    assert_eq!([status(&first), status(&second)], ["200", "200"]);
    let third = rotate(0);
    assert_eq!([status(&second), status(&third)], ["401", "200"]);
    let revoke = Request::TokenRevoke { name: "ci".to_owned() };
    call(&socket, &revoke).unwrap();
    assert_eq!(status(&third), "401");
    assert!(matches!(call(&socket, &revoke), Err(CallError::NotFound(_))));
}

/// RFC 6238 with the secret of an otpauth URI.
fn code(uri: &str, now: u64) -> String {
    let (_, rest) = uri.split_once("secret=").unwrap();
    let secret = rest.split('&').next().unwrap();
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits: String = secret
        .bytes()
        .map(|byte| format!("{:05b}", letters.iter().position(|have| *have == byte).unwrap()))
        .collect();
    let bytes: Vec<u8> = (0..bits.len() / 8)
        .map(|at| u8::from_str_radix(&bits[at * 8..at * 8 + 8], 2).unwrap())
        .collect();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &bytes);
    let tag = aws_lc_rs::hmac::sign(&key, &(now / 30).to_be_bytes());
    let tag = tag.as_ref();
    let at = usize::from(tag[19] & 15);
    let number = u32::from_be_bytes(tag[at..at + 4].try_into().unwrap()) & 0x7FFF_FFFF;
    format!("{:06}", number % 1_000_000)
}

fn post(gate: &Gate, path: &str, lines: &str, body: &str) -> Answer {
    Client::connect(gate).ask(format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{lines}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

#[test]
fn a_call_that_needs_a_code_passes_after_one_was_shown() {
    let (pve, directory) = (pve(), tempfile::tempdir().unwrap());
    let state = directory.path().join("state");
    let policy = r#"{"step_up":[{"name":"pools","path":"/pools","within_minutes":5}]}"#;
    let gate = Gate::with(pve.address, with(&state, policy));
    let login =
        post(&gate, "/api2/json/access/ticket", "", r#"{"username":"root@pam","password":"x"}"#);
    let data = serde_json::from_str::<serde_json::Value>(&login.body).unwrap()["data"].clone();
    let text = |name: &str| data[name].as_str().unwrap().to_owned();
    let lines = format!(
        "Cookie: PVEAuthCookie={}\r\nCSRFPreventionToken: {}\r\n",
        text("ticket"),
        text("CSRFPreventionToken")
    );
    let pools = || post(&gate, "/api2/json/pools", &lines, "{}");
    let refused = pools();
    assert_eq!((refused.status(), refused.header("proxward-step-up")), ("403", Some("totp")));
    let show = |code: &str| {
        post(&gate, "/proxward/api/step-up", &lines, &format!("{{\"otp\":\"{code}\"}}"))
    };
    assert_eq!(show("123456").status(), "409");
    let enroll = Request::StepUpEnroll { user: "root@pam".to_owned() };
    let uri = call(&state.join(SOCKET), &enroll).unwrap()["uri"].as_str().unwrap().to_owned();
    assert!(call(&state.join(SOCKET), &enroll).is_err());
    let now = telemetry::Clock::system().unix() + Duration::from_secs(0);
    let code = code(&uri, now.as_secs());
    let wrong = if code == "000000" { "000001" } else { "000000" };
    assert_eq!(show(wrong).status(), "403");
    assert_eq!(show(&code).status(), "200");
    assert_eq!(pools().status(), "200");
    // Once is enough for anybody who looked over the shoulder.
    assert_eq!(show(&code).status(), "403");
    gate.counts("proxward_gate_logins_total{channel=\"tfa\",outcome=\"failure\"}", 2);
}

/// A session knows whether its login answered a challenge; the claim alone is worth nothing.
#[test]
fn a_second_factor_is_demanded_of_those_who_passed_none() {
    let (pve, directory) = (pve(), tempfile::tempdir().unwrap());
    let policy = r#"{"tfa":[{"name":"people","users":["*@pam"]}]}"#;
    let gate = Gate::with(pve.address, with(&directory.path().join("state"), policy));
    let status = |password: &str| {
        let body = format!("{{\"username\":\"root@pam\",\"password\":\"x\"{password}}}");
        let login = post(&gate, "/api2/json/access/ticket", "", &body);
        let data = serde_json::from_str::<serde_json::Value>(&login.body).unwrap()["data"].clone();
        let cookie = format!("Cookie: PVEAuthCookie={}\r\n", data["ticket"].as_str().unwrap());
        let get = |path: &str| {
            let request = format!("GET /api2/json/{path} HTTP/1.1\r\nHost: a\r\n{cookie}\r\n");
            Client::connect(&gate).ask(request).line
        };
        [get("version"), get("nodes")].map(|line| line.split(' ').nth(1).unwrap().to_owned())
    };
    assert_eq!(status(""), ["200", "403"]);
    assert_eq!(status(r#","otp":"totp:123456""#), ["200", "403"]);
    assert_eq!(status(r#","tfa-challenge":"0""#), ["200", "403"]);
    assert_eq!(status(r#","tfa-challenge":"PVE:!tfa!{}:6B00CE46::x""#), ["200", "200"]);
    // A ticket from elsewhere tells nothing of its login.
    let foreign = "Cookie: PVEAuthCookie=PVE%3Aroot@pam%3A6B00CE44%3A%3Ax\r\n";
    let request = format!("GET /api2/json/nodes HTTP/1.1\r\nHost: a\r\n{foreign}\r\n");
    assert_eq!(Client::connect(&gate).ask(request).status(), "403");
}
