use std::io::{Read as _, Write as _};
use std::time::Duration;

use broker_api::{Answer, Code, Outcome, Request, frame};
use serde_json::{Value, json};
use telemetry::audit::{Expected, Head, Key, Reason, Verdict, verify_keyed};

use crate::harness::{Broker, code, done};

#[test]
fn both_protocols_answer_and_the_table_describes_itself() {
    let broker = Broker::start("");
    let answer = broker.call(Request::new("broker.status"));
    assert_eq!(done(&answer)["protocol"], 1);
    assert_eq!(done(&answer)["capabilities"], json!(["admin", "read", "write"]));
    let described = broker.call(Request::new("broker.describe"));
    let verbs = done(&described)["verbs"].as_array().unwrap();
    assert_eq!(verbs.len(), broker_api::VERBS.len());
    let pulse = broker.pulse(r#"{"method":"get_status"}"#);
    assert_eq!((&pulse["success"], &pulse["data"]["protocol"]), (&json!(true), &json!(1)));
    let line = r#"{"method":"get_temperature","params":{"node":"localhost"},"correlation_id":"123e4567-e89b-12d3-a456-426614174000"}"#;
    let pulse = broker.pulse(line);
    assert_eq!(pulse["correlation_id"], "123e4567-e89b-12d3-a456-426614174000");
    let text = pulse["data"]["temperature"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(text).unwrap().is_object());
}

#[test]
fn a_host_without_sensors_says_why() {
    let broker = Broker::start("");
    let answer = broker.call(Request::new("sensors.read"));
    let model = done(&answer);
    let nothing = model["chips"] == json!([]) && model["zones"] == json!([]);
    assert_eq!(nothing, model["reason"].is_string(), "{model}");
    assert!(model["age_ms"].is_u64());
}

#[test]
fn this_node_and_its_cluster() {
    let broker = Broker::start("");
    let status = broker.call(Request::new("node.status"));
    assert!(done(&status)["uptime_s"].as_f64().unwrap() > 0.0);
    let members = broker.call(Request::new("cluster.members"));
    assert!(done(&members)["source"].is_string());
    let mut seen = 0;
    let request = Request::new("guests.cpu").with("samples", 3).with("interval_ms", 100);
    let last = broker.client().call(request, |_| seen += 1).unwrap();
    assert_eq!(seen, 2);
    assert!(done(&last)["guests"].is_object());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let broker = Broker::start("limits = { burst = 1000 }");
    let mut stream = broker.connect();
    let mut bytes = Vec::new();
    for id in 0..200 {
        let mut request = Request::new("broker.status");
        request.id = Some(id);
        frame::push(&mut bytes, request.to_json().as_bytes()).unwrap();
    }
    let mut writer = stream.try_clone().unwrap();
    let sent = std::thread::spawn(move || writer.write_all(&bytes).unwrap());
    let (mut read, mut next) = (Vec::new(), 0);
    while next < 200 {
        let mut part = [0; 65536];
        let length = stream.read(&mut part).unwrap();
        assert_ne!(length, 0);
        read.extend_from_slice(&part[..length]);
        while let Some((body, used)) = frame::answer(&read).unwrap() {
            let answer = Answer::from_value(&serde_json::from_slice(body).unwrap()).unwrap();
            assert_eq!((answer.id, answer.seq), (Some(next), next + 1));
            read.drain(..used);
            next += 1;
        }
    }
    sent.join().unwrap();
}

#[test]
fn every_refusal_has_its_code_and_the_clients_correlation_id() {
    let broker = Broker::start("");
    let mut request = Request::new("sensors.raed");
    request.correlation_id = Some("my-own-id".parse().unwrap());
    let answer = broker.call(request);
    assert_eq!((code(&answer), &*answer.correlation_id), (5, "my-own-id"));
    let wrong = broker.call(Request::new("sensors.read").with("nodes", "x"));
    assert_eq!(code(&wrong), u64::from(Code::InvalidParameter.number()));

    let raw = |bytes: &[u8]| {
        let mut stream = broker.connect();
        stream.write_all(bytes).unwrap();
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut read = Vec::new();
        stream.read_to_end(&mut read).unwrap();
        let (body, _) = frame::answer(&read).unwrap().unwrap();
        Answer::from_value(&serde_json::from_slice(body).unwrap()).unwrap()
    };
    let framed = |text: &str| {
        let mut bytes = Vec::new();
        frame::push(&mut bytes, text.as_bytes()).unwrap();
        bytes
    };
    for (bytes, expected) in [
        (framed(""), Code::EmptyRequest),
        (framed(r#"{"v":1,"verb":"broker.status","verb":"keys.rotate"}"#), Code::InvalidJson),
        (framed(r#"{"v":1,"verb":"broker.status"} {}"#), Code::InvalidJson),
        (framed(r#"{"v":9,"verb":"broker.status"}"#), Code::InvalidRequest),
        (vec![0, 255, 255, 255], Code::PayloadTooLarge),
    ] {
        assert_eq!(code(&raw(&bytes)), u64::from(expected.number()), "{expected:?}");
    }
    for (line, error) in [
        ("", "empty request"),
        ("{", "invalid request format"),
        (r#"{"method":"get_status","method":"x"}"#, "invalid request format"),
        (r#"{"method":"nonsense"}"#, "unknown method"),
        (r#"{"method":"get_temperature"}"#, "missing 'node' parameter"),
        (
            r#"{"method":"get_temperature","params":{"node":1}}"#,
            "'node' parameter must be a string",
        ),
        (r#"{"method":"get_temperature","params":{"node":"-x"}}"#, "invalid node name"),
    ] {
        // A broker of its own: what came before was paid for.
        let fresh = Broker::start("");
        assert_eq!(fresh.pulse(line)["error"], error, "{line}");
    }
}

#[test]
fn an_offender_pays_and_says_when_it_may_ask_again() {
    let broker = Broker::start("limits = { burst = 30, per_second = 1.0 }");
    assert_eq!(code(&broker.call(Request::new("no.such"))), 5);
    let mut refused = None;
    for _ in 0..30 {
        let answer = broker.call(Request::new("broker.status"));
        if let Outcome::Refused { code, retryable, retry_after_ms, .. } = answer.outcome {
            refused = Some((code, retryable, retry_after_ms.unwrap_or(0)));
            break;
        }
    }
    let (code, retryable, after) = refused.expect("the debt bites before the burst is spent");
    assert_eq!((code, retryable), (30, true));
    assert!(after > 0);
}

#[test]
fn a_client_that_waits_for_each_answer_is_never_refused_under_its_limit() {
    let limits =
        "limits = { burst = 100000, per_second = 100000.0, under_way_per_peer = 1, under_way = 1 }";
    let broker = Broker::start(limits);
    for _ in 0..500 {
        done(&broker.call(Request::new("broker.status")));
    }
    let mut client = broker.client();
    for _ in 0..3000 {
        done(&client.call(Request::new("broker.status"), |_| {}).unwrap());
    }
}

#[test]
fn the_log_goes_on_over_restarts_and_shows_what_was_done_to_it() {
    let broker = Broker::start("");
    for _ in 0..5 {
        broker.call(Request::new("broker.status"));
    }
    let broker = Broker::start_in(broker.end(), "");
    broker.call(Request::new("node.status"));
    let dir = broker.end();
    let text = std::fs::read_to_string(dir.path().join("log/audit.jsonl")).unwrap();
    let read = |name: &str| std::fs::read(dir.path().join("state").join(name)).unwrap();
    let key = Key::new(&read("audit.key")).unwrap();
    let head: Head = String::from_utf8(read("audit.head")).unwrap().trim().parse().unwrap();
    let verdict = |text: &str| {
        let expected = Expected { head: Some(head), ..Expected::default() };
        verify_keyed(text.as_bytes(), &expected, &key).unwrap()
    };
    assert_eq!(verdict(&text), Verdict::Intact { records: 10, head });
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let kinds: Vec<bool> = lines.iter().map(|line| line.contains("broker.call")).collect();
    assert_eq!(kinds.iter().filter(|call| **call).count(), 6);
    let flipped = text.replacen("broker.status", "broker.statut", 1);
    assert!(matches!(verdict(&flipped), Verdict::Broken { reason: Reason::Edited, .. }));
    let dropped = [&lines[..3], &lines[4..]].concat().concat();
    assert!(matches!(verdict(&dropped), Verdict::Broken { reason: Reason::Gap { .. }, .. }));
    let cut = lines[..9].concat();
    assert!(matches!(verdict(&cut), Verdict::Broken { reason: Reason::TailMissing { .. }, .. }));
}

#[test]
fn a_reload_is_taken_over_whole_or_not_at_all() {
    let mut broker = Broker::start("");
    assert_eq!(
        code(&broker.call(Request::new("file.read").with("root", "x").with("path", "a"))),
        44
    );
    let at = broker.dir.path().to_owned();
    crate::harness::config(&at, "sokcet = 'typo'");
    broker.signal("-HUP");
    let line = broker.wait_for("the configuration before stays");
    assert!(line.contains("did you mean"), "{line}");
    done(&broker.call(Request::new("node.status")));
    let rules = "[[broker.allow]]\npeer = ['uid:0']\nmay = ['broker.status']\n";
    let path = crate::harness::config(&at, "");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}{rules}")).unwrap();
    broker.signal("-HUP");
    broker.wait_for("was taken over");
    assert_eq!(code(&broker.call(Request::new("node.status"))), 21);
    done(&broker.call(Request::new("broker.status")));
}

#[test]
fn it_ends_in_order_with_nothing_left() {
    let broker = Broker::start("");
    done(&broker.call(Request::new("node.status")));
    let idle = broker.connect();
    let pid = broker.pid().to_string();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    assert_eq!(children.split_whitespace().count(), 2, "listener and reader");
    let dir = broker.end();
    for child in children.split_whitespace() {
        assert!(!std::path::Path::new(&format!("/proc/{child}")).exists());
    }
    assert!(!dir.path().join("s/broker.sock").exists());
    idle.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert_eq!((&idle).read(&mut [0]).unwrap(), 0, "an idle peer sees the end");
}
