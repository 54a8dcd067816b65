//! The way of a request, top to bottom: each step stands where it does because of what the
//! steps above have made sure of.
//!
//! Before a request gets here its connection was admitted (total and per address, before any
//! byte is read), its PROXY header read (address before everything that judges by address),
//! its TLS handshake made and its head checked byte by byte (see `connection`, `guard`).

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use telemetry::CorrelationId;
use tokio::time::timeout;

use crate::admission::Permit;
use crate::body::AnswerBody;
use crate::edge::{self, BodyRule};
use crate::forwarded;
use crate::hygiene;
use crate::limits::BODY_BYTES;
use crate::link::{LinkBody, ends_late};
use crate::reason;
use crate::record::Record;
use crate::refusal::Refusal;
use crate::socket::Socket;
use crate::upstream::{Inbound, Outbound, UpstreamError};
use crate::worker::Worker;

/// What all requests of one connection share.
pub(crate) struct Peer {
    pub(crate) worker: Rc<Worker>,
    /// The client's own address, from the PROXY header where there is one.
    pub(crate) client: SocketAddr,
    /// Its place among all connections.
    pub(crate) permit: Rc<Permit>,
    /// Where a 101 leaves the stream to upstream, for the connection to relay.
    pub(crate) tunnel: RefCell<Option<Tunnel>>,
}

/// The stream to upstream after a 101.
pub(crate) struct Tunnel {
    pub(crate) socket: Socket,
    /// What upstream already sent on it.
    pub(crate) early: Bytes,
    /// The request's name in the log.
    pub(crate) id: CorrelationId,
}

/// Answers one request.
pub(crate) async fn serve(
    peer: Rc<Peer>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    let shared = &peer.worker.shared;
    let (parts, body) = request.into_parts();
    // Each request of a proxy's connection may be of another client.
    let client = forwarded::client(peer.client, &parts.headers, &shared.trusted);
    let mut record = Box::new(Record::begin(
        &shared.clock,
        &shared.metrics,
        client,
        Some((parts.version, &parts.method)),
    ));
    let mut answer = match pass(&peer, client, &mut record, &parts, body).await {
        Ok(answer) => answer,
        Err(refusal) => {
            record.refused(&refusal);
            // Refused before its path was judged: the line should still say what was asked.
            if let Ok(path) = edge::decode_path(parts.uri.path()) {
                record.set_path(&path);
            }
            own(&parts, refusal.response(shared.clock.unix()))
        }
    };
    finish(&parts, &mut answer);
    record.answered(answer.status().as_u16());
    answer.body_mut().set_record(record);
    Ok(answer)
}

async fn pass(
    peer: &Peer,
    client: SocketAddr,
    record: &mut Record,
    parts: &Parts,
    body: Incoming,
) -> Result<Response<AnswerBody>, Refusal> {
    let Worker { shared, upstream, .. } = &*peer.worker;

    // 1. Method. First, as pveproxy does it: nothing else is looked at for a word it does
    //    not know.
    edge::method(parts)?;

    // 2. Target and path. Every rule below, and the log, sees the path as pveproxy will route
    //    it, decoded once.
    let target = edge::target(parts)?;
    let path = edge::decode_path(target.path())?;
    record.set_path(&path);

    // 3. Address. Whoever is banned gets no further.
    if shared.logins.banned(client.ip()) {
        shared.logins.wait_banned().await;
        return Err(Refusal::Unauthorized);
    }

    // 4. Headers. Rebuilt from a list before any of them is believed, so that no later step
    //    can trust what a client forged.
    let websocket = edge::wants_websocket(parts);
    let outbound = Outbound {
        parts,
        target: &target,
        headers: hygiene::upstream_headers(parts, &target, websocket)?,
    };

    // 5. Body. Bounded before it is read, read before an upstream connection is taken: a slow
    //    client holds only its own.
    let length = parts.headers.get(CONTENT_LENGTH).map(declared_length).transpose()?;
    let rule = edge::body_rule(&parts.method, &path, length, body.is_end_stream())?;

    // 6. Upstream. From its first whole request on, the connection makes room for no other.
    if rule != BodyRule::Whole {
        peer.permit.heard();
    }
    let inbound = match rule {
        BodyRule::Stream => upstream.upload(&outbound, body).await.map(Inbound::Answer),
        BodyRule::None if websocket => upstream.websocket(&outbound).await,
        BodyRule::None | BodyRule::Whole => {
            let bytes = whole(peer, body).await?;
            peer.permit.heard();
            upstream.call(&outbound, &bytes).await.map(Inbound::Answer)
        }
    };
    let inbound = inbound.map_err(|error| refused(record, &error))?;

    // 7. Answer. The tunnel is handed over whole; everything else is stripped of what is
    //    between upstream and us, and its reason phrase carried on.
    match inbound {
        Inbound::Tunnel(head, socket, early) => {
            let id = record.id();
            *peer.tunnel.borrow_mut() = Some(Tunnel { socket, early, id });
            Ok(switching(&head))
        }
        Inbound::Answer(answer) => {
            let answer = adapt(parts.version, answer).await;
            answer.map_err(|error| refused(record, &error))
        }
    }
}

/// The gate's own answer, with what every answer gets.
fn own(parts: &Parts, answer: Response<AnswerBody>) -> Response<AnswerBody> {
    let (mut head, mut body) = answer.into_parts();
    hygiene::add_security(&mut head.headers);
    if parts.version == Version::HTTP_2 {
        let instead = reason::for_http2(&mut head, body.is_end_stream());
        // HEAD never gets a body, and hyper does not see to it in HTTP/2.
        if let Some(bytes) = instead.filter(|_| parts.method != http::Method::HEAD) {
            body = AnswerBody::full(bytes);
        }
    }
    Response::from_parts(head, body)
}

/// The cause goes to the log, its public text to the client.
fn refused(record: &mut Record, error: &UpstreamError) -> Refusal {
    record.failed(error);
    error.refusal()
}

/// A Content-Length of HTTP/2; HTTP/1's was checked on the wire.
fn declared_length(value: &HeaderValue) -> Result<u64, Refusal> {
    let text = value.to_str().map_err(|_| Refusal::Length)?;
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let length = text.parse().ok().filter(|_| digits);
    length.ok_or(Refusal::Length)
}

/// Reads an ordinary body, at most [`BODY_BYTES`] within the limit on time.
async fn whole(peer: &Peer, body: Incoming) -> Result<Bytes, Refusal> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let bound = usize::try_from(BODY_BYTES).unwrap_or(usize::MAX);
    let read = Limited::new(body, bound).collect();
    match timeout(peer.worker.shared.limits.body, read).await {
        Ok(Ok(read)) => Ok(read.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::BodyTooLarge),
        Ok(Err(_)) => Err(Refusal::BodyIncomplete),
        Err(_) => Err(Refusal::BodyTimeout),
    }
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
    let empty = if ends_late(head.status, &head.headers) {
        true
    } else if error && body.size_hint().exact().is_none() {
        // An authentication error ends with the connection and is empty: said with a length,
        // the client's connection can stay.
        let empty = body.is_empty().await;
        empty.map_err(|error| UpstreamError::Broken(error.to_string()))?
    } else {
        body.is_end()
    };
    head.headers = hygiene::client_headers(&head.headers);
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
fn switching(upstream: &Response<()>) -> Response<AnswerBody> {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.extend(hygiene::end_to_end(upstream.headers()));
    let mut answer = Response::new(AnswerBody::full(Bytes::new()));
    *answer.status_mut() = upstream.status();
    *answer.headers_mut() = headers;
    answer
}

/// What depends on the connection and not on where the answer came from.
fn finish(parts: &Parts, answer: &mut Response<AnswerBody>) {
    let switched = answer.status() == http::StatusCode::SWITCHING_PROTOCOLS;
    if parts.version == Version::HTTP_2 {
        answer.headers_mut().remove(CONNECTION);
    } else if parts.headers.contains_key(UPGRADE) && !switched {
        // The bytes after an upgrade request are not judged as heads (see `guard`), so a
        // refused one must be the last request of its connection.
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}
