//! Which certificate is shown, and another in its place while the gate runs.

use std::path::Path;
use std::time::Duration;

use gate::TlsFiles;
use secrets::private_file::Readers;
use telemetry::Clock;
use tls::{Authority, Fingerprint, Identity};

use crate::gate::Gate;
use crate::handshake::Visitor;
use crate::pve::{Pve, Then, ok};

/// The directory of a node, and what signs its certificates.
struct Node {
    directory: tempfile::TempDir,
    authority: Authority,
    visitor: Visitor,
    _pve: Pve,
    gate: Gate,
}

fn now() -> Duration {
    Clock::system().unix()
}

impl Node {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::generate("node", now()).unwrap();
        let identity = authority.issue(&["127.0.0.1"], now()).unwrap();
        write(directory.path(), "pve-ssl", &identity);
        let pve = Pve::start(&[("/", &ok("{}"), Then::Stay)]);
        let gate = Gate::with(pve.address, |config| {
            let files = TlsFiles::node(directory.path(), None, Readers::Owner);
            let loaded = files.load().unwrap();
            config.follow_files(files, loaded);
            config.certificates_every = Duration::from_millis(10);
        });
        let visitor = Visitor::new(&[authority.certificate_pem()], None);
        Self { directory, authority, visitor, _pve: pve, gate }
    }

    fn issue(&self) -> Identity {
        self.authority.issue(&["127.0.0.1"], now()).unwrap()
    }

    fn shown(&self) -> Fingerprint {
        self.visitor.visit(&self.gate).unwrap().certificate()
    }

    /// Waits until this one is shown.
    fn shows(&self, identity: &Identity) {
        for _ in 0..1000 {
            if self.shown() == identity.fingerprint() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("not shown");
    }

    fn refused(&self, count: u64) {
        self.gate.counts("proxward_gate_certificates_total{outcome=\"refused\"}", count);
    }

    fn put(&self, name: &str, text: impl AsRef<[u8]>) {
        secrets::private_file::write(&self.directory.path().join(name), text.as_ref()).unwrap();
    }
}

fn write(directory: &Path, name: &str, identity: &Identity) {
    let file = |end: &str| directory.join(format!("{name}.{end}"));
    identity.write(&file("pem"), &file("key")).unwrap();
}

#[test]
fn the_nodes_own_unless_there_is_another_with_its_key() {
    let node = Node::new();
    let own = node.shown();
    let mut open = node.visitor.visit(&node.gate).unwrap();
    let custom = node.issue();
    // A certificate whose key is not there yet is as if it were not there.
    node.put("pveproxy-ssl.pem", custom.certificate_pem());
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(node.shown(), own);
    node.put("pveproxy-ssl.key", custom.key_pem().expose());
    node.shows(&custom);
    let end = custom.validity().unwrap().not_after;
    node.gate.counts("proxward_gate_certificate_expiry_seconds{}", end);
    std::fs::remove_file(node.directory.path().join("pveproxy-ssl.pem")).unwrap();
    for _ in 0..1000 {
        if node.shown() == own {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(node.shown(), own);
    assert_eq!(open.get().unwrap(), "HTTP/1.1 200 OK");
    assert_eq!(open.certificate(), own);
    assert!(!node.gate.metrics().contains("outcome=\"refused\""));
}

#[test]
fn what_can_not_be_used_leaves_the_former_in_force() {
    let node = Node::new();
    let own = node.shown();
    let next = node.issue();
    let (chain, key) = (next.certificate_pem(), next.key_pem().expose());
    // Half written.
    node.put("pve-ssl.pem", &chain[..chain.len() / 2]);
    node.refused(1);
    assert_eq!(node.shown(), own);
    node.gate.counts("proxward_gate_certificate_refused{}", 1);
    // Of another key.
    node.put("pve-ssl.pem", &chain);
    node.refused(2);
    assert_eq!(node.shown(), own);
    // The key half written.
    node.put("pve-ssl.key", &key[..key.len() / 2]);
    node.refused(3);
    assert_eq!(node.shown(), own);
    // Whole.
    node.put("pve-ssl.key", key);
    node.shows(&next);
    node.gate.counts("proxward_gate_certificate_refused{}", 0);
    // Expired, and not valid yet.
    let years = Duration::from_secs(3 * 366 * 24 * 3600);
    for (count, time) in [(4, now() - years), (5, now() + years)] {
        let identity = node.authority.issue(&["127.0.0.1"], time).unwrap();
        node.put("pve-ssl.key", identity.key_pem().expose());
        node.put("pve-ssl.pem", identity.certificate_pem());
        // Between the two files it may have been looked at once more.
        for _ in 0..1000 {
            if node.gate.metrics().lines().any(|line| {
                line.strip_prefix("proxward_gate_certificates_total{outcome=\"refused\"} ")
                    .is_some_and(|have| have.parse::<u64>().unwrap() >= count)
            }) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(node.shown(), next.fingerprint());
    }
}

#[test]
fn a_session_of_before_is_not_resumed_with_the_new_certificate() {
    let node = Node::new();
    let mut first = node.visitor.visit(&node.gate).unwrap();
    first.get().unwrap();
    let mut second = node.visitor.visit(&node.gate).unwrap();
    assert!(second.resumed());
    second.get().unwrap();
    let next = node.issue();
    write(node.directory.path(), "pve-ssl", &next);
    let stranger = Visitor::new(&[node.authority.certificate_pem()], None);
    for _ in 0..1000 {
        if stranger.visit(&node.gate).unwrap().certificate() == next.fingerprint() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let third = node.visitor.visit(&node.gate).unwrap();
    assert!(!third.resumed());
    assert_eq!(third.certificate(), next.fingerprint());
}
