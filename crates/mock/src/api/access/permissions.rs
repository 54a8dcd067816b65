//! `/access/permissions`: everything a subject may do.

use std::collections::BTreeMap;

use pve_access::{Permissions, Subject};
use serde_json::{Map, Value, json};

use crate::api::Call;
use crate::failure::{Failure, Outcome};

/// Everybody sees their own rights and those of their tokens, auditors everybody's.
pub(super) fn dump(call: &mut Call<'_>) -> Outcome {
    let caller = call.caller.id();
    let asked = call.text("userid").unwrap_or_else(|| caller.to_owned());
    let subject: Subject = asked
        .parse()
        .map_err(|_| Failure::parameter("userid", "value does not look like a valid user name"))?;
    if subject.as_str() != caller
        && subject.user() != caller
        && !call.may("/access", &["Sys.Audit"])
    {
        return Err(Failure::permission("/access, Sys.Audit"));
    }
    let accounts = &call.state.accounts;
    let granted = match call.text("path") {
        Some(path) => BTreeMap::from([(path.clone(), accounts.permissions(&subject, &path))]),
        None => accounts.effective(&subject),
    };
    let paths = granted.into_iter().map(|(path, permissions)| (path, members(permissions)));
    Ok(Value::Object(paths.collect()).into())
}

/// `{privilege: propagate flag}`.
fn members(permissions: Permissions) -> Value {
    let flag = |(privilege, propagate): (pve_access::Privilege, bool)| {
        (privilege.name().to_owned(), json!(u8::from(propagate)))
    };
    Value::Object(permissions.iter().map(flag).collect::<Map<_, _>>())
}
