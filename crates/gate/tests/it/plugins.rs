//! Plugins: who reaches them, what they are told, and what they can not do.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use gate::{Destination, Plugin};
use telemetry::Clock;

use crate::client::{Answer, Client};
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

const PERMISSIONS: &str = "/api2/json/access/permissions";
const TOKEN: &str = "Authorization: PVEAPIToken=a@pve!t=00000000-0000-0000-0000-000000000000\r\n";

fn pve(privileges: &str) -> Pve {
    let body = format!("{{\"data\":{{\"/\":{privileges}}}}}");
    Pve::start(&[(PERMISSIONS, &ok(&body), Then::Stay)])
}

/// A plugin that tries to set a cookie of the interface.
fn plugin() -> Pve {
    let page = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: PVEAuthCookie=x\r\n\r\nhi";
    Pve::start(&[("/page", page, Then::Stay), ("/", page, Then::Stay)])
}

fn gate(pve: &Pve, destination: Destination, until: Option<Duration>) -> Gate {
    let privilege = pve_access::Privilege::parse("Sys.Audit").unwrap();
    let plugin = Plugin { destination, privilege, at: "/".to_owned(), until };
    Gate::with(pve.address, |config| {
        config.plugins = BTreeMap::from([("ups".to_owned(), plugin)]);
    })
}

fn at(plugin: &Pve) -> Destination {
    Destination::new(&format!("http://{}", plugin.address), None).unwrap()
}

fn ask(gate: &Gate, line: &str, headers: &str) -> Answer {
    Client::connect(gate).ask(format!("{line} HTTP/1.1\r\nHost: pve1:8006\r\n{headers}\r\n"))
}

#[test]
fn a_plugin_is_told_who_asks_and_never_sees_a_credential() {
    let (pve, plugin) = (pve(r#"{"Sys.Audit":1}"#), plugin());
    let gate = gate(&pve, at(&plugin), None);
    let forged = format!("{TOKEN}Proxward-User: root@pam\r\nCookie: a=b\r\n");
    let answer = ask(&gate, "GET /proxward/plugins/ups/page?x=%2F1", &forged);
    assert_eq!((answer.status(), &*answer.body), ("200", "hi"));
    assert_eq!(answer.header("set-cookie"), None);
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let seen = &plugin.seen()[0];
    assert_eq!(seen.line, "GET /page?x=%2F1 HTTP/1.1");
    assert_eq!(seen.header("proxward-user"), Some("a@pve!t"));
    assert_eq!(seen.header("proxward-plugin"), Some("ups"));
    assert!(seen.header("proxward-request").is_some());
    for name in ["authorization", "cookie", "csrfpreventiontoken"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
}

#[test]
fn without_the_privilege_or_a_plain_path_nothing_is_reached() {
    let (pve, plugin) = (pve(r#"{"VM.Audit":1}"#), plugin());
    let closed = gate(&pve, at(&plugin), None);
    assert_eq!(ask(&closed, "GET /proxward/plugins/ups/page", TOKEN).status(), "403");
    assert_eq!(ask(&closed, "GET /proxward/plugins/ups/page", "").status(), "401");
    for path in ["other/page", "ups", "up%73/page", "ups/../x", "ups/%2e%2e/x"] {
        let line = format!("GET /proxward/plugins/{path}");
        assert_eq!(ask(&closed, &line, TOKEN).status(), "404", "{path}");
    }
    let cookie = "Cookie: PVEAuthCookie=PVE:a@pve:6B00CE46::AA\r\nContent-Length: 0\r\n";
    assert_eq!(ask(&closed, "POST /proxward/plugins/ups/page", cookie).status(), "401");
    assert!(plugin.seen().is_empty());
}

#[test]
fn a_development_upstream_ends_and_is_for_the_same_origin() {
    let (pve, plugin) = (pve(r#"{"Sys.Audit":1}"#), plugin());
    let now = Clock::system().unix();
    let hour = Duration::from_secs(3600);
    let open = gate(&pve, at(&plugin), Some(now + hour));
    let line = "GET /proxward/plugins/ups/page";
    let answer = ask(&open, line, TOKEN);
    assert_eq!(answer.status(), "200");
    assert!(answer.header("proxward-development-until").unwrap().ends_with('Z'));
    let elsewhere = format!("{TOKEN}Sec-Fetch-Site: cross-site\r\n");
    assert_eq!(ask(&open, line, &elsewhere).status(), "403");
    let ended = gate(&pve, at(&plugin), Some(now - hour));
    assert_eq!(ask(&ended, line, TOKEN).status(), "403");
    let privilege = pve_access::Privilege::parse("Sys.Console").unwrap();
    let endless = Plugin {
        destination: at(&plugin),
        privilege,
        at: "/".to_owned(),
        until: Some(now + hour * 9),
    };
    let started = Gate::try_with(pve.address, |config| {
        config.plugins = BTreeMap::from([("ups".to_owned(), endless)]);
    });
    assert!(started.unwrap_err().to_string().contains("8 hours"));
    assert_eq!(plugin.seen().len(), 1);
}

#[test]
fn a_plugin_on_a_unix_socket() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("plugin.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let plugin = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut head, mut part) = (Vec::new(), [0; 4096]);
        while !head.ends_with(b"\r\n\r\n") {
            let read = stream.read(&mut part).unwrap();
            head.extend_from_slice(&part[..read]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix").unwrap();
        String::from_utf8(head).unwrap()
    });
    let pve = pve(r#"{"Sys.Audit":1}"#);
    let gate = gate(&pve, Destination::unix(path), None);
    assert_eq!(ask(&gate, "GET /proxward/plugins/ups/", TOKEN).body, "unix");
    assert!(plugin.join().unwrap().starts_with("GET / HTTP/1.1\r\n"));
}
