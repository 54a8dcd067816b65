//! The broker's verbs through the gate: who may call them, and what is answered.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use broker_api::frame;
use gate::ApiConfig;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

const PERMISSIONS: &str = "/api2/json/access/permissions";

/// An API token: nothing a browser sends by itself.
const TOKEN: &str = "Authorization: PVEAPIToken=a@pve!t=00000000-0000-0000-0000-000000000000\r\n";

/// Stands for the broker, and keeps what it was asked.
struct Broker {
    socket: PathBuf,
    seen: Arc<Mutex<Vec<Value>>>,
    _place: tempfile::TempDir,
}

impl Broker {
    fn start(answer: Value) -> Self {
        let place = tempfile::tempdir().unwrap();
        let socket = place.path().join("broker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &answer, &log);
            }
        });
        Self { socket, seen, _place: place }
    }

    fn seen(&self) -> Vec<Value> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(mut stream: UnixStream, answer: &Value, log: &Mutex<Vec<Value>>) {
    let (mut bytes, mut part) = (Vec::new(), [0; 65536]);
    let request = loop {
        if let Some((body, _)) = frame::request(&bytes).unwrap() {
            break serde_json::from_slice::<Value>(body).unwrap();
        }
        match stream.read(&mut part).unwrap() {
            0 => return,
            read => bytes.extend_from_slice(&part[..read]),
        }
    };
    let mut text = json!({"v": 1, "correlation_id": request["correlation_id"], "seq": 1});
    text.as_object_mut().unwrap().extend(answer.as_object().unwrap().clone());
    log.lock().unwrap().push(request);
    let mut out = Vec::new();
    frame::push(&mut out, text.to_string().as_bytes()).unwrap();
    stream.write_all(&out).unwrap();
}

/// A Proxmox VE that grants these at `/nodes/pve1`.
fn pve(privileges: &str) -> Pve {
    let body = format!("{{\"data\":{{\"/nodes/pve1\":{privileges}}}}}");
    Pve::start(&[(PERMISSIONS, &ok(&body), Then::Stay)])
}

fn gate(pve: &Pve, socket: &Path) -> Gate {
    let api = ApiConfig { socket: socket.to_owned(), node: "pve1".to_owned() };
    Gate::with(pve.address, |config| config.api = Some(api))
}

fn ask(gate: &Gate, line: &str, headers: &str, body: &str) -> Answer {
    Client::connect(gate).ask(format!(
        "{line} HTTP/1.1\r\nHost: pve1:8006\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

#[test]
fn who_holds_the_privilege_gets_the_verb_and_nobody_else() {
    let broker = Broker::start(json!({"result": {"exit": 0}}));
    let (console, audit) = (pve(r#"{"Sys.Console":1}"#), pve(r#"{"Sys.Audit":1}"#));
    let allowed = gate(&console, &broker.socket);
    let line = "POST /proxward/api/commands/zpool";
    let answer = ask(&allowed, line, TOKEN, r#"{"idempotency_key":"once"}"#);
    assert_eq!((answer.status(), &*answer.body), ("200", r#"{"data":{"exit":0}}"#));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let seen = broker.seen();
    assert_eq!(seen[0]["verb"], "command.run");
    assert_eq!(seen[0]["params"], json!({"name": "zpool", "idempotency_key": "once"}));
    assert!(seen[0]["correlation_id"].is_string());

    let refused = ask(&gate(&audit, &broker.socket), line, TOKEN, "");
    assert_eq!(refused.status(), "403");
    assert!(refused.body.contains("Permission check failed (/nodes/pve1, Sys.Console)"));
    assert_eq!(ask(&allowed, line, "", "").status(), "401");
    assert_eq!(broker.seen().len(), 1, "the broker was not asked");
}

#[test]
fn a_ticket_that_browsers_send_by_themselves_changes_nothing() {
    let broker = Broker::start(json!({"result": {}}));
    let pve = pve(r#"{"Sys.Audit":1,"Sys.Modify":1}"#);
    let gate = gate(&pve, &broker.socket);
    let cookie = "Cookie: PVEAuthCookie=PVE:a@pve:6B00CE46::AA\r\n";
    assert_eq!(ask(&gate, "GET /proxward/api/bans", cookie, "").status(), "200");
    let refused = ask(&gate, "POST /proxward/api/bans", cookie, r#"{"add":["192.0.2.1"]}"#);
    assert_eq!(refused.status(), "403");
    assert!(refused.body.contains("foreign_ticket"), "{}", refused.body);
    let foreign = format!("{TOKEN}Origin: https://evil.example\r\n");
    let refused = ask(&gate, "POST /proxward/api/bans", &foreign, "{}");
    assert_eq!(refused.status(), "403");
    assert_eq!(broker.seen().len(), 1);
}

#[test]
fn what_is_wrong_is_said_before_the_broker_is_asked() {
    let broker = Broker::start(json!({"result": {}}));
    let pve = pve(r#"{"Sys.Audit":1,"Sys.Modify":1,"Sys.Console":1}"#);
    let gate = gate(&pve, &broker.socket);
    for (line, body, status, part) in [
        ("GET /proxward/api/nothing", "", "404", "no_such_path"),
        ("GET /proxward/api/commands/zpool", "", "405", "another method"),
        ("POST /proxward/api/bans", "{\"ad\":[]}", "400", "takes no parameter"),
        ("POST /proxward/api/bans", "{\"add\":[],\"add\":[]}", "400", "twice"),
        ("POST /proxward/api/bans", "[]", "400", "JSON object"),
        ("POST /proxward/api/commands/a", "{\"name\":\"b\"}", "400", "in the path already"),
        ("GET /proxward/api/files/etc", "", "400", "needs the parameter path"),
        ("GET /proxward/api/sensors?format=xml", "", "400", "format"),
    ] {
        let answer = ask(&gate, line, TOKEN, body);
        assert_eq!(answer.status(), status, "{line} {body} {}", answer.body);
        assert!(answer.body.contains(part), "{line} {body} {}", answer.body);
    }
    assert!(broker.seen().is_empty());
    let read = "GET /proxward/api/files/etc?path=network%2Finterfaces";
    assert_eq!(ask(&gate, read, TOKEN, "").status(), "200");
    let expected = json!({"root": "etc", "path": "network/interfaces"});
    assert_eq!(broker.seen()[0]["params"], expected);
}

#[test]
fn the_brokers_refusals_keep_their_meaning() {
    let pve = pve(r#"{"Sys.Audit":1}"#);
    for (code, status) in [(30, "429"), (31, "503"), (44, "404"), (21, "403"), (33, "504")] {
        let broker = Broker::start(json!({"error": {
            "code": code, "name": "x", "message": "why", "retryable": code == 30,
            "retry_after_ms": 1500,
        }}));
        let answer = ask(&gate(&pve, &broker.socket), "GET /proxward/api/node", TOKEN, "");
        assert_eq!(answer.status(), status, "{code}");
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((&body["message"], &body["data"]), (&json!("why"), &Value::Null));
        assert_eq!(answer.header("retry-after"), Some("2"));
    }
    let nowhere = gate(&pve, Path::new("/nonexistent/broker.sock"));
    let answer = ask(&nowhere, "GET /proxward/api/node", TOKEN, "");
    assert_eq!(answer.status(), "503");
    assert!(!answer.body.contains("/nonexistent"), "no path of the host: {}", answer.body);
    let without = Gate::start(pve.address);
    assert_eq!(ask(&without, "GET /proxward/api/node", TOKEN, "").status(), "404");
}
