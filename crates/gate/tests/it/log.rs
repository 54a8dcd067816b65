//! One line per request, and what must not be in it.

use gate::AccessLogTo;
use serde_json::Value;

use crate::client::Client;
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

#[test]
fn one_line_per_request_without_its_query() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("access.log");
    let pve = Pve::start(&[("/log/%61", &ok("12345"), Then::Stay)]);
    let gate =
        Gate::with(pve.address, |config| config.access_log = AccessLogTo::File(file.clone()));
    let mut client = Client::connect(&gate);
    client.ask("GET /log/%61?vncticket=PVEVNC:canary HTTP/1.1\r\nCookie: canary\r\n\r\n");
    client.ask("PATCH /log/b?canary HTTP/1.1\r\n\r\n");
    let mut client = Client::connect(&gate);
    client.ask("GET /log HTTP/1.1\nX: canary\n\n");
    gate.stop();
    assert_eq!(gate.join().failed, 0);

    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("canary"), "{text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [served, refused, unread] = &lines[..] else { panic!("{text}") };
    assert!(served["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{served}");
    assert_eq!((&served["http"], &served["method"]), (&"1.1".into(), &"GET".into()));
    assert_eq!((&served["path"], &served["status"]), (&"/log/a".into(), &200.into()));
    assert_eq!(served["bytes"], 5);
    assert!(served["us"].is_u64() && served["id"].is_string(), "{served}");
    assert_eq!((&refused["rule"], &refused["status"]), (&"method".into(), &501.into()));
    assert_eq!((&refused["method"], &refused["path"]), (&"PATCH".into(), &"/log/b".into()));
    assert_eq!((&unread["rule"], &unread["status"]), (&"line-ending".into(), &400.into()));
    assert!(unread["method"].is_null(), "{unread}");
}
