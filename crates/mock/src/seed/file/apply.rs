//! Fills a mock by calling its own methods as `root@pam`, before it serves.

use pve_access::Subject;
use pve_schema::{Kind, Method, Params, Verb};
use secrets::SecretString;
use serde_json::{Value, json};

use super::{Action, Size, Step, Steps, content, guest};
use crate::api::{self, Call};
use crate::auth::Caller;
use crate::document::FileError;
use crate::failure::Failure;
use crate::pipeline;
use crate::shared::Shared;
use crate::state::{ClusterLog, State, Storage, Tasks};

/// Why the API refuses a step, and which parameter is at fault, when it is one.
pub(super) struct Refusal {
    parameter: Option<String>,
    text: String,
}

pub(super) type Done<T> = Result<T, Refusal>;

impl Refusal {
    pub(super) fn of(text: impl Into<String>) -> Self {
        Self { parameter: None, text: text.into() }
    }

    pub(super) fn parameter(name: &str, text: impl Into<String>) -> Self {
        Self { parameter: Some(name.to_owned()), text: text.into() }
    }
}

impl Refusal {
    /// Of a table within the step's own.
    pub(super) fn within(self, key: &str, index: usize) -> Self {
        let inner = self.parameter.map_or_else(String::new, |name| format!("{name}: "));
        Self::parameter(key, format!("[{index}]: {inner}{}", self.text))
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        match failure.errors().and_then(|errors| errors.first_key_value()) {
            Some((name, text)) => Self::parameter(name, text.trim()),
            None => Self::of(failure.message().trim()),
        }
    }
}

/// Fills the mock. What the filling has left in task list and cluster log goes; the tasks of the
/// file stay.
pub(crate) fn apply(shared: &Shared, state: &mut State, steps: Steps) -> Result<(), FileError> {
    let (tasks, others): (Vec<Step>, Vec<Step>) =
        steps.0.into_iter().partition(|step| matches!(step.action, Action::Task(_)));
    if tasks.is_empty() && others.is_empty() {
        return Ok(());
    }
    others.into_iter().try_for_each(|step| run(shared, state, step))?;
    state.tasks = Tasks::default();
    state.log = ClusterLog::new(&state.local, shared.clock.unix());
    // The list is newest first, whatever the order of the file.
    let mut tasks = tasks;
    tasks.sort_by_key(|step| match &step.action {
        Action::Task(task) => std::cmp::Reverse(task.age),
        _ => std::cmp::Reverse(std::time::Duration::ZERO),
    });
    tasks.into_iter().try_for_each(|step| run(shared, state, step))
}

fn run(shared: &Shared, state: &mut State, step: Step) -> Result<(), FileError> {
    let Step { place, places, action } = step;
    let done = match action {
        Action::Call { verb, path, parameters } => call(shared, state, verb, &path, parameters),
        Action::User { id, parameters, password } => user(shared, state, &id, parameters, password),
        Action::Token { user, name, parameters, secret } => {
            token(shared, state, (&user, &name), parameters, secret)
        }
        Action::Storage { id, parameters, size } => storage(shared, state, &id, parameters, size),
        Action::Pool { name, comment, members } => pool(shared, state, &name, comment, members),
        Action::Guest(step) => guest::create(shared, state, *step),
        Action::Volume(step) => content::volume(shared, state, step),
        Action::Task(step) => content::task(shared, state, step),
    };
    done.map_err(|Refusal { parameter, text }| {
        let remedy = "what can stand here are the parameters of the API's own method";
        match parameter {
            None => place.refused(text, remedy),
            Some(name) => match places.get(&name) {
                Some(place) => place.refused(text, remedy),
                None => place.member(&name, place.line()).refused(text, remedy),
            },
        }
    })
}

/// Calls a method as `root@pam`; its task has ended well when this returns.
pub(super) fn call(
    shared: &Shared,
    state: &mut State,
    verb: Verb,
    path: &str,
    mut parameters: Params,
) -> Done<()> {
    let matched = shared.schema().find(path);
    let matched = matched.ok_or_else(|| Refusal::of(format!("no path of the API: {path}")))?;
    let method = matched.method(verb);
    let method = method.ok_or_else(|| Refusal::of(format!("no method: {verb} {path}")))?;
    if api::signs(method) {
        return Err(Refusal::of("tickets are for clients; leave this call to them"));
    }
    pipeline::merge_path(&mut parameters, &matched)?;
    as_sent(method, &mut parameters);
    if let Some(name) = method.proxyto() {
        pipeline::reach(state, name, &parameters)?;
    }
    method.check(&mut parameters).map_err(Failure::parameters)?;
    let caller = Caller::User(Subject::root());
    let before = state.tasks.spawned();
    let matched = &matched;
    let call = Call { state, shared, caller: &caller, method, matched, parameters, keys: None };
    api::dispatch(call)?;
    let now = shared.clock.unix();
    state.tasks.hurry(now);
    state.settle(now);
    match state.tasks.failure_since(before) {
        Some(text) => Err(Refusal::of(text)),
        None => Ok(()),
    }
}

/// As a client sends them: texts where the schema has texts, lists of names with commas.
fn as_sent(method: &Method, parameters: &mut Params) {
    for (name, value) in parameters {
        let kind = method.parameters().property(name).and_then(|property| property.kind);
        if kind == Some(Kind::Array) {
            continue;
        }
        if let Value::Array(items) = value
            && items.iter().all(|item| item.is_string() || item.is_number())
        {
            let items: Vec<String> = items.iter().map(shown).collect();
            *value = Value::from(items.join(","));
        }
        if kind == Some(Kind::String) && value.is_number() {
            *value = Value::from(shown(value));
        }
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn user(
    shared: &Shared,
    state: &mut State,
    id: &str,
    mut parameters: Params,
    password: Option<SecretString>,
) -> Done<()> {
    if !state.accounts.exists(id) {
        parameters.insert("userid".to_owned(), json!(id));
        if let Some(password) = &password {
            parameters.insert("password".to_owned(), json!(password.expose()));
        }
        return call(shared, state, Verb::Post, "/access/users", parameters);
    }
    if !parameters.is_empty() {
        call(shared, state, Verb::Put, &format!("/access/users/{id}"), parameters)?;
    }
    if let Some(password) = password {
        state.accounts.set_password(id, password.expose().clone());
    }
    Ok(())
}

fn token(
    shared: &Shared,
    state: &mut State,
    (user, name): (&str, &str),
    parameters: Params,
    secret: Option<SecretString>,
) -> Done<()> {
    let path = format!("/access/users/{user}/token/{name}");
    call(shared, state, Verb::Post, &path, parameters)?;
    let Some(secret) = secret else { return Ok(()) };
    if secret.expose().is_empty() {
        return Err(Refusal::parameter("secret", "an empty secret"));
    }
    let known = state.accounts.config().token(&format!("{user}!{name}")).cloned();
    if let Some(token) = known {
        state.accounts.set_token(user, name, token, Some(secret.expose().clone()));
    }
    Ok(())
}

fn storage(
    shared: &Shared,
    state: &mut State,
    id: &str,
    mut parameters: Params,
    size: Size,
) -> Done<()> {
    parameters.insert("storage".to_owned(), json!(id));
    call(shared, state, Verb::Post, "/storage", parameters)?;
    let known: Option<&mut Storage> = state.storages.get_mut(id);
    match (known, size) {
        (Some(storage), Size::Unknown) => storage.resize(None),
        (Some(storage), Size::Bytes(bytes)) => storage.resize(Some(bytes)),
        _ => {}
    }
    Ok(())
}

fn pool(
    shared: &Shared,
    state: &mut State,
    name: &str,
    comment: Option<String>,
    members: Params,
) -> Done<()> {
    let mut parameters = Params::from([("poolid".to_owned(), json!(name))]);
    if let Some(comment) = comment {
        parameters.insert("comment".to_owned(), json!(comment));
    }
    call(shared, state, Verb::Post, "/pools", parameters)?;
    if members.is_empty() {
        return Ok(());
    }
    let mut members = members;
    members.insert("poolid".to_owned(), json!(name));
    call(shared, state, Verb::Put, "/pools", members)
}

/// A node by its name, or the one that answers.
pub(super) fn node(state: &State, name: Option<&str>) -> Done<String> {
    let name = name.unwrap_or(&state.local);
    match state.nodes.contains_key(name) {
        true => Ok(name.to_owned()),
        false => Err(Refusal::parameter("node", format!("no node {name} in this seed"))),
    }
}
