//! `/access/users`.

use pve_access::user_cfg::{Keys, User, UserConfig};
use serde_json::{Map, Value, json};

use super::{AUDIT, domains, failed, realm_type, tfa, tokens};
use crate::api::Call;
use crate::failure::{Failure, Outcome, Success};
use crate::object::set_some;

pub(super) fn list(call: &mut Call<'_>) -> Outcome {
    let full = call.flag("full");
    let enabled = call.text("enabled").map(|text| text == "1");
    let (config, now) = (call.state.accounts.config(), call.now().as_secs());
    let mut entries = Vec::new();
    for (id, user) in &config.users {
        if !sees(call, id) || enabled.is_some_and(|wanted| wanted != user.enable) {
            continue;
        }
        let mut entry = facts(user);
        entry.insert("userid".to_owned(), json!(id));
        if let Some(kind) = realm_type(id) {
            entry.insert("realm-type".to_owned(), json!(kind));
        }
        if full {
            let groups: Vec<&str> = config.groups_of(id).collect();
            entry.insert("groups".to_owned(), json!(groups.join(",")));
            let tokens = (!user.tokens.is_empty()).then(|| tokens::entries(user));
            entry.insert("tokens".to_owned(), json!(tokens));
        }
        let mut entry = Value::Object(entry);
        if let Some(factors) = call.state.second_factors.of(id) {
            tfa::locks(&mut entry, factors, now);
        }
        entries.push(entry);
    }
    Ok(Value::Array(entries).into())
}

/// Whether the caller is this user or audits all groups or one of the user's.
pub(super) fn sees(call: &Call<'_>, id: &str) -> bool {
    let audits = |group: &str| call.may(&format!("/access/groups/{group}"), AUDIT);
    call.caller.id() == id
        || call.may("/access/groups", AUDIT)
        || call.state.accounts.config().groups_of(id).any(audits)
}

pub(super) fn read(call: &mut Call<'_>) -> Outcome {
    let id = call.required("userid");
    let config = call.state.accounts.config();
    let user =
        config.users.get(&id).ok_or_else(|| Failure::die(format!("no such user ('{id}')")))?;
    let mut entry = facts(user);
    let tokens = user.tokens.iter().map(|(name, token)| (name.clone(), tokens::facts(token)));
    let tokens = Value::Object(tokens.collect::<Map<_, _>>());
    let tokens = if user.tokens.is_empty() { Value::Null } else { tokens };
    entry.insert("tokens".to_owned(), tokens);
    entry.insert("groups".to_owned(), json!(config.groups_of(&id).collect::<Vec<_>>()));
    Ok(Value::Object(entry).into())
}

pub(super) fn create(call: &mut Call<'_>) -> Outcome {
    let id = call.required("userid");
    let password = call.text("password");
    let groups = call.list("groups");
    if call.state.accounts.exists(&id) {
        return Err(failed("create user", &format!("user '{id}' already exists")));
    }
    // The realm is asked for only to keep the password.
    let realm = id.rsplit('@').next().unwrap_or_default();
    if password.is_some() && !domains::exists(call, realm) {
        return Err(failed("create user", &format!("domain '{realm}' does not exist")));
    }
    let mut user = User { enable: true, ..User::default() };
    overlay(call, &mut user);
    call.state.accounts.change(|config| {
        config.users.insert(id.clone(), user);
        join(config, &id, &groups, "create user")?;
        Ok(Success::default())
    })?;
    if let Some(password) = password {
        call.state.accounts.set_password(&id, password);
    }
    Ok(Success::default())
}

pub(super) fn update(call: &mut Call<'_>) -> Outcome {
    let id = call.required("userid");
    let (groups, append) = (call.text("groups").map(|_| call.list("groups")), call.flag("append"));
    let known = call.state.accounts.config().users.get(&id).cloned();
    let mut user = known.ok_or_else(|| Failure::die(format!("no such user ('{id}')")))?;
    overlay(call, &mut user);
    call.state.accounts.change(|config| {
        config.users.insert(id.clone(), user);
        let Some(groups) = groups else { return Ok(Success::default()) };
        if !append {
            config.groups.values_mut().for_each(|group| {
                group.users.remove(&id);
            });
        }
        join(config, &id, &groups, "update user")?;
        Ok(Success::default())
    })
}

pub(super) fn delete(call: &mut Call<'_>) -> Outcome {
    let id = call.required("userid");
    if id == "root@pam" {
        return Err(failed("delete user", "unable to delete yourself!"));
    }
    call.state.second_factors.remove_user(&id);
    call.state.accounts.delete_user(&id);
    Ok(Success::default())
}

/// The members a user has everywhere. A field is there when it or a later one is set, because
/// the file's line ends with its last field.
pub(super) fn facts(user: &User) -> Map<String, Value> {
    let mut entry = json!({ "enable": u8::from(user.enable), "expire": user.expire });
    set_some(&mut entry, "firstname", user.firstname.as_deref());
    set_some(&mut entry, "lastname", user.lastname.as_deref());
    let later = user.comment.is_some() || user.keys.is_some();
    set_some(&mut entry, "email", user.email.as_deref().or(later.then_some("")));
    set_some(&mut entry, "comment", user.comment.as_deref());
    set_some(&mut entry, "keys", user.keys.as_ref().map(|Keys(keys)| keys.expose().as_str()));
    match entry {
        Value::Object(entry) => entry,
        _ => Map::new(),
    }
}

/// Takes the given parameters over; null and absent ones change nothing.
fn overlay(call: &Call<'_>, user: &mut User) {
    let fields = [
        ("firstname", &mut user.firstname),
        ("lastname", &mut user.lastname),
        ("email", &mut user.email),
        ("comment", &mut user.comment),
    ];
    for (name, field) in fields {
        if let Some(text) = call.text(name) {
            *field = Some(text).filter(|text| !text.is_empty());
        }
    }
    if let Some(keys) = call.text("keys") {
        user.keys = Some(keys).filter(|text| !text.is_empty()).map(|text| Keys(text.into()));
    }
    if call.text("enable").is_some() {
        user.enable = call.flag("enable");
    }
    if let Some(expire) = call.number("expire") {
        user.expire = expire;
    }
}

fn join(config: &mut UserConfig, id: &str, groups: &[String], action: &str) -> Result<(), Failure> {
    for name in groups {
        let group = config.groups.get_mut(name);
        let group = group.ok_or_else(|| failed(action, &format!("no such group '{name}'")))?;
        group.users.insert(id.to_owned());
    }
    Ok(())
}
