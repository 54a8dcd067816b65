//! A new configuration while connections are open.

use std::time::Duration;

use gate::{AddressPolicy, Config, Destination, ReloadError};
use telemetry::Clock;
use tls::{Authority, ClientAuth, Version};

use crate::client::Client;
use crate::gate::Gate;
use crate::handshake::Visitor;
use crate::pve::{Pve, Then, ok};

struct Place {
    pve: Pve,
    gate: Gate,
    authority: Authority,
}

impl Place {
    fn new() -> Self {
        let pve = Pve::start(&[("/", &ok("{}"), Then::Stay)]);
        let gate = Gate::start(pve.address);
        let authority = Authority::generate("test", Clock::system().unix()).unwrap();
        Self { pve, gate, authority }
    }

    /// A configuration with a certificate made at this time.
    fn config(&self, at: Duration) -> Config {
        let identity = self.authority.issue(&["127.0.0.1"], at).unwrap();
        let destination = Destination::new(&format!("http://{}", self.pve.address), None).unwrap();
        Config::new(vec![self.gate.address], destination, identity)
    }

    fn reload(&self, change: impl FnOnce(&mut Config)) -> Result<(), ReloadError> {
        let mut config = self.config(Clock::system().unix());
        change(&mut config);
        let fingerprint = config.identity.fingerprint();
        let reloaded = self.gate.reload(&config)?;
        assert_eq!(reloaded.certificate, fingerprint);
        Ok(())
    }

    fn visitor(&self) -> Visitor {
        Visitor::new(&[self.authority.certificate_pem()], None)
    }
}

#[test]
fn addresses_count_from_the_next_request_of_an_open_connection() {
    let place = Place::new();
    let mut open = Client::connect(&place.gate);
    assert_eq!(open.get("/").line, "HTTP/1.1 200 OK");
    place.reload(|config| config.addresses.policy = AddressPolicy::Deny).unwrap();
    assert_eq!(open.get("/").line, "HTTP/1.1 403 permission denied");
    assert!(place.visitor().visit(&place.gate).is_err());
    place.reload(|config| config.addresses.allow = "127.0.0.0/8".parse().unwrap()).unwrap();
    let mut visit = place.visitor().visit(&place.gate).unwrap();
    assert_eq!(visit.get().unwrap(), "HTTP/1.1 200 OK");
}

#[test]
fn certificate_and_versions_count_for_new_connections() {
    let place = Place::new();
    let mut open = Client::connect(&place.gate);
    place.reload(|config| config.tls.keep_versions(Version::Tls12, Version::Tls12)).unwrap();
    let visit = place.visitor().visit(&place.gate).unwrap();
    assert!(visit.agreed().starts_with("TLSv1_2 "));
    assert_eq!(open.get("/").line, "HTTP/1.1 200 OK");
}

#[test]
fn proxies_count_at_once() {
    let place = Place::new();
    let denied = |config: &mut Config| {
        config.trusted_proxies = "127.0.0.1".parse().unwrap();
        config.addresses.deny = "203.0.113.0/24".parse().unwrap();
    };
    let mut open = Client::connect(&place.gate);
    let request = "GET / HTTP/1.1\r\nHost: pve1\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n";
    assert_eq!(open.ask(request).line, "HTTP/1.1 200 OK");
    place.reload(denied).unwrap();
    assert_eq!(open.ask(request).line, "HTTP/1.1 403 permission denied");
}

#[test]
fn limits_count_at_once() {
    let place = Place::new();
    place.reload(|config| config.limits.idle = Duration::from_millis(100)).unwrap();
    let mut visit = place.visitor().visit(&place.gate).unwrap();
    visit.get().unwrap();
    // The second one waits for an answer that never comes, and finds the end.
    std::thread::sleep(Duration::from_millis(300));
    assert!(visit.get().is_ok_and(|line| line.is_empty()) || visit.get().is_err());
}

#[test]
fn what_can_not_be_used_changes_nothing() {
    let place = Place::new();
    let years = Duration::from_secs(3 * 366 * 24 * 3600);
    let mut expired = place.config(Clock::system().unix() - years);
    expired.addresses.policy = AddressPolicy::Deny;
    assert!(matches!(place.gate.reload(&expired), Err(ReloadError::NotValid(_))));
    let broken = place.reload(|config| {
        config.addresses.policy = AddressPolicy::Deny;
        let authorities = b"nonsense".to_vec();
        config.clients = Some(ClientAuth { authorities, revocations: None, required: true });
    });
    assert!(matches!(broken, Err(ReloadError::Certificate(_))));
    assert_eq!(Client::connect(&place.gate).get("/").line, "HTTP/1.1 200 OK");
}
