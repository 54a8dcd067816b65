//! Realms: the two that every installation has, and what was created. Nobody logs in through the
//! latter, because there is no directory behind them.

use pve_schema::Verb;
use serde_json::{Map, Value, json};

use super::failed;
use crate::api::{Call, Row, generic};
use crate::failure::{Failure, Outcome};

pub(in crate::api) const ROWS: &[Row] = &[
    (Verb::Get, "/access/domains", list),
    (Verb::Post, "/access/domains", create),
    (Verb::Get, "/access/domains/{realm}", show),
    (Verb::Put, "/access/domains/{realm}", update),
    (Verb::Delete, "/access/domains/{realm}", delete),
];

const COLLECTION: &str = "/access/domains";

/// Realms that exist without an entry: id and type, comment.
const BUILTIN: [(&str, &str); 2] =
    [("pam", "Linux PAM standard authentication"), ("pve", "Proxmox VE authentication server")];

/// Members that the list shows, besides `realm`.
const LISTED: [&str; 3] = ["type", "comment", "tfa"];

/// The type of a user's realm, if accounts of it can exist.
pub(super) fn realm_type(userid: &str) -> Option<&'static str> {
    let (_, realm) = userid.rsplit_once('@')?;
    BUILTIN.iter().find(|(id, _)| *id == realm).map(|(id, _)| *id)
}

pub(super) fn exists(call: &Call<'_>, realm: &str) -> bool {
    fields(call, realm).is_some()
}

fn list(call: &mut Call<'_>) -> Outcome {
    let builtin = BUILTIN.iter().map(|(realm, _)| (*realm).to_owned());
    let created = call.state.objects.list(COLLECTION).map(|(realm, _)| realm.clone());
    let created = created.filter(|realm| !is_builtin(realm));
    let realms: Vec<String> = builtin.chain(created).collect();
    let entries = realms.iter().filter_map(|realm| {
        let fields = fields(call, realm)?;
        let mut entry = Map::from_iter([("realm".to_owned(), json!(realm))]);
        entry.extend(fields.into_iter().filter(|(key, value)| {
            let is_default = key == "default" && value != &json!(0) && value != &json!("0");
            is_default || LISTED.contains(&key.as_str())
        }));
        Some(Value::Object(entry))
    });
    Ok(entries.collect::<Value>().into())
}

fn create(call: &mut Call<'_>) -> Outcome {
    let realm = call.text("realm").unwrap_or_default();
    let kind = call.text("type").unwrap_or_default();
    let why = if fields(call, &realm).is_some() {
        format!("domain '{realm}' already exists")
    } else if is_builtin(&kind) {
        format!("unable to create builtin type '{kind}'")
    } else {
        return generic::answer(call);
    };
    Err(failed("add auth server", &why))
}

fn show(call: &mut Call<'_>) -> Outcome {
    let realm = call.text("realm").unwrap_or_default();
    let mut fields = fields(call, &realm).ok_or_else(|| Failure::die(unknown(&realm)))?;
    fields.insert("digest".to_owned(), json!(generic::digest(call, COLLECTION)));
    Ok(Value::Object(generic::shown(&fields)).into())
}

fn update(call: &mut Call<'_>) -> Outcome {
    let realm = call.text("realm").unwrap_or_default();
    let found = fields(call, &realm);
    let found = found.ok_or_else(|| failed("update auth server", &unknown(&realm)))?;
    let options = ["realm", "digest", "password"];
    if !call.parameters.iter().any(|(name, _)| !options.contains(&name.as_str())) {
        return Err(failed("update auth server", "no options specified"));
    }
    if call.state.objects.find(COLLECTION, &realm).is_none() {
        call.state.objects.insert(COLLECTION, &realm, found);
    }
    generic::answer(call)
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let realm = call.text("realm").unwrap_or_default();
    if fields(call, &realm).is_none() {
        return Err(failed("delete auth server", &format!("authentication {}", unknown(&realm))));
    }
    // Without its entry a realm of these shows its first comment again, as in PVE.
    if is_builtin(&realm) && call.state.objects.find(COLLECTION, &realm).is_none() {
        return Ok(Value::Null.into());
    }
    generic::answer(call)
}

fn fields(call: &Call<'_>, realm: &str) -> Option<Map<String, Value>> {
    let builtin = BUILTIN.iter().find(|(id, _)| *id == realm).map(|(id, comment)| {
        let members = [("type", *id), ("comment", *comment)];
        members.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect()
    });
    call.state.objects.find(COLLECTION, realm).cloned().or(builtin)
}

fn is_builtin(realm: &str) -> bool {
    BUILTIN.iter().any(|(id, _)| *id == realm)
}

fn unknown(realm: &str) -> String {
    format!("domain '{realm}' does not exist")
}
