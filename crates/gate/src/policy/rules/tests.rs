use std::cell::OnceCell;

use super::*;
use crate::login::{Kind, Params, Shape};
use crate::policy::accounts::Accounts;
use crate::policy::pattern::Segments;
use crate::policy::rule::{Factors, Given, Who};

/// Saturday, 21 November 2026, 06:00 UTC.
const NOW: u64 = 1_795_240_800;

/// Rules of a JSON list.
fn rules(list: &str) -> PolicyRules {
    settings(&format!("{{\"rule\":{list}}}")).check().unwrap()
}

fn settings(text: &str) -> PolicySettings {
    serde_json::from_str(text).unwrap()
}

fn accounts() -> Accounts {
    Accounts::parse("user:a@pve:1:0:::::\ngroup:ops:a@pve::\nacl:1:/:@ops:PVEAdmin:\n").unwrap()
}

/// `METHOD PATH [USER[!TOKEN]] [from ADDRESS]` and a form.
fn decide(rules: &PolicyRules, call: &str, form: &str) -> String {
    let mut words = call.split(' ');
    let method = Verb::from_http(words.next().unwrap()).unwrap();
    let path = words.next().unwrap();
    let caller = words.next().unwrap_or("b@pve");
    let client = words.nth(1).unwrap_or("192.0.2.1").parse().unwrap();
    let params = Params::read((Kind::Form, Shape::CALL), form.as_bytes(), None).unwrap();
    let (accounts, segments) = (accounts(), Segments::of(path).unwrap());
    let (user, token) = match caller.rsplit_once('!') {
        Some((user, _)) => (user, Some(caller)),
        None => (caller, None),
    };
    let who = (caller != "nobody").then_some(Who { user, token });
    let asked = |params| Question {
        method,
        path: &segments,
        who,
        client,
        now: NOW,
        accounts: &accounts,
        params,
        factors: Factors::default(),
        found: OnceCell::new(),
    };
    let text = |decision: Decision<'_>| match decision {
        Decision::Allow(by) => format!("allow by {}", by.text()),
        Decision::Deny(by) => format!("deny by {}", by.text()),
        Decision::NeedsParameters => "parameters".to_owned(),
        other => format!("{other:?}"),
    };
    let unread = text(rules.decide(&asked(Given::Unread), who.is_none()));
    let read = text(rules.decide(&asked(Given::All(&params)), who.is_none()));
    assert!(unread == "parameters" || unread == read, "{unread}, then {read}");
    read
}

#[test]
fn the_first_rule_that_is_about_a_call_decides() {
    let rules = rules(
        r#"[{"effect":"allow","name":"mine","path":"/nodes/*/qemu/100/**","users":["b@pve"]},
            {"effect":"deny","path":"/nodes/*/qemu/**","methods":["POST","DELETE"]},
            {"effect":"allow","path":"/nodes/**"}]"#,
    );
    assert_eq!(decide(&rules, "DELETE /nodes/a/qemu/100", ""), "allow by rule 'mine'");
    assert_eq!(decide(&rules, "DELETE /nodes/a/qemu/100 a@pve", ""), "deny by rule 'rule 2'");
    assert_eq!(decide(&rules, "GET /nodes/a/qemu/100 a@pve", ""), "allow by rule 'rule 3'");
    assert_eq!(decide(&rules, "GET /version", ""), "allow by the default");
    let execute = decide(&rules, "POST /nodes/a/execute", "");
    assert!(execute.starts_with("deny by allow_execute"), "{execute}");
}

#[test]
fn who_from_where_and_when() {
    let deny = |what: &str| rules(&format!("[{{\"effect\":\"deny\",{what}}}]"));
    for (what, yes, no) in [
        (r#""users":["*@pve"]"#, "GET /x b@pve", "GET /x root@pam"),
        (r#""users":["b@pve"]"#, "GET /x b@pve!ci", "GET /x nobody"),
        (r#""tokens":["*"]"#, "GET /x b@pve!ci", "GET /x b@pve"),
        (r#""groups":["ops"]"#, "GET /x a@pve", "GET /x b@pve"),
        (r#""roles":["PVEAdmin"]"#, "GET /x a@pve!t", "GET /x root@pam"),
        (r#""roles":["Administrator"]"#, "GET /x root@pam", "GET /x a@pve"),
        (r#""except_groups":["ops"]"#, "GET /x b@pve", "GET /x a@pve"),
        (r#""except_users":["b@pve"]"#, "GET /x a@pve", "GET /x b@pve!ci"),
        // Somebody who is not known is not an exception from anybody.
        (r#""except_users":["b@pve"]"#, "GET /x a@pve", "GET /x nobody"),
        (
            r#""networks":["198.51.100.0/24"]"#,
            "GET /x b@pve from 198.51.100.9",
            "GET /x b@pve from 192.0.2.1",
        ),
        (
            r#""except_networks":["198.51.100.0/24"]"#,
            "GET /x nobody from 192.0.2.1",
            "GET /x b@pve from 198.51.100.9",
        ),
        (r#""times":["mon 08:00-09:00","sat"]"#, "GET /x", "GET /x/ nobody nothing"),
    ] {
        let rules = deny(what);
        assert_eq!(decide(&rules, yes, ""), "deny by rule 'rule 1'", "{what} {yes}");
        if !no.ends_with("nothing") {
            assert_eq!(decide(&rules, no, ""), "allow by the default", "{what} {no}");
        }
    }
    assert_eq!(decide(&deny(r#""times":["sun"]"#), "GET /x", ""), "allow by the default");
}

#[test]
fn parameters_of_path_query_and_body() {
    let rules = rules(
        r#"[{"effect":"deny","params":{"vmid":"100-199"}},
            {"effect":"allow","path":"/pools","params":{"comment":"ok*"}},
            {"effect":"deny","path":"/pools","methods":["POST"]}]"#,
    );
    let deny = "deny by rule 'rule 1'";
    assert_eq!(decide(&rules, "GET /nodes/a/qemu/150/config", ""), deny);
    assert_eq!(decide(&rules, "GET /nodes/a/lxc/200/config", ""), "allow by the default");
    assert_eq!(decide(&rules, "POST /nodes/a/qemu", "vmid=0150"), deny);
    // One of several is enough to deny, and all have to fit to allow.
    assert_eq!(decide(&rules, "POST /nodes/a/qemu", "vmid=9;vmid=150"), deny);
    assert_eq!(decide(&rules, "POST /pools", "comment=ok1"), "allow by rule 'rule 2'");
    assert_eq!(decide(&rules, "POST /pools", "comment=ok&comment=no"), "deny by rule 'rule 3'");
    assert_eq!(decide(&rules, "POST /pools", ""), "deny by rule 'rule 3'");
}

#[test]
fn what_can_not_be_read_counts_against_the_caller() {
    let rules = rules(
        r#"[{"effect":"allow","path":"/nodes/*/storage/*/upload","params":{"content":"iso"}},
            {"effect":"deny","path":"/nodes/*/storage/*/upload","params":{"content":"vztmpl"}}]"#,
    );
    let segments = Segments::of("/nodes/a/storage/b/upload").unwrap();
    let (accounts, none) = (Accounts::default(), Params::default());
    let asked = Question {
        method: Verb::Post,
        path: &segments,
        who: None,
        client: "192.0.2.1".parse().unwrap(),
        now: NOW,
        accounts: &accounts,
        params: Given::Partly(&none),
        factors: Factors::default(),
        found: OnceCell::new(),
    };
    assert_eq!(rules.decide(&asked, false), Decision::Deny(By::Rule("rule 2")));
}

#[test]
fn profiles_come_before_rules() {
    let text = r#"{"profiles":["no-shell"],
        "profile":[{"profiles":["read-only"],"networks":["198.51.100.0/24"],"except_groups":["ops"]}],
        "rule":[{"effect":"allow","path":"/**"}]}"#;
    let rules = settings(text).check().unwrap();
    let shell = decide(&rules, "POST /nodes/a/termproxy", "");
    assert_eq!(shell, "deny by profile 'no-shell', as it opens a shell of the node");
    let guest = |call: &str| decide(&rules, call, "");
    assert_eq!(
        guest("PUT /pools b@pve from 198.51.100.1"),
        "deny by profile 'read-only', as it changes something"
    );
    assert_eq!(guest("PUT /pools a@pve from 198.51.100.1"), "allow by rule 'rule 1'");
    assert_eq!(guest("PUT /pools b@pve from 192.0.2.1"), "allow by rule 'rule 1'");
}

#[test]
fn denied_by_default_still_lets_people_log_in() {
    let rules = settings(r#"{"default":"deny","rule":[{"effect":"allow","path":"/version"}]}"#);
    let rules = rules.check().unwrap();
    assert_eq!(decide(&rules, "GET /version", ""), "allow by rule 'rule 1'");
    assert_eq!(decide(&rules, "GET /nodes", ""), "deny by the default");
    assert_eq!(decide(&rules, "POST /access/ticket nobody", "username=x"), "allow by the default");
}

#[test]
fn faults_name_their_key() {
    for (text, key) in [
        (r#"{"rule":[{"path":"/x"}]}"#, "rule[0].effect"),
        (r#"{"rule":[{"effect":"deny"},{"effect":"deny","path":"x"}]}"#, "rule[1].path"),
        (r#"{"rule":[{"effect":"deny","methods":["get"]}]}"#, "rule[0].methods"),
        (r#"{"rule":[{"effect":"deny","networks":["10.0.0.1/8"]}]}"#, "rule[0].networks"),
        (r#"{"rule":[{"effect":"deny","times":["never"]}]}"#, "rule[0].times"),
        (r#"{"rule":[{"effect":"deny","users":["root"]}]}"#, "rule[0].users"),
        (r#"{"rule":[{"effect":"deny","params":{"a":""}}]}"#, "rule[0].params"),
        (r#"{"rule":[{"effect":"deny","name":"a'b"}]}"#, "rule[0].name"),
        (r#"{"rule":[{"effect":"deny","profiles":["no-shell"]}]}"#, "rule[0].profiles"),
        (r#"{"profiles":["noshell"]}"#, "profiles"),
        (r#"{"profile":[{}]}"#, "profile[0].profiles"),
        (r#"{"profile":[{"profiles":["no-shell"],"path":"/x"}]}"#, "profile[0].path"),
        (r#"{"release":7}"#, "release"),
    ] {
        assert_eq!(settings(text).check().unwrap_err().0, key, "{text}");
    }
    for text in [r#"{"rules":[]}"#, r#"{"default":"maybe"}"#, r#"{"rule":[{"user":"a@pve"}]}"#] {
        assert!(serde_json::from_str::<PolicySettings>(text).is_err(), "{text}");
    }
    assert!(PolicySettings::default().check().unwrap().is_empty());
}
