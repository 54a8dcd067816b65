//! What failed logins cost, and that nobody can tell a lock or ban from a wrong password.

use std::time::Duration;

use gate::Destination;

use crate::client::{Answer, Client};
use crate::gate::Gate;
use crate::pve::{Pve, Then};

const LOGIN: &str = "/api2/json/access/ticket";
const EXTJS: &str = "/api2/extjs/access/ticket";

/// An answer as pveproxy relays it from pvedaemon, in its order of lines.
fn relayed(line: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {line}\r\nCache-Control: max-age=0\r\nConnection: close\r\n\
         Connection: Keep-Alive\r\nDate: Fri, 20 Nov 2026 22:48:41 GMT\r\nPragma: no-cache\r\n\
         Server: pve-api-daemon/3.0\r\nContent-Length: {}\r\n\
         Content-Type: application/json;charset=UTF-8\r\n\
         Expires: Fri, 20 Nov 2026 22:48:41 GMT\r\n\r\n{body}",
        body.len()
    )
}

/// A 401 that pveproxy makes itself: without a body or a length, and then it closes.
fn unauthorized() -> String {
    "HTTP/1.1 401 Authentication failed!\r\nCache-Control: max-age=0\r\nConnection: close\r\n\
     Date: Fri, 20 Nov 2026 22:50:18 GMT\r\nPragma: no-cache\r\nServer: pve-api-daemon/3.0\r\n\
     Expires: Fri, 20 Nov 2026 22:50:18 GMT\r\n\r\n"
        .to_owned()
}

fn pve() -> Pve {
    let failed = r#"{"data":null,"message":"authentication failure\n"}"#;
    let extjs = r#"{"data":null,"message":"authentication failure\n","status":"401","success":0}"#;
    Pve::start(&[
        (LOGIN, &relayed("401 authentication failure", failed), Then::Stay),
        (EXTJS, &relayed("200 OK", extjs), Then::Stay),
        ("/api2/json/version", &unauthorized(), Then::Close),
    ])
}

/// A gate that believes this test whom it stands for, and does not delay.
fn gate(pve: &Pve) -> Gate {
    Gate::with(pve.address, |config| {
        config.trusted_proxies = "127.0.0.1".parse().unwrap();
        config.login.delay = Duration::ZERO;
        config.login.lock_after = 2;
        config.login.ban_after = 4;
    })
}

fn ask(gate: &Gate, client: &str, request: &str) -> Answer {
    let (line, rest) = request.split_once("\r\n").unwrap();
    let mut connection = Client::connect(gate);
    connection.ask(format!("{line}\r\nHost: a\r\nX-Forwarded-For: {client}\r\n{rest}"))
}

fn login(gate: &Gate, path: &str, client: &str, user: &str) -> Answer {
    let body = format!("username={user}&password=x");
    let length = body.len();
    ask(
        gate,
        client,
        &format!(
            "POST {path} HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ),
    )
}

/// All of an answer but the time of day.
fn shape(answer: &Answer) -> (String, Vec<(String, String)>, String) {
    let is_time = |name: &str| ["date", "expires"].contains(&name.to_lowercase().as_str());
    let line = |(name, value): &(String, String)| {
        (name.clone(), if is_time(name) { value.len().to_string() } else { value.clone() })
    };
    (answer.line.clone(), answer.headers.iter().map(line).collect(), answer.body.clone())
}

#[test]
fn locked_and_banned_are_answered_like_a_wrong_password_to_the_letter() {
    for (path, client) in [(LOGIN, "203.0.113.1"), (EXTJS, "203.0.113.2")] {
        let pve = pve();
        let gate = gate(&pve);
        let wrong = shape(&login(&gate, path, client, "a@pve"));
        login(&gate, path, client, "a@pve");
        assert_eq!(pve.seen().len(), 2);
        let locked = shape(&login(&gate, path, client, "a@pve"));
        login(&gate, path, client, "b@pve");
        let seen = pve.seen().len();
        let banned = shape(&login(&gate, path, client, "c@pve"));
        assert_eq!(pve.seen().len(), seen, "asked for a banned one");
        assert_eq!(seen, 3, "asked for a locked one");
        assert_eq!(locked, wrong);
        assert_eq!(banned, wrong);
        let channel = if path == LOGIN { "json" } else { "extjs" };
        for (outcome, count) in [("failure", 3), ("lock", 1), ("ban", 1), ("banned", 1)] {
            let labels = format!("channel=\"{channel}\",outcome=\"{outcome}\"");
            gate.counts(&format!("proxward_gate_logins_total{{{labels}}}"), count);
        }
    }
}

#[test]
fn a_banned_address_is_answered_like_an_invalid_ticket_to_the_letter() {
    let pve = pve();
    let gate = gate(&pve);
    let client = "203.0.113.3";
    let get = "GET /api2/json/version HTTP/1.1\r\nAuthorization: PVEAPIToken=a@pve!t=x\r\n\r\n";
    let invalid = shape(&ask(&gate, client, get));
    for user in ["a@pve", "b@pve", "c@pve"] {
        login(&gate, LOGIN, client, user);
    }
    let seen = pve.seen().len();
    assert_eq!(shape(&ask(&gate, client, get)), invalid);
    assert_eq!(shape(&ask(&gate, client, "GET / HTTP/1.1\r\n\r\n")), invalid);
    assert_eq!(pve.seen().len(), seen);
    // Everybody else is served.
    assert_eq!(shape(&ask(&gate, "203.0.113.4", get)), invalid);
    assert_eq!(pve.seen().len(), seen + 1);
}

#[test]
fn a_locked_token_is_not_asked_for_and_its_user_is_not_locked() {
    let pve = pve();
    let gate = gate(&pve);
    let client = "203.0.113.5";
    let get = "GET /api2/json/version HTTP/1.1\r\nAuthorization: PVEAPIToken=a@pve!t=x\r\n\r\n";
    let invalid = shape(&ask(&gate, client, get));
    ask(&gate, client, get);
    assert_eq!(pve.seen().len(), 2);
    assert_eq!(shape(&ask(&gate, client, get)), invalid);
    assert_eq!(pve.seen().len(), 2);
    // From elsewhere the token is asked for, and from here another one.
    ask(&gate, "203.0.113.6", get);
    assert_eq!(pve.seen().len(), 3);
}

#[test]
fn whoever_forges_its_address_is_counted_under_its_own() {
    let pve = pve();
    let gate = gate(&pve);
    for number in 0..6 {
        login(&gate, LOGIN, &format!("198.51.100.{number}, 203.0.113.7"), "a@pve");
    }
    assert_eq!(ask(&gate, "203.0.113.7", "GET / HTTP/1.1\r\n\r\n").status(), "401");
    assert_eq!(pve.seen().len(), 2);
}

/// pvedaemon gets the login with the true address and without any credential; everything else
/// goes to pveproxy, and nothing of a client's own gets to be that address.
#[test]
fn the_daemon_gets_logins_with_the_true_address() {
    let (daemon, pve) = (pve(), pve());
    let gate = Gate::with(pve.address, |config| {
        config.trusted_proxies = "127.0.0.1".parse().unwrap();
        config.login.delay = Duration::ZERO;
        config.daemon = Some(Destination::daemon(&daemon.address.to_string()).unwrap());
    });
    let body = "username=a%40pve&password=x";
    let length = body.len();
    let request = format!(
        "POST {LOGIN} HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Cookie: PVEAuthCookie=PVE:a@pve:6B00CE44::AA; a=b\r\nPVEClientIP: 1.2.3.4\r\n\
         CSRFPreventionToken: x\r\nAuthorization: PVEAPIToken=a@pve!t=x\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    let direct = shape(&login(&gate, LOGIN, "203.0.113.8", "a@pve"));
    assert_eq!(shape(&ask(&gate, "2001:db8::8", &request)), direct);
    let seen = daemon.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].header("pveclientip"), Some("203.0.113.8"));
    assert_eq!(seen[1].header("pveclientip"), Some("2001:db8::8"));
    for name in ["cookie", "authorization", "csrfpreventiontoken", "x-forwarded-for"] {
        assert_eq!(seen[1].header(name), None, "{name}");
    }
    assert_eq!(seen[1].body, body.as_bytes());
    assert_eq!(pve.seen().len(), 0);
    ask(&gate, "203.0.113.8", "GET /api2/json/version HTTP/1.1\r\n\r\n");
    assert_eq!(pve.seen().len(), 1);
    assert_eq!(pve.seen()[0].header("pveclientip"), None);
}

#[test]
fn a_daemon_that_is_away_is_no_failure_of_anybody() {
    let pve = pve();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gate = Gate::with(pve.address, |config| {
        config.trusted_proxies = "127.0.0.1".parse().unwrap();
        config.login.ban_after = 1;
        config.daemon = Some(Destination::daemon(&free.to_string()).unwrap());
    });
    for _ in 0..3 {
        assert_eq!(login(&gate, LOGIN, "203.0.113.9", "a@pve").status(), "502");
    }
    assert_eq!(pve.seen().len(), 0);
}
