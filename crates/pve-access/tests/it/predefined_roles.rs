use std::collections::{BTreeMap, BTreeSet};

use pve_access::{Privilege, Release, roles};
use serde_json::Value;

use crate::shared::{golden_answer, json, string};

type Roles = BTreeMap<String, BTreeSet<String>>;

fn ours(release: Release) -> Roles {
    let names = |(role, privileges): (&str, pve_access::Privileges)| {
        let names = privileges.iter().map(Privilege::name).map(str::to_owned);
        (role.to_owned(), names.collect())
    };
    roles::predefined(release).map(names).collect()
}

#[test]
fn release_9_has_upstreams_roles() {
    let Some(fixture) = json("fixtures/acl/predefined_roles.json") else {
        return;
    };
    let expected: Roles = serde_json::from_value(fixture).unwrap();
    assert_eq!(ours(Release::V9), expected);
}

#[test]
fn release_8_has_the_roles_of_the_recorded_server() {
    let Some(answer) = golden_answer("http-gzip-q0") else {
        return;
    };
    let privileges = |role: &Value| {
        let listed = string(role, "privs").split(',').filter(|name| !name.is_empty());
        (string(role, "roleid").to_owned(), listed.map(str::to_owned).collect())
    };
    let expected: Roles = answer["data"].as_array().unwrap().iter().map(privileges).collect();
    assert_eq!(ours(Release::V8), expected);
}
