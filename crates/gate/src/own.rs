//! What the gate answers by itself below `/proxward/`.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use pve_access::Privilege;
use serde_json::{Value, json};

use crate::body::{AnswerBody, Source};
use crate::caller::Caller;
use crate::credential::TICKET;
use crate::hygiene;
use crate::login::{query_value, session_cookie};
use crate::observe::{Health, is_local};
use crate::permissions::Unknown;
use crate::record::Record;
use crate::refusal::Refusal;
use crate::stack::{Asked, Peer};

mod policy;

/// Answers a call. Credential, origin, CSRF token and policy have been judged.
pub(crate) async fn answer(
    asked: &Asked<'_>,
    record: &mut Record,
    path: &str,
    body: &mut dyn Source,
) -> Result<Response<AnswerBody>, Refusal> {
    let Asked { peer, parts, caller, .. } = *asked;
    match (&parts.method, path) {
        (&Method::POST, "logout") => logout(peer, caller).await,
        (&Method::GET, "permissions") => permissions(peer, parts, caller).await,
        (&Method::GET, "health") if is_local(&peer.worker.shared, peer.client.ip(), parts) => {
            Ok(health(peer))
        }
        (&Method::GET, "api/policy") => policy::status(asked).await,
        (&Method::POST, "api/policy/confirm") => policy::confirm(asked, record, body).await,
        _ => Err(Refusal::NoSuchPath),
    }
}

/// What the caller may do at a path of the access list: `{"data":{"path":…,"held":[…]}}`.
async fn permissions(
    peer: &Peer,
    parts: &Parts,
    caller: &Caller<'_>,
) -> Result<Response<AnswerBody>, Refusal> {
    let path = parts.uri.query().and_then(|query| query_value(query, "path"));
    let path = path.map_or_else(|| Ok("/".to_owned()), String::from_utf8);
    let path = path.map_err(|_| Refusal::Path)?;
    let held = peer.worker.shared.permissions.of(peer, caller, parts, &path).await;
    let held = held.map_err(|unknown| match unknown {
        Unknown::NotLoggedIn => Refusal::NotLoggedIn,
        Unknown::Refused => Refusal::Path,
        Unknown::Upstream(error) => error.refusal(),
    })?;
    let held: Vec<&str> = held.iter().map(Privilege::name).collect();
    Ok(json_answer(&json!({ "data": { "path": path, "held": held } })))
}

/// Whether the gate is well, without a credential but to this machine alone.
fn health(peer: &Peer) -> Response<AnswerBody> {
    let health = Health::of(&peer.worker.shared, *peer.worker.drain.borrow());
    let mut answer = json_answer(&health.json());
    if !health.is_ready() {
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    answer
}

/// Ends the caller's session, durably, and takes both cookies back.
async fn logout(peer: &Peer, caller: &Caller<'_>) -> Result<Response<AnswerBody>, Refusal> {
    let (Caller::Session { session, .. } | Caller::LoggedOut(session)) = caller else {
        return Err(Refusal::NotLoggedIn);
    };
    let shared = &peer.worker.shared;
    shared.permissions.forget(session.id);
    shared.sessions.end(session.id).await.map_err(|_| Refusal::NotStored)?;
    let mut answer = json_answer(&json!({ "data": null }));
    let headers = answer.headers_mut();
    if session.browser {
        headers.extend(session_cookie("").map(|cookie| (SET_COOKIE, cookie)));
        let readable = format!("{TICKET}=; Secure; SameSite=Lax; Path=/; Max-Age=0");
        headers.extend(HeaderValue::from_str(&readable).map(|cookie| (SET_COOKIE, cookie)));
    }
    Ok(answer)
}

fn json_answer(body: &Value) -> Response<AnswerBody> {
    let mut answer = Response::new(AnswerBody::full(Bytes::from(body.to_string())));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=UTF-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    hygiene::add_security(headers);
    answer
}
