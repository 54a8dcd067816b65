use std::collections::BTreeMap;

use pve_access::user_cfg::{Acl, UserConfig};
use pve_access::{Release, roles};
use serde_json::{Value, json};

use crate::shared::{array, json, string};

#[test]
fn upstream_parser_and_writer_cases() {
    let Some(fixture) = json("fixtures/acl/parser_writer.json") else {
        return;
    };
    let vocabulary = roles::vocabulary(Release::V9);
    let mut checked = 0;
    for case in array(&fixture, "tests") {
        let (name, raw) = (string(case, "name"), string(case, "raw"));
        let mut config = UserConfig::parse(raw, &vocabulary).unwrap().config;
        assert_eq!(
            without_blanks(&as_upstream(&config)),
            without_blanks(&case["config"]),
            "{name}"
        );

        // Upstream writes the model that was put in; parsing adds root@pam to it.
        if !raw.contains("user:root@pam:") {
            config.users.remove("root@pam");
        }
        let expected = case["expected_raw"].as_str().unwrap_or(raw);
        assert_eq!(config.write(&vocabulary).unwrap(), expected, "{name}");
        checked += 1;
    }
    eprintln!("parser_writer: {checked} equal");
    assert!(checked > 0);
}

/// The model in upstream's shape.
fn as_upstream(config: &UserConfig) -> Value {
    let set = |names: &mut dyn Iterator<Item = String>| -> Value {
        json!(names.map(|name| (name, 1)).collect::<BTreeMap<_, _>>())
    };
    let mut users = BTreeMap::new();
    for (id, user) in &config.users {
        let tokens = user.tokens.iter().map(|(name, token)| {
            let token = json!({
                "expire": token.expire,
                "privsep": u8::from(token.privsep),
                "comment": token.comment,
            });
            (name, token)
        });
        let keys = user.keys.as_ref().map(|keys| keys.0.expose());
        let user = json!({
            "enable": u8::from(user.enable), "expire": user.expire, "firstname": user.firstname,
            "lastname": user.lastname, "email": user.email, "comment": user.comment, "keys": keys,
            "tokens": tokens.collect::<BTreeMap<_, _>>(),
            "groups": set(&mut config.groups_of(id).map(str::to_owned)),
        });
        users.insert(id, user);
    }
    let groups = config.groups.iter().map(|(name, group)| {
        let users = set(&mut group.users.iter().cloned());
        (name, json!({ "users": users, "comment": group.comment }))
    });
    let pools = config.pools.iter().map(|(name, pool)| {
        let vms = set(&mut pool.vms.iter().map(u64::to_string));
        let storage = set(&mut pool.storage.iter().cloned());
        let pools = set(&mut config.subpools(name).map(str::to_owned));
        let pool =
            json!({ "vms": vms, "storage": storage, "pools": pools, "comment": pool.comment });
        (name, pool)
    });
    let vms = config
        .pools
        .iter()
        .flat_map(|(name, pool)| pool.vms.iter().map(move |vmid| (vmid.to_string(), name)));
    let roles =
        config.roles.iter().map(|(name, privileges)| (name, set(&mut privileges.iter().cloned())));
    json!({
        "users": users,
        "groups": groups.collect::<BTreeMap<_, _>>(),
        "pools": pools.collect::<BTreeMap<_, _>>(),
        "vms": vms.collect::<BTreeMap<_, _>>(),
        "roles": roles.collect::<BTreeMap<_, _>>(),
        "acl_root": acl_tree(config),
    })
}

fn acl_tree(config: &UserConfig) -> Value {
    let mut root = json!({});
    for (path, acl) in &config.acl {
        let mut node = &mut root;
        for part in path.components() {
            node = &mut node["children"][part];
        }
        let Acl { users, groups, tokens } = acl;
        for (key, table) in [("users", users), ("groups", groups), ("tokens", tokens)] {
            for (name, grants) in table {
                for (role, propagate) in grants {
                    node[key][name][role] = json!(u8::from(*propagate));
                }
            }
        }
    }
    root
}

/// Drops members that are absent in one shape and empty in the other: null, "", 0 and {}. An
/// empty role, group or pool keeps its name through what is in it or stays out on both sides.
fn without_blanks(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| (key.clone(), without_blanks(value)));
            let blank = |value: &Value| {
                value.is_null() || *value == json!("") || *value == json!(0) || *value == json!({})
            };
            Value::Object(members.filter(|(_, value)| !blank(value)).collect())
        }
        // Perl numbers that were text once.
        Value::String(text) if text.parse::<u32>().is_ok_and(|n| n.to_string() == *text) => {
            json!(text.parse::<u32>().unwrap())
        }
        other => other.clone(),
    }
}
