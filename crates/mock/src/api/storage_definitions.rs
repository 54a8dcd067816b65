//! `/storage`: the entries of `storage.cfg`. What a plugin needs beyond content and path is kept
//! as it was given.

use pve_schema::Verb;
use serde_json::{Value, json};

use super::{Call, Row};
use crate::failure::{Failure, Outcome, Success};
use crate::object::extend;
use crate::seed::StorageSeed;
use crate::state::{Fields, Storage, sha1_hex};

const SEEN_WITH: &[&str] = &["Datastore.Audit", "Datastore.AllocateSpace"];
/// Where the further settings are kept.
const SETTINGS: &str = "/storage";
/// Parameters that are no settings, or stand in the storage itself.
const KNOWN: [&str; 9] =
    ["storage", "type", "content", "path", "shared", "delete", "digest", "password", "keyring"];
/// Content of a storage that names none, by its type.
const CONTENT: [(&str, &str); 7] = [
    ("lvm", "images,rootdir"),
    ("lvmthin", "images,rootdir"),
    ("zfspool", "images,rootdir"),
    ("rbd", "images"),
    ("iscsi", "images"),
    ("pbs", "backup"),
    ("cephfs", "backup,iso,vztmpl"),
];
/// Types whose storages are shared unless said otherwise.
const SHARED: [&str; 8] = ["nfs", "cifs", "pbs", "rbd", "cephfs", "iscsi", "iscsidirect", "zfs"];
const SIZE: u64 = 1 << 40;

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/storage", list),
    (Verb::Post, "/storage", create),
    (Verb::Get, "/storage/{storage}", show),
    (Verb::Put, "/storage/{storage}", update),
    (Verb::Delete, "/storage/{storage}", delete),
];

fn digest(call: &Call<'_>) -> String {
    let text = |one: &Storage| {
        let further = call.state.objects.find(SETTINGS, &one.id).map(|fields| json!(fields));
        let further = further.map(|fields| fields.to_string()).unwrap_or_default();
        format!("{}: {}\n{} {further}\n", one.kind, one.id, one.content)
    };
    let text: String = call.state.storages.values().map(text).collect();
    sha1_hex(text.as_bytes())
}

fn definition(call: &Call<'_>, storage: &Storage, digest: &str) -> Value {
    let mut entry = storage.definition(digest);
    if let Some(fields) = call.state.objects.find(SETTINGS, &storage.id) {
        extend(&mut entry, json!(fields));
    }
    entry
}

fn list(call: &mut Call<'_>) -> Outcome {
    let digest = digest(call);
    let wanted = call.text("type");
    let storages = call.state.storages.values();
    let seen = storages.filter(|one| call.may(&format!("/storage/{}", one.id), SEEN_WITH));
    let typed = seen.filter(|one| wanted.as_ref().is_none_or(|kind| *kind == one.kind));
    Ok(typed.map(|one| definition(call, one, &digest)).collect::<Value>().into())
}

fn missing(id: &str) -> Failure {
    Failure::die(format!("storage '{id}' does not exist"))
}

fn show(call: &mut Call<'_>) -> Outcome {
    let id = call.required("storage");
    let storage = call.state.storages.get(&id).ok_or_else(|| missing(&id))?;
    Ok(definition(call, storage, &digest(call)).into())
}

fn further(call: &Call<'_>) -> Fields {
    let given = call.parameters.iter();
    let kept = given.filter(|(key, value)| !KNOWN.contains(&key.as_str()) && !value.is_null());
    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn create(call: &mut Call<'_>) -> Outcome {
    let (id, kind) = (call.required("storage"), call.required("type"));
    if call.state.storages.contains_key(&id) {
        let text = format!("create storage failed: storage ID '{id}' already defined");
        return Err(Failure::die(text));
    }
    if kind == "dir" && call.text("path").is_none() {
        let text = "create storage failed: missing value for required option 'path'";
        return Err(Failure::die(text));
    }
    let default = CONTENT.iter().find(|(name, _)| *name == kind);
    let default = default.map_or("images,rootdir,vztmpl,iso,backup,snippets", |(_, kinds)| kinds);
    let path = call.text("path").or_else(|| {
        let mounted = matches!(kind.as_str(), "nfs" | "cifs" | "cephfs");
        mounted.then(|| format!("/mnt/pve/{id}"))
    });
    let shared = if call.text("shared").is_some() {
        call.flag("shared")
    } else {
        SHARED.contains(&kind.as_str())
    };
    let seed = StorageSeed {
        id: id.clone(),
        kind: kind.clone(),
        content: call.text("content").unwrap_or_else(|| default.to_owned()),
        path,
        shared,
        size: Some(SIZE),
    };
    let further = further(call);
    call.state.storages.insert(id.clone(), Storage::new(seed));
    call.state.objects.insert(SETTINGS, &id, further);
    Ok(json!({ "storage": id, "type": kind }).into())
}

fn update(call: &mut Call<'_>) -> Outcome {
    let id = call.required("storage");
    let digest = digest(call);
    let (further, less) = (further(call), call.list("delete"));
    let (content, shared) =
        (call.text("content"), call.text("shared").map(|_| call.flag("shared")));
    if !call.state.storages.contains_key(&id) {
        return Err(Failure::die(format!("update storage failed: storage '{id}' does not exist")));
    }
    call.unmodified(&digest)?;
    let mut fields = call.state.objects.find(SETTINGS, &id).cloned().unwrap_or_default();
    for key in &less {
        fields.remove(key);
    }
    fields.extend(further);
    call.state.objects.insert(SETTINGS, &id, fields);
    let storage = call.state.storages.get_mut(&id).ok_or_else(|| missing(&id))?;
    if let Some(content) = content {
        storage.content = content;
    }
    if let Some(shared) = shared {
        storage.shared = shared;
    }
    Ok(json!({ "storage": id, "type": storage.kind }).into())
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let id = call.required("storage");
    if !call.state.storages.contains_key(&id) {
        return Err(Failure::die(format!("delete storage failed: storage '{id}' does not exist")));
    }
    call.state.storages.remove(&id);
    call.state.objects.remove(SETTINGS, &id);
    call.state.accounts.change(|config| {
        for pool in config.pools.values_mut() {
            pool.storage.remove(&id);
        }
        Ok(())
    })?;
    Ok(Success::default())
}
