//! `/nodes/{node}/storage`.

use pve_schema::Verb;
use serde_json::Value;

use super::{Call, Row};
use crate::failure::{Failure, Outcome};
use crate::state::Storage;

const SEEN_WITH: &[&str] = &["Datastore.Audit", "Datastore.AllocateSpace"];

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/nodes/{node}/storage", on_node),
    (Verb::Get, "/nodes/{node}/storage/{storage}/status", status),
];

fn on_node(call: &mut Call<'_>) -> Outcome {
    call.node()?;
    let content = call.text("content");
    let only = call.text("storage");
    let storages = call.state.storages.values();
    let seen = storages.filter(|one| call.may(&format!("/storage/{}", one.id), SEEN_WITH));
    let wanted = seen.filter(|one| {
        let holds = |wanted: &String| one.content.split(',').any(|kind| kind == wanted);
        only.as_ref().is_none_or(|id| *id == one.id) && content.as_ref().is_none_or(holds)
    });
    Ok(wanted.map(Storage::status).collect::<Value>().into())
}

fn status(call: &mut Call<'_>) -> Outcome {
    call.node()?;
    let id = call.required("storage");
    let found = call.state.storages.get(&id);
    let found = found.ok_or_else(|| Failure::die(format!("storage '{id}' does not exist")))?;
    Ok(found.status().into())
}
