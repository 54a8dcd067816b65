//! `/access/groups`.

use pve_access::user_cfg::Group;
use serde_json::{Value, json};

use super::{AUDIT, failed};
use crate::api::Call;
use crate::failure::{Outcome, Success};
use crate::object::set_some;

pub(super) fn list(call: &mut Call<'_>) -> Outcome {
    let rights = [AUDIT, &["Group.Allocate"]].concat();
    let groups = call.state.accounts.config().groups.iter();
    let seen = groups.filter(|(name, _)| call.may(&format!("/access/groups/{name}"), &rights));
    let entries = seen.map(|(name, group)| {
        let members: Vec<&str> = group.users.iter().map(String::as_str).collect();
        let mut entry = json!({ "groupid": name, "users": members.join(",") });
        set_some(&mut entry, "comment", group.comment.as_deref());
        entry
    });
    Ok(entries.collect::<Value>().into())
}

pub(super) fn read(call: &mut Call<'_>) -> Outcome {
    let name = call.required("groupid");
    let group = call.state.accounts.config().groups.get(&name);
    let group = group.ok_or_else(|| crate::failure::Failure::die(missing(&name)))?;
    let mut entry = json!({ "members": group.users });
    set_some(&mut entry, "comment", group.comment.as_deref());
    Ok(entry.into())
}

pub(super) fn create(call: &mut Call<'_>) -> Outcome {
    let name = call.required("groupid");
    let group = Group { comment: call.text("comment"), ..Group::default() };
    call.state.accounts.change(|config| {
        if config.groups.contains_key(&name) {
            return Err(failed("create group", &format!("group '{name}' already exists")));
        }
        config.groups.insert(name, group);
        Ok(Success::default())
    })
}

pub(super) fn update(call: &mut Call<'_>) -> Outcome {
    let (name, comment) = (call.required("groupid"), call.text("comment"));
    call.state.accounts.change(|config| {
        let group = config.groups.get_mut(&name);
        let group = group.ok_or_else(|| failed("update group", &missing(&name)))?;
        if comment.is_some() {
            group.comment = comment;
        }
        Ok(Success::default())
    })
}

pub(super) fn delete(call: &mut Call<'_>) -> Outcome {
    let name = call.required("groupid");
    call.state.accounts.change(|config| {
        if config.groups.remove(&name).is_none() {
            return Err(failed("delete group", &missing(&name)));
        }
        for acl in config.acl.values_mut() {
            acl.groups.remove(&name);
        }
        Ok(Success::default())
    })
}

fn missing(name: &str) -> String {
    format!("group '{name}' does not exist")
}
