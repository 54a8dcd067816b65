//! `/access/acl`.

use pve_access::user_cfg::{Acl, AclPath, Grants, is_assignable, normalize_path};
use serde_json::{Value, json};

use super::failed;
use crate::api::Call;
use crate::failure::{Failure, Outcome, Success};

/// Every rule for auditors, otherwise those on paths that the caller may change.
pub(super) fn list(call: &mut Call<'_>) -> Outcome {
    let audit = call.may("/access", &["Sys.Audit"]);
    let mut entries = Vec::new();
    for (path, acl) in &call.state.accounts.config().acl {
        let path = path.as_str();
        if !(audit || call.may(path, &["Permissions.Modify"])) {
            continue;
        }
        let kinds = [("user", &acl.users), ("group", &acl.groups), ("token", &acl.tokens)];
        for (kind, subjects) in kinds {
            for (subject, grants) in subjects {
                entries.extend(grants.iter().map(|(role, propagate)| {
                    json!({
                        "path": path,
                        "type": kind,
                        "ugid": subject,
                        "roleid": role,
                        "propagate": u8::from(*propagate),
                    })
                }));
            }
        }
    }
    Ok(Value::Array(entries).into())
}

pub(super) fn update(call: &mut Call<'_>) -> Outcome {
    let wrong = |why: &str| failed("ACL update", why);
    let (users, groups, tokens) = (call.list("users"), call.list("groups"), call.list("tokens"));
    if users.is_empty() && groups.is_empty() && tokens.is_empty() {
        let text = "either 'users', 'groups' or 'tokens' is required.";
        let every = ["groups", "tokens", "users"].map(|name| (name.to_owned(), text.to_owned()));
        return Err(Failure::parameters(every.into()));
    }
    let text = call.required("path");
    // Entries of old files, at paths that are none today, can still be removed.
    let lawful =
        call.flag("delete") || normalize_path(&text).is_some_and(|normal| is_assignable(&normal));
    let path = AclPath::new(&text).filter(|_| lawful);
    let path =
        path.ok_or_else(|| Failure::parameter("path", &format!("invalid ACL path '{text}'")))?;
    let roles = call.list("roles");
    let known = call.state.accounts.roles();
    for role in &roles {
        if !known.iter().any(|(name, _, _)| name == role) {
            return Err(wrong(&format!("role '{role}' does not exist")));
        }
    }
    let change = Change {
        roles,
        propagate: call.text("propagate").is_none() || call.flag("propagate"),
        delete: call.flag("delete"),
    };
    call.state.accounts.change(|config| {
        for group in &groups {
            if !config.groups.contains_key(group) {
                return Err(wrong(&format!("group '{group}' does not exist")));
            }
        }
        for user in &users {
            if !config.users.contains_key(user) {
                return Err(wrong(&format!("user '{user}' does not exist")));
            }
        }
        for token in &tokens {
            let (user, name) = token.rsplit_once('!').unwrap_or((token, ""));
            let Some(owner) = config.users.get(user) else {
                return Err(wrong(&format!("no such user ('{user}')")));
            };
            if !owner.tokens.contains_key(name) {
                return Err(wrong(&format!("no such token '{name}' for user '{user}'")));
            }
        }
        let acl: &mut Acl = config.acl.entry(path.clone()).or_default();
        change.apply(&mut acl.users, users);
        change.apply(&mut acl.groups, groups);
        change.apply(&mut acl.tokens, tokens);
        if acl.is_empty() {
            config.acl.remove(&path);
        }
        Ok(Success::default())
    })
}

struct Change {
    roles: Vec<String>,
    propagate: bool,
    delete: bool,
}

impl Change {
    fn apply(&self, subjects: &mut std::collections::BTreeMap<String, Grants>, names: Vec<String>) {
        for name in names {
            let grants = subjects.entry(name.clone()).or_default();
            for role in &self.roles {
                if self.delete {
                    grants.remove(role);
                } else {
                    grants.insert(role.clone(), self.propagate);
                }
            }
            if grants.is_empty() {
                subjects.remove(&name);
            }
        }
    }
}
