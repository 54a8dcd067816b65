use std::cell::OnceCell;
use std::net::Ipv4Addr;

use proptest::prelude::*;
use pve_schema::{Method, Schema};

use super::*;
use crate::login::{Kind, Params, Shape};
use crate::policy::accounts::Accounts;
use crate::policy::pattern::Segments;
use crate::policy::rule::{Factors, Given, Who};

/// Which row of a profile denies a call, with these parameters.
fn denied(profile: &Profile, verb: Verb, path: &str, form: &str) -> Option<&'static Row> {
    let params = Params::read((Kind::Form, Shape::CALL), form.as_bytes(), None).unwrap();
    let (accounts, segments) = (Accounts::default(), Segments::of(path).unwrap());
    let asked = Question {
        method: verb,
        path: &segments,
        who: Some(Who { user: "a@pve", token: None }),
        client: Ipv4Addr::LOCALHOST.into(),
        now: 0,
        accounts: &accounts,
        params: Given::All(&params),
        factors: Factors::default(),
        found: OnceCell::new(),
    };
    profile.denies(&asked).unwrap()
}

/// A path that the template leads to.
fn example(template: &str) -> String {
    let part = |part: &str| match part.strip_prefix('{') {
        Some(_) => "x".to_owned(),
        None => part.to_owned(),
    };
    template.split('/').map(part).collect::<Vec<_>>().join("/")
}

fn profile(name: &str) -> Profile {
    Profile::named(name, Matcher::default()).unwrap()
}

fn methods() -> impl Iterator<Item = &'static Method> {
    Schema::v9().methods().chain(Schema::v8().methods())
}

/// What the gate answers by itself, and the broker's verbs.
fn own_calls() -> impl Iterator<Item = (Verb, String)> {
    const OWN: [&str; 3] = ["logout", "api/step-up", "api/policy/confirm"];
    let own = OWN.map(|path| (Verb::Post, format!("/proxward/{path}")));
    own.into_iter().chain(verbs())
}

fn verbs() -> impl Iterator<Item = (Verb, String)> {
    crate::api::api_rows().iter().map(|row| {
        let path = example(&format!("/proxward/api/{}", row.path));
        (Verb::from_http(row.method).unwrap(), path)
    })
}

#[test]
fn every_row_compiles_and_decides_about_some_call() {
    for table in &PROFILES {
        for (at, row) in table.rows.iter().enumerate() {
            Pattern::parse(row.path).unwrap();
            assert!(row.param.is_none_or(|(_, values)| Values::parse(values).is_ok()));
            let whole = profile(table.name);
            let mut without = profile(table.name);
            without.rows.remove(at);
            let own = own_calls();
            let calls = methods().map(|method| (method.verb(), example(method.path())));
            let form = row.param.map(|(name, _)| format!("{name}=1")).unwrap_or_default();
            let alive = calls.chain(own).any(|(verb, path)| {
                let verdict = |profile| denied(profile, verb, &path, &form).map(|row| row.reason);
                verdict(&whole) != verdict(&without)
            });
            assert!(alive, "{}: {} decides nothing", table.name, row.text());
        }
    }
}

#[test]
fn read_only_leaves_reads_and_logins() {
    const LOGINS: [&str; 4] =
        ["/access/ticket", "/access/openid/login", "/access/openid/auth-url", "/access/vncticket"];
    let profile = profile("read-only");
    for method in methods() {
        let reads = method.verb() == Verb::Get && !method.path().ends_with("websocket");
        let allowed = reads || LOGINS.contains(&method.path());
        let row = denied(&profile, method.verb(), &example(method.path()), "");
        assert_eq!(row.is_none(), allowed, "{} {}", method.verb(), method.path());
    }
}

#[test]
fn the_brokers_verbs_are_no_way_around_a_profile() {
    let (read_only, no_shell) = (profile("read-only"), profile("no-shell"));
    for (verb, path) in verbs() {
        let row = denied(&read_only, verb, &path, "");
        assert_eq!(row.is_none(), verb == Verb::Get, "{verb} {path}");
        let row = denied(&no_shell, verb, &path, "");
        let shell = path.contains("/commands/") || path.contains("/files/");
        assert_eq!(row.is_some(), shell, "{verb} {path}");
    }
}

/// Whatever of the schema has to do with a console, a shell or a program in a guest.
#[test]
fn no_shell_knows_every_way_in() {
    const WORDS: [&str; 12] = [
        "vncproxy",
        "vncshell",
        "vncwebsocket",
        "termproxy",
        "spiceproxy",
        "spiceshell",
        "monitor",
        "sendkey",
        "exec",
        "execute",
        "exec-status",
        "set-user-password",
    ];
    let profile = profile("no-shell");
    for method in methods() {
        let last = method.path().rsplit('/').next().unwrap();
        let file = ["file-read", "file-write"].contains(&last);
        let agent = last == "agent" && method.verb() == Verb::Post;
        let expected = (WORDS.contains(&last) || file || agent) && !method.path().contains("/mon/");
        let row = denied(&profile, method.verb(), &example(method.path()), "");
        assert_eq!(row.is_some(), expected, "{} {}", method.verb(), method.path());
    }
}

#[test]
fn no_delete_leaves_no_call_of_that_method_but_three() {
    let profile = profile("no-delete");
    let left: Vec<_> = Schema::v9()
        .methods()
        .filter(|method| method.verb() == Verb::Delete)
        .filter(|method| denied(&profile, Verb::Delete, &example(method.path()), "").is_none())
        .map(Method::path)
        .collect();
    assert_eq!(left, ["/cluster/sdn/lock", "/nodes/{node}/network", "/nodes/{node}/tasks/{upid}"]);
    let config = "/nodes/a/qemu/100/config";
    assert!(denied(&profile, Verb::Put, config, "delete=unused0").is_some());
    assert!(denied(&profile, Verb::Put, config, "memory=512").is_none());
    assert!(denied(&profile, Verb::Post, "/nodes/a/qemu", "force=yes").is_some());
    assert!(denied(&profile, Verb::Post, "/nodes/a/qemu", "force=0").is_none());
}

proptest! {
    #[test]
    fn no_spelling_of_a_truth_gets_around(word in "(?i)(1|on|yes|true)") {
        let denied = denied(&profile("no-delete"), Verb::Post, "/nodes/a/qemu", &format!("force={word}"));
        prop_assert!(denied.is_some());
    }
}
