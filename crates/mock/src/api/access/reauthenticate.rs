//! The password that a user shows again before a password or second factor is changed
//! (`PVE::RPCEnvironment::reauth_user_for_user_modification`).

use super::realm_type;
use crate::api::Call;
use crate::failure::Failure;

/// Returns the user that may be changed. Only `root@pam` changes `root@pam`; everybody else
/// proves their own password, given in the parameter of that name.
pub(super) fn reauthenticate(call: &Call<'_>, parameter: &str) -> Result<String, Failure> {
    let id = call.required("userid");
    let caller = call.caller.id();
    if !call.state.accounts.exists(&id) {
        return Err(Failure::die(format!("no such user ('{id}')")));
    }
    if caller == "root@pam" {
        return Ok(id);
    }
    if id == "root@pam" {
        return Err(Failure::permission(""));
    }
    let Some(given) = call.text(parameter) else {
        return Err(Failure::parameter(parameter, "password is required to modify user"));
    };
    let accounts = &call.state.accounts;
    if accounts.password_matches(caller, &given) {
        return Ok(id);
    }
    Err(Failure::die(match realm_type(caller) {
        Some("pam") => "Authentication failure",
        _ if accounts.has_password(caller) => "invalid credentials",
        _ => "no password set",
    }))
}
