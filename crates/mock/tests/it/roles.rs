//! Roles that administrators make.

use mock::Seed;
use serde_json::json;

use crate::client::Pve;

#[test]
fn roles_come_and_go_with_their_rights() {
    let mut seed = Seed::small();
    seed.user_cfg += "user:a@pve:1:0:::::\ntoken:a@pve!tt:0:0::\n";
    seed.tokens.push(("a@pve!tt".to_owned(), "s".into()));
    let pve = Pve::instant(seed);
    pve.post("/access/roles", &[("roleid", "Mine"), ("privs", "VM.Audit,VM.Console")]).data();
    let held = pve.get("/access/roles/Mine").data();
    assert_eq!(held, json!({ "VM.Audit": 1, "VM.Console": 1 }));
    let again = pve.post("/access/roles", &[("roleid", "Mine")]).died();
    assert_eq!(again, "create role failed: role 'Mine' already exists");
    pve.put("/access/roles/Mine", &[("privs", "VM.PowerMgmt"), ("append", "1")]).data();
    assert_eq!(pve.get("/access/roles/Mine").data().as_object().unwrap().len(), 3);
    pve.put("/access/roles/Mine", &[("privs", "VM.Audit")]).data();
    assert_eq!(pve.get("/access/roles/Mine").data(), json!({ "VM.Audit": 1 }));

    let given = [("path", "/vms/100"), ("roles", "Mine"), ("users", "a@pve")];
    pve.put("/access/acl", &given).data();
    let theirs = pve.using("a@pve!tt=s");
    assert_eq!(theirs.get("/nodes/pve1/qemu").data().as_array().unwrap().len(), 1);
    let pve = theirs.using("root@pam!ci=secret");
    pve.delete("/access/roles/Mine").data();
    assert_eq!(pve.get("/access/acl").data(), json!([]));
    assert!(pve.get("/access/roles/Mine").died().contains("does not exist"));
    assert!(pve.delete("/access/roles/PVEAdmin").died().contains("auto-generated role"));
    let theirs = pve.using("a@pve!tt=s");
    assert_eq!(theirs.get("/nodes/pve1/qemu").data(), json!([]));
}
