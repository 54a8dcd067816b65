use std::time::Duration;

use proptest::prelude::*;
use pve_schema::{Schema, Verb};

use super::*;

fn armed(text: &str) -> Armed {
    Faults::parse("f", text, Form::Toml).unwrap().arm(Schema::v9()).unwrap()
}

fn refused(text: &str) -> String {
    let read = Faults::parse("f", text, Form::Toml);
    read.and_then(|faults| faults.arm(Schema::v9())).unwrap_err().to_string()
}

fn meets(armed: &Armed, verb: Verb, path: &str, user: &str) -> Option<&'static str> {
    let at = Schema::v9().find(path).unwrap();
    armed.decide(verb, &at, user).map(|injected| injected.effect.name())
}

#[test]
fn the_first_rule_that_is_due_decides() {
    let armed = armed(
        "[[rules]]\nverb = 'post'\npath = '/nodes/{node}/qemu/{vmid}/status/start'\nafter = 1\n\
         times = 2\nlock = 'file'\n\n[[rules]]\npath = '/nodes/**'\nuser = 'root@pam'\nstatus = 595\n",
    );
    let start = |user| meets(&armed, Verb::Post, "/nodes/pve1/qemu/100/status/start", user);
    let names: Vec<_> = (0..4).map(|_| start("root@pam!ci")).collect();
    assert_eq!(names, [Some("status"), Some("lock"), Some("lock"), Some("status")]);
    assert_eq!(start("root@pamela"), None);
    assert_eq!(meets(&armed, Verb::Get, "/nodes/pve1/qemu", "root@pam"), Some("status"));
    assert_eq!(meets(&armed, Verb::Get, "/version", "root@pam"), None);
}

#[test]
fn chance_is_the_same_in_every_run() {
    let run = |seed: u64| -> Vec<bool> {
        let text =
            format!("seed = {seed}\n[[rules]]\npath = '/**'\nprobability = 0.25\nstatus = 503\n");
        let armed = armed(&text);
        (0..400).map(|_| meets(&armed, Verb::Get, "/version", "").is_some()).collect()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
    let hits = run(7).iter().filter(|hit| **hit).count();
    assert!((60..140).contains(&hits), "{hits}");
}

#[test]
fn waiting_is_within_its_span() {
    let armed = armed("[[rules]]\npath = '/version'\nlatency = { min = '100ms', max = '2s' }\n");
    let at = Schema::v9().find("/version").unwrap();
    for _ in 0..100 {
        let waits = armed.decide(Verb::Get, &at, "").unwrap().latency.unwrap();
        assert!(waits >= Duration::from_millis(100) && waits < Duration::from_secs(2));
    }
}

#[test]
fn a_guests_lock_meets_guests_only() {
    let armed = armed("[[rules]]\npath = '/nodes/**'\nlock = 'backup'\n");
    assert_eq!(meets(&armed, Verb::Get, "/nodes/pve1/status", ""), None);
    assert_eq!(meets(&armed, Verb::Get, "/nodes/pve1/lxc/200/config", ""), Some("lock"));
}

#[test]
fn mistakes_are_named() {
    let rule = |rest: &str| format!("[[rules]]\npath = '/version'\n{rest}\n");
    for (text, wanted) in [
        (rule("statsu = 500"), "f:3: rules[0].statsu: unknown key; did you mean status?"),
        (rule("status = 404"), "f:3: rules[0].status: expected a whole number from 500 to 599"),
        (rule("status = 560"), "f:3: rules[0].status: no known words for 560; add reason"),
        (rule("status = 500\ncut = 1"), "f:4: rules[0].cut: a second effect"),
        (rule(""), "f:1: rules[0]: a rule without an effect"),
        (rule("latency = '301s'"), "f:3: rules[0].latency: longer than 300 s"),
        (rule("latency = 'soon'"), "f:3: rules[0].latency: no time"),
        (rule("latency = { min = '2s', max = '1s' }"), "f:3: rules[0].latency: max is less"),
        (rule("status = 500\nprobability = 2"), "f:4: rules[0].probability: expected a number"),
        (rule("status = 500\nverb = 'PATCH'"), "f:4: rules[0].verb: no verb: PATCH"),
        (
            rule("status = 500\nverb = 'POST'"),
            "f:1: rules[0]: /version has no such verb; it has GET",
        ),
        (rule("status = 500\nreason = \"a\\r\\nb: c\""), "f:4: rules[0].reason: expected one line"),
        (rule("reason = 'x'\nlatency = '1s'"), "f:3: rules[0].reason: unknown key"),
        (rule("lock = 'x'"), "f:3: rules[0].lock: no lock: x; use one of: backup"),
        (rule("lock = 'file'"), "f:1: rules[0]: a guest's lock, and /version leads to no guest"),
        (rule("task = 'OK'"), "f:3: rules[0].task: OK is success"),
        (rule("slow = { bytes = 0, every = '1s' }"), "f:3: rules[0].slow.bytes: expected"),
        (rule("drop = 'all'"), "f:3: rules[0].drop: expected \"request\""),
        ("[[rules]]\nstatus = 500".to_owned(), "f:1: rules[0].path: required and not there"),
        (
            "[[rules]]\npath = '/node/*'\nstatus = 500".to_owned(),
            "f:1: rules[0]: the path /node/* is none",
        ),
        ("[[rule]]\n".to_owned(), "f:1: rule: unknown key; did you mean rules?"),
    ] {
        let error = refused(&text);
        assert!(error.starts_with(wanted), "{text}\n{error}\n{wanted}");
    }
}

proptest! {
    #[test]
    fn any_file_is_answered(rest in "[a-z0-9 ='\"{}\\[\\]/*,.\n]{0,120}") {
        let text = format!("[[rules]]\npath = '/**'\n{rest}");
        if let Ok(faults) = Faults::parse("f", &text, Form::Toml) {
            let _ = faults.arm(Schema::v9());
        }
    }
}
