//! Methods without a handler of their own, by what the schema says of them: collections with
//! objects, settings, and actions.
//!
//! A path with a variable child is a collection when something can be created there. A `POST`
//! puts an object in, `PUT` merges into it, `DELETE` takes it out, and the collection's and the
//! object's `GET` show it. Other paths with `PUT` and `GET` are settings. What remains acts on
//! something the mock does not have: it answers as the schema describes.

use pve_schema::{Format, Kind, Method, Property, Schema, Verb};
use serde_json::{Map, Value, json};

use super::Call;
use super::generic_names::{task_name, text};
use crate::data::Data;
use crate::failure::{Failure, Outcome, Success};
use crate::format::index;
use crate::state::{Effect, Fields, sha1_hex};

/// Objects of one collection.
const OBJECTS: usize = 10_000;
/// Parameters that steer a call and are not kept.
const CONTROL: [&str; 5] = ["delete", "digest", "force", "keep", "skiplock"];
/// Parameters that no answer shows.
const SECRETS: [&str; 9] = [
    "password",
    "secret",
    "token",
    "client-key",
    "encryption-key",
    "master-pubkey",
    "keyring",
    "key",
    "data",
];

/// How objects come into a collection.
enum Creation {
    /// `POST` on the collection, with this parameter as id.
    Here,
    /// `POST` on the path of the new object.
    ByPath,
}

/// The variable that names an object of the collection at `path`, when objects can be created.
fn collection(schema: &Schema, path: &str) -> Option<(String, Creation)> {
    let item = schema.find(&format!("{path}/0"))?;
    let variable = item.template.rsplit('/').next()?.strip_prefix('{')?.strip_suffix('}')?;
    let at = schema.find(path)?;
    let takes_id = |post: &Method| post.parameters().property(variable).is_some();
    if at.method(Verb::Post).is_some_and(takes_id) {
        return Some((variable.to_owned(), Creation::Here));
    }
    let by_path = item.method(Verb::Post).is_some() && item.method(Verb::Delete).is_some();
    by_path.then(|| (variable.to_owned(), Creation::ByPath))
}

/// Answers any method. Members that the schema promises, and nothing here knows, are blank.
pub(super) fn answer(call: &mut Call<'_>) -> Outcome {
    let mut success = known(call)?;
    if let Data::Value(data) = &mut success.data {
        Blanks { call }.fill(data, call.method.returns());
    }
    Ok(success)
}

/// What the mock knows of the answer.
fn known(call: &mut Call<'_>) -> Outcome {
    let path = filled(call);
    let schema = call.shared.schema();
    let own = collection(schema, &path);
    let parent = path.rsplit_once('/').filter(|_| call.method.path().ends_with('}'));
    let above = parent.and_then(|(parent, id)| {
        collection(schema, parent).map(|(variable, creation)| Object {
            collection: parent.to_owned(),
            id: id.to_owned(),
            variable,
            creation,
        })
    });
    match (call.method.verb(), own, above) {
        (Verb::Get, Some((variable, _)), None) if !is_object(call.method.returns()) => {
            Ok(list(call, &path, &variable).into())
        }
        (Verb::Post, Some((variable, Creation::Here)), _) => {
            let id = call.text(&variable).unwrap_or_else(|| "default".to_owned());
            create(call, &Object { collection: path, id, variable, creation: Creation::Here })
        }
        (Verb::Post, _, Some(object)) if matches!(object.creation, Creation::ByPath) => {
            create(call, &object)
        }
        (Verb::Get, own, Some(object)) => {
            let shown = show(call, &object)?;
            // An object that is a collection itself lists what it holds.
            match own {
                Some((variable, _)) => Ok(list(call, &path, &variable).into()),
                None if is_index(call.method.returns()) => plain(call),
                // Entries under one id, of which only the last is kept.
                None if call.method.returns().kind == Some(Kind::Array) => {
                    Ok(json!([Value::Object(shown)]).into())
                }
                None => Ok(Value::Object(shown).into()),
            }
        }
        (Verb::Put, _, Some(object)) => update(call, &object),
        (Verb::Delete, _, Some(object)) => delete(call, &object),
        (Verb::Put, ..) => settle(call, &path),
        (Verb::Get, ..) => match call.state.objects.settings(&path) {
            Some(fields) => Ok(Value::Object(shown(fields)).into()),
            None => plain(call),
        },
        _ => plain(call),
    }
}

/// An object by its place.
struct Object {
    collection: String,
    id: String,
    /// What the id is called.
    variable: String,
    creation: Creation,
}

fn list(call: &Call<'_>, path: &str, variable: &str) -> Value {
    let digest = digest(call, path);
    let wants_digest = declares(call.method.returns().items.as_deref(), "digest");
    let kind = call.text("type");
    let entries = call.state.objects.list(path);
    let entries = entries.filter(|(_, fields)| {
        kind.is_none() || fields.get("type").and_then(Value::as_str) == kind.as_deref()
    });
    let entries = entries.map(|(id, fields)| {
        let mut entry = shown(fields);
        entry.insert(variable.to_owned(), json!(id));
        if wants_digest {
            entry.insert("digest".to_owned(), json!(digest));
        }
        Value::Object(entry)
    });
    entries.collect()
}

fn create(call: &mut Call<'_>, object: &Object) -> Outcome {
    let Object { collection, id, .. } = object;
    if call.state.objects.find(collection, id).is_some() {
        return Err(Failure::die(text(collection, id, true)));
    }
    if call.state.objects.count(collection) >= OBJECTS {
        return Err(Failure::die(format!("more than {OBJECTS} objects")));
    }
    let mut fields = given(call);
    fields.remove(&object.variable);
    call.state.objects.insert(collection, id, fields);
    written(call, object)
}

fn show(call: &Call<'_>, object: &Object) -> Result<Fields, Failure> {
    let found = call.state.objects.find(&object.collection, &object.id);
    let fields = found.ok_or_else(|| unknown(object))?;
    let mut entry = shown(fields);
    entry.insert(object.variable.clone(), json!(object.id));
    entry.insert("digest".to_owned(), json!(digest(call, &object.collection)));
    Ok(entry)
}

fn update(call: &mut Call<'_>, object: &Object) -> Outcome {
    let (more, less) = (given(call), call.list("delete"));
    let digest = digest(call, &object.collection);
    let found = call.state.objects.find_mut(&object.collection, &object.id);
    let fields = found.ok_or_else(|| unknown(object))?;
    let mut changed = fields.clone();
    merge(&mut changed, more, &less);
    call.unmodified(&digest)?;
    if let Some(fields) = call.state.objects.find_mut(&object.collection, &object.id) {
        *fields = changed;
    }
    written(call, object)
}

fn delete(call: &mut Call<'_>, object: &Object) -> Outcome {
    call.unmodified(&digest(call, &object.collection))?;
    match call.state.objects.remove(&object.collection, &object.id) {
        Some(_) => written(call, object),
        None => Err(unknown(object)),
    }
}

/// Keeps what was set at a path without an id.
fn settle(call: &mut Call<'_>, path: &str) -> Outcome {
    let (more, less) = (given(call), call.list("delete"));
    let read = call.matched.method(Verb::Get).map(Method::returns);
    if read.is_some_and(|returns| returns.kind == Some(Kind::Object)) {
        merge(call.state.objects.settings_mut(path), more, &less);
    }
    plain(call)
}

fn merge(fields: &mut Fields, more: Fields, less: &[String]) {
    for key in less {
        fields.remove(key);
    }
    fields.extend(more);
}

/// What a change answers: nothing, a task's id, or the object.
fn written(call: &mut Call<'_>, object: &Object) -> Outcome {
    match call.method.returns().kind {
        Some(Kind::Object) => Ok(json!({ &object.variable: object.id }).into()),
        _ => plain(call),
    }
}

/// An index lists its children, an action with a task answers its id, a list is empty, an
/// object has no members; other changes answer null.
fn plain(call: &mut Call<'_>) -> Outcome {
    let is_get = call.method.verb() == Verb::Get;
    if is_get && let Some(key) = child_key(call.method.returns()) {
        let mut names: Vec<&str> =
            call.matched.children().filter(|name| !name.starts_with('{')).collect();
        names.sort_unstable();
        return Ok(index(key, names).into());
    }
    let data = match call.method.returns().kind {
        Some(Kind::Array) => json!([]),
        Some(Kind::Object) => json!({}),
        Some(Kind::Integer | Kind::Number | Kind::Boolean) => json!(0),
        Some(Kind::String) if is_get => json!(""),
        Some(Kind::String) => return Ok(task(call)),
        _ => Value::Null,
    };
    Ok(Success::from(data))
}

fn task(call: &mut Call<'_>) -> Success {
    let path = call.method.path();
    let Some(name) = task_name(path) else { return Success::default() };
    let node = call.text("node").unwrap_or_else(|| call.state.local.clone());
    let id = call.text("service").unwrap_or_default();
    call.task(&node, (name, 1), &id, Effect::Nothing, Ok(()))
}

/// Fills in what an answer has to have.
struct Blanks<'c, 'a> {
    call: &'c Call<'a>,
}

impl Blanks<'_, '_> {
    /// The schema's own depth bounds the recursion.
    fn fill(&self, value: &mut Value, schema: &Property) {
        match value {
            Value::Array(entries) => {
                let Some(items) = &schema.items else { return };
                entries.iter_mut().for_each(|entry| self.fill(entry, items));
            }
            Value::Object(members) => {
                for (name, property) in &schema.object.properties {
                    match members.get_mut(name) {
                        Some(member) => self.fill(member, property),
                        None if property.optional || name.ends_with("[n]") => {}
                        None => drop(members.insert(name.clone(), self.blank(name, property))),
                    }
                }
            }
            _ => {}
        }
    }

    /// The emptiest value: what the path says, this node for a node, else the first word or zero.
    fn blank(&self, name: &str, schema: &Property) -> Value {
        let format = schema.format.as_ref().and_then(Format::name);
        match schema.kind {
            Some(Kind::Object) => {
                let mut value = json!({});
                self.fill(&mut value, schema);
                value
            }
            Some(Kind::Array) => json!([]),
            Some(Kind::Boolean) => json!(0),
            Some(Kind::Integer | Kind::Number) => {
                let least = schema.minimum.as_ref().and_then(|bound| bound.text.parse().ok());
                json!(least.unwrap_or(0_i64).max(0))
            }
            Some(Kind::Null) => Value::Null,
            _ if self.call.matched.variable(name).is_some() => json!(self.call.text(name)),
            _ if format == Some("pve-node") => json!(self.call.state.local),
            _ => json!(
                schema
                    .enumeration
                    .as_ref()
                    .and_then(|words| words.first())
                    .map_or("", String::as_str)
            ),
        }
    }
}

/// The path of the call with its variables filled in.
fn filled(call: &Call<'_>) -> String {
    let mut path = call.matched.template.to_owned();
    for (name, value) in &call.matched.variables {
        path = path.replace(&format!("{{{name}}}"), value);
    }
    path
}

/// The parameters that are kept: not those of the path, nor those that steer the call.
fn given(call: &Call<'_>) -> Fields {
    let kept = call.parameters.iter().filter(|(key, value)| {
        call.matched.variable(key).is_none() && !CONTROL.contains(&key.as_str()) && !value.is_null()
    });
    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
}

pub(super) fn shown(fields: &Fields) -> Fields {
    let open = fields.iter().filter(|(key, _)| !SECRETS.contains(&key.as_str()));
    open.map(|(key, value)| (key.clone(), value.clone())).collect()
}

pub(super) fn digest(call: &Call<'_>, path: &str) -> String {
    let objects: Map<String, Value> = call
        .state
        .objects
        .list(path)
        .map(|(id, fields)| (id.clone(), Value::Object(fields.clone())))
        .collect();
    sha1_hex(Value::Object(objects).to_string().as_bytes())
}

fn unknown(object: &Object) -> Failure {
    Failure::die(text(&object.collection, &object.id, false))
}

fn declares(property: Option<&Property>, key: &str) -> bool {
    property.is_some_and(|property| property.object.properties.contains_key(key))
}

fn is_object(returns: &Property) -> bool {
    returns.kind == Some(Kind::Object)
}

fn is_index(returns: &Property) -> bool {
    returns.kind == Some(Kind::Array) && child_key(returns).is_some()
}

/// The member that names a child in an index whose children are fixed words.
fn child_key(returns: &Property) -> Option<&str> {
    let href = returns.links.first()?.href.strip_prefix('{')?;
    href.strip_suffix('}').filter(|key| matches!(*key, "name" | "subdir" | "id" | "method" | "cmd"))
}
