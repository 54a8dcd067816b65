//! `/cluster/sdn/route-maps`: what becomes of routes, entry by entry.

use std::collections::BTreeSet;

use pve_schema::Verb;
use serde_json::{Value, json};

use super::super::{Call, Row};
use super::fabrics::{changed, given, named};
use super::file::{CONTROLLERS, ROUTE_MAPS, View, text};
use super::lock::locked;
use super::sections::SEEN_WITH;
use crate::failure::{Failure, Outcome, Success};
use crate::state::Fields;

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/cluster/sdn/route-maps", maps),
    (Verb::Get, "/cluster/sdn/route-maps/entries", list),
    (Verb::Post, "/cluster/sdn/route-maps/entries", create),
    (Verb::Get, "/cluster/sdn/route-maps/entries/{route-map-id}", list),
    (Verb::Get, "/cluster/sdn/route-maps/entries/{route-map-id}/entry/{order}", show),
    (Verb::Put, "/cluster/sdn/route-maps/entries/{route-map-id}/entry/{order}", update),
    (Verb::Delete, "/cluster/sdn/route-maps/entries/{route-map-id}/entry/{order}", delete),
];

const MAP: &str = "route-map-id";
/// Members that say which entry it is, and what it does.
const NAMES: [&str; 3] = [MAP, "order", "action"];

fn maps(call: &mut Call<'_>) -> Outcome {
    let right = call.right(SEEN_WITH);
    let sections = ROUTE_MAPS.sections(&call.state.objects, View::of(call));
    let ids = sections.values().filter_map(|entry| text(entry, MAP));
    let ids: BTreeSet<&str> = ids.filter(|id| right.at(&format!("/sdn/route-maps/{id}"))).collect();
    Ok(ids.iter().map(|id| json!({ "id": id })).collect::<Value>().into())
}

/// All entries, or those of one map, by their order.
fn list(call: &mut Call<'_>) -> Outcome {
    let (view, objects) = (View::of(call), &call.state.objects);
    let (right, wanted) = (call.right(SEEN_WITH), call.text(MAP));
    let digest = ROUTE_MAPS.digest(objects);
    let sections = ROUTE_MAPS.sections(objects, view).into_values();
    let entries = sections.map(|entry| named(entry, &NAMES));
    let seen = entries.filter(|entry| {
        let id = text(entry, MAP).unwrap_or_default();
        wanted.as_deref().is_none_or(|wanted| wanted == id)
            && right.at(&format!("/sdn/route-maps/{id}"))
    });
    let shown = seen.map(|mut entry| {
        if view != View::Running {
            entry.insert("digest".to_owned(), json!(digest));
        }
        Value::Object(entry)
    });
    Ok(shown.collect::<Value>().into())
}

/// With all digits of the order, so that entries stand in it.
fn key(call: &Call<'_>) -> String {
    format!("{}/{:0>5}", call.required(MAP), call.required("order"))
}

fn existing<'c>(call: &'c Call<'_>) -> Result<&'c Fields, Failure> {
    let found = call.state.objects.find(ROUTE_MAPS.at, &key(call));
    found.ok_or_else(|| {
        let (map, order) = (call.required(MAP), call.required("order"));
        Failure::die(format!("route map entry {order} does not exist in route map '{map}'"))
    })
}

fn show(call: &mut Call<'_>) -> Outcome {
    let mut entry = existing(call)?.clone();
    entry.insert("digest".to_owned(), json!(ROUTE_MAPS.digest(&call.state.objects)));
    Ok(Value::Object(entry).into())
}

fn create(call: &mut Call<'_>) -> Outcome {
    locked(call, "creating route map entry failed", |call| {
        call.unmodified(&ROUTE_MAPS.digest(&call.state.objects))?;
        if existing(call).is_ok() {
            let (map, order) = (call.required(MAP), call.required("order"));
            let text = format!("route map entry {order} already exists in route map '{map}'");
            return Err(Failure::die(text));
        }
        let (key, entry) = (key(call), given(call));
        ROUTE_MAPS.write(&mut call.state.objects, &key, entry)?;
        Ok(Success::default())
    })
}

fn update(call: &mut Call<'_>) -> Outcome {
    locked(call, "updating route map entry failed", |call| {
        call.unmodified(&ROUTE_MAPS.digest(&call.state.objects))?;
        let (key, mut entry) = (key(call), changed(call, existing(call)?));
        // The path has it as a text.
        entry.insert("order".to_owned(), json!(call.number("order")));
        ROUTE_MAPS.write(&mut call.state.objects, &key, entry)?;
        Ok(Success::default())
    })
}

/// The last entry of a map that a controller names stays.
fn delete(call: &mut Call<'_>) -> Outcome {
    locked(call, "deleting route map entry failed", |call| {
        existing(call)?;
        let (key, map) = (key(call), call.required(MAP));
        let is_other =
            |(other, entry): (&String, &Fields)| *other != key && text(entry, MAP) == Some(&map);
        let is_last = !call.state.objects.list(ROUTE_MAPS.at).any(is_other);
        let names = |(_, one): &(&String, &Fields)| {
            ["route-map-in", "route-map-out"].iter().any(|end| text(one, end) == Some(&map))
        };
        let user = call.state.objects.list(CONTROLLERS.at).find(names);
        if let Some((user, _)) = user.filter(|_| is_last) {
            let text = format!("route map '{map}' is used by controller '{user}'");
            return Err(Failure::die(text));
        }
        call.state.objects.remove(ROUTE_MAPS.at, &key);
        Ok(Success::default())
    })
}
