//! `/access/roles`.

use pve_access::Privilege;
use serde_json::{Map, Value, json};

use crate::api::Call;
use crate::failure::{Failure, Outcome};

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
