//! `/access/users/{userid}/token`.

use pve_access::user_cfg::{Token, User};
use serde_json::{Value, json};

use super::failed;
use crate::api::Call;
use crate::failure::{Failure, Outcome, Success};
use crate::object::{set, set_some};

pub(super) fn list(call: &mut Call<'_>) -> Outcome {
    Ok(json!(entries(user(call)?)).into())
}

pub(super) fn read(call: &mut Call<'_>) -> Outcome {
    let name = call.required("tokenid");
    let token = user(call)?.tokens.get(&name);
    let token = token.ok_or_else(|| missing(&call.required("userid"), &name))?;
    Ok(facts(token).into())
}

pub(super) fn create(call: &mut Call<'_>) -> Outcome {
    let (id, name) = (call.required("userid"), call.required("tokenid"));
    if user(call)?.tokens.contains_key(&name) {
        return Err(Failure::parameter("tokenid", "Token already exists."));
    }
    let mut token = Token { privsep: true, ..Token::default() };
    overlay(call, &mut token);
    let secret = secrets::random::uuid()
        .map_err(|error| Failure::die(format!("making the secret failed: {error}")))?;
    let secret = secret.expose().clone();
    // The genuine answer repeats what was given, as text.
    let mut info = json!({ "privsep": u8::from(token.privsep).to_string() });
    set_some(&mut info, "comment", token.comment.as_deref());
    if let Some(expire) = call.text("expire") {
        set(&mut info, "expire", expire);
    }
    let full = format!("{id}!{name}");
    call.state.accounts.set_token(&id, &name, token, Some(secret.clone()));
    Ok(json!({ "full-tokenid": full, "info": info, "value": secret }).into())
}

pub(super) fn update(call: &mut Call<'_>) -> Outcome {
    let (id, name) = (call.required("userid"), call.required("tokenid"));
    let known = user(call)?.tokens.get(&name).cloned();
    let mut token = known.ok_or_else(|| missing(&id, &name))?;
    overlay(call, &mut token);
    let answer = facts(&token);
    call.state.accounts.set_token(&id, &name, token, None);
    Ok(answer.into())
}

pub(super) fn delete(call: &mut Call<'_>) -> Outcome {
    let (id, name) = (call.required("userid"), call.required("tokenid"));
    if !user(call)?.tokens.contains_key(&name) {
        return Err(missing(&id, &name));
    }
    call.state.accounts.delete_token(&id, &name);
    Ok(Success::default())
}

/// One token as an object of its settings.
pub(super) fn facts(token: &Token) -> Value {
    let mut entry = json!({ "privsep": u8::from(token.privsep), "expire": token.expire });
    set_some(&mut entry, "comment", token.comment.as_deref());
    entry
}

/// All tokens of a user, each with its name.
pub(super) fn entries(user: &User) -> Vec<Value> {
    let entry = |(name, token): (&String, &Token)| {
        let mut entry = facts(token);
        set(&mut entry, "tokenid", name.as_str());
        entry
    };
    user.tokens.iter().map(entry).collect()
}

fn overlay(call: &Call<'_>, token: &mut Token) {
    if call.text("privsep").is_some() {
        token.privsep = call.flag("privsep");
    }
    if let Some(expire) = call.number("expire") {
        token.expire = expire;
    }
    if let Some(comment) = call.text("comment") {
        token.comment = Some(comment).filter(|text| !text.is_empty());
    }
}

fn user<'c>(call: &'c Call<'_>) -> Result<&'c User, Failure> {
    let id = call.required("userid");
    let found = call.state.accounts.config().users.get(&id);
    found.ok_or_else(|| Failure::die(format!("no such user ('{id}')")))
}

fn missing(id: &str, name: &str) -> Failure {
    failed("reading token", &format!("no such token '{name}' for user '{id}'"))
}
