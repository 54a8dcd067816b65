//! One request, from its head to its answer, in the order of the genuine server:
//! method → format → credentials → length → parameters → method of the API → rights →
//! validation → handler → envelope.

use pve_schema::{Method, Params, PathMatch, Verb};
use serde_json::Value;

use crate::api::{self, Call};
use crate::auth::{self, Caller};
use crate::durable::{NotKept, Receipt};
use crate::failure::{Failure, Outcome};
use crate::format::{Format, html_login_redirect};
use crate::limits::BODY_BYTES;
use crate::permission;
use crate::recording::Key;
use crate::shared::Shared;
use crate::state::State;
use crate::upload::{self, Form, Upload};
use crate::web;
use crate::wire::{Head, JsonFault, Response, Upgrade, form, json_object, unescape};

/// Where the API begins. Any path with this start belongs to it, `/api2x` too.
const BASE: &str = "/api2";

/// What becomes of a request after its head.
pub(crate) enum Admission {
    Refused(Response),
    /// The genuine server stops reading here and closes when idle.
    Silence,
    /// The body of that many bytes is to be read.
    Admitted {
        caller: Caller,
        body: usize,
    },
    /// The body is a form with a file.
    Upload {
        caller: Caller,
        upload: Box<Upload>,
    },
}

/// Decides from the head alone.
pub(crate) async fn admit(shared: &Shared, head: &Head) -> Admission {
    let verb = match known_verb(&head.method) {
        Ok(verb) => verb,
        Err(response) => return Admission::Refused(response),
    };
    if let Some(encoding) = head.header("Transfer-Encoding") {
        let message = if encoding.eq_ignore_ascii_case("chunked") {
            "chunked transfer encoding not supported".to_owned()
        } else {
            format!("Unknown transfer encoding '{encoding}'")
        };
        return Admission::Refused(Response::error(501, &message));
    }
    let path = unescape(head.path_and_query().0);
    let mut caller = Caller::Anonymous;
    if path.starts_with(BASE) {
        let Some((format, rest)) = split(&path) else {
            return Admission::Refused(Response::error(501, "no such uri"));
        };
        caller = match auth::authenticate(shared, head, rest).await {
            Ok(caller) => caller,
            Err(_) if format == "html" => return Admission::Refused(html_login_redirect()),
            Err(response) => return Admission::Refused(response),
        };
        if auth::is_upload(&head.method, rest) && length(head) != 0 {
            return match upload::admit(shared, head, &caller, rest, length(head)) {
                Ok(upload) => Admission::Upload { caller, upload: Box::new(upload) },
                Err(Some(response)) => Admission::Refused(response),
                Err(None) => Admission::Silence,
            };
        }
    }
    match body_length(head, verb) {
        Ok(body) => Admission::Admitted { caller, body },
        Err(response) => Admission::Refused(response),
    }
}

/// Decides from the head alone what a request that is passed on may have as its body.
pub(crate) fn admit_relayed(head: &Head) -> Result<usize, Response> {
    let verb = known_verb(&head.method)?;
    if head.header("Transfer-Encoding").is_some() {
        return Err(Response::error(501, "chunked transfer encoding not supported"));
    }
    if length(head) != 0 && content_type(head).is_some_and(|kind| kind.starts_with("multipart/")) {
        return Err(Response::error(501, "uploads are not recorded"));
    }
    body_length(head, verb)
}

/// What stands for the request in a recording; `None` for a body that can not be read.
pub(crate) fn key(head: &Head, body: &[u8]) -> Option<Key> {
    let query = head.path_and_query().1;
    Some(Key::of(head, parameters(head, query, Body::Bytes(body)).ok()?))
}

/// The body of a request.
pub(crate) enum Body<'b> {
    Bytes(&'b [u8]),
    /// The fields of an upload.
    Fields(Vec<(String, String)>),
}

/// Answers a finished upload. The file's facts wait under the name of a temporary file, which
/// is how the call learns of them on a genuine node too.
pub(crate) async fn handle_upload(
    shared: &Shared,
    head: &Head,
    caller: &Caller,
    form: Form,
    doom: Option<String>,
) -> Response {
    let Form { mut fields, spooled } = form;
    let name = format!("/var/tmp/pveupload-{}", crate::state::random_uuid().replace('-', ""));
    shared.state().volumes.spool.insert(name.clone(), spooled);
    fields.push(("tmpfilename".to_owned(), name.clone()));
    let response = handle(shared, head, caller, Body::Fields(fields), doom).await;
    shared.state().volumes.spool.remove(&name);
    response
}

/// Answers an admitted request. With `doom` the tasks it starts fail with that text.
pub(crate) async fn handle(
    shared: &Shared,
    head: &Head,
    caller: &Caller,
    body: Body<'_>,
    doom: Option<String>,
) -> Response {
    let (path, query) = head.path_and_query();
    let path = unescape(path);
    if !path.starts_with(BASE) {
        return web::answer(shared, head, &path).await;
    }
    let Some((format_name, rest)) = split(&path) else {
        return Response::error(501, "no such uri");
    };
    let Some(format) = Format::named(format_name) else {
        return Response::error(501, &format!("no such uri {rest}, {format_name}"));
    };
    let parameters = match parameters(head, query, body) {
        Ok(parameters) => parameters,
        Err(JsonFault(message)) => return Response::error(500, &message),
    };
    let Ok(verb) = known_verb(&head.method) else {
        return Response::bare(501, "method not available");
    };
    if rest == "/" && verb == Verb::Get {
        return format.render(rest, Ok(api::root_index(shared.schema()).into()));
    }
    let found =
        shared.schema().find(rest).and_then(|matched| Some((matched.method(verb)?, matched)));
    let Some((method, matched)) = found else {
        return format.not_implemented(rest, &head.method);
    };
    let (outcome, relayed) = call(shared, caller, (method, &matched), rest, parameters, doom).await;
    let upgrade = match if relayed { Ok(None) } else { Upgrade::asked(head, &path) } {
        Ok(upgrade) => upgrade.and_then(|upgrade| leads(upgrade, &outcome)),
        Err(message) => return Response::error(500, &message),
    };
    let delayed = matches!(&outcome, Err(failure) if failure.status() == 401);
    Response { relayed, delayed, upgrade, ..format.render(rest, outcome) }
}

/// The upgrade to the port that a method has answered.
fn leads(mut upgrade: Upgrade, outcome: &Outcome) -> Option<Box<Upgrade>> {
    let port = outcome.as_ref().ok()?.data.value().get("port")?.as_str()?;
    upgrade.port = port.parse().ok()?;
    Some(Box::new(upgrade))
}

/// Checks and runs one method. The second value tells whether the privileged daemon answered.
async fn call(
    shared: &Shared,
    caller: &Caller,
    (method, matched): (&Method, &PathMatch<'_>),
    path: &str,
    mut parameters: Params,
    doom: Option<String>,
) -> (Outcome, bool) {
    if let Err(failure) = merge_path(&mut parameters, matched) {
        return (Err(failure), false);
    }
    if caller.is_token() && !method.allow_token() {
        let reason = format!("URI '{path}' not available with API token, need proper ticket.\n");
        return (Err(Failure::permission(&reason)), false);
    }
    if let Err(failure) = permission::check(&shared.state(), method, caller, &parameters) {
        return (Err(failure), false);
    }
    let mut relayed = method.protected();
    if let Some(name) = method.proxyto() {
        let reached = reach(&shared.state(), name, &parameters);
        match reached {
            Ok(remote) => relayed |= remote,
            Err(failure) => return (Err(failure), relayed),
        }
    }
    if let Err(errors) = method.check(&mut parameters) {
        return (Err(Failure::parameters(errors)), relayed);
    }
    let keys = if api::signs(method) { shared.keys.signing().await } else { None };
    let (outcome, receipt) = {
        let mut state = shared.state();
        let before = doom.map(|exit| state.doom_tasks(exit));
        let call = Call { state: &mut state, shared, caller, method, matched, parameters, keys };
        let outcome = api::dispatch(call);
        if let Some(before) = before {
            state.spare_tasks(before);
        }
        // What a fault has taken back is not kept: this comes last, under the same lock.
        (outcome, shared.keep(&mut state))
    };
    // A refusal may have changed something too, a counter of failures for instance.
    match kept(receipt).await {
        Ok(()) => (outcome, relayed),
        Err(not_kept) => (Err(Failure::die(not_kept.to_string())), relayed),
    }
}

async fn kept(receipt: Option<Receipt>) -> Result<(), NotKept> {
    match receipt {
        Some(receipt) => receipt.wait().await,
        None => Ok(()),
    }
}

/// Adds the path's variables; the same name with another value elsewhere is refused.
pub(crate) fn merge_path(parameters: &mut Params, matched: &PathMatch<'_>) -> Result<(), Failure> {
    for (name, value) in &matched.variables {
        let value = Value::String(value.clone());
        if parameters.get(*name).is_some_and(|given| *given != value) {
            return Err(Failure::parameter(
                name,
                "duplicate parameter (already defined in URI) with conflicting values!",
            ));
        }
        parameters.insert((*name).to_owned(), value);
    }
    Ok(())
}

/// Whether the node a method is forwarded to is another one; an unknown name does not resolve.
pub(crate) fn reach(state: &State, name: &str, parameters: &Params) -> Result<bool, Failure> {
    let Some(node) = parameters.get(name).and_then(Value::as_str) else {
        let text = format!("proxy parameter '{name}' does not exist");
        return Err(Failure::parameter(name, &text));
    };
    if node == "localhost" || node == state.local {
        return Ok(false);
    }
    if state.nodes.contains_key(node) {
        return Ok(true);
    }
    Err(Failure::die(format!(
        "hostname lookup '{node}' failed - failed to get address info for: {node}: \
         Name or service not known"
    )))
}

/// Format, decoded path and verb of a call to the API.
pub(crate) fn addressed(head: &Head) -> Option<(Format, String, Verb)> {
    let path = unescape(head.path_and_query().0);
    let (format, rest) = split(&path)?;
    Some((Format::named(format)?, rest.to_owned(), known_verb(&head.method).ok()?))
}

/// `/api2/<format>/rest` with any number of slashes before the format; no rest is `/`.
fn split(path: &str) -> Option<(&str, &str)> {
    let after = path.strip_prefix(BASE)?;
    let tail = after.trim_start_matches('/');
    if tail.len() == after.len() {
        return None;
    }
    let (format, rest) = match tail.find('/') {
        Some(at) => tail.split_at(at),
        None => (tail, "/"),
    };
    let mut bytes = format.bytes();
    let named = bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && format.len() > 1
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    named.then_some((format, rest))
}

fn known_verb(method: &str) -> Result<Verb, Response> {
    match method {
        "GET" => Ok(Verb::Get),
        "POST" => Ok(Verb::Post),
        "PUT" => Ok(Verb::Put),
        "DELETE" => Ok(Verb::Delete),
        other => Err(Response::bare(501, &format!("method '{other}' not available"))),
    }
}

/// The body length that will be read, judged as the genuine server judges it.
fn body_length(head: &Head, verb: Verb) -> Result<usize, Response> {
    let length = length(head);
    if length == 0 {
        return Ok(0);
    }
    if !matches!(verb, Verb::Post | Verb::Put) {
        let message = format!("Unexpected content for method '{}'", head.method);
        return Err(Response::error(501, &message));
    }
    if length > i64::try_from(BODY_BYTES).unwrap_or(i64::MAX) {
        return Err(Response::error(501, "for data too large"));
    }
    match content_type(head).as_deref() {
        None | Some("application/x-www-form-urlencoded" | "application/json") => {
            Ok(usize::try_from(length).unwrap_or(0))
        }
        Some(_) => {
            let shown = head.header("Content-Type").unwrap_or_default();
            Err(Response::error(506, &format!("upload 'Content-Type '{shown}' not implemented")))
        }
    }
}

/// `Content-Length` as Perl reads a number: a leading integer, otherwise 0. Negative lengths are
/// bodies without a byte.
fn length(head: &Head) -> i64 {
    let text = head.header("Content-Length").unwrap_or_default();
    let text = text.trim_start();
    let digits = text.trim_start_matches('-');
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let value = digits.get(..end).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    if text.starts_with('-') { -i64::from(value != 0_i64) } else { value }
}

fn content_type(head: &Head) -> Option<String> {
    let value = head.header("Content-Type")?;
    let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    (!kind.is_empty()).then_some(kind)
}

/// Body parameters, overlaid by those of the query, except that the fields of an upload overlay
/// the query; `_dc` only defeats caches.
fn parameters(head: &Head, query: Option<&str>, body: Body<'_>) -> Result<Params, JsonFault> {
    let query = form(query.unwrap_or_default().as_bytes());
    let body = match body {
        Body::Bytes(bytes) => bytes,
        Body::Fields(fields) => {
            let mut parameters = query;
            let fields = fields.into_iter().map(|(name, value)| (name, Value::String(value)));
            parameters.extend(fields);
            parameters.remove("_dc");
            return Ok(parameters);
        }
    };
    let mut parameters = match (head.method.as_str(), content_type(head).as_deref()) {
        ("PUT" | "POST", Some("application/json")) => json_object(body)?,
        ("PUT" | "POST", _) => form(body),
        _ => Params::new(),
    };
    parameters.extend(query);
    parameters.remove("_dc");
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_split_from_paths() {
        assert_eq!(split("/api2/json/version"), Some(("json", "/version")));
        assert_eq!(split("/api2//json"), Some(("json", "/")));
        assert_eq!(split("/api2/json/"), Some(("json", "/")));
        assert_eq!(split("/api2/"), None);
        assert_eq!(split("/api2x/json"), None);
        assert_eq!(split("/api2/j/version"), None);
        assert_eq!(split("/api2/JSON/version"), None);
    }

    fn with(name: &str, value: &str) -> Head {
        let headers = vec![(name.to_owned(), value.to_owned())];
        Head { method: "PUT".into(), target: "/".into(), minor: 1, headers }
    }

    #[test]
    fn lengths_are_read_as_perl_reads_them() {
        for (text, value) in
            [("12", 12), ("-1", -1), ("3, 5", 3), ("x", 0), ("", 0), (" 7", 7), ("-x", 0)]
        {
            assert_eq!(length(&with("Content-Length", text)), value, "{text}");
        }
    }

    #[test]
    fn content_types_lose_their_parameters() {
        let head = with("Content-Type", "Application/JSON; charset=utf-8");
        assert_eq!(content_type(&head).as_deref(), Some("application/json"));
    }
}
