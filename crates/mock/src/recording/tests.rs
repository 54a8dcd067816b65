use proptest::prelude::*;
use serde_json::{Value, json};

use super::upstream::parse;
use super::*;
use crate::wire::{Head, Response};
use std::time::Duration;

const HEAD: &str = "{\"proxward_recording\":1}\n";

fn head(method: &str, target: &str) -> Head {
    let headers = vec![("Authorization".to_owned(), "PVEAPIToken=a@pve!b=canary".to_owned())];
    Head { method: method.into(), target: target.into(), minor: 1, headers }
}

fn parameters(value: Value) -> pve_schema::Params {
    serde_json::from_value(value).unwrap()
}

fn line(target: &str, given: Value, body: &str) -> Option<String> {
    let head = head("POST", target);
    let response = Response { body: body.into(), ..Response::bare(200, "OK") };
    let key = Key::of(&head, parameters(given));
    let exchange = Exchange::of(&head, &key, &response, Duration::from_millis(7))?;
    Some(serde_json::to_string(&exchange).unwrap())
}

fn refused(text: &str) -> String {
    Recording::parse("r", text).unwrap_err().to_string()
}

#[test]
fn secrets_do_not_reach_a_line() {
    for (target, given, body) in [
        ("/api2/json/access/users", json!({ "userid": "a@pve", "password": "canary" }), json!({})),
        (
            "/api2/json/access/users/a@pve/token/b",
            json!({}),
            json!({ "data": { "full-tokenid": "a@pve!b", "value": "canary" } }),
        ),
        (
            "/api2/json/nodes/p/termproxy",
            json!({}),
            json!({ "data": { "ticket": "PVEVNC:6B00::canary" } }),
        ),
        (
            "/api2/json/access/tfa/a@pve",
            json!({ "value": "canary", "totp": "otpauth://totp/x?secret=canary" }),
            json!({ "data": { "recovery": ["canary"] } }),
        ),
        (
            "/api2/json/cluster/acme/plugins",
            json!({ "data": "canary" }),
            json!({ "data": [{ "data": "canary" }] }),
        ),
        ("/api2/json/nodes/p/qemu/1/config", json!({ "cipassword": "canary" }), json!({})),
    ] {
        let line = line(target, given, &body.to_string()).unwrap();
        assert!(!line.contains("canary"), "{line}");
    }
    assert_eq!(line("/api2/json/access/ticket", json!({}), "{}"), None);
}

#[test]
fn what_holds_no_secret_stays_byte_for_byte() {
    let body = "{\"data\": {\"b\": 1,\n \"a\": [true, 1.50]}}";
    let line: Value =
        serde_json::from_str(&line("/api2/json/x", json!({}), body).unwrap()).unwrap();
    assert_eq!((&line["body"], &line["elapsed_ms"]), (&json!(body), &json!(7)));
    assert_eq!(line["path"], "/api2/json/x");
}

#[test]
fn answers_come_in_order_and_the_last_one_stays() {
    let exchange = |body: &str, given: Value| {
        json!({ "method": "GET", "path": "//api2/json/x/", "parameters": given, "status": 200,
                "reason": "OK", "body": body })
    };
    let lines = [
        exchange("1", json!({ "a": "1" })),
        exchange("other", json!({ "a": "2" })),
        exchange("2", json!({ "a": true })),
    ];
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let recording = Recording::parse("r", &format!("{HEAD}{text}")).unwrap();
    assert_eq!(recording.len(), 2);
    let ask = |given| {
        let key = Key::of(&head("GET", "/api2/json//x?_=1"), parameters(given));
        recording.answer(&key).map(|answer| String::from_utf8(answer.body).unwrap())
    };
    let answers: Vec<_> = (0..4).filter_map(|_| ask(json!({ "a": 1 }))).collect();
    assert_eq!(answers, ["1", "2", "2", "2"]);
    assert_eq!(ask(json!({ "a": 3 })), None);
}

#[test]
fn other_files_are_refused_with_their_line() {
    for (text, wanted) in [
        (String::new(), "r:1: no recording"),
        ("[]\n".to_owned(), "r:1: no recording"),
        ("{\"proxward_recording\":2}\n".to_owned(), "r:1: version 2"),
        (format!("{HEAD}{{"), "r:2: EOF"),
        (
            format!("{HEAD}{{\"method\":\"GET\",\"path\":\"/\",\"status\":200,\"x\":1}}"),
            "r:2: unknown field `x`",
        ),
        (format!("{HEAD}{{\"method\":\"GET\",\"path\":\"/\",\"status\":99}}"), "r:2: no status"),
        (
            format!(
                "{HEAD}{{\"method\":\"GET\",\"path\":\"/\",\"status\":200,\"headers\":{{\"x\":\"y\"}}}}"
            ),
            "r:2: a header",
        ),
        (
            format!(
                "{HEAD}{{\"method\":\"GET\",\"path\":\"/\",\"status\":200,\"body_base64\":\"?\"}}"
            ),
            "r:2: body_base64",
        ),
    ] {
        let error = refused(&text);
        assert!(error.starts_with(wanted), "{text}\n{error}");
    }
}

#[test]
fn answers_of_servers_are_read() {
    let answer = parse(
        b"HTTP/1.0 500 no such file 'x'\r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\nabc",
    );
    let answer = answer.unwrap();
    assert_eq!((answer.status, &*answer.reason), (500, "no such file 'x'"));
    assert_eq!((answer.content_type.as_deref(), answer.body.as_slice()), (Some("a/b"), &b"ab"[..]));
    for wrong in [
        &b"HTTP/1.0 200 OK\r\n"[..],
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.0 100 Continue\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        parse(wrong).unwrap_err();
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(path in "/[a-z/:@]{0,20}", name in "[a-z]{1,6}", value in "\\PC{0,12}", body: Vec<u8>) {
        let head = head("PUT", "/");
        let given = serde_json::Map::from_iter([(name, json!(value))]);
        let key = Key::new("PUT", &path, given);
        let response = Response { body, ..Response::bare(200, "OK") };
        if let Some(exchange) = Exchange::of(&head, &key, &response, Duration::ZERO) {
            let line = serde_json::to_string(&exchange).unwrap();
            let recording = Recording::parse("r", &format!("{HEAD}{line}\n")).unwrap();
            prop_assert!(recording.answer(&key).is_some(), "{line}");
        }
    }

    #[test]
    fn any_text_is_answered(text in "\\PC{0,80}") {
        let _ = Recording::parse("r", &text);
        let _ = Recording::parse("r", &format!("{HEAD}{text}"));
        let _ = parse(text.as_bytes());
    }
}
