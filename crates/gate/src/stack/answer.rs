//! What the client gets of an answer, whether upstream's or our own.

use bytes::Bytes;
use http::header::{CONNECTION, SET_COOKIE, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};

use super::{Asked, policy, refused};
use crate::body::AnswerBody;
use crate::caller::Caller;
use crate::compression::{Keep, shrink};
use crate::hygiene;
use crate::link::LinkBody;
use crate::login::session_cookie;
use crate::policy::Seen;
use crate::reason::{self, Phrase};
use crate::record::Record;
use crate::refusal::Refusal;
use crate::rewrite;
use crate::route::Route;
use crate::upstream::UpstreamError;

/// The answer to everything else.
pub(super) async fn answered(
    asked: &Asked<'_>,
    record: &mut Record,
    answer: Response<LinkBody>,
    keep: Option<Keep>,
) -> Result<Response<AnswerBody>, Refusal> {
    let Asked { peer, client, parts, route, caller, .. } = *asked;
    let denied = is_denied(&answer, &route, &parts.method);
    let answer = match route {
        _ if asked.is_page() && rewrite::is_page(answer.headers()) => {
            let read = Box::pin(rewrite::page(caller, answer)).await;
            read.map(|read| readout(parts.version, read))
        }
        Route::Api(format, _) if route.hands_out_console(&parts.method) => {
            let read = Box::pin(rewrite::console(peer, (caller, client), format, answer)).await;
            read.map(|read| readout(parts.version, read))
        }
        _ => match (adapt(parts.version, answer).await, &peer.worker.compressors) {
            (Ok(answer), Some(compressors)) => {
                let tools = (compressors, &peer.worker.shared.metrics);
                let shrunk = shrink((parts, &route), tools, keep, answer).await;
                shrunk.map_err(|error| UpstreamError::Broken(error.to_string()))
            }
            (answer, _) => answer,
        },
    };
    let mut answer = answer.map_err(|error| refused(record, &error))?;
    if answer.status().is_success() && !route.is_open(&parts.method) {
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
        answer.headers_mut().extend(session_cookie("").map(|cookie| (SET_COOKIE, cookie)));
    }
    Ok(answer)
}

/// Whether Proxmox VE did not believe the credential. Its other 401s are for a CSRF token and
/// for a console's ticket, which are shown by someone it knows.
fn is_denied(answer: &Response<LinkBody>, route: &Route<'_>, method: &Method) -> bool {
    let reason = answer.extensions().get::<Phrase>();
    let known = reason.is_some_and(|reason| {
        let reason = reason.as_bytes().to_ascii_lowercase();
        reason.starts_with(b"permission denied - invalid")
    });
    answer.status() == StatusCode::UNAUTHORIZED && !known && !route.is_open(method)
}

/// An answer that was read here, as the client gets it.
pub(super) fn readout(version: Version, read: rewrite::Read) -> Response<AnswerBody> {
    let rewrite::Read { mut head, body } = read;
    let instead = match version {
        Version::HTTP_2 => reason::for_http2(&mut head, body.is_empty()),
        _ => None,
    };
    Response::from_parts(head, AnswerBody::full(instead.unwrap_or(body)))
}

/// The gate's own answer, with what every answer gets.
pub(super) fn own(parts: &Parts, answer: Response<AnswerBody>) -> Response<AnswerBody> {
    let (mut head, mut body) = answer.into_parts();
    hygiene::add_security(&mut head.headers);
    if parts.version == Version::HTTP_2 {
        let instead = reason::for_http2(&mut head, body.length() == Some(0));
        // HEAD never gets a body, and hyper does not see to it in HTTP/2.
        if let Some(bytes) = instead.filter(|_| parts.method != Method::HEAD) {
            body = AnswerBody::full(bytes);
        }
    }
    Response::from_parts(head, body)
}

/// Upstream's answer as the client gets it.
async fn adapt(
    version: Version,
    answer: Response<LinkBody>,
) -> Result<Response<AnswerBody>, UpstreamError> {
    let (mut head, mut body) = answer.into_parts();
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
    hygiene::add_security(&mut head.headers);
    let instead = match version {
        Version::HTTP_2 => reason::for_http2(&mut head, empty),
        _ => None,
    };
    let body = match instead {
        Some(bytes) => AnswerBody::full(bytes),
        None if empty => AnswerBody::full(Bytes::new()),
        None => AnswerBody::upstream(body),
    };
    Ok(Response::from_parts(head, body))
}

/// The 101 for the client.
pub(super) fn switching(upstream: &Response<()>) -> Response<AnswerBody> {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.extend(upstream.headers().clone());
    let mut answer = Response::new(AnswerBody::full(Bytes::new()));
    *answer.status_mut() = upstream.status();
    *answer.headers_mut() = headers;
    answer
}

/// What depends on the connection and not on where the answer came from.
pub(super) fn finish(parts: &Parts, answer: &mut Response<AnswerBody>) {
    let switched = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    if parts.version == Version::HTTP_2 {
        answer.headers_mut().remove(CONNECTION);
    } else if parts.headers.contains_key(UPGRADE) && !switched {
        // The client may have sent bytes of the other protocol already: they are no request.
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}
