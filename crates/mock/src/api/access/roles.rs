//! `/access/roles`.

use std::collections::BTreeSet;

use pve_access::{Privilege, roles};
use serde_json::{Map, Value, json};

use super::failed;
use crate::api::Call;
use crate::failure::{Failure, Outcome, Success};

pub(super) fn list(call: &mut Call<'_>) -> Outcome {
    let entries = call.state.accounts.roles().into_iter().map(|(name, privileges, special)| {
        let names: Vec<&str> = privileges.iter().map(Privilege::name).collect();
        json!({ "roleid": name, "privs": names.join(","), "special": u8::from(special) })
    });
    Ok(entries.collect::<Value>().into())
}

pub(super) fn read(call: &mut Call<'_>) -> Outcome {
    let id = call.required("roleid");
    let roles = call.state.accounts.roles();
    let found = roles.into_iter().find(|(name, _, _)| *name == id);
    let (_, privileges, _) =
        found.ok_or_else(|| Failure::die(format!("role '{id}' does not exist")))?;
    let members = privileges.iter().map(|one| (one.name().to_owned(), json!(1)));
    Ok(json!(members.collect::<Map<_, _>>()).into())
}

/// Names and texts of `PVE::API2::Role`.
pub(super) fn create(call: &mut Call<'_>) -> Outcome {
    let (id, privileges) = (call.required("roleid"), privileges(call));
    let exists = roles::is_predefined(&id) || call.state.accounts.config().roles.contains_key(&id);
    if exists {
        return Err(failed("create role", &format!("role '{id}' already exists")));
    }
    call.state.accounts.change(|config| {
        config.roles.insert(id, privileges);
        Ok(Success::default())
    })
}

pub(super) fn update(call: &mut Call<'_>) -> Outcome {
    let (id, privileges, append) = (call.required("roleid"), privileges(call), call.flag("append"));
    refuse_predefined("update role", "modified", &id)?;
    call.state.accounts.change(|config| {
        let role = config.roles.get_mut(&id);
        let missing = || failed("update role", &format!("role '{id}' does not exist"));
        let role = role.ok_or_else(missing)?;
        if !append {
            role.clear();
        }
        role.extend(privileges);
        Ok(Success::default())
    })
}

pub(super) fn delete(call: &mut Call<'_>) -> Outcome {
    let id = call.required("roleid");
    refuse_predefined("delete role", "deleted", &id)?;
    call.state.accounts.change(|config| {
        let missing = || failed("delete role", &format!("role '{id}' does not exist"));
        config.roles.remove(&id).ok_or_else(missing)?;
        for acl in config.acl.values_mut() {
            for subjects in [&mut acl.users, &mut acl.groups, &mut acl.tokens] {
                for grants in subjects.values_mut() {
                    grants.remove(&id);
                }
                subjects.retain(|_, grants| !grants.is_empty());
            }
        }
        config.acl.retain(|_, acl| !acl.is_empty());
        Ok(Success::default())
    })
}

fn refuse_predefined(doing: &str, what: &str, id: &str) -> Result<(), Failure> {
    if roles::is_predefined(id) {
        return Err(failed(doing, &format!("auto-generated role '{id}' cannot be {what}")));
    }
    Ok(())
}

fn privileges(call: &Call<'_>) -> BTreeSet<String> {
    call.list("privs").into_iter().collect()
}
