//! Roles and realms.

use mock::Seed;
use serde_json::json;

use crate::client::{Pve, entry};

#[test]
fn roles_are_made_changed_and_removed() {
    let pve = Pve::instant(Seed::small());
    let wrong = pve.post("/access/roles", &[("roleid", "pveMine")]).wrong("roleid");
    assert!(wrong.contains("'PVE' namespace"), "{wrong}");
    pve.post("/access/roles", &[("roleid", "ops"), ("privs", "VM.Audit,Sys.Audit")]).data();
    assert_eq!(
        pve.post("/access/roles", &[("roleid", "ops")]).died(),
        "create role failed: role 'ops' already exists"
    );
    assert_eq!(pve.get("/access/roles/ops").data(), json!({ "Sys.Audit": 1, "VM.Audit": 1 }));
    pve.put("/access/roles/ops", &[("privs", "VM.Console"), ("append", "1")]).data();
    let roles = pve.get("/access/roles").data();
    assert_eq!(entry(&roles, "roleid", "ops")["privs"], "Sys.Audit,VM.Audit,VM.Console");
    pve.put("/access/roles/ops", &[("privs", "VM.Console")]).data();
    assert_eq!(pve.get("/access/roles/ops").data(), json!({ "VM.Console": 1 }));
    assert_eq!(
        pve.put("/access/roles/PVEAdmin", &[("privs", "VM.Audit")]).died(),
        "auto-generated role 'PVEAdmin' cannot be modified"
    );
    assert_eq!(
        pve.delete("/access/roles/NoAccess").died(),
        "auto-generated role 'NoAccess' cannot be deleted"
    );
    pve.delete("/access/roles/ops").data();
    assert_eq!(pve.get("/access/roles/ops").died(), "role 'ops' does not exist");
}

#[test]
fn a_role_gives_what_it_holds_now() {
    let mut seed = Seed::small();
    seed.user_cfg += "user:ann@pve:1:\ntoken:ann@pve!ci::0:\n";
    let secret = secrets::SecretString::new("s".to_owned());
    seed.tokens.push(("ann@pve!ci".to_owned(), secret));
    let pve = Pve::instant(seed);
    pve.post("/access/roles", &[("roleid", "ops"), ("privs", "VM.Audit")]).data();
    pve.put("/access/acl", &[("path", "/vms"), ("roles", "ops"), ("users", "ann@pve")]).data();
    let pve = pve.using("ann@pve!ci=s");
    assert_eq!(
        pve.get("/access/permissions?path=/vms").data(),
        json!({ "/vms": { "VM.Audit": 1 } })
    );
}

#[test]
fn realms_are_listed_with_those_that_were_made() {
    let pve = Pve::instant(Seed::small());
    let ldap = [
        ("realm", "corp"),
        ("type", "ldap"),
        ("server1", "192.0.2.1"),
        ("base_dn", "dc=example,dc=org"),
        ("user_attr", "uid"),
        ("password", "hidden"),
    ];
    pve.post("/access/domains", &ldap).data();
    assert_eq!(
        pve.post("/access/domains", &ldap).died(),
        "add auth server failed: domain 'corp' already exists"
    );
    let realms = pve.get("/access/domains").data();
    assert_eq!(entry(&realms, "realm", "corp")["type"], "ldap");
    let corp = pve.get("/access/domains/corp").data();
    assert_eq!((&corp["server1"], &corp["password"]), (&json!("192.0.2.1"), &json!(null)));
    assert_eq!(pve.get("/access/domains/pam").data()["type"], "pam");
    pve.put("/access/domains/pam", &[("comment", "changed")]).data();
    let realms = pve.get("/access/domains").data();
    assert_eq!(entry(&realms, "realm", "pam")["comment"], "changed");
    pve.post("/access/users", &[("userid", "joe@corp")]).data();
    let unknown = [("userid", "joe@nope"), ("password", "12345678")];
    assert_eq!(
        pve.post("/access/users", &unknown).died(),
        "create user failed: domain 'nope' does not exist"
    );
    pve.delete("/access/domains/corp").data();
    assert_eq!(pve.get("/access/domains/corp").died(), "domain 'corp' does not exist");
}

#[test]
fn entries_are_made_at_known_paths_for_known_subjects() {
    let pve = Pve::instant(Seed::small());
    let put = |path: &str, extra: &[(&str, &str)]| {
        pve.put("/access/acl", &[&[("path", path), ("roles", "PVEAdmin")], extra].concat())
    };
    let needed = "either 'users', 'groups' or 'tokens' is required.";
    assert_eq!(put("/", &[]).wrong("tokens"), needed);
    assert_eq!(put("/", &[]).wrong("users"), needed);
    let users = ("users", "root@pam");
    assert_eq!(put("/nowhere", &[users]).wrong("path"), "invalid ACL path '/nowhere'");
    put("/nowhere", &[users, ("delete", "1")]).data();
    assert_eq!(
        put("/", &[("tokens", "root@pam!no")]).died(),
        "ACL update failed: no such token 'no' for user 'root@pam'"
    );
    assert_eq!(
        put("/", &[("tokens", "no@pve!ci")]).died(),
        "ACL update failed: no such user ('no@pve')"
    );
    put("/vms/100", &[("tokens", "root@pam!ci")]).data();
}
