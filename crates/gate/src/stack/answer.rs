//! What the client gets of an answer, whether upstream's or our own.

use bytes::Bytes;
use http::header::{CONNECTION, SET_COOKIE, UPGRADE};
use http::{HeaderValue, Method, StatusCode, Version};

use super::{Asked, policy, refused};
use crate::body::AnswerBody;
use crate::caller::Caller;
use crate::compression::{Keep, shrink};
use crate::head::{Answer, AnswerHead, Fields, Parts};
use crate::hygiene;
use crate::link::LinkBody;
use crate::login::session_cookie;
use crate::policy::Seen;
use crate::reason;
use crate::record::Record;
use crate::refusal::Refusal;
use crate::rewrite;
use crate::route::Route;
use crate::upstream::UpstreamError;

/// The answer to everything else.
pub(super) async fn answered(
    asked: &Asked<'_>,
    record: &mut Record,
    answer: Answer<LinkBody>,
    keep: Option<Keep>,
) -> Result<Answer<AnswerBody>, Refusal> {
    let Asked { peer, client, parts, route, caller, .. } = *asked;
    let denied = is_denied(&answer, &route, &parts.method);
    let answer = match route {
        _ if asked.is_page() && rewrite::is_page(&answer.head.headers) => {
            let read = Box::pin(rewrite::page(caller, answer)).await;
            read.map(|read| readout(parts.version, read))
        }
        Route::Api(format, _) if route.hands_out_console(&parts.method) => {
            let read = Box::pin(rewrite::console(peer, (caller, client), format, answer)).await;
            read.map(|read| readout(parts.version, read))
        }
        _ => match adapt(parts.version, answer).await {
            Ok(answer) => shrunk(asked, keep, answer).await,
            error => error,
        },
    };
    let mut answer = answer.map_err(|error| refused(record, &error))?;
    if answer.head.status.is_success() && !route.is_open(&parts.method) {
        // Proxmox VE has believed the caller: rules that are on trial have let somebody through.
        let seen = || policy::person(caller).map(|user| Seen { user, client });
        peer.worker.shared.policy.saw(peer.accepted, seen);
    }
    if denied {
        let shared = &peer.worker.shared;
        if let Some(id) = caller.id() {
            shared.permissions.forget(id);
        }
        if let Caller::Session { session, .. } = caller {
            // The user is gone or disabled: nobody is to wait for that with every request.
            shared.sessions.drop_later(session.id);
        }
        asked.count_refused(record).await;
    }
    if matches!(caller, Caller::LoggedOut(_)) {
        answer.head.headers.extend(session_cookie("").map(|cookie| (SET_COOKIE, cookie)));
    }
    Ok(answer)
}

/// The answer, compressed where that is allowed.
pub(super) async fn shrunk(
    asked: &Asked<'_>,
    keep: Option<Keep>,
    answer: Answer<AnswerBody>,
) -> Result<Answer<AnswerBody>, UpstreamError> {
    let Asked { peer, parts, route, .. } = asked;
    let Some(compressors) = &peer.worker.compressors else { return Ok(answer) };
    let tools = (compressors, &peer.worker.shared.metrics);
    let shrunk = shrink((parts, route), tools, keep, answer).await;
    shrunk.map_err(|error| UpstreamError::Broken(error.to_string()))
}

/// Whether Proxmox VE did not believe the credential. Its other 401s are for a CSRF token and
/// for a console's ticket, which are shown by someone it knows.
fn is_denied(answer: &Answer<LinkBody>, route: &Route<'_>, method: &Method) -> bool {
    let known = answer.head.phrase.as_ref().is_some_and(|reason| {
        let reason = reason.as_bytes().to_ascii_lowercase();
        reason.starts_with(b"permission denied - invalid")
    });
    answer.head.status == StatusCode::UNAUTHORIZED && !known && !route.is_open(method)
}

/// An answer that was read here, as the client gets it.
pub(super) fn readout(version: Version, read: rewrite::Read) -> Answer<AnswerBody> {
    let rewrite::Read { mut head, body } = read;
    let instead = match version {
        Version::HTTP_2 => reason::for_http2(&mut head, body.is_empty()),
        _ => None,
    };
    Answer { head, body: AnswerBody::full(instead.unwrap_or(body)) }
}

/// The gate's own answer, with what every answer gets.
pub(super) fn own(parts: &Parts, answer: Answer<AnswerBody>) -> Answer<AnswerBody> {
    let Answer { mut head, mut body } = answer;
    if parts.version == Version::HTTP_2 {
        let instead = reason::for_http2(&mut head, body.length() == Some(0));
        // HEAD never gets a body, and hyper does not see to it in HTTP/2.
        if let Some(bytes) = instead.filter(|_| parts.method != Method::HEAD) {
            body = AnswerBody::full(bytes);
        }
    }
    Answer { head, body }
}

/// Upstream's answer as the client gets it.
pub(super) async fn adapt(
    version: Version,
    answer: Answer<LinkBody>,
) -> Result<Answer<AnswerBody>, UpstreamError> {
    let Answer { mut head, mut body } = answer;
    if head.status.is_informational() {
        let text = format!("status {} without being asked for it", head.status);
        return Err(UpstreamError::Broken(text));
    }
    let error = head.status.is_client_error() || head.status.is_server_error();
    let empty = if body.ends_late(head.status) {
        true
    } else if error && body.length().is_none() {
        // An authentication error ends with the connection and is empty: said with a length,
        // the client's connection can stay.
        let empty = body.is_empty().await;
        empty.map_err(|error| UpstreamError::Broken(error.to_string()))?
    } else {
        body.length() == Some(0)
    };
    let instead = match version {
        Version::HTTP_2 => reason::for_http2(&mut head, empty),
        _ => None,
    };
    let body = match instead {
        Some(bytes) => AnswerBody::full(bytes),
        None if empty => AnswerBody::full(Bytes::new()),
        None => match body.take_whole() {
            Some(bytes) => AnswerBody::full(bytes),
            None => AnswerBody::upstream(body),
        },
    };
    Ok(Answer { head, body })
}

/// The 101 for the client.
pub(super) fn switching(upstream: &Answer<()>) -> Answer<AnswerBody> {
    let mut headers = Fields::with_capacity(8);
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.extend(upstream.head.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
    let mut answer = Answer::new(AnswerBody::full(Bytes::new()));
    answer.head.status = upstream.head.status;
    answer.head.headers = headers;
    answer
}

/// What depends on the connection and not on where the answer came from.
pub(super) fn finish(parts: &Parts, answer: &mut AnswerHead) {
    let switched = answer.status == StatusCode::SWITCHING_PROTOCOLS;
    if parts.version == Version::HTTP_2 {
        answer.headers.remove(&CONNECTION);
    } else if parts.headers.contains(UPGRADE) && !switched {
        // The client may have sent bytes of the other protocol already: they are no request.
        answer.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if !switched {
        hygiene::add_security(&mut answer.headers);
    }
}
