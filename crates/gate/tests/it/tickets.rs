//! Tickets that a tool brings itself: what is forged or has expired never gets to Proxmox VE.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use gate::TicketVerification;
use pve_access::SigningKey;
use pve_access::ticket::{issue, issue_vnc};
use telemetry::Clock;
use tempfile::TempDir;

use crate::client::{Answer, Client};
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\n\
    Connection: upgrade\r\n\
    \r\n";

fn pve() -> Pve {
    Pve::start(&[
        ("/", &ok("<p>nobody</p>"), Then::Stay),
        ("/api2/json/version", &ok("{\"data\":{}}"), Then::Stay),
        ("/api2/json/access/domains", &ok("{\"data\":[]}"), Then::Stay),
        ("/api2/json/nodes/a/vncwebsocket", SWITCHED, Then::Echo),
    ])
}

/// The key of a cluster, and the file that says it.
struct Cluster {
    key: SigningKey,
    directory: TempDir,
}

impl Cluster {
    fn new() -> Self {
        let cluster =
            Self { key: SigningKey::generate().unwrap(), directory: tempfile::tempdir().unwrap() };
        put(&cluster.file(), &cluster.key);
        cluster
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("authkey.pub")
    }

    fn gate(&self, pve: &Pve) -> Gate {
        Gate::with(pve.address, |config| {
            config.trusted_proxies = "127.0.0.1".parse().unwrap();
            config.sessions.ticket_key = self.file();
            config.sessions.pass_unknown_console_tickets = true;
            config.login.ban_after = 3;
            // The key is looked at as often as certificates at least.
            config.certificates_every = Duration::from_millis(10);
        })
    }
}

/// In use for hours already.
fn put(path: &Path, key: &SigningKey) {
    std::fs::write(path, key.verify_key().unwrap().to_pem()).unwrap();
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(now() - 9000)).unwrap();
}

fn now() -> u64 {
    Clock::system().unix_secs()
}

fn ticket(key: &SigningKey, age: u64) -> String {
    issue(key, "a@pve", None, now() - age).unwrap().expose().clone()
}

fn ask(gate: &Gate, client: &str, path: &str, ticket: &str) -> Answer {
    Client::connect(gate).ask(format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\n\
         Cookie: PVEAuthCookie={}\r\n\r\n",
        ticket.replace(':', "%3A")
    ))
}

const VERSION: &str = "/api2/json/version";
const REFUSED: &str = "HTTP/1.1 401 Authentication failed!";

#[test]
fn what_is_forged_or_has_expired_is_refused_and_counted_unseen() {
    let (pve, cluster) = (pve(), Cluster::new());
    let gate = cluster.gate(&pve);
    let forged = ticket(&SigningKey::generate().unwrap(), 0);
    let changed = ticket(&cluster.key, 0).replace("a@pve", "root@pam");
    for (bad, client) in [
        (forged.as_str(), "203.0.113.1"),
        (changed.as_str(), "203.0.113.2"),
        (ticket(&cluster.key, 7300).as_str(), "203.0.113.3"),
        ("PVE:root@pam:6B00CE44::AAAA", "203.0.113.4"),
        ("anything", "203.0.113.5"),
    ] {
        assert_eq!(ask(&gate, client, VERSION, bad).line, REFUSED, "{bad}");
    }
    assert_eq!(pve.seen(), []);
    gate.counts("proxward_gate_logins_total{channel=\"ticket\",outcome=\"failure\"}", 5);
    gate.counts("proxward_gate_refusals_total{rule=\"invalid-ticket\"}", 5);
    // Where nobody has to be known, the call is made as by nobody.
    assert_eq!(ask(&gate, "203.0.113.6", "/", &forged).status(), "200");
    assert_eq!(ask(&gate, "203.0.113.6", "/api2/json/access/domains", &forged).status(), "200");
    assert!(pve.seen().iter().all(|seen| seen.header("cookie").is_none()), "{:?}", pve.seen());
    // Three of them ban, like any other.
    for _ in 0..3 {
        ask(&gate, "203.0.113.7", VERSION, &forged);
    }
    assert_eq!(ask(&gate, "203.0.113.7", VERSION, &ticket(&cluster.key, 0)).line, REFUSED);
    gate.counts("proxward_gate_logins_total{channel=\"ticket\",outcome=\"ban\"}", 1);
}

#[test]
fn a_genuine_one_is_passed_on_and_remembered() {
    let (pve, cluster) = (pve(), Cluster::new());
    let gate = cluster.gate(&pve);
    let ticket = ticket(&cluster.key, 60);
    for _ in 0..3 {
        assert_eq!(ask(&gate, "203.0.113.1", VERSION, &ticket).status(), "200");
    }
    let arrived = format!("PVEAuthCookie={}", ticket.replace(':', "%3A"));
    assert_eq!(pve.seen().len(), 3);
    for seen in pve.seen() {
        let cookie = seen.header("cookie").unwrap().replace("%2B", "+").replace("%2F", "/");
        assert_eq!(cookie.replace("%3D", "=").replace("%40", "@"), arrived);
    }
    gate.counts("proxward_gate_cache_total{cache=\"tickets\",event=\"hit\"}", 2);
    gate.counts("proxward_gate_cache_total{cache=\"tickets\",event=\"miss\"}", 1);
}

#[test]
fn a_new_key_is_taken_over_and_the_one_before_is_good_for_its_time() {
    let (pve, cluster) = (pve(), Cluster::new());
    let gate = cluster.gate(&pve);
    let before = ticket(&cluster.key, 60);
    assert_eq!(ask(&gate, "203.0.113.1", VERSION, &before).status(), "200");
    let (next, new) = (SigningKey::generate().unwrap(), cluster.directory.path().join("new"));
    put(&cluster.directory.path().join("authkey.pub.old"), &cluster.key);
    put(&new, &next);
    std::fs::rename(new, cluster.file()).unwrap();
    // The first request with it comes before the gate has looked.
    assert_eq!(ask(&gate, "203.0.113.1", VERSION, &ticket(&next, 0)).status(), "200");
    // Its file says that it went out of use long before these were made.
    assert_eq!(ask(&gate, "203.0.113.1", VERSION, &before).line, REFUSED);
    assert_eq!(ask(&gate, "203.0.113.1", VERSION, &ticket(&cluster.key, 0)).line, REFUSED);
}

#[test]
fn without_a_key_proxmox_ve_decides_unless_that_was_asked_for() {
    let (pve, cluster) = (pve(), Cluster::new());
    std::fs::remove_file(cluster.file()).unwrap();
    let gate = cluster.gate(&pve);
    assert_eq!(ask(&gate, "203.0.113.1", VERSION, "PVE:a@pve:6B00CE44::AAAA").status(), "200");
    let with = |tickets| {
        let file = cluster.file();
        Gate::try_with(pve.address, move |config| {
            config.sessions.ticket_key = file;
            config.sessions.tickets = Some(tickets);
        })
    };
    let error = with(TicketVerification::Verify).unwrap_err().to_string();
    assert!(error.contains("authkey.pub") && error.contains("tickets = \"upstream\""), "{error}");
    put(&cluster.file(), &cluster.key);
    let gate = with(TicketVerification::Upstream).unwrap();
    assert_eq!(ask(&gate, "203.0.113.1", VERSION, "PVE:a@pve:6B00CE44::AAAA").status(), "200");
}

#[test]
fn a_console_that_nobody_signed_for_the_caller_does_not_open() {
    let (pve, cluster) = (pve(), Cluster::new());
    let gate = cluster.gate(&pve);
    let open = |user: &str, port: u16, path: &str| {
        let console = issue_vnc(&cluster.key, user, path, Some(5900), now()).unwrap();
        let console = console.expose().replace(':', "%3A").replace('+', "%2B");
        let cookie = ticket(&cluster.key, 0).replace(':', "%3A");
        Client::connect(&gate).ask(format!(
            "GET /api2/json/nodes/a/vncwebsocket?port={port}&vncticket={console} HTTP/1.1\r\n\
             Host: a\r\nCookie: PVEAuthCookie={cookie}\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ))
    };
    assert_eq!(open("a@pve", 5900, "/nodes/a").status(), "101");
    for (user, port, path) in
        [("b@pve", 5900, "/nodes/a"), ("a@pve", 5901, "/nodes/a"), ("a@pve", 5900, "/vms/100")]
    {
        let refused = "HTTP/1.1 401 permission denied - invalid PVEVNC ticket";
        assert_eq!(open(user, port, path).line, refused, "{user} {port} {path}");
    }
    assert_eq!(pve.seen().len(), 1);
}
