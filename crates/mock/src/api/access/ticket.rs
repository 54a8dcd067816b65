//! `/access/ticket`: login, renewal, and the question whether a login has a right.

use pve_access::{Privilege, Privileges, Subject, ticket};
use serde_json::{Map, Value, json};

use crate::api::Call;
use crate::failure::{Failure, Outcome, Success};
use crate::object::{set, set_some};

/// A page for browsers in the `html` format; everyone else gets null.
pub(super) fn form(_: &mut Call<'_>) -> Outcome {
    Ok(Success::default())
}

/// Every way to fail has the same answer and the same delay, so that accounts can not be guessed.
pub(super) fn create(call: &mut Call<'_>) -> Outcome {
    login(call).ok_or_else(|| Failure::unauthorized("authentication failure")).map(Success::from)
}

fn login(call: &mut Call<'_>) -> Option<Value> {
    let now = call.now().as_secs();
    let mut user = call.required("username");
    if let Some(realm) = call.text("realm") {
        user = format!("{user}@{realm}");
    }
    if call.text("tfa-challenge").is_some() || call.text("otp").is_some() {
        return None;
    }
    let subject: Subject = user.parse().ok()?;
    let accounts = &call.state.accounts;
    if subject.token().is_some() || !accounts.is_active(&subject, now) {
        return None;
    }
    let password = call.required("password");
    if !(accounts.password_matches(&user, &password) || renews(call, &user, &password)) {
        return None;
    }
    let mut answer = match call.text("path") {
        Some(path) => right(call, &subject, &path)?,
        None => tickets(call, &user, now)?,
    };
    set(&mut answer, "username", user);
    set(&mut answer, "cap", capabilities(call, &subject));
    if accounts.privileges(&subject, "/").contains(Privilege::parse("Sys.Audit")?) {
        set_some(&mut answer, "clustername", call.state.cluster.clone());
    }
    Some(answer)
}

/// A login that only asks whether the user has the rights makes no ticket.
fn right(call: &Call<'_>, subject: &Subject, path: &str) -> Option<Value> {
    let names = call.list("privs");
    let wanted = Privileges::parse(names.iter().map(String::as_str)).ok()?;
    let held = call.state.accounts.privileges(subject, path);
    (!names.is_empty() && held.contains_all(wanted)).then(|| json!({}))
}

fn tickets(call: &Call<'_>, user: &str, now: u64) -> Option<Value> {
    let keys = call.keys.as_ref()?;
    let ticket = ticket::issue(keys.signing(), user, None, now).ok()?;
    let csrf = call.shared.csrf.issue(user, now);
    Some(json!({ "ticket": ticket.expose(), "CSRFPreventionToken": csrf.expose() }))
}

/// A valid ticket is as good as the password of its own user; that of `root@pam` is for all.
fn renews(call: &Call<'_>, user: &str, password: &str) -> bool {
    let Some(keys) = &call.keys else { return false };
    let verified = ticket::verify_user(keys, password, call.now().as_secs());
    verified.is_ok_and(|(owner, _)| owner.is_root() || owner.to_string() == user)
}

fn capabilities(call: &Call<'_>, subject: &Subject) -> Value {
    let categories = call.state.accounts.capabilities(subject);
    let categories = categories.into_iter().map(|(category, privileges)| {
        let members = privileges.iter().map(|one| (one.name().to_owned(), json!(1)));
        (category.to_owned(), Value::Object(members.collect::<Map<_, _>>()))
    });
    Value::Object(categories.collect())
}
