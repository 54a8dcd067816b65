//! For the fuzz target.

use std::cell::OnceCell;
use std::net::Ipv4Addr;

use pve_schema::Verb;

use super::accounts::Accounts;
use super::rule::{Effect, Factors, Given, Question, Who};
use super::{Decision, PolicySettings, RuleSettings, Segments};
use crate::edge::decode_path;
use crate::login::{Kind, Params, Shape};
use crate::route::Route;

/// See [`crate::fuzzing::policy`].
pub(crate) fn denied(path: &str, json: bool, body: &[u8], query: Option<&str>) -> Option<bool> {
    let entry = |path: &str, name: &str, value: &str| RuleSettings {
        effect: Some(Effect::Deny),
        path: Some(path.to_owned()),
        params: [(name.to_owned(), value.to_owned())].into(),
        ..RuleSettings::default()
    };
    let rules = PolicySettings {
        profiles: vec!["no-delete".to_owned()],
        rule: vec![
            entry("/nodes/*/qemu/{vmid}/**", "vmid", "100-199"),
            entry("/nodes/pve1/**", "net*", "*bridge=vmbr0*"),
        ],
        ..PolicySettings::default()
    };
    let rules = rules.check().ok()?;
    let decoded = decode_path(path).ok()?;
    let Route::Api(_, below) = Route::of(&decoded) else { return Some(false) };
    let segments = Segments::of(below)?;
    let kind = if json { Kind::Json } else { Kind::Form };
    let params = Params::read((kind, Shape::CALL), body, query).ok()?;
    // What is sent on is what was judged.
    let again = Params::read((Kind::Form, Shape::CALL), &params.write(), None).ok()?;
    let verdict = |params: &Params| {
        let question = Question {
            method: Verb::Put,
            path: &segments,
            who: Some(Who { user: "a@pve", token: None }),
            client: Ipv4Addr::LOCALHOST.into(),
            now: 0,
            accounts: &Accounts::default(),
            params: Given::All(params),
            factors: Factors::default(),
            found: OnceCell::new(),
        };
        matches!(rules.decide(&question, false), Decision::Deny(_))
    };
    let first = verdict(&params);
    assert_eq!(first, verdict(&again), "what is sent on is judged otherwise");
    Some(first)
}
