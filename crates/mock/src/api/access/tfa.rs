//! `/access/tfa` and the second factors of one user.
//!
//! Time-based codes and recovery keys. Security keys (WebAuthn, U2F) and Yubico are configured for
//! the whole cluster or realm on a genuine server; here they never are, and are refused as there.

use pve_access::user_cfg::Keys;
use secrets::SecretString;
use serde_json::{Value, json};

use super::reauthenticate::reauthenticate;
use super::users;
use crate::api::Call;
use crate::failure::{Failure, Outcome, Success};
use crate::object::{set, set_some};
use crate::state::{Entry, FactorError, Factors, Totp};

/// Everybody's factors, as far as the caller sees the users.
pub(super) fn list(call: &mut Call<'_>) -> Outcome {
    let now = call.now().as_secs();
    let seen = call.state.second_factors.users().filter(|(id, _)| users::sees(call, id));
    let shown = seen.map(|(id, factors)| {
        let mut shown = json!({ "userid": id, "entries": entries(factors) });
        locks(&mut shown, factors, now);
        shown
    });
    Ok(shown.collect::<Value>().into())
}

pub(super) fn list_of_user(call: &mut Call<'_>) -> Outcome {
    let factors = call.state.second_factors.of(&call.required("userid"));
    Ok(json!(factors.map(entries).unwrap_or_default()).into())
}

pub(super) fn read(call: &mut Call<'_>) -> Outcome {
    let id = call.required("id");
    let factors = call.state.second_factors.of(&call.required("userid"));
    let entry = factors.and_then(|factors| factors.entries().find(|entry| entry.id == id));
    let entry = entry.ok_or_else(|| Failure::Exception {
        code: 404,
        message: format!("No such tfa entry '{id}'"),
        errors: std::collections::BTreeMap::new(),
    })?;
    Ok(shown(entry).into())
}

pub(super) fn add(call: &mut Call<'_>) -> Outcome {
    let user = reauthenticate(call, "password")?;
    let kind = call.required("type");
    if kind == "yubico" {
        let realm = user.rsplit('@').next().unwrap_or_default();
        return Err(Failure::die(format!(
            "no yubico otp configuration available for realm {realm}"
        )));
    }
    // The mark in user.cfg is set first and stays when the rest fails, as it does there.
    mark(call, &user, true)?;
    let answer = match kind.as_str() {
        "totp" => add_totp(call, &user),
        "recovery" => add_recovery(call, &user),
        _ => Err(no_security_key(call, &kind)),
    };
    answer.map(Success::from).map_err(Failure::die)
}

pub(super) fn update(call: &mut Call<'_>) -> Outcome {
    let user = reauthenticate(call, "password")?;
    let enable = call.text("enable").map(|_| call.flag("enable"));
    let (id, description) = (call.required("id"), call.text("description"));
    call.state.second_factors.update(&user, &id, description, enable).map_err(refused)?;
    Ok(Success::default())
}

pub(super) fn delete(call: &mut Call<'_>) -> Outcome {
    let user = reauthenticate(call, "password")?;
    let id = call.required("id");
    let left = call.state.second_factors.remove(&user, &id).map_err(refused)?;
    if !left {
        mark(call, &user, false)?;
    }
    Ok(Success::default())
}

/// `PUT /access/users/{userid}/unlock-tfa`
pub(super) fn unlock(call: &mut Call<'_>) -> Outcome {
    let user = call.required("userid");
    let locked = call.state.second_factors.unlock(&user).map_err(refused)?;
    Ok(json!(u8::from(locked)).into())
}

/// `GET /access/users/{userid}/tfa`: which kinds a user has, in the words of the old API.
pub(super) fn kinds(call: &mut Call<'_>) -> Outcome {
    let user = call.required("userid");
    let realm = user.rsplit('@').next().unwrap_or_default();
    if super::realm_type(&user).is_none() {
        return Err(Failure::die(format!("auth domain '{realm}' does not exist")));
    }
    let factors = call.state.second_factors.of(&user);
    let mut kinds: Vec<&str> =
        factors.into_iter().flat_map(Factors::entries).map(|entry| entry.kind).collect();
    kinds.dedup();
    let mut answer = json!({});
    if call.flag("multiple") {
        set(&mut answer, "user", kinds);
    } else if !kinds.is_empty() {
        // The old API knows one kind; it locks out whoever has only others.
        let kind = if kinds.contains(&"totp") { "oath" } else { "incompatible" };
        set(&mut answer, "user", kind);
    }
    Ok(answer.into())
}

/// Adds the members that tell of locks; absent means there is none.
pub(super) fn locks(entry: &mut Value, factors: &Factors, now: u64) {
    set_some(entry, "totp-locked", factors.is_totp_locked().then_some(1));
    set_some(entry, "tfa-locked-until", factors.locked_until(now));
}

fn add_totp(call: &mut Call<'_>, user: &str) -> Result<Value, String> {
    if call.text("challenge").is_some() {
        return Err("'challenge' parameter is invalid for 'totp' entries".to_owned());
    }
    let description = description(call)?;
    let (Some(uri), Some(code)) = (call.text("totp"), call.text("value")) else {
        return Err("'totp' type requires both 'totp' and 'value' parameters".to_owned());
    };
    let totp: Totp = uri.parse().map_err(|error| format!("{error}"))?;
    let now = call.now().as_secs();
    if totp.step_of(&code, now).is_none() {
        return Err("failed to verify TOTP challenge".to_owned());
    }
    let id = call.state.second_factors.add_totp(user, description, totp, now);
    Ok(json!({ "id": id }))
}

fn add_recovery(call: &mut Call<'_>, user: &str) -> Result<Value, String> {
    if ["totp", "value", "challenge"].iter().any(|name| call.text(name).is_some()) {
        let text = "generating recovery tokens does not allow additional parameters";
        return Err(text.to_owned());
    }
    let now = call.now().as_secs();
    let keys = call.state.second_factors.add_recovery(user, now);
    let keys = keys.map_err(|error| error.to_string())?;
    Ok(json!({ "id": "recovery", "recovery": keys }))
}

/// Why a security key can not be added, in the order of the genuine checks.
fn no_security_key(call: &Call<'_>, kind: &str) -> String {
    if call.text("totp").is_some() {
        return format!("'totp' parameter is invalid for '{kind}' entries");
    }
    if call.text("challenge").is_none() {
        if let Err(missing) = description(call) {
            return missing;
        }
    } else if call.text("value").is_none() {
        return format!("missing 'value' parameter ({kind} challenge response missing)");
    }
    format!("no {kind} configuration available")
}

fn description(call: &Call<'_>) -> Result<String, String> {
    let text = "'description' is required for new entries";
    call.text("description").ok_or_else(|| text.to_owned())
}

/// Notes in `user.cfg` whether the login has to ask for a second factor.
fn mark(call: &mut Call<'_>, user: &str, has_factors: bool) -> Result<(), Failure> {
    call.state.accounts.change(|config| {
        if let Some(user) = config.users.get_mut(user) {
            user.keys = has_factors.then(|| Keys(SecretString::from("x")));
        }
        Ok(())
    })
}

fn refused(error: FactorError) -> Failure {
    Failure::die(error.to_string())
}

fn entries(factors: &Factors) -> Vec<Value> {
    factors.entries().map(shown).collect()
}

/// What has its default value is left out.
fn shown(entry: Entry) -> Value {
    let mut shown = json!({ "type": entry.kind, "id": entry.id, "created": entry.created });
    let description = Some(entry.description).filter(|text| !text.is_empty());
    set_some(&mut shown, "description", description);
    set_some(&mut shown, "enable", (!entry.enable).then_some(0));
    shown
}
