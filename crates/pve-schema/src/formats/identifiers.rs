//! Names of users, realms, nodes, guests, configuration entries.
//!
//! Sources: PVE::JSONSchema, PVE::AccessControl, PVE::Auth::Plugin, PVE::NodeConfig.

use serde_json::Value;

use super::{Row, check_named, require};

pub(super) static FORMATS: [Row; 27] = [
    // Registered without a check, so that there is a `string-list`.
    Row::code("string", |_| Ok(())),
    Row::pattern("pve-configid", "(?i:[a-z][a-z0-9_-]+)", "invalid configuration ID '{}'"),
    Row::pattern(
        "pve-storage-id",
        r"(?i:[a-z][a-z0-9\-_.]*[a-z0-9])",
        "storage ID '{}' contains illegal characters",
    ),
    Row::pattern(
        "acme-plugin-id",
        r"(?i:[a-z][a-z0-9\-_.]*[a-z0-9])",
        "ACME plugin ID '{}' contains illegal characters",
    ),
    Row::pattern("pve-bridge-id", r"[-_.\w\d]+", "invalid bridge ID '{}'"),
    Row::pattern("pve-vmid", "[1-9][0-9]{2,8}", "value does not look like a valid VM ID"),
    Row::pattern(
        "pve-node",
        r"[a-zA-Z0-9](?:[a-zA-Z0-9\-]*[a-zA-Z0-9])?",
        "value does not look like a valid node name",
    ),
    Row::pattern("urlencoded", r"[-%a-zA-Z0-9_.!~*'()]*", "invalid urlencoded string: {}"),
    Row::pattern("pve-tag", r"(?i:[a-z0-9_][a-z0-9_\-+.]*)", "invalid characters in tag"),
    Row::pattern(
        "pve-tfa-secret",
        "(?:v2-0x[0-9a-fA-F]{16,128}|v2-[A-Z2-7=]{16,128}|[A-Z2-7=]{16}|[A-Fa-f0-9]{40})",
        "unable to decode TFA secret",
    ),
    Row::pattern("pve-task-status-type", "(?i:ok|error|warning|unknown)", "invalid status '{}'"),
    Row::code("storage-pair", |value| pair(value, "pve-storage-id")),
    Row::code("bridge-pair", |value| pair(value, "pve-bridge-id")),
    Row::pattern(
        "ldap-simple-attr",
        "[a-zA-Z0-9]+",
        "value '{}' does not look like a simple ldap attribute name",
    ),
    Row::pattern("pve-realm", REALM, "value does not look like a valid realm"),
    Row::code("pve-userid", user_id),
    Row::pattern(
        "pve-tokenid",
        r"[^\s:/]+@[A-Za-z][A-Za-z0-9.\-_]+![A-Za-z][A-Za-z0-9.\-_]+",
        "value '{}' does not look like a valid token ID",
    ),
    Row::pattern("pve-groupid", NAME, "group name '{}' contains invalid characters"),
    Row::pattern("pve-roleid", NAME, "role name '{}' contains invalid characters"),
    Row::code("pve-poolid", pool_id),
    Row::code("pve-priv", |name| {
        require(PRIVILEGES.contains(&name), &format!("invalid privilege '{name}'"))
    }),
    Row::pattern(
        "pve-acme-domain",
        "(?i:[a-z0-9][a-z0-9_-]*)(?:\\.(?i:[a-z0-9][a-z0-9_-]*))+",
        "value '{}' does not look like a valid domain name!",
    ),
    Row::pattern(
        "pve-acme-alias",
        "(?i:[a-z0-9_][a-z0-9_-]*)(?:\\.(?i:[a-z0-9_][a-z0-9_-]*))+",
        "value '{}' does not look like a valid alias name!",
    ),
    Row::pattern("email", EMAIL, "value does not look like a valid email address"),
    Row::pattern(
        "email-or-username",
        r"[\w+\-~]+(?:\.[\w+\-~]+)*(?:@[a-zA-Z0-9\-]+(?:\.[a-zA-Z0-9\-]+)*)?",
        "value does not look like a valid email address or user name",
    ),
    Row::code("pve-command-batch", command_batch),
    Row::pattern(
        "graphite-path",
        r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9\-]*[a-zA-Z0-9])?\.)*[a-zA-Z0-9](?:[a-zA-Z0-9\-]*[a-zA-Z0-9])?",
        "value does not look like a valid graphite path",
    ),
];

const REALM: &str = r"[A-Za-z][A-Za-z0-9.\-_]+";
const NAME: &str = r"[A-Za-z0-9.\-_]+";
const EMAIL: &str = r"[\w+\-~]+(?:\.[\w+\-~]+)*@[a-zA-Z0-9\-]+(?:\.[a-zA-Z0-9\-]+)*";

/// Privileges of PVE 8.4 and 9.2 together (`VM.Monitor` went, `VM.GuestAgent.*` came with 9).
const PRIVILEGES: [&str; 48] = [
    "Datastore.Allocate",
    "Datastore.AllocateSpace",
    "Datastore.AllocateTemplate",
    "Datastore.Audit",
    "Group.Allocate",
    "Mapping.Audit",
    "Mapping.Modify",
    "Mapping.Use",
    "Permissions.Modify",
    "Pool.Allocate",
    "Pool.Audit",
    "Realm.Allocate",
    "Realm.AllocateUser",
    "SDN.Allocate",
    "SDN.Audit",
    "SDN.Use",
    "Sys.AccessNetwork",
    "Sys.Audit",
    "Sys.Console",
    "Sys.Incoming",
    "Sys.Modify",
    "Sys.PowerMgmt",
    "Sys.Syslog",
    "User.Modify",
    "VM.Allocate",
    "VM.Audit",
    "VM.Backup",
    "VM.Clone",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Cloudinit",
    "VM.Config.Disk",
    "VM.Config.HWType",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.Console",
    "VM.GuestAgent.Audit",
    "VM.GuestAgent.FileRead",
    "VM.GuestAgent.FileSystemMgmt",
    "VM.GuestAgent.FileWrite",
    "VM.GuestAgent.Unrestricted",
    "VM.Migrate",
    "VM.Monitor",
    "VM.PowerMgmt",
    "VM.Replicate",
    "VM.Snapshot",
    "VM.Snapshot.Rollback",
];

fn user_id(name: &str) -> Result<(), String> {
    static SHAPE: Row = Row::pattern(
        "",
        r"[^\s:/]+@[A-Za-z][A-Za-z0-9.\-_]+",
        "value '{}' does not look like a valid user name",
    );
    let name = if name == "0" { "" } else { name };
    let length = name.chars().count();
    require(length >= 3, &format!("user name '{name}' is too short"))?;
    require(length <= 64, &format!("user name '{name}' is too long ({length} > 64)"))?;
    SHAPE.check(name)
}

/// One entry of an ID map: `1` (identity), `SOURCE:TARGET` or `TARGET`.
/// Nested pools, up to three levels; Perl's `split` does not count blank ones at the end.
fn pool_id(name: &str) -> Result<(), String> {
    static SHAPE: Row = Row::pattern("", r"[A-Za-z0-9.\-_]+(?:/[A-Za-z0-9.\-_]+){0,2}", "");
    let levels = name.trim_end_matches('/').split('/').count();
    let deep = format!("pool name '{name}' nested too deeply (max levels = 3)");
    require(levels <= 3, &deep)?;
    let invalid = format!("pool name '{name}' contains invalid characters");
    require(SHAPE.check(name).is_ok(), &invalid)
}

fn pair(entries: &str, id_format: &str) -> Result<(), String> {
    for entry in super::split_list(entries).into_iter().filter(|entry| *entry != "1") {
        let ids = match entry.split_once(':') {
            Some((source, target)) if !target.contains(':') && !source.is_empty() => {
                vec![source, target]
            }
            _ => vec![entry],
        };
        for id in ids {
            check_named(id_format, id)
                .map_err(|cause| format!("entry '{entry}' contains invalid ID - {cause}\n\n"))?;
        }
    }
    Ok(())
}

/// `[{"path": …, "method": …, "args": {…}}, …]`
fn command_batch(text: &str) -> Result<(), String> {
    let commands: Value = serde_json::from_str(text)
        .map_err(|cause| format!("commands param did not contain valid JSON: {cause}\n"))?;
    let is_command = |command: &Value| {
        let method = command.get("method").and_then(Value::as_str);
        command.get("path").is_some_and(Value::is_string)
            && matches!(method, Some("GET" | "POST" | "PUT" | "DELETE"))
            && command.get("args").is_none_or(Value::is_object)
    };
    let all = commands.as_array().is_some_and(|commands| commands.iter().all(is_command));
    require(all, "commands is not a valid array of commands: Parameter verification failed.")
}

#[cfg(test)]
mod tests {
    use super::super::check_named as check;

    #[test]
    fn messages_are_pves() {
        for (format, value, message) in [
            ("pve-userid", "a", "user name 'a' is too short\n"),
            ("pve-userid", "bad user", "value 'bad user' does not look like a valid user name\n"),
            ("pve-userid", "a/b@pve", "value 'a/b@pve' does not look like a valid user name\n"),
            ("pve-vmid", "99", "value does not look like a valid VM ID\n"),
            ("pve-storage-id", "1a", "storage ID '1a' contains illegal characters\n"),
            ("pve-priv", "VM.Fly", "invalid privilege 'VM.Fly'\n"),
            ("pve-poolid", "a/b/c/d", "pool name 'a/b/c/d' nested too deeply (max levels = 3)\n"),
            (
                "storage-pair",
                "a b",
                "entry 'a' contains invalid ID - storage ID 'a' contains illegal characters\n\n\n",
            ),
            ("pve-acme-domain", "local", "value 'local' does not look like a valid domain name!\n"),
        ] {
            assert_eq!(check(format, value).unwrap_err(), message);
        }
        let long = format!("{}@pve", "x".repeat(61));
        assert!(check("pve-userid", &long).unwrap_err().ends_with("is too long (65 > 64)\n"));
    }

    #[test]
    fn lawful_names_pass() {
        for (format, value) in [
            ("pve-userid", "root@pam"),
            ("pve-userid", "üser+x@my-realm.1"),
            ("pve-tokenid", "root@pam!ci"),
            ("pve-configid", "Ab-1_c"),
            ("pve-storage-id", "local-lvm"),
            ("pve-node", "a"),
            ("pve-priv", "VM.Config.CDROM"),
            ("storage-pair", "local:ceph-1"),
            ("storage-pair", "1"),
            ("email", "a.b+c@example.org"),
            ("email-or-username", "root"),
            ("pve-tag", "Prod_1"),
            ("urlencoded", "a%20b"),
            ("pve-command-batch", r#"[{"path": "/version", "method": "GET"}]"#),
        ] {
            assert_eq!(check(format, value), Ok(()), "{format} {value}");
        }
    }
}
