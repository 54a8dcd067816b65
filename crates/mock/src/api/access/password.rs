//! `/access/password`.

use super::realm_type;
use crate::api::Call;
use crate::failure::{Failure, Outcome, Success};

/// Changes a password. Everybody but `root@pam` proves their own first.
pub(super) fn change(call: &mut Call<'_>) -> Outcome {
    let id = call.required("userid");
    let caller = call.caller.id().to_owned();
    if caller != "root@pam" {
        let Some(given) = call.text("confirmation-password") else {
            let text = "password is required to modify user";
            return Err(Failure::parameter("confirmation-password", text));
        };
        if !call.state.accounts.password_matches(&caller, &given) {
            return Err(Failure::unauthorized("authentication failure"));
        }
    }
    if realm_type(&id).is_none() {
        let realm = id.rsplit('@').next().unwrap_or_default();
        return Err(Failure::die(format!("domain '{realm}' does not exist")));
    }
    let password = call.required("password");
    call.state.accounts.set_password(&id, password);
    Ok(Success::default())
}
