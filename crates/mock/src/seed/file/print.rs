//! A seed as a TOML file.

use std::fmt::Write as _;

use pve_access::{Release, roles};
use pve_formats::user_cfg::UserConfig;
use serde_json::Value;

use crate::seed::{GuestKind, NodeSeed, Seed, StorageSeed};
use crate::state::{Guest, disk};

pub(super) fn toml(seed: &Seed) -> String {
    let mut text = "# A seed for `proxward mock --seed FILE`.\n".to_owned();
    if let Some(cluster) = &seed.cluster {
        let _ = writeln!(text, "cluster = {}", quoted(cluster));
    }
    seed.nodes.iter().for_each(|one| node(&mut text, one));
    seed.storages.iter().for_each(|one| storage(&mut text, one));
    let config = UserConfig::parse(&seed.user_cfg, &roles::vocabulary(Release::V9));
    let config = config.map(|parsed| parsed.config).unwrap_or_default();
    users(&mut text, &config);
    for guest in &seed.guests {
        let key = if guest.kind == GuestKind::Qemu { "qemu" } else { "lxc" };
        let status = if guest.running { "running" } else { "stopped" };
        table(
            &mut text,
            key,
            &[
                ("node", quoted(&guest.node)),
                ("vmid", guest.vmid.to_string()),
                ("status", quoted(status)),
            ],
        );
        if let Some(pool) = config.pool_of(u64::from(guest.vmid)) {
            let _ = writeln!(text, "pool = {}", quoted(pool));
        }
        let guest = Guest::new(guest.clone(), std::time::Duration::ZERO);
        for (key, value) in guest.config() {
            let _ = writeln!(text, "{key} = {}", plain(value));
        }
    }
    rights(&mut text, &config);
    text
}

fn node(text: &mut String, node: &NodeSeed) {
    let mut rows = vec![("name", quoted(&node.name)), ("ip", quoted(&node.ip))];
    match &node.hardware {
        Some(hardware) => rows.extend([
            ("cpus", hardware.cpus.to_string()),
            ("memory", quoted(&disk::size_text(hardware.memory))),
            ("disk", quoted(&disk::size_text(hardware.disk))),
        ]),
        None => rows.push(("status", quoted("unknown"))),
    }
    table(text, "nodes", &rows);
}

fn storage(text: &mut String, storage: &StorageSeed) {
    let size = storage.size.map_or_else(|| "unknown".to_owned(), disk::size_text);
    let mut rows = vec![
        ("storage", quoted(&storage.id)),
        ("type", quoted(&storage.kind)),
        ("content", quoted(&storage.content)),
        ("shared", storage.shared.to_string()),
        ("size", quoted(&size)),
    ];
    rows.extend(storage.path.as_ref().map(|path| ("path", quoted(path))));
    table(text, "storages", &rows);
}

/// Users before what names them.
fn users(text: &mut String, config: &UserConfig) {
    for (name, privileges) in &config.roles {
        let privileges: Vec<&str> = privileges.iter().map(String::as_str).collect();
        table(text, "roles", &[("roleid", quoted(name)), ("privs", quoted(&privileges.join(",")))]);
    }
    for name in config.groups.keys() {
        table(text, "groups", &[("groupid", quoted(name))]);
    }
    for (id, user) in &config.users {
        let groups: Vec<&str> = config.groups_of(id).collect();
        if id == "root@pam" && groups.is_empty() {
            continue;
        }
        let mut rows = vec![("userid", quoted(id))];
        if !user.enable {
            rows.push(("enable", "false".to_owned()));
        }
        if !groups.is_empty() {
            rows.push(("groups", quoted(&groups.join(","))));
        }
        table(text, "users", &rows);
    }
    for (name, pool) in &config.pools {
        let mut rows = vec![("poolid", quoted(name))];
        rows.extend(pool.comment.as_ref().map(|comment| ("comment", quoted(comment))));
        if !pool.storage.is_empty() {
            let storages: Vec<&str> = pool.storage.iter().map(String::as_str).collect();
            rows.push(("storage", quoted(&storages.join(","))));
        }
        table(text, "pools", &rows);
    }
}

fn rights(text: &mut String, config: &UserConfig) {
    for (path, acl) in &config.acl {
        for (kind, subjects) in [("users", &acl.users), ("groups", &acl.groups)] {
            for (subject, grants) in subjects {
                for (role, propagate) in grants {
                    table(
                        text,
                        "acl",
                        &[
                            ("path", quoted(path.as_str())),
                            ("roles", quoted(role)),
                            (kind, quoted(subject)),
                            ("propagate", propagate.to_string()),
                        ],
                    );
                }
            }
        }
    }
}

fn table(text: &mut String, key: &str, rows: &[(&str, String)]) {
    let _ = writeln!(text, "\n[[{key}]]");
    for (key, value) in rows {
        let _ = writeln!(text, "{key} = {value}");
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), quoted)
}
