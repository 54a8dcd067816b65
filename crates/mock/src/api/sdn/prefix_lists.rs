//! `/cluster/sdn/prefix-lists`: networks that routing may or may not pass on, in order.

use pve_schema::Verb;
use serde_json::{Map, Value, json};

use super::super::{Call, Row};
use super::fabrics::deleted;
use super::file::{FABRICS, PREFIX_LISTS, View, text};
use super::lock::locked;
use super::sections::SEEN_WITH;
use crate::failure::{Failure, Outcome, Success};
use crate::state::Fields;

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/cluster/sdn/prefix-lists", list),
    (Verb::Post, "/cluster/sdn/prefix-lists", create),
    (Verb::Get, "/cluster/sdn/prefix-lists/{id}", show),
    (Verb::Put, "/cluster/sdn/prefix-lists/{id}", update),
    (Verb::Delete, "/cluster/sdn/prefix-lists/{id}", delete),
    (Verb::Get, "/cluster/sdn/prefix-lists/{id}/entries", entries),
    (Verb::Post, "/cluster/sdn/prefix-lists/{id}/entries", create_entry),
    (Verb::Get, "/cluster/sdn/prefix-lists/{id}/entries/{url_seq}", entry),
    (Verb::Put, "/cluster/sdn/prefix-lists/{id}/entries/{url_seq}", update_entry),
    (Verb::Delete, "/cluster/sdn/prefix-lists/{id}/entries/{url_seq}", delete_entry),
];

/// Members of an entry in the order they are written.
const MEMBERS: [&str; 5] = ["action", "prefix", "ge", "le", "seq"];
/// Entries of one list.
const ENTRIES: usize = 10_000;
/// From one entry without a number to the next, as routing daemons count.
const STEP: u64 = 5;

type Entry = Map<String, Value>;

fn list(call: &mut Call<'_>) -> Outcome {
    let (view, objects) = (View::of(call), &call.state.objects);
    let right = call.right(SEEN_WITH);
    let sections = PREFIX_LISTS.sections(objects, view).into_iter();
    let seen = sections.filter(|(id, _)| right.at(&format!("/sdn/prefix-lists/{id}")));
    let shown = seen.map(|(id, one)| Value::Object(PREFIX_LISTS.shown(objects, view, &id, one)));
    Ok(shown.collect::<Value>().into())
}

fn find<'c>(call: &'c Call<'_>) -> Result<(String, &'c Fields), Failure> {
    let id = call.required("id");
    match call.state.objects.find(PREFIX_LISTS.at, &id) {
        Some(found) => Ok((id, found)),
        None => Err(Failure::parameter("id", &format!("{id} doesn't exist"))),
    }
}

fn show(call: &mut Call<'_>) -> Outcome {
    let (id, found) = find(call)?;
    let objects = &call.state.objects;
    let shown = PREFIX_LISTS.shown(objects, View::Configured, &id, found.clone());
    Ok(Value::Object(shown).into())
}

/// `action=permit,prefix=192.0.2.0/24,seq=5`.
fn parsed(text: &str) -> Entry {
    let parts = text.split(',').filter_map(|part| part.split_once('='));
    let value = |text: &str| text.parse::<u64>().map_or_else(|_| json!(text), Value::from);
    parts.map(|(key, text)| (key.to_owned(), value(text))).collect()
}

fn printed(entry: &Entry) -> String {
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let parts = MEMBERS.iter().filter_map(|key| Some(format!("{key}={}", shown(entry.get(*key)?))));
    parts.collect::<Vec<_>>().join(",")
}

fn sequence(entry: &Entry) -> Option<u64> {
    entry.get("seq").and_then(Value::as_u64)
}

/// The entries of a section in their order.
fn read(section: &Fields) -> Vec<Entry> {
    let texts = section.get("entries").and_then(Value::as_array).into_iter().flatten();
    texts.filter_map(Value::as_str).map(parsed).collect()
}

/// Numbers those without a number, and puts them in order.
fn write(call: &mut Call<'_>, id: &str, mut list: Vec<Entry>) -> Outcome {
    if list.len() > ENTRIES {
        return Err(Failure::die(format!("more than {ENTRIES} entries")));
    }
    let mut last = list.iter().filter_map(sequence).max().unwrap_or(0);
    for entry in list.iter_mut().filter(|entry| !entry.contains_key("seq")) {
        last = last.saturating_add(STEP);
        entry.insert("seq".to_owned(), json!(last));
    }
    list.sort_by_key(sequence);
    let twice = list.windows(2).find_map(|pair| match pair {
        [one, other] if sequence(one) == sequence(other) => sequence(one),
        _ => None,
    });
    if let Some(twice) = twice {
        return Err(Failure::die(format!("entry {twice} already exists in prefix list '{id}'")));
    }
    let texts: Vec<String> = list.iter().map(printed).collect();
    let section = [("id", json!(id)), ("entries", json!(texts))];
    let section = section.map(|(key, value)| (key.to_owned(), value)).into_iter().collect();
    PREFIX_LISTS.write(&mut call.state.objects, id, section)?;
    Ok(Success::default())
}

/// The entries of the call's parameter.
fn given_list(call: &Call<'_>) -> Option<Vec<Entry>> {
    let list = match call.parameters.get("entries")? {
        Value::Array(list) => list.iter().filter_map(Value::as_str).map(parsed).collect(),
        Value::String(text) => vec![parsed(text)],
        _ => return None,
    };
    Some(list)
}

fn create(call: &mut Call<'_>) -> Outcome {
    let id = call.required("id");
    locked(call, "creating prefix list failed", |call| {
        call.unmodified(&PREFIX_LISTS.digest(&call.state.objects))?;
        if call.state.objects.find(PREFIX_LISTS.at, &id).is_some() {
            return Err(Failure::die(format!("prefix list '{id}' already exists")));
        }
        let list = given_list(call).unwrap_or_default();
        write(call, &id, list)
    })
}

fn update(call: &mut Call<'_>) -> Outcome {
    locked(call, "updating prefix list failed", |call| {
        call.unmodified(&PREFIX_LISTS.digest(&call.state.objects))?;
        let (id, found) = find(call)?;
        let kept =
            if deleted(call).iter().any(|key| key == "entries") { vec![] } else { read(found) };
        let list = given_list(call).unwrap_or(kept);
        write(call, &id, list)
    })
}

fn delete(call: &mut Call<'_>) -> Outcome {
    locked(call, "deleting prefix list failed", |call| {
        let (id, _) = find(call)?;
        let uses = |one: &Fields| text(one, "route_filter") == Some(&id);
        let user = call.state.objects.list(FABRICS.at).find(|(_, one)| uses(one));
        if let Some((user, _)) = user {
            return Err(Failure::die(format!("prefix list '{id}' is used by fabric '{user}'")));
        }
        call.state.objects.remove(PREFIX_LISTS.at, &id);
        Ok(Success::default())
    })
}

fn entries(call: &mut Call<'_>) -> Outcome {
    Ok(json!(read(find(call)?.1)).into())
}

/// The list with the position of the entry that the path names.
fn located(call: &Call<'_>) -> Result<(String, Vec<Entry>, usize), Failure> {
    let (id, found) = find(call)?;
    let (list, wanted) = (read(found), call.required("url_seq"));
    let at =
        list.iter().position(|entry| sequence(entry).is_some_and(|at| at.to_string() == wanted));
    match at {
        Some(at) => Ok((id, list, at)),
        None => {
            let text = format!("entry {wanted} in prefix list {id} doesn't exist");
            Err(Failure::parameter("id", &text))
        }
    }
}

fn entry(call: &mut Call<'_>) -> Outcome {
    let (_, list, at) = located(call)?;
    Ok(json!(list.get(at)).into())
}

fn given_entry(call: &Call<'_>) -> Entry {
    let given = MEMBERS.iter().filter_map(|key| {
        let value = call.parameters.get(*key).filter(|value| !value.is_null())?;
        Some(((*key).to_owned(), value.clone()))
    });
    given.collect()
}

fn create_entry(call: &mut Call<'_>) -> Outcome {
    locked(call, "creating prefix list entry failed", |call| {
        let (id, found) = find(call)?;
        let mut list = read(found);
        list.push(given_entry(call));
        write(call, &id, list)
    })
}

fn update_entry(call: &mut Call<'_>) -> Outcome {
    locked(call, "updating prefix list entry failed", |call| {
        call.unmodified(&PREFIX_LISTS.digest(&call.state.objects))?;
        let (id, mut list, at) = located(call)?;
        if let Some(entry) = list.get_mut(at) {
            deleted(call).iter().for_each(|key| drop(entry.remove(key)));
            entry.extend(given_entry(call));
        }
        write(call, &id, list)
    })
}

fn delete_entry(call: &mut Call<'_>) -> Outcome {
    locked(call, "deleting prefix list entry failed", |call| {
        let (id, mut list, at) = located(call)?;
        list.remove(at);
        write(call, &id, list)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_written_as_it_was_read() {
        let text = "action=permit,prefix=192.0.2.0/24,ge=25,seq=5";
        assert_eq!(printed(&parsed(text)), text);
        assert_eq!(sequence(&parsed(text)), Some(5));
    }
}
