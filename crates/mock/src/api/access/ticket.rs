//! `/access/ticket`: login, renewal, and the question whether a login has a right.

use identity::UserId;
use pve_access::{Privilege, Privileges, Subject, ticket};
use serde_json::{Map, Value, json};

use crate::api::Call;
use crate::failure::{Failure, Outcome, Success};
use crate::object::{set, set_some};
use crate::state::{Factors, Response};

/// Process id of the daemon in the cluster log.
const DAEMON: u32 = 1000;

/// A page for browsers in the `html` format; everyone else gets null.
pub(super) fn form(_: &mut Call<'_>) -> Outcome {
    Ok(Success::default())
}

/// Every way to fail has the same answer and the same delay, so that accounts can not be guessed.
pub(super) fn create(call: &mut Call<'_>) -> Outcome {
    let answer = login(call).ok_or_else(|| Failure::unauthorized("authentication failure"))?;
    let (now, node) = (call.now(), call.state.local.clone());
    let user = answer.get("username").and_then(Value::as_str).unwrap_or_default();
    let line = format!("successful auth for user '{user}'");
    call.state.log.add(now, &node, "root@pam", DAEMON, line);
    Ok(answer.into())
}

fn login(call: &mut Call<'_>) -> Option<Value> {
    let now = call.now().as_secs();
    let mut user = call.required("username");
    if let Some(realm) = call.text("realm") {
        user = format!("{user}@{realm}");
    }
    let subject: Subject = user.parse().ok()?;
    if subject.token().is_some() || !call.state.accounts.is_active(&subject, now) {
        return None;
    }
    let (mut answer, challenged) = match call.text("path") {
        Some(path) => (right(call, &subject, &path)?, false),
        None => {
            let challenge = authenticate(call, &user)?;
            (tickets(call, &user, challenge.as_deref())?, challenge.is_some())
        }
    };
    set(&mut answer, "username", user);
    if challenged {
        set(&mut answer, "NeedTFA", 1);
    } else {
        set(&mut answer, "cap", capabilities(call, &subject));
    }
    let accounts = &call.state.accounts;
    if accounts.privileges(&subject, "/").contains(Privilege::parse("Sys.Audit")?) {
        set_some(&mut answer, "clustername", call.state.cluster.clone());
    }
    Some(answer)
}

/// Whether the user is who they say. `Some(Some(…))` is the challenge that is still to be answered.
fn authenticate(call: &mut Call<'_>, user: &str) -> Option<Option<String>> {
    let (password, otp) = (call.required("password"), call.text("otp"));
    if let Some(challenge) = call.text("tfa-challenge") {
        let answers = otp.is_none() && is_challenge(call, user, &challenge);
        return (answers && answer_is_right(call, user, &password)).then_some(None);
    }
    if renews(call, &password, |owner| owner.is_root() || owner.to_string() == user) {
        return Some(None);
    }
    if !call.state.accounts.password_matches(user, &password) {
        return None;
    }
    second_factor(call, user, otp.as_deref())
}

/// What is asked after the password: nothing without the mark in `user.cfg` or when all factors are
/// disabled. A one-time password given along with the password is the answer.
fn second_factor(call: &mut Call<'_>, user: &str, otp: Option<&str>) -> Option<Option<String>> {
    let marked = call.state.accounts.config().users.get(user).is_some_and(|one| one.keys.is_some());
    if !marked {
        return Some(None);
    }
    let challenge = call.state.second_factors.of(user).and_then(Factors::challenge);
    let Some(otp) = otp else { return Some(challenge) };
    (challenge.is_some() && answer_is_right(call, user, otp)).then_some(None)
}

/// Whether this is a ticket for a challenge of this user. What it asks does not matter: the
/// factors are those of the moment.
fn is_challenge(call: &Call<'_>, user: &str, challenge: &str) -> bool {
    let (Some(keys), Ok(user)) = (&call.keys, user.parse()) else { return false };
    ticket::verify_challenge(keys, challenge, &user, call.now().as_secs()).is_ok()
}

fn answer_is_right(call: &mut Call<'_>, user: &str, answer: &str) -> bool {
    let now = call.now().as_secs();
    let factors = &mut call.state.second_factors;
    Response::parse(answer).is_some_and(|answer| factors.verify(user, &answer, now))
}

/// A login that only asks whether the user has the rights makes no ticket. It asks for no second
/// factor either, as on a genuine server, but refuses a wrong one.
fn right(call: &mut Call<'_>, subject: &Subject, path: &str) -> Option<Value> {
    let (user, password) = (subject.as_str(), call.required("password"));
    if !renews(call, &password, |owner| owner.to_string() == user) {
        let otp = call.text("otp");
        if !call.state.accounts.password_matches(user, &password) {
            return None;
        }
        second_factor(call, user, otp.as_deref())?;
    }
    let names = call.list("privs");
    let wanted = Privileges::parse(names.iter().map(String::as_str)).ok()?;
    let held = call.state.accounts.privileges(subject, path);
    (!names.is_empty() && held.contains_all(wanted)).then(|| json!({}))
}

/// The ticket of a user, or of a challenge to them.
fn tickets(call: &Call<'_>, user: &str, challenge: Option<&str>) -> Option<Value> {
    let (key, now) = (call.keys.as_ref()?.signing(), call.now().as_secs());
    let ticket = match challenge {
        Some(challenge) => ticket::issue_challenge(key, &user.parse().ok()?, challenge, now),
        None => ticket::issue(key, user, None, now),
    };
    let ticket = ticket.ok()?;
    let csrf = call.shared.csrf.issue(user, now);
    Some(json!({ "ticket": ticket.expose(), "CSRFPreventionToken": csrf.expose() }))
}

/// Whether the password is a valid ticket whose owner is accepted: a ticket is as good as the
/// password of its own user, and that of `root@pam` makes tickets for all.
fn renews(call: &Call<'_>, password: &str, accepted: impl Fn(&UserId) -> bool) -> bool {
    let Some(keys) = &call.keys else { return false };
    let verified = ticket::verify_user(keys, password, call.now().as_secs());
    verified.is_ok_and(|(owner, _)| accepted(&owner))
}

fn capabilities(call: &Call<'_>, subject: &Subject) -> Value {
    let categories = call.state.accounts.capabilities(subject);
    let categories = categories.into_iter().map(|(category, privileges)| {
        let members = privileges.iter().map(|one| (one.name().to_owned(), json!(1)));
        (category.to_owned(), Value::Object(members.collect::<Map<_, _>>()))
    });
    Value::Object(categories.collect())
}
