use std::collections::BTreeMap;

use pve_access::{Access, Release, Subject};
use serde_json::json;

use crate::shared::golden_answer;

/// Users and access control list of the recorded host.
const USER_CFG: &str = "user:root@pam:1:0:\nuser:alice@pve:1:0:\nuser:bob@pve:1:0:\n\
    user:ops@pve:1:0:\nuser:dave@pve:0:0:\nuser:erin@pve:1:1:\nuser:tina@pve:1:0:\n\
    token:ops@pve!full:0:0:\ntoken:ops@pve!sep:0:1:\n\
    group:admins:ops@pve:\ngroup:tfa:tina@pve:\npool:testpool:::\n\
    acl:1:/:@admins:PVEAdmin:\nacl:1:/:alice@pve,tina@pve:PVEAuditor:\n\
    acl:1:/storage/local:ops@pve:PVEDatastoreAdmin:\n";

#[test]
fn capabilities_are_those_of_the_recorded_server() {
    let answers = [
        ("auth-login-ok", "alice@pve"),
        ("auth-login-ok-realm-param", "ops@pve"),
        ("auth-login-ok-pam-root", "root@pam"),
        ("auth-login-ok-noperm-user", "bob@pve"),
        ("tfa-totp-ok", "tina@pve"),
    ];
    let (access, warnings) = Access::parse(Release::V8, USER_CFG).unwrap();
    assert_eq!(warnings, []);
    for (record, user) in answers {
        let Some(answer) = golden_answer(record) else {
            return;
        };
        let subject: Subject = user.parse().unwrap();
        let capabilities = access.capabilities(&subject).into_iter().map(|(category, held)| {
            (category, held.iter().map(|privilege| (privilege.name(), 1)).collect())
        });
        let capabilities: BTreeMap<_, BTreeMap<_, _>> = capabilities.collect();
        assert_eq!(json!(capabilities), answer["data"]["cap"], "{record}");
    }
}

#[test]
fn a_separated_token_without_entries_has_no_permissions() {
    let Some(answer) = golden_answer("token-privsep-noperm") else {
        return;
    };
    let (access, _) = Access::parse(Release::V8, USER_CFG).unwrap();
    let token: Subject = "ops@pve!sep".parse().unwrap();
    assert_eq!(answer["data"], json!({}));
    assert!(access.effective(&token).is_empty());
    assert!(!access.effective(&"ops@pve!full".parse().unwrap()).is_empty());
}
