//! What is offered in a handshake, and certificates of clients.

use std::process::{Command, Stdio};

use std::time::Duration;

use gate::{AccessLogTo, ClientFiles, Config, TlsFiles};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use secrets::private_file::Readers;
use tls::{ClientAuth, Policy, Version};

use crate::gate::Gate;
use crate::handshake::Visitor;
use crate::pve::{Pve, Then, ok};

fn pve() -> Pve {
    Pve::start(&[("/", &ok("{}"), Then::Stay)])
}

fn with_policy(change: impl FnOnce(&mut Policy)) -> (Pve, Gate, Visitor) {
    let pve = pve();
    let gate = Gate::with(pve.address, |config| change(&mut config.tls));
    let visitor = Visitor::new(&[&gate.authority], None);
    (pve, gate, visitor)
}

/// What `openssl s_client` says with these options; `None` without openssl.
fn openssl(gate: &Gate, options: &[&str]) -> Option<String> {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &gate.address.to_string()]).args(options);
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn the_hybrid_is_preferred() {
    let (_pve, gate, visitor) = with_policy(|_| {});
    let agreed = visitor.visit(&gate).unwrap().agreed();
    assert_eq!(agreed, "TLSv1_3 TLS13_AES_256_GCM_SHA384 X25519MLKEM768");
}

#[test]
fn versions_that_are_off_are_refused() {
    let (_pve, gate, visitor) =
        with_policy(|policy| policy.keep_versions(Version::Tls13, Version::Tls13));
    assert!(visitor.visit(&gate).unwrap().agreed().starts_with("TLSv1_3 "));
    if let Some(said) = openssl(&gate, &["-tls1_2"]) {
        assert!(said.contains("alert protocol version"), "{said}");
    }
    let (_pve, gate, visitor) =
        with_policy(|policy| policy.keep_versions(Version::Tls12, Version::Tls12));
    assert!(visitor.visit(&gate).unwrap().agreed().starts_with("TLSv1_2 "));
    if let Some(said) = openssl(&gate, &["-tls1_3"]) {
        assert!(said.contains("alert protocol version"), "{said}");
    }
}

#[test]
fn suites_and_groups_that_were_chosen() {
    let (_pve, gate, visitor) = with_policy(|policy| {
        policy.set_tls13("TLS_CHACHA20_POLY1305_SHA256").unwrap();
        policy.set_tls12("ECDHE+AESGCM:!AES256").unwrap();
        policy.set_groups(&["secp384r1"]).unwrap();
    });
    let agreed = visitor.visit(&gate).unwrap().agreed();
    assert_eq!(agreed, "TLSv1_3 TLS13_CHACHA20_POLY1305_SHA256 secp384r1");
    if let Some(said) = openssl(&gate, &["-tls1_2"]) {
        assert!(said.contains("ECDHE-ECDSA-AES128-GCM-SHA256"), "{said}");
    }
    if let Some(said) = openssl(&gate, &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"]) {
        assert!(said.contains("handshake failure"), "{said}");
    }
}

/// An authority for clients.
struct Clients {
    params: CertificateParams,
    key: KeyPair,
    pem: String,
}

impl Clients {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "clients");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self { params, key, pem }
    }

    /// Certificate and key.
    fn issue(&self, name: &str, serial: u64) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(serial));
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let issuer = Issuer::from_params(&self.params, &self.key);
        (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
    }

    fn revoke(&self, serial: u64, expires: i32) -> Vec<u8> {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(expires, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let issuer = Issuer::from_params(&self.params, &self.key);
        list.signed_by(&issuer).unwrap().pem().unwrap().into_bytes()
    }
}

fn asking(clients: &Clients, required: bool) -> impl FnOnce(&mut Config) {
    let authorities = clients.pem.clone().into_bytes();
    move |config| {
        config.clients = Some(ClientAuth { authorities, revocations: None, required });
    }
}

/// The status line, or why there is none.
fn get(gate: &Gate, own: Option<&(String, String)>, from: &str) -> Result<String, String> {
    let own = own.map(|(certificate, key)| (certificate.as_str(), key.as_str()));
    let visitor = Visitor::new(&[&gate.authority], own);
    let visit = visitor.visit_from(gate, format!("{from}:0").parse().unwrap());
    visit.and_then(|mut visit| visit.get()).map_err(|error| error.to_string())
}

const OK: &str = "HTTP/1.1 200 OK";

#[test]
fn a_certificate_is_required_but_of_the_exempt() {
    let (pve, clients, others) = (pve(), Clients::new(), Clients::new());
    let log = tempfile::tempdir().unwrap();
    let file = log.path().join("access.log");
    let gate = Gate::with(pve.address, |config| {
        asking(&clients, true)(config);
        config.client_exempt = "127.0.0.3".parse().unwrap();
        config.access_log = AccessLogTo::File(file.clone());
    });
    let alice = clients.issue("alice", 7);
    assert_eq!(get(&gate, Some(&alice), "127.0.0.1").unwrap(), OK);
    let refused = get(&gate, None, "127.0.0.1").unwrap_err();
    assert!(refused.contains("CertificateRequired"), "{refused}");
    get(&gate, Some(&others.issue("alice", 7)), "127.0.0.1").unwrap_err();
    assert_eq!(get(&gate, None, "127.0.0.3").unwrap(), OK);
    if let Some(said) = openssl(&gate, &["-tls1_2"]) {
        assert!(said.contains("CN = clients") || said.contains("CN=clients"), "{said}");
    }
    gate.stop();
    gate.join();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("\"certificate\":\"CN=alice\""), "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn an_optional_one_may_be_left_out_and_must_be_right() {
    let (pve, clients, others) = (pve(), Clients::new(), Clients::new());
    let gate = Gate::with(pve.address, asking(&clients, false));
    assert_eq!(get(&gate, None, "127.0.0.1").unwrap(), OK);
    assert_eq!(get(&gate, Some(&clients.issue("alice", 7)), "127.0.0.1").unwrap(), OK);
    get(&gate, Some(&others.issue("alice", 7)), "127.0.0.1").unwrap_err();
}

/// A ticket of the acceptor that asks nothing is worth nothing to the one that does.
#[test]
fn a_session_of_an_exempt_address_opens_nothing_elsewhere() {
    let (pve, clients) = (pve(), Clients::new());
    let gate = Gate::with(pve.address, |config| {
        asking(&clients, true)(config);
        config.client_exempt = "127.0.0.3".parse().unwrap();
    });
    let visitor = Visitor::new(&[&gate.authority], None);
    let exempt = || visitor.visit_from(&gate, "127.0.0.3:0".parse().unwrap()).unwrap();
    exempt().get().unwrap();
    let mut again = exempt();
    assert!(again.resumed());
    again.get().unwrap();
    let elsewhere = visitor.visit(&gate).and_then(|mut visit| visit.get());
    assert!(elsewhere.is_err(), "{elsewhere:?}");
}

#[test]
fn a_revoked_certificate_is_refused_and_so_are_all_when_the_list_is_old() {
    let (pve, clients) = (pve(), Clients::new());
    let (alice, mallory) = (clients.issue("alice", 7), clients.issue("mallory", 8));
    let with = |revocations: Vec<u8>| {
        Gate::with(pve.address, |config| {
            asking(&clients, true)(config);
            config.clients.as_mut().unwrap().revocations = Some(revocations);
        })
    };
    let gate = with(clients.revoke(8, 2090));
    assert_eq!(get(&gate, Some(&alice), "127.0.0.1").unwrap(), OK);
    let refused = get(&gate, Some(&mallory), "127.0.0.1").unwrap_err();
    assert!(refused.contains("Revoked"), "{refused}");
    let gate = with(clients.revoke(8, 2021));
    get(&gate, Some(&alice), "127.0.0.1").unwrap_err();
}

#[test]
fn a_new_revocation_list_counts_without_a_restart_for_sessions_of_before_too() {
    let (pve, clients) = (pve(), Clients::new());
    let mallory = clients.issue("mallory", 8);
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let gate = Gate::with(pve.address, |config| {
        config.identity.write(&path("pem"), &path("key")).unwrap();
        std::fs::write(path("ca"), &clients.pem).unwrap();
        std::fs::write(path("crl"), clients.revoke(7, 2090)).unwrap();
        let asked =
            ClientFiles { authorities: path("ca"), revocations: Some(path("crl")), required: true };
        let files = TlsFiles::pair(&path("pem"), &path("key"), Readers::Owner);
        let files = files.with_clients(Some(asked));
        let loaded = files.load().unwrap();
        config.follow_files(files, loaded);
        config.certificates_every = Duration::from_millis(10);
    });
    let own = Some((mallory.0.as_str(), mallory.1.as_str()));
    let visitor = Visitor::new(&[&gate.authority], own);
    let visit = || visitor.visit(&gate).and_then(|mut visit| visit.get());
    assert_eq!(visit().unwrap(), OK);
    std::fs::write(path("crl"), clients.revoke(8, 2090)).unwrap();
    for _ in 0..1000 {
        if visit().is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the list does not count");
}
