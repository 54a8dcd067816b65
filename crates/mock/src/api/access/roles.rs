//! `/access/roles`.

use std::collections::BTreeSet;

use pve_access::{Privilege, UserConfig, roles};
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

pub(super) fn create(call: &mut Call<'_>) -> Outcome {
    let (id, privileges) = (call.required("roleid"), call.list("privs"));
    // The names of PVE's own roles, those of later releases included.
    if id.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("PVE")) {
        let text = "cannot use role ID starting with the (case-insensitive) 'PVE' namespace";
        return Err(Failure::parameter("roleid", text));
    }
    call.state.accounts.change(|config| {
        if roles::is_predefined(&id) || config.roles.contains_key(&id) {
            return Err(failed("create role", &format!("role '{id}' already exists")));
        }
        config.roles.insert(id, privileges.into_iter().collect());
        Ok(Success::default())
    })
}

pub(super) fn update(call: &mut Call<'_>) -> Outcome {
    let (id, privileges) = (call.required("roleid"), call.list("privs"));
    let append = call.flag("append");
    call.state.accounts.change(|config| {
        let role = own(config, &id, "update role", "modified")?;
        if !append {
            role.clear();
        }
        role.extend(privileges);
        Ok(Success::default())
    })
}

/// Entries of the list that name the role stay, without effect.
pub(super) fn delete(call: &mut Call<'_>) -> Outcome {
    let id = call.required("roleid");
    call.state.accounts.change(|config| {
        own(config, &id, "delete role", "deleted")?;
        config.roles.remove(&id);
        Ok(Success::default())
    })
}

/// A role that an administrator made.
fn own<'c>(
    config: &'c mut UserConfig,
    id: &str,
    action: &str,
    what: &str,
) -> Result<&'c mut BTreeSet<String>, Failure> {
    if roles::is_predefined(id) {
        return Err(Failure::die(format!("auto-generated role '{id}' cannot be {what}")));
    }
    let role = config.roles.get_mut(id);
    role.ok_or_else(|| failed(action, &format!("role '{id}' does not exist")))
}
