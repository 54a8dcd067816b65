//! Several gates with one store: a genuine server, killed and started anew where that matters.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gate::control::{Hidden, Request, SOCKET, call};
use gate::{CheckError, StartError, StoreSettings};
use serde_json::Value;

use crate::client::{Answer, Client};
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};
use crate::server::{DURABLE, FORGETFUL, Server};

const LOGIN: &str = "/api2/json/access/ticket";
const FAILS: &str = "/api2/extjs/access/ticket";
const CONSOLE: &str = "/api2/json/nodes/a/qemu/100/vncproxy";
const SOCKET_OF: &str = "/api2/json/nodes/a/qemu/100/vncwebsocket";
const TICKET: &str = "PVEVNC:6B00CF1B::KVnf0xGqFppnc2Qf";
const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
const CLIENT: &str = "192.0.2.7";

/// For what another gate has to hear of, and what a server has to be started for.
const WAIT: Duration = Duration::from_secs(20);

/// What two gates share.
struct Place {
    pve: Pve,
    server: Server,
    directory: tempfile::TempDir,
    ban_after: u32,
}

impl Place {
    /// None where no server is installed.
    fn new() -> Option<Self> {
        Self::with(DURABLE)
    }

    fn with(options: &[&str]) -> Option<Self> {
        let granted = r#"{"data":{"username":"root@pam","CSRFPreventionToken":"6B00CE46:x",
            "ticket":"PVE:root@pam:6B00CE46::JOxkx+DqOfuSHjN7nfLMlmStVUfGN"}}"#;
        let refused =
            r#"{"data":null,"message":"authentication failure\n","status":"401","success":0}"#;
        let pve = Pve::start(&[
            (LOGIN, &ok(granted), Then::Stay),
            (FAILS, &ok(refused), Then::Stay),
            ("/api2/json/version", &ok("{\"data\":{}}"), Then::Stay),
            (
                CONSOLE,
                &ok(&format!(r#"{{"data":{{"ticket":"{TICKET}","port":5900}}}}"#)),
                Then::Stay,
            ),
            (SOCKET_OF, SWITCHED, Then::Echo),
        ]);
        let place = Self {
            pve,
            server: Server::start(options)?,
            directory: tempfile::tempdir().unwrap(),
            ban_after: 1000,
        };
        place.key("key", 'a');
        Some(place)
    }

    fn key(&self, name: &str, digit: char) {
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create(true).mode(0o600).open(self.path(name)).unwrap();
        std::io::Write::write_all(&mut &file, digit.to_string().repeat(64).as_bytes()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.path(name).join(SOCKET)
    }

    fn gate(&self, name: &str) -> Gate {
        self.try_gate(name, "key", 15).unwrap()
    }

    fn try_gate(&self, name: &str, key: &str, grace: u64) -> Result<Gate, StartError> {
        Gate::try_with(self.pve.address, |config| {
            config.state = Some(self.path(name));
            let address = format!("redis+unix://{}", self.server.socket().display());
            let settings = StoreSettings { grace_seconds: Some(grace), ..StoreSettings::default() };
            config.share(&address, &settings).unwrap();
            config.sessions.key = Some(self.path(key));
            config.trusted_proxies = "127.0.0.1".parse().unwrap();
            config.login.lock_after = 100;
            (config.sessions.per_user, config.sessions.per_address) = (10_000, 10_000);
            config.login.ban_after = self.ban_after;
        })
    }
}

/// A tool's session.
struct Held(String);

fn ask(gate: &Gate, method: &str, path: &str, lines: &str, body: &str) -> Answer {
    ask_as(gate, CLIENT, (method, path, lines, body))
}

fn ask_as(
    gate: &Gate,
    client: &str,
    (method, path, lines, body): (&str, &str, &str, &str),
) -> Answer {
    Client::connect(gate).ask(format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\n{lines}\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

fn try_login(gate: &Gate) -> Result<Held, Answer> {
    let answer = ask(gate, "POST", LOGIN, "", "username=root%40pam&password=secret");
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let text = |name: &str| body["data"][name].as_str().map(str::to_owned);
    match (text("ticket"), text("CSRFPreventionToken")) {
        (Some(ticket), Some(token)) => {
            let lines =
                format!("Cookie: PVEAuthCookie={ticket}\r\nCSRFPreventionToken: {token}\r\n");
            Ok(Held(lines))
        }
        _ => Err(answer),
    }
}

fn fail(gate: &Gate) -> Answer {
    ask(gate, "POST", FAILS, "", "username=root%40pam&password=wrong")
}

fn version(gate: &Gate, held: &Held) -> String {
    ask(gate, "GET", "/api2/json/version", &held.0, "").status().to_owned()
}

fn logout(gate: &Gate, held: &Held) -> String {
    ask(gate, "POST", "/proxward/logout", &held.0, "").status().to_owned()
}

/// Waits until it is true.
fn soon(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + WAIT;
    while !is() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn bans(socket: &Path) -> usize {
    call(socket, &Request::BanList).unwrap()["bans"].as_array().unwrap().len()
}

#[test]
fn a_session_is_one_of_all_gates_until_one_of_them_ends_it() {
    let Some(place) = Place::new() else { return };
    let (one, other) = (place.gate("one"), place.gate("other"));
    for _ in 0..10 {
        let held = try_login(&one).unwrap();
        assert_eq!(version(&other, &held), "200", "at once");
        assert_eq!(logout(&other, &held), "200");
        soon("the logout holds at the other gate", || version(&one, &held) == "401");
    }
    // By an order to a gate that has not opened them, and to one that starts later.
    let held = [try_login(&one).unwrap(), try_login(&other).unwrap()];
    let third = place.gate("third");
    assert!(held.iter().all(|held| version(&third, held) == "200"));
    let all = Request::SessionRevoke { id: None, user: None, all: true };
    assert_eq!(call(&place.socket("other"), &all).unwrap()["revoked"], 2);
    for gate in [&one, &other, &third] {
        soon("the order holds everywhere", || held.iter().all(|held| version(gate, held) == "401"));
    }
}

#[test]
fn failures_add_up_and_a_ban_or_pardon_is_one_of_all_gates() {
    let Some(place) = Place::new() else { return };
    let place = Place { ban_after: 4, ..place };
    let (one, other) = (place.gate("one"), place.gate("other"));
    let asked = || place.pve.seen().iter().filter(|seen| seen.line.contains(FAILS)).count();
    for gate in [&one, &other, &one] {
        fail(gate);
    }
    assert_eq!(asked(), 3);
    // A third at the first, a fourth in all: neither alone would ban.
    fail(&other);
    soon("the fourth failure bans at all", || {
        bans(&place.socket("one")) == 1 && bans(&place.socket("other")) == 1
    });
    let before = asked();
    for gate in [&one, &other, &place.gate("third")] {
        fail(gate);
    }
    assert_eq!(asked(), before, "who is banned is refused unseen");
    call(&place.socket("other"), &Request::BanRemove { of: CLIENT.into() }).unwrap();
    soon("the pardon holds at the first", || bans(&place.socket("one")) == 0);
    fail(&one);
    assert_eq!(asked(), before + 1, "and its count began anew");
    drop((one, other));
    // A gate that starts counts what it finds, and not what was pardoned.
    let fourth = place.gate("fourth");
    fail(&fourth);
    assert_eq!(asked(), before + 2);
    assert_eq!(bans(&place.socket("fourth")), 0);
}

#[test]
fn a_proxy_token_is_one_of_all_gates() {
    let Some(place) = Place::new() else { return };
    let (_one, other) = (place.gate("one"), place.gate("other"));
    let request = Request::TokenCreate {
        name: "ci".into(),
        token: Hidden::new("ci@pve!deploy=12ab"),
        networks: Vec::new(),
        methods: Vec::new(),
        paths: Vec::new(),
        expires_in: None,
    };
    let value = call(&place.socket("one"), &request).unwrap()["value"].clone();
    let line = Held(format!("Authorization: PVEAPIToken={}\r\n", value.as_str().unwrap()));
    soon("the other gate takes it", || version(&other, &line) == "200");
    call(&place.socket("one"), &Request::TokenRevoke { name: "ci".into() }).unwrap();
    soon("nor does it any more", || version(&other, &line) == "401");
}

#[test]
fn a_console_opens_at_any_gate_and_once_at_all() {
    let Some(place) = Place::new() else { return };
    let (one, other) = (place.gate("one"), place.gate("other"));
    let held = try_login(&one).unwrap();
    let open = |gate: &Gate| {
        let path = format!("{SOCKET_OF}?port=5900&vncticket={}", TICKET.replace(':', "%3A"));
        let lines = format!(
            "{}Connection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
            held.0
        );
        Client::connect(gate)
            .ask(format!(
                "GET {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {CLIENT}\r\n{lines}\r\n"
            ))
            .status()
            .to_owned()
    };
    for (first, second) in [(&one, &other), (&other, &one)] {
        assert_eq!(open(first), "401", "none was handed out");
        assert_eq!(ask(&one, "POST", CONSOLE, &held.0, "").status(), "200");
        assert_eq!(open(first), "101");
        assert_eq!(open(first), "401");
        soon("it is used up at the other", || open(second) == "401");
    }
}

#[test]
fn another_key_is_refused_in_words() {
    let Some(place) = Place::new() else { return };
    drop(place.gate("one"));
    place.key("stranger", 'b');
    let error = place.try_gate("two", "stranger", 15).unwrap_err();
    assert!(matches!(error, StartError::Store(CheckError::OtherKey)), "{error}");
    drop(place.gate("two"));
}

#[test]
fn without_the_store_nothing_is_acknowledged_and_sessions_end_after_the_grace() {
    let Some(mut place) = Place::new() else { return };
    let gate = place.try_gate("one", "key", 2).unwrap();
    let other = place.gate("other");
    let (held, ended) = (try_login(&gate).unwrap(), try_login(&gate).unwrap());
    let elsewhere = try_login(&other).unwrap();
    assert_eq!(logout(&gate, &ended), "200");
    place.server.kill();
    assert_eq!(version(&gate, &held), "200", "it goes on for a while");
    assert_eq!(logout(&gate, &try_login(&other).map_or(elsewhere, |held| held)), "503");
    let refused = try_login(&gate).map(|_| ()).unwrap_err();
    assert_eq!(refused.status(), "503");
    assert!(refused.body.contains("store"), "{refused:?}");
    soon("the grace ends", || version(&gate, &held) == "503");
    let error = place.try_gate("late", "key", 2).unwrap_err();
    assert!(error.to_string().contains("can not be reached"), "{error}");
    place.server.again();
    soon("the session is one again", || version(&gate, &held) == "200");
    assert_eq!(version(&gate, &ended), "401", "what was acknowledged is kept");
    assert!(try_login(&gate).is_ok());
}

#[test]
fn a_store_that_is_killed_under_load_loses_nothing_acknowledged() {
    let Some(mut place) = Place::new() else { return };
    let gates = [place.gate("one"), place.gate("other")];
    let (over, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
    let work = |at: usize| {
        let (mut kept, mut ended) = (Vec::new(), Vec::new());
        while !over.load(Ordering::Relaxed) {
            acknowledged.store(kept.len() + ended.len(), Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(2));
            // Opened here, ended there: each is acknowledged, or refused as it should be.
            match try_login(&gates[at]) {
                Ok(held) if (kept.len() + ended.len()) % 2 == 0 => kept.push(held),
                Ok(held) => match logout(&gates[1 - at], &held).as_str() {
                    "200" => ended.push(held),
                    "503" => {}
                    other => panic!("a logout was answered {other}"),
                },
                Err(answer) => assert_eq!(answer.status(), "503", "{answer:?}"),
            }
        }
        (kept, ended)
    };
    let (kept, ended) = std::thread::scope(|scope| {
        let threads = [scope.spawn(|| work(0)), scope.spawn(|| work(1))];
        let more = || {
            let before = acknowledged.load(Ordering::Relaxed);
            soon("more is acknowledged", || acknowledged.load(Ordering::Relaxed) > before + 4);
        };
        for _ in 0..3 {
            more();
            place.server.kill();
            std::thread::sleep(Duration::from_millis(100));
            place.server.again();
        }
        more();
        over.store(true, Ordering::Relaxed);
        let (mut kept, mut ended) = (Vec::new(), Vec::new());
        for thread in threads {
            let (some, more) = thread.join().unwrap();
            kept.extend(some);
            ended.extend(more);
        }
        (kept, ended)
    });
    assert!(!kept.is_empty() && !ended.is_empty(), "nothing was acknowledged");
    for gate in &gates {
        for held in &kept {
            // Until the store is reached again, nobody can say.
            soon("an acknowledged login is one", || match version(gate, held).as_str() {
                "503" => false,
                status => {
                    assert_eq!(status, "200", "an acknowledged login is lost");
                    true
                }
            });
        }
        soon("every acknowledged logout holds", || {
            ended.iter().all(|held| version(gate, held) == "401")
        });
    }
}

#[test]
fn what_the_store_has_lost_is_put_there_again_or_ended() {
    let Some(place) = Place::with(FORGETFUL) else { return };
    let mut place = Place { ban_after: 1, ..place };
    let gate = place.gate("one");
    let held = try_login(&gate).unwrap();
    let wrong = ("POST", FAILS, "", "username=root%40pam&password=wrong");
    ask_as(&gate, "198.51.100.7", wrong);
    assert_eq!(bans(&place.socket("one")), 1);
    place.server.kill();
    place.server.again();
    // It was in force, and may have been revoked: nobody can say.
    let path = "/api2/json/version";
    soon("the session has ended", || {
        ask_as(&gate, "203.0.113.7", ("GET", path, &held.0, "")).status() == "401"
    });
    let _late = place.gate("late");
    soon("who comes later finds the ban", || {
        let listed = call(&place.socket("late"), &Request::BanList).unwrap();
        listed["bans"].as_array().unwrap().iter().any(|ban| ban["address"] == "198.51.100.7")
    });
}

#[test]
fn a_gate_that_starts_anew_goes_on_with_the_store() {
    let Some(place) = Place::new() else { return };
    let one = place.gate("one");
    let held = try_login(&one).unwrap();
    drop(one);
    let again = place.gate("one");
    assert_eq!(version(&again, &held), "200");
    assert_eq!(bans(&place.socket("one")), 0);
}
