//! `/access/password`.

use super::realm_type;
use super::reauthenticate::reauthenticate;
use crate::api::Call;
use crate::failure::{Failure, Outcome, Success};

/// Changes a password. Everybody but `root@pam` proves their own first, and changes nobody else's
/// on the node itself.
pub(super) fn change(call: &mut Call<'_>) -> Outcome {
    let id = reauthenticate(call, "confirmation-password")?;
    let caller = call.caller.id();
    let Some(realm) = realm_type(&id) else {
        let realm = id.rsplit('@').next().unwrap_or_default();
        return Err(Failure::die(format!("auth domain '{realm}' does not exist")));
    };
    if caller != "root@pam" && caller != id && realm == "pam" {
        return Err(Failure::permission(""));
    }
    let password = call.required("password");
    call.state.accounts.set_password(&id, password);
    Ok(Success::default())
}
