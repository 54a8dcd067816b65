use super::{FallbackSettings, LimitSettings, Settings};
use std::time::Duration;
use tls::Authority;

/// A section that is right, with its files.
pub(super) fn good(directory: &tempfile::TempDir) -> Settings {
    let (cert, key) = (directory.path().join("c.pem"), directory.path().join("k.pem"));
    let authority = Authority::generate("test", Duration::from_secs(1_795_000_000)).unwrap();
    let identity = authority.issue(&["pve1"], Duration::from_secs(1_795_000_000)).unwrap();
    identity.write(&cert, &key).unwrap();
    Settings {
        listen: vec!["127.0.0.1:0".into()],
        upstream: "http://127.0.0.1:8006".into(),
        cert: Some(cert),
        key: Some(key),
        ..Settings::default()
    }
}

#[test]
fn defaults_and_given_values() {
    let directory = tempfile::tempdir().unwrap();
    let config = good(&directory).check().unwrap();
    assert!(config.http2);
    assert!(config.proxy_protocol_from.is_empty());
    assert_eq!(config.limits.head, Duration::from_secs(10));

    let mut settings = good(&directory);
    settings.http2 = Some(false);
    settings.workers = Some(3);
    settings.proxy_protocol_from = Some("192.0.2.0/24, 2001:db8::1".into());
    settings.limits.head_seconds = Some(2);
    settings.limits.connections = Some(7);
    let config = settings.check().unwrap();
    assert!(!config.http2);
    assert_eq!(config.workers.get(), 3);
    assert!(config.proxy_protocol_from.contains("192.0.2.9".parse().unwrap()));
    assert_eq!(config.limits.head, Duration::from_secs(2));
    assert_eq!(config.limits.connections, 7);
}

#[test]
fn what_is_shown_is_expected_of_upstream() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings {
        upstream: "https://127.0.0.1:8006".into(),
        upstream_fingerprint: Some("shown".into()),
        ..good(&directory)
    };
    let config = settings.check().unwrap();
    let pins = config.pins.as_ref().unwrap();
    assert_eq!(pins.expected(), config.identity.fingerprint());
    // Another one that is shown later; and one of another configuration, by the same connections.
    let live = crate::live::Live::new(&config).unwrap();
    let other = good(&directory).check().unwrap();
    let (files, loaded) = (other.tls_files.clone().unwrap(), other.identity.fingerprint());
    let live = live.showing(files.load().unwrap()).unwrap();
    assert_eq!(pins.expected(), loaded);
    let next = Settings { upstream: settings.upstream.clone(), ..settings.clone() };
    good(&directory);
    let next = next.check().unwrap();
    let _ = crate::live::Live::new(&next).unwrap().keep_sessions(&live);
    assert_eq!(pins.expected(), next.identity.fingerprint());
}

#[test]
fn an_interface_stands_for_its_number() {
    let directory = tempfile::tempdir().unwrap();
    let listen = |text: &str| {
        let config = Settings { listen: vec![text.into()], ..good(&directory) }.check();
        config.map(|config| config.listen[0].to_string()).map_err(|error| error.key().to_owned())
    };
    assert_eq!(listen("[fe80::1%lo]:8006").as_deref(), Ok("[fe80::1%1]:8006"));
    assert_eq!(listen("[fe80::1%7]:8006").as_deref(), Ok("[fe80::1%7]:8006"));
    for wrong in ["[fe80::1%../../x]:8006", "[fe80::1%nonesuch]:8006", "[fe80::1%]:8006"] {
        assert_eq!(listen(wrong).unwrap_err(), "gate.listen", "{wrong}");
    }
}

#[test]
fn a_key_that_does_not_exist_is_refused() {
    let read = serde_json::from_str::<Settings>;
    assert!(read(r#"{"upstream": "https://pve1", "limits": {"head_seconds": 3}}"#).is_ok());
    assert!(read(r#"{"upstrem": "https://pve1"}"#).is_err());
    assert!(read(r#"{"limits": {"head": 3}}"#).is_err());
}

#[test]
fn every_fault_names_its_key_and_a_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let limits = |limits| Settings { limits, ..good(&directory) };
    let cases = [
        ("gate.listen", Settings { listen: vec![], ..good(&directory) }),
        ("gate.listen", Settings { listen: vec!["8006".into()], ..good(&directory) }),
        ("gate.listen", Settings { listen: vec!["auto:0".into()], ..good(&directory) }),
        ("gate.upstream", Settings { upstream: String::new(), ..good(&directory) }),
        ("gate.upstream", Settings { upstream: "https://pve1".into(), ..good(&directory) }),
        ("gate.upstream", Settings { upstream: "http://192.0.2.1".into(), ..good(&directory) }),
        (
            "gate.upstream_fingerprint",
            Settings { upstream_fingerprint: Some("AA:BB".into()), ..good(&directory) },
        ),
        (
            "gate.upstream_ca",
            Settings { upstream_ca: Some("/nonexistent".into()), ..good(&directory) },
        ),
        ("gate.daemon", Settings { daemon: Some("192.0.2.1:85".into()), ..good(&directory) }),
        ("gate.cert", Settings { cert: None, ..good(&directory) }),
        ("gate.key", Settings { key: None, ..good(&directory) }),
        ("gate.cert", Settings { cert: Some("/nonexistent".into()), ..good(&directory) }),
        (
            "gate.proxy_protocol_from",
            Settings { proxy_protocol_from: Some("10.0.0".into()), ..good(&directory) },
        ),
        ("gate.access_log", Settings { access_log: Some("access.log".into()), ..good(&directory) }),
        (
            "gate.trusted_proxies",
            Settings { trusted_proxies: Some("proxy1".into()), ..good(&directory) },
        ),
        ("gate.state", Settings { state: Some("redis://10.0.0.1".into()), ..good(&directory) }),
        (
            "gate.metrics_listen",
            Settings { metrics_listen: Some("0.0.0.0:9108".into()), ..good(&directory) },
        ),
        (
            "gate.upstream_fallback",
            Settings {
                upstream_fallback: vec![FallbackSettings {
                    url: "https://192.0.2.2:8006".into(),
                    fingerprint: None,
                }],
                ..good(&directory)
            },
        ),
        (
            "gate.allow_degraded",
            Settings { allow_degraded: vec!["everything".into()], ..good(&directory) },
        ),
        ("gate.workers", Settings { workers: Some(0), ..good(&directory) }),
        (
            "gate.limits.connections",
            limits(LimitSettings { connections: Some(0), ..LimitSettings::default() }),
        ),
        (
            "gate.limits.head_seconds",
            limits(LimitSettings { head_seconds: Some(0), ..LimitSettings::default() }),
        ),
    ];
    for (key, settings) in cases {
        let error = settings.check().unwrap_err();
        assert_eq!(error.key(), key, "{error}");
        assert!(error.to_string().starts_with(&format!("{key}: ")), "{error}");
    }
}
