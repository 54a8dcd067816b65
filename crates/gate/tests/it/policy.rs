//! What the administrator forbids, as clients meet it and as Proxmox VE does not.

use gate::{Config, PolicySettings};

use crate::client::{Answer, Client};
use crate::gate::Gate;
use crate::pve::{Pve, Then, ok};

const TOKEN: &str = "Authorization: PVEAPIToken=alice@pve!ci=secret\r\n";

fn pve() -> Pve {
    let paths = [
        "/api2/json/version",
        "/api2/json/access/ticket",
        "/api2/json/access/domains",
        "/api2/json/nodes/pve1/qemu/150",
        "/api2/json/nodes/pve1/qemu/150/config",
        "/api2/json/nodes/pve1/qemu/250/config",
        "/api2/json/nodes/pve1/qemu",
        "/api2/json/nodes/pve1/storage/local/upload",
        "/api2/extjs//nodes/pve%31/qemu/1%350/",
        "/pve2/js/pvemanagerlib.js",
    ];
    let answer = ok("{\"data\":null}");
    let script: Vec<_> = paths.map(|path| (path, answer.as_str(), Then::Stay)).into();
    Pve::start(&script)
}

fn policy(text: &str) -> impl FnOnce(&mut Config) {
    let settings: PolicySettings = serde_json::from_str(text).unwrap();
    let rules = settings.check().unwrap();
    move |config| config.policy = rules
}

fn ask(gate: &Gate, line: &str, lines: &str, body: &str) -> Answer {
    let length = match body {
        "" => String::new(),
        body => format!("Content-Length: {}\r\n", body.len()),
    };
    let request = format!("{line} HTTP/1.1\r\nHost: pve1:8006\r\n{lines}{length}\r\n{body}");
    Client::connect(gate).ask(request)
}

const KEEP: &str = r#"{"rule":[{"name":"keep prod","effect":"deny","methods":["DELETE","PUT","POST"],
    "params":{"vmid":"100-199"}}]}"#;

#[test]
fn a_denied_call_names_the_rule_and_never_reaches_proxmox_ve() {
    let pve = pve();
    let gate = Gate::with(pve.address, policy(KEEP));
    for path in ["/api2/json/nodes/pve1/qemu/150", "/api2/extjs//nodes/pve%31/qemu/1%350/"] {
        let answer = ask(&gate, &format!("DELETE {path}"), TOKEN, "");
        assert_eq!(
            answer.line,
            "HTTP/1.1 403 Forbidden by the policy of this gate: rule 'keep prod'"
        );
        assert!(answer.body.contains("rule 'keep prod'"), "{answer:?}");
    }
    assert_eq!(pve.seen().len(), 0);
    let answer = ask(&gate, "GET /api2/json/nodes/pve1/qemu/150", TOKEN, "");
    assert_eq!(answer.status(), "200");
    gate.counts("proxward_gate_refusals_total{rule=\"policy\"}", 2);
}

/// The query overrides the body and a name may be repeated: what is judged is what is sent.
#[test]
fn parameters_are_judged_as_proxmox_ve_will_read_them() {
    let pve = pve();
    let gate = Gate::with(pve.address, policy(KEEP));
    let form = format!("{TOKEN}Content-Type: application/x-www-form-urlencoded\r\n");
    let json = format!("{TOKEN}Content-Type: application/json\r\n");
    for (query, lines, body) in [
        ("", &form, "vmid=150&memory=512"),
        ("", &form, "a=b;vm%69d=0150"),
        ("", &form, "vmid=250&vmid=150"),
        ("?vmid=150", &form, "vmid=250"),
        ("", &json, r#"{"vmid":150}"#),
        ("", &json, r#"{"vm\u0069d":"150"}"#),
    ] {
        let line = format!("POST /api2/json/nodes/pve1/qemu{query}");
        assert_eq!(ask(&gate, &line, lines, body).status(), "403", "{query} {body}");
    }
    assert_eq!(pve.seen().len(), 0);
    let line = "POST /api2/json/nodes/pve1/qemu?vmid=250&_dc=1";
    let answer = ask(&gate, line, &json, r#"{"vmid":150,"net":["a","b&c"],"start":true}"#);
    assert_eq!(answer.status(), "200");
    let seen = pve.seen().pop().unwrap();
    assert_eq!(seen.line, "POST /api2/json/nodes/pve1/qemu HTTP/1.1");
    assert_eq!(seen.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(String::from_utf8(seen.body).unwrap(), "net=a&net=b%26c&start=1&vmid=250");
    for (lines, body) in
        [(&json, "{"), (&json, r#"{"a":{}}"#), (&form.replace("x-www", "y"), "a=b")]
    {
        let answer = ask(&gate, "POST /api2/json/nodes/pve1/qemu", lines, body);
        assert_eq!(answer.status(), "400", "{body}");
    }
    assert_eq!(pve.seen().len(), 1);
}

/// A path that answers the question by itself needs no body: it passes as it is.
#[test]
fn a_call_that_no_rule_is_about_passes_byte_by_byte() {
    let pve = pve();
    let gate = Gate::with(pve.address, policy(KEEP));
    let lines = format!("{TOKEN}Content-Type: text/odd\r\n");
    let line = "PUT /api2/json/nodes/pve1/qemu/250/config?a=b;c";
    assert_eq!(ask(&gate, line, &lines, "x=%zz&&").status(), "200");
    let seen = pve.seen().pop().unwrap();
    assert_eq!(seen.line, format!("{line} HTTP/1.1"));
    assert_eq!(
        (seen.body.as_slice(), seen.header("content-type")),
        (&b"x=%zz&&"[..], Some("text/odd"))
    );
}

/// The form of an upload comes too late to be judged: a denial by its parameters holds for all.
#[test]
fn an_upload_is_denied_by_what_can_not_be_known() {
    let pve = pve();
    let text = r#"{"rule":[{"effect":"deny","params":{"content":"vztmpl"}}]}"#;
    let gate = Gate::with(pve.address, policy(text));
    let lines = format!("{TOKEN}Content-Type: multipart/form-data; boundary=x\r\n");
    let line = "POST /api2/json/nodes/pve1/storage/local/upload";
    assert_eq!(ask(&gate, line, &lines, "--x--").status(), "403");
    assert_eq!(pve.seen().len(), 0);
}

#[test]
fn nobody_learns_of_rules_before_a_login() {
    let pve = pve();
    let text = r#"{"default":"deny","rule":[{"name":"lan only","effect":"deny",
        "methods":["POST"],"except_networks":["192.0.2.0/24"]}]}"#;
    let gate = Gate::with(pve.address, policy(text));
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let answer = ask(&gate, "POST /api2/json/access/ticket", form, "username=a@pve&password=b");
    assert_eq!(answer.line, "HTTP/1.1 401 Authentication failed!");
    assert_eq!((answer.body.as_str(), pve.seen().len()), ("", 0));
    // Neither the interface's files nor what it reads to log in are denied by default.
    assert_eq!(ask(&gate, "GET /pve2/js/pvemanagerlib.js", "", "").status(), "200");
    assert_eq!(ask(&gate, "GET /api2/json/access/domains", "", "").status(), "200");
    assert_eq!(ask(&gate, "GET /api2/json/version", TOKEN, "").status(), "403");
    assert_eq!(ask(&gate, "POST /api2/json/version", TOKEN, "").status(), "403");
}

#[test]
fn a_credential_that_names_nobody_is_refused_where_there_are_rules() {
    let pve = pve();
    let gate = Gate::with(pve.address, policy(KEEP));
    for credential in
        ["Authorization: PVEAPIToken=nonsense\r\n", "Cookie: PVEAuthCookie=nonsense\r\n"]
    {
        assert_eq!(
            ask(&gate, "GET /api2/json/version", credential, "").status(),
            "401",
            "{credential}"
        );
    }
    assert_eq!(pve.seen().len(), 0);
    // As PVE decodes it: the name in a ticket is escaped.
    let text = r#"{"rule":[{"effect":"deny","users":["root@pam"]}]}"#;
    let gate = Gate::with(pve.address, policy(text));
    let ticket = "Cookie: PVEAuthCookie=PVE%3Aro%256ft@pam%3A6B00CE44%3A%3Ax\r\n";
    assert_eq!(ask(&gate, "GET /api2/json/version", ticket, "").status(), "403");
}

#[test]
fn groups_are_needed_at_the_start_and_read_anew() {
    let pve = pve();
    let directory = tempfile::tempdir().unwrap();
    let (users, version) = (directory.path().join("user.cfg"), directory.path().join(".version"));
    let text =
        format!(r#"{{"user_cfg":{users:?},"rule":[{{"effect":"deny","groups":["guests"]}}]}}"#);
    let with = |config: &mut Config| {
        policy(&text)(config);
        config.sessions.version_file = version.clone();
    };
    let error = Gate::try_with(pve.address, with).unwrap_err().to_string();
    assert!(error.contains("rules name groups or roles"), "{error}");
    let account = "user:alice@pve:1:0:::::\n";
    std::fs::write(&users, account).unwrap();
    std::fs::write(&version, r#"{"starttime":1,"user.cfg":1}"#).unwrap();
    let gate = Gate::with(pve.address, with);
    assert_eq!(ask(&gate, "GET /api2/json/version", TOKEN, "").status(), "200");
    std::fs::write(&users, format!("{account}group:guests:alice@pve::\n")).unwrap();
    std::fs::write(&version, r#"{"starttime":1,"user.cfg":2}"#).unwrap();
    let denied = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        ask(&gate, "GET /api2/json/version", TOKEN, "").status() == "403"
    });
    assert!(denied, "the group is not noticed");
}

#[test]
fn what_the_schema_does_not_know_is_refused_in_pves_words() {
    let pve = pve();
    let gate = Gate::with(pve.address, policy(r#"{"schema":"enforce"}"#));
    let form = format!("{TOKEN}Content-Type: application/x-www-form-urlencoded\r\n");
    let answer = ask(&gate, "GET /api2/json/nope", TOKEN, "");
    assert_eq!(answer.line, "HTTP/1.1 501 Method 'GET /nope' not implemented");
    assert_eq!(answer.body, r#"{"data":null,"message":"Method 'GET /nope' not implemented"}"#);
    let config = "PUT /api2/json/nodes/pve1/qemu/150/config";
    let answer = ask(&gate, config, &form, "memory=512&nope=1");
    assert_eq!(answer.line, "HTTP/1.1 400 Parameter verification failed.");
    assert!(answer.body.starts_with(r#"{"data":null,"errors":{"nope":"#), "{answer:?}");
    let extjs = ask(&gate, &config.replace("json", "extjs"), &form, "nope=1");
    assert_eq!((extjs.status(), extjs.body.contains(r#""success":0"#)), ("200", true));
    assert_eq!(pve.seen().len(), 0);
    assert_eq!(ask(&gate, config, &form, "memory=512;cores=2").status(), "200");
    assert_eq!(pve.seen().pop().unwrap().body, b"memory=512&cores=2");
    // An upload's parameters come too late; where nobody is known, Proxmox VE refuses.
    let upload = "POST /api2/json/nodes/pve1/storage/local/upload";
    let multipart = format!("{TOKEN}Content-Type: multipart/form-data; boundary=x\r\n");
    assert_eq!(ask(&gate, upload, &multipart, "--x--").status(), "200");
    assert_eq!(ask(&gate, "GET /api2/json/version?nope=1", "", "").status(), "200");
}

#[test]
fn a_report_changes_nothing() {
    let pve = pve();
    let gate = Gate::with(pve.address, policy(r#"{"schema":"report"}"#));
    let form = format!("{TOKEN}Content-Type: text/odd\r\n");
    let config = "PUT /api2/json/nodes/pve1/qemu/150/config?nope=1;x";
    assert_eq!(ask(&gate, config, &form, "a=%zz").status(), "200");
    let seen = pve.seen().pop().unwrap();
    assert_eq!((seen.line, seen.body), (format!("{config} HTTP/1.1"), b"a=%zz".to_vec()));
}
