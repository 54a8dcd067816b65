//! What the gate answers by itself below `/proxward/`.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE};
use http::{HeaderValue, Method, StatusCode};
use pve_access::Privilege;
use serde_json::{Value, json};
use telemetry::CorrelationId;

use crate::api::Call;
use crate::audit::Act;
use crate::body::{AnswerBody, Source};
use crate::caller::Caller;
use crate::credential::TICKET;
use crate::head::{Answer, Parts};
use crate::login::{query_value, session_cookie};
use crate::observe::{Health, is_local};
use crate::record::Record;
use crate::refusal::Refusal;
use crate::stack::{Asked, Peer, whole};

mod policy;
mod step_up;

/// Answers a call. Credential, origin, CSRF token and policy have been judged.
pub(crate) async fn answer(
    asked: &Asked<'_>,
    record: &mut Record,
    path: &str,
    body: &mut dyn Source,
) -> Result<Answer<AnswerBody>, Refusal> {
    let Asked { peer, parts, caller, .. } = *asked;
    match (&parts.method, path) {
        (&Method::POST, "logout") => logout(asked).await,
        (&Method::GET, "permissions") => permissions(peer, parts, caller).await,
        (&Method::GET, "health") if is_local(&peer.worker.shared, peer.client.ip(), parts) => {
            Ok(health(peer))
        }
        (&Method::GET, "api/policy") => policy::status(asked).await,
        (&Method::POST, "api/policy/confirm") => policy::confirm(asked, record, body).await,
        (&Method::POST, "api/step-up") => step_up::show(asked, body).await,
        _ => verb(asked, record.id(), path, body).await,
    }
}

/// A verb of the broker, where one is named.
async fn verb(
    asked: &Asked<'_>,
    id: CorrelationId,
    path: &str,
    body: &mut dyn Source,
) -> Result<Answer<AnswerBody>, Refusal> {
    let Asked { peer, parts, caller, .. } = *asked;
    let (Some(path), Some(api)) = (path.strip_prefix("api/"), &peer.worker.shared.api) else {
        return Err(Refusal::NoSuchPath);
    };
    let body = whole(peer, body).await?;
    api.answer(&Call { peer, parts, caller, id, path }, &body).await
}

/// What the caller may do at a path of the access list: `{"data":{"path":…,"held":[…]}}`.
async fn permissions(
    peer: &Peer,
    parts: &Parts,
    caller: &Caller<'_>,
) -> Result<Answer<AnswerBody>, Refusal> {
    let path = parts.uri.query().and_then(|query| query_value(query, "path"));
    let path = path.map_or_else(|| Ok("/".to_owned()), String::from_utf8);
    let path = path.map_err(|_| Refusal::Path)?;
    let held = peer.worker.shared.permissions.of(peer, caller, parts, &path).await;
    let held = held.map_err(|unknown| unknown.refusal(Refusal::Path))?;
    let held: Vec<&str> = held.iter().map(Privilege::name).collect();
    Ok(json_answer(&json!({ "data": { "path": path, "held": held } })))
}

/// Whether the gate is well, without a credential but to this machine alone.
fn health(peer: &Peer) -> Answer<AnswerBody> {
    let health = Health::of(&peer.worker.shared, *peer.worker.drain.borrow());
    let mut answer = json_answer(&health.json());
    if !health.is_ready() {
        answer.head.status = StatusCode::SERVICE_UNAVAILABLE;
    }
    answer
}

/// Ends the caller's session, durably, and takes both cookies back.
async fn logout(asked: &Asked<'_>) -> Result<Answer<AnswerBody>, Refusal> {
    let Asked { peer, caller, .. } = *asked;
    let (Caller::Session { session, .. } | Caller::LoggedOut(session)) = caller else {
        return Err(Refusal::NotLoggedIn);
    };
    let shared = &peer.worker.shared;
    shared.permissions.forget(session.id);
    shared.sessions.end(session.id).await.map_err(|_| Refusal::NotStored)?;
    asked.record(Act::SessionLoggedOut, &session.id.short());
    let mut answer = json_answer(&json!({ "data": null }));
    let headers = &mut answer.head.headers;
    if session.browser {
        headers.extend(session_cookie("").map(|cookie| (SET_COOKIE, cookie)));
        let readable = format!("{TICKET}=; Secure; SameSite=Lax; Path=/; Max-Age=0");
        headers.extend(HeaderValue::from_str(&readable).map(|cookie| (SET_COOKIE, cookie)));
    }
    Ok(answer)
}

fn json_answer(body: &Value) -> Answer<AnswerBody> {
    let mut answer = Answer::new(AnswerBody::full(Bytes::from(body.to_string())));
    let headers = &mut answer.head.headers;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=UTF-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
