//! The way of a request, top to bottom: each step stands where it does because of what the
//! steps above have made sure of.
//!
//! Before a request gets here its connection was admitted (total and per address, before any
//! byte is read), its PROXY header read (address before everything that judges by address),
//! its TLS handshake made and its head checked byte by byte (see `connection`, `http1`).

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, SET_COOKIE, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use telemetry::CorrelationId;
use tokio::time::timeout;

use crate::admission::Permit;
use crate::body::{AnswerBody, Source};
use crate::caller::Caller;
use crate::console;
use crate::credential::Headers;
use crate::edge::{self, BodyRule};
use crate::forwarded;
use crate::hygiene;
use crate::limits::BODY_BYTES;
use crate::link::LinkBody;
use crate::login::{Begun, Exchange, describe, session_cookie};
use crate::own;
use crate::reason::{self, Phrase};
use crate::record::Record;
use crate::refusal::Refusal;
use crate::rewrite;
use crate::route::{AuthCall, Format, Route};
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
    peer: &Rc<Peer>,
    parts: Parts,
    body: &mut dyn Source,
) -> Response<AnswerBody> {
    let shared = &peer.worker.shared;
    // Each request of a proxy's connection may be of another client.
    let client = forwarded::client(peer.client, &parts.headers, &shared.trusted);
    let request = Some((parts.version, &parts.method));
    let mut record = Box::new(Record::begin(&peer.worker, client, request));
    let mut answer = match pass(peer, client.ip(), &mut record, &parts, body).await {
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
    if !answer.headers().contains_key(DATE)
        && let Some(date) = peer.worker.date()
    {
        answer.headers_mut().insert(DATE, date);
    }
    record.answered(answer.status().as_u16());
    answer.body_mut().set_record(record);
    answer
}

/// A request of which is known who asks for what.
struct Asked<'r> {
    peer: &'r Peer,
    client: IpAddr,
    parts: &'r Parts,
    route: Route<'r>,
    caller: &'r Caller<'r>,
    /// In seconds since 1970.
    now: u64,
}

async fn pass(
    peer: &Peer,
    client: IpAddr,
    record: &mut Record,
    parts: &Parts,
    body: &mut dyn Source,
) -> Result<Response<AnswerBody>, Refusal> {
    let shared = &peer.worker.shared;

    // 1. Method. First, as pveproxy does it: nothing else is looked at for a word it does
    //    not know.
    edge::method(parts)?;

    // 2. Target and path. Every rule below, and the log, sees the path as pveproxy will route
    //    it, decoded once.
    let target = edge::target(parts)?;
    let path = edge::decode_path(target.path())?;
    record.set_path(&path);
    let route = Route::of(&path);
    let websocket = edge::wants_websocket(parts);

    // 3. Address. Whoever is banned gets no further; a login is answered like a wrong password
    //    (see `login`).
    let auth = route.auth(&parts.method);
    if auth.is_none() && shared.logins.banned(client) {
        shared.logins.wait_banned().await;
        return Err(Refusal::Unauthorized);
    }

    // 4. Caller. Found as pveproxy finds it; of several credentials one counts, here and
    //    upstream alike.
    let now = shared.clock.unix_secs();
    let headers = Headers::of(parts);
    let caller = &Caller::find(&headers, parts, &shared.sessions, now)?;
    let asked = Asked { peer, client, parts, route, caller, now };

    // 5. Site. Before anything is changed or opened for a page of somebody else.
    shared.origins.check(parts, websocket)?;

    // 6. Session. In force, and shown together with its CSRF token where something changes.
    alive(&asked, record).await?;
    asked.refuse_locked(record).await?;
    caller.check_csrf(parts, &route, &path, now)?;
    if let Route::Own(own) = route {
        peer.permit.heard();
        let answer = own::answer(peer, parts, own, caller).await;
        if matches!(answer, Err(Refusal::NotLoggedIn)) {
            asked.count_refused(record).await;
        }
        return answer;
    }

    // 7. Headers. Rebuilt from a list before any of them is believed, so that no later step
    //    can trust what a client forged; the credential is the one that was judged.
    let mut lines = caller.lines(&headers, &parts.method);
    lines.readable = asked.is_read_here();
    let headers = hygiene::upstream_headers(parts, &target, websocket, &lines)?;
    let outbound = Outbound { parts, target: &target, headers };

    // 8. Body. Bounded before it is read, read before an upstream connection is taken: a slow
    //    client holds only its own. From its first whole request on, a connection makes room
    //    for no other.
    let length = parts.headers.get(CONTENT_LENGTH).map(declared_length).transpose()?;
    let rule = edge::body_rule(&parts.method, &path, length, body.left() == Some(0))?;
    if let Some(auth) = auth {
        let bytes = whole(peer, body).await?;
        return login(&asked, record, auth, outbound, &bytes).await;
    }
    forward(&asked, record, &outbound, rule, body).await
}

/// The rest of the way, for everything but a login.
async fn forward(
    asked: &Asked<'_>,
    record: &mut Record,
    outbound: &Outbound<'_>,
    rule: BodyRule,
    body: &mut dyn Source,
) -> Result<Response<AnswerBody>, Refusal> {
    let Asked { peer, client, parts, caller, .. } = *asked;
    let shared = &peer.worker.shared;
    let websocket = edge::wants_websocket(parts);

    // 9. Console. Its ticket is good once, for whom it was handed to.
    if websocket {
        let ticket = console::ticket(outbound.target);
        let now = shared.clock.monotonic();
        shared.consoles.take(ticket.as_deref(), caller.id(), client, now)?;
    }

    // 10. Upstream.
    let inbound = ask(peer, outbound, rule, body, websocket).await?;
    let inbound = inbound.map_err(|error| refused(record, &error))?;

    // 11. Answer. The tunnel is handed over whole; everything else is stripped of what is
    //     between upstream and us, and its reason phrase carried on.
    match inbound {
        Inbound::Tunnel(head, socket, early) => {
            let id = record.id();
            *peer.tunnel.borrow_mut() = Some(Tunnel { socket, early, id });
            Ok(switching(&head))
        }
        Inbound::Answer(answer) => answered(asked, record, answer).await,
    }
}

impl Asked<'_> {
    /// Whether the answer is a page with the session's CSRF token in it.
    fn is_page(&self) -> bool {
        matches!(self.caller, Caller::Session { .. }) && self.route.is_index()
    }

    /// Whether the answer will be read, so that it must not come compressed.
    fn is_read_here(&self) -> bool {
        let method = &self.parts.method;
        self.is_page() || self.route.hands_out_console(method) || self.route.auth(method).is_some()
    }

    /// Counts a credential that was refused, and waits as a wrong password does.
    async fn count_refused(&self, record: &Record) {
        if let Some(attempt) = self.caller.attempt(self.client, self.now) {
            self.peer.worker.shared.logins.failed(&attempt, record.begun(), true).await;
        }
    }

    /// Refuses the ticket or token of an account that is locked for this source, as if it were
    /// not valid: Proxmox VE is not asked.
    async fn refuse_locked(&self, record: &Record) -> Result<(), Refusal> {
        let logins = &self.peer.worker.shared.logins;
        match logins.locked(|| self.caller.attempt(self.client, self.now)) {
            Some(attempt) => {
                logins.failed(&attempt, record.begun(), false).await;
                Err(Refusal::Unauthorized)
            }
            None => Ok(()),
        }
    }
}

/// Refuses what was a session: nothing is asked of Proxmox VE for it.
async fn alive(asked: &Asked<'_>, record: &Record) -> Result<(), Refusal> {
    if let Caller::LoggedOut(session) = asked.caller {
        let ended = asked.peer.worker.shared.sessions.end(session.id).await;
        ended.map_err(|_| Refusal::NotStored)?;
    }
    let alive = asked.caller.check_alive(asked.parts, &asked.route);
    if alive.is_err() {
        asked.count_refused(record).await;
    }
    alive
}

/// A login: its parameters read and written anew, the answer judged, its ticket kept here.
async fn login(
    asked: &Asked<'_>,
    record: &mut Record,
    auth: (Format, AuthCall),
    mut outbound: Outbound<'_>,
    body: &Bytes,
) -> Result<Response<AnswerBody>, Refusal> {
    let Asked { peer, client, parts, caller, now, .. } = *asked;
    let shared = &peer.worker.shared;
    let mut exchange = Exchange::read(auth, parts, outbound.target.query(), body)?;
    let attempt = exchange.attempt(client);
    let permit = match shared.logins.begin(&attempt) {
        Begun::Pass(permit) => permit,
        Begun::Refused(refused) => {
            shared.logins.refuse(&attempt, refused).await;
            return Ok(readout(parts.version, exchange.failure(shared.clock.unix())));
        }
    };
    exchange.substitute(caller, &shared.sessions, now)?;
    let rewritten = exchange.rewritten(outbound.target);
    describe(&mut outbound.headers);
    let outbound = Outbound { target: &rewritten.target, ..outbound };
    let answer = match &peer.worker.daemon {
        Some(daemon) => daemon.call(&outbound.for_daemon(client), &rewritten.body).await,
        None => peer.worker.upstream.call(&outbound, &rewritten.body).await,
    };
    let answer = answer.map_err(|error| refused(record, &error))?;
    let judged = rewrite::login(peer, (caller, client), &exchange, answer).await;
    let (read, judged) = judged.map_err(|error| refused(record, &error))?;
    shared.logins.end(permit, &attempt, judged.verdict.outcome()).await;
    if let Some(session) = judged.replaced {
        shared.sessions.end(session.id).await.map_err(|_| Refusal::NotStored)?;
    }
    Ok(readout(parts.version, read))
}

/// The answer to everything else.
async fn answered(
    asked: &Asked<'_>,
    record: &mut Record,
    answer: Response<LinkBody>,
) -> Result<Response<AnswerBody>, Refusal> {
    let Asked { peer, client, parts, route, caller, .. } = *asked;
    let denied = is_denied(&answer, &route, &parts.method);
    let answer = match route {
        _ if asked.is_page() && rewrite::is_page(answer.headers()) => {
            rewrite::page(peer, caller, answer).await.map(|read| readout(parts.version, read))
        }
        Route::Api(format, _) if route.hands_out_console(&parts.method) => {
            let read = rewrite::console(peer, (caller, client), format, answer).await;
            read.map(|read| readout(parts.version, read))
        }
        _ => adapt(parts.version, answer).await,
    };
    let mut answer = answer.map_err(|error| refused(record, &error))?;
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

/// Sends the request on, its body as it has to be.
async fn ask(
    peer: &Peer,
    outbound: &Outbound<'_>,
    rule: BodyRule,
    body: &mut dyn Source,
    websocket: bool,
) -> Result<Result<Inbound, UpstreamError>, Refusal> {
    let upstream = &peer.worker.upstream;
    if rule != BodyRule::Whole {
        peer.permit.heard();
    }
    Ok(match rule {
        BodyRule::Stream => upstream.upload(outbound, body).await.map(Inbound::Answer),
        BodyRule::None if websocket => upstream.websocket(outbound).await,
        BodyRule::None | BodyRule::Whole => {
            let bytes = whole(peer, body).await?;
            upstream.call(outbound, &bytes).await.map(Inbound::Answer)
        }
    })
}

/// An answer that was read here, as the client gets it.
fn readout(version: Version, read: rewrite::Read) -> Response<AnswerBody> {
    let rewrite::Read { mut head, body } = read;
    let instead = match version {
        Version::HTTP_2 => reason::for_http2(&mut head, body.is_empty()),
        _ => None,
    };
    Response::from_parts(head, AnswerBody::full(instead.unwrap_or(body)))
}

/// The gate's own answer, with what every answer gets.
fn own(parts: &Parts, answer: Response<AnswerBody>) -> Response<AnswerBody> {
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
async fn whole(peer: &Peer, body: &mut dyn Source) -> Result<Bytes, Refusal> {
    if body.left() == Some(0) {
        peer.permit.heard();
        return Ok(Bytes::new());
    }
    let read = async {
        let mut whole = BytesMut::new();
        loop {
            match poll_fn(|cx| body.poll_data(cx)).await {
                Some(Ok(data)) if body.left() == Some(0) && whole.is_empty() => return Ok(data),
                Some(Ok(data)) if (whole.len() + data.len()) as u64 > BODY_BYTES => {
                    return Err(Refusal::BodyTooLarge);
                }
                Some(Ok(data)) => whole.extend_from_slice(&data),
                Some(Err(_)) => return Err(Refusal::BodyIncomplete),
                None => return Ok(whole.freeze()),
            }
        }
    };
    let read = timeout(peer.worker.shared.limits.body, read).await;
    let read = read.unwrap_or(Err(Refusal::BodyTimeout))?;
    peer.permit.heard();
    Ok(read)
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
fn switching(upstream: &Response<()>) -> Response<AnswerBody> {
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
fn finish(parts: &Parts, answer: &mut Response<AnswerBody>) {
    let switched = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    if parts.version == Version::HTTP_2 {
        answer.headers_mut().remove(CONNECTION);
    } else if parts.headers.contains_key(UPGRADE) && !switched {
        // The client may have sent bytes of the other protocol already: they are no request.
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}
