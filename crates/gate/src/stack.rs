//! The way of a request, top to bottom: each step stands where it does because of what the
//! steps above have made sure of.
//!
//! Before a request gets here its connection was admitted (total and per address, before any
//! byte is read), its PROXY header read (address before everything that judges by address),
//! its TLS handshake made and its head checked byte by byte (see `connection`, `http1`).

mod answer;
mod file;
mod login;
mod plugin;
mod policy;
mod shared;

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, DATE};
use http::request::Parts;
use http::{HeaderValue, Response};
use telemetry::CorrelationId;
use tokio::time::timeout;

use self::answer::{answered, finish, own, switching};
use self::file::File;
use self::login::login;
use self::shared::share;
use crate::admission::Permit;
use crate::body::{AnswerBody, Source};
use crate::caller::Caller;
use crate::console;
use crate::credential::Headers;
use crate::edge::{self, BodyRule};
use crate::endpoint::Endpoint;
use crate::forwarded;
use crate::hygiene;
use crate::limits::BODY_BYTES;
use crate::record::Record;
use crate::refusal::Refusal;
use crate::route::Route;
use crate::shared_store;
use crate::sharing::Write;
use crate::socket::Socket;
use crate::upstream::{Inbound, Outbound, UpstreamError};
use crate::worker::Worker;

/// What all requests of one connection share.
pub(crate) struct Peer {
    pub(crate) worker: Rc<Worker>,
    /// The client's own address, from the PROXY header where there is one.
    pub(crate) client: SocketAddr,
    /// The subject of the certificate it has shown, where one is asked for.
    pub(crate) certificate: Option<Rc<str>>,
    /// When its connection was accepted, on the monotonic clock.
    pub(crate) accepted: Duration,
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
    parts: &Parts,
    body: &mut dyn Source,
) -> Response<AnswerBody> {
    let shared = &peer.worker.shared;
    // Each request of a proxy's connection may be of another client.
    let live = peer.worker.live();
    let proxies = (&live.trusted, &live.real_ip_header);
    let client = forwarded::client(peer.client, &parts.headers, proxies);
    let request = Some((parts.version, &parts.method));
    let mut record = Box::new(Record::begin(&peer.worker, client, request));
    record.set_certificate(peer.certificate.as_ref());
    let mut answer = match pass(peer, client.ip(), &mut record, parts, body).await {
        Ok(answer) => answer,
        Err(refusal) => {
            record.refused(&refusal);
            // Refused before its path was judged: the line should still say what was asked.
            if let Ok(path) = edge::decode_path(parts.uri.path()) {
                record.set_path(&path);
            }
            own(parts, refusal.response(shared.clock.unix()))
        }
    };
    finish(parts, &mut answer);
    live.pages.add(parts, answer.headers_mut());
    if !answer.headers().contains_key(DATE)
        && let Some(date) = peer.worker.date(record.unix_secs())
    {
        answer.headers_mut().insert(DATE, date);
    }
    record.answered(answer.status().as_u16());
    answer.body_mut().set_record(record);
    answer
}

/// A request of which is known who asks for what.
pub(crate) struct Asked<'r> {
    pub(crate) peer: &'r Peer,
    pub(crate) client: IpAddr,
    pub(crate) parts: &'r Parts,
    route: Route<'r>,
    pub(crate) caller: &'r Caller<'r>,
    /// In seconds since 1970.
    pub(crate) now: u64,
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
    record.set_endpoint(Endpoint::of(&parts.method, &path, &route));
    let websocket = edge::wants_websocket(parts);

    // 3. Address. Whom the lists do not admit gets no further, and neither who is banned; a
    //    login is then answered like a wrong password (see `login`).
    let live = peer.worker.live();
    if live.addresses.as_ref().is_some_and(|rules| !rules.admits(client)) {
        return Err(Refusal::Address);
    }
    let auth = route.auth(&parts.method);
    if auth.is_none() && shared.logins.banned(client) {
        Box::pin(shared.logins.wait_banned()).await;
        return Err(Refusal::Unauthorized);
    }

    // 4. Caller. Found as pveproxy finds it; of several credentials one counts, here and
    //    upstream alike.
    let now = record.unix_secs();
    let headers = Headers::of(parts);
    let known = (&shared.sessions, &shared.tokens);
    let mut caller = Caller::find(&headers, parts, known, (client, now))?;
    if let Some(id) = shared_store::unknown(shared, &headers, &caller)? {
        let again = shared_store::find_again(shared, id, (&headers, parts), (client, now));
        caller = Box::pin(again).await?;
    }
    shared_store::fresh(shared, &caller)?;
    let caller = &caller;
    let asked = Asked { peer, client, parts, route, caller, now };

    // 5. Site. Before anything is changed or opened for a page of somebody else.
    live.origins.check(parts, websocket)?;

    // 6. Session. In force, and shown together with its CSRF token where something changes.
    alive(&asked, record).await?;
    asked.refuse_locked(record).await?;
    caller.check_csrf(parts, &route, &path)?;

    // 7. Policy. What the administrator forbids, before anything is passed on or answered here.
    //    Where a rule looks at parameters, the body is read first.
    let judged = match policy::concerns(&asked, record) {
        true => Box::pin(policy::judge(&asked, record, &target, body)).await?,
        false => policy::Judged::default(),
    };
    let (written, mut ready, described) = judged.sent(&target)?;
    let target = written.as_ref().unwrap_or(&target);
    let body = if ready.0.is_some() { &mut ready } else { body };
    if let Route::Own(own) = route {
        peer.permit.heard();
        let answer = match own.strip_prefix("plugins/") {
            Some(path) => Box::pin(plugin::plugin(&asked, record, path, body)).await,
            None => Box::pin(crate::own::answer(&asked, record, own, body)).await,
        };
        if matches!(answer, Err(Refusal::NotLoggedIn)) {
            asked.count_refused(record).await;
        }
        return answer;
    }

    // 8. Headers. Rebuilt from a list before any of them is believed, so that no later step
    //    can trust what a client forged; the credential is the one that was judged.
    let mut lines = caller.lines(&headers, &parts.method);
    if auth.is_some() {
        lines = lines.of_login(peer.worker.daemon.as_ref().map(|_| client));
    }
    lines.form |= described;
    let lines = hygiene::upstream_lines(parts, target, websocket, &lines)?;
    let outbound = Outbound { parts, target, lines };

    // 9. Body. Bounded before it is read, read before an upstream connection is taken: a slow
    //    client holds only its own. From its first whole request on, a connection makes room
    //    for no other.
    let length = parts.headers.get(CONTENT_LENGTH).map(declared_length).transpose()?;
    let rule = edge::body_rule(&parts.method, &path, length, body.left() == Some(0))?;
    if let Some(auth) = auth {
        let bytes = whole(peer, body).await?;
        // Boxed, as all that is rare: an ordinary request should not hold the room for it.
        return Box::pin(login(&asked, record, auth, outbound, &bytes)).await;
    }
    forward(&asked, record, outbound, rule, body).await
}

/// The rest of the way, for everything but a login.
async fn forward(
    asked: &Asked<'_>,
    record: &mut Record,
    mut outbound: Outbound<'_>,
    rule: BodyRule,
    body: &mut dyn Source,
) -> Result<Response<AnswerBody>, Refusal> {
    let Asked { peer, client, parts, caller, .. } = *asked;
    let shared = &peer.worker.shared;
    let websocket = edge::wants_websocket(parts);

    // 10. Console. Its ticket is good once, for whom it was handed to.
    if websocket {
        let ticket = console::ticket(outbound.target);
        let now = shared.clock.monotonic();
        if shared.joint.is_some() {
            let times = (shared.clock.unix(), now);
            let fetched = Box::pin(shared.consoles.fetch(ticket.as_deref(), times)).await;
            fetched.map_err(|_| Refusal::StoreSilent)?;
        }
        shared.consoles.take(ticket.as_deref(), caller.id(), client, now)?;
    }

    // 11. File. One of the interface that was compressed before is the same for everybody.
    let file = match File::look(asked, &mut outbound) {
        File::Here(answer) => return Ok(*answer),
        file => file,
    };

    // 12. Shared. What open interfaces poll is asked for once for all that may see the same;
    //     nothing from before a write is shown after it.
    let _write = Write::begin(shared.sharing.as_ref(), &parts.method);
    if rule == BodyRule::None
        && let Some(answer) = share(asked, record, &outbound).await?
    {
        return Ok(answer);
    }

    // 13. Upstream.
    let inbound = ask(peer, &outbound, rule, body, websocket).await?;
    let inbound = inbound.map_err(|error| refused(record, &error))?;

    // 14. Answer. The tunnel is handed over whole; everything else is stripped of what is
    //     between upstream and us, and its reason phrase carried on.
    match inbound {
        Inbound::Tunnel(head, socket, early) => {
            let id = record.id();
            *peer.tunnel.borrow_mut() = Some(Tunnel { socket, early, id });
            Ok(switching(&head))
        }
        Inbound::Answer(answer) => match file.confirmed(asked, &answer) {
            Some(file) => Ok(file),
            None => answered(asked, record, answer, file.keep()).await,
        },
    }
}

impl Asked<'_> {
    /// Whether the answer is a page with the session's CSRF token in it.
    fn is_page(&self) -> bool {
        matches!(self.caller, Caller::Session { .. }) && self.route.is_index()
    }

    /// Whether this is an attempt to log in.
    fn is_login(&self) -> bool {
        self.route.auth(&self.parts.method).is_some()
    }

    /// Counts a credential that was refused, and waits as a wrong password does.
    async fn count_refused(&self, record: &Record) {
        if let Some(attempt) = self.caller.attempt(self.client, self.now) {
            let shared = &self.peer.worker.shared;
            Box::pin(shared.logins.failed(&attempt, record.begun(), true)).await;
        }
    }

    /// Refuses the ticket or token of an account that is locked for this source, as if it were
    /// not valid: Proxmox VE is not asked.
    async fn refuse_locked(&self, record: &Record) -> Result<(), Refusal> {
        let logins = &self.peer.worker.shared.logins;
        match logins.locked(|| self.caller.attempt(self.client, self.now)) {
            Some(attempt) => {
                Box::pin(logins.failed(&attempt, record.begun(), false)).await;
                Err(Refusal::Unauthorized)
            }
            None => Ok(()),
        }
    }
}

/// Refuses what was a session: nothing is asked of Proxmox VE for it.
async fn alive(asked: &Asked<'_>, record: &Record) -> Result<(), Refusal> {
    if let Caller::LoggedOut(session) = asked.caller {
        let ended = Box::pin(asked.peer.worker.shared.sessions.end(session.id)).await;
        ended.map_err(|_| Refusal::NotStored)?;
    }
    let alive = asked.caller.check_alive(asked.parts, &asked.route);
    if alive.is_err() {
        asked.count_refused(record).await;
    }
    alive
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
        BodyRule::Stream => Box::pin(upstream.upload(outbound, body)).await.map(Inbound::Answer),
        BodyRule::None if websocket => Box::pin(upstream.websocket(outbound)).await,
        BodyRule::None | BodyRule::Whole => {
            let bytes = whole(peer, body).await?;
            upstream.call(outbound, &bytes).await.map(Inbound::Answer)
        }
    })
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
pub(crate) async fn whole(peer: &Peer, body: &mut dyn Source) -> Result<Bytes, Refusal> {
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
    let read = timeout(peer.worker.live().limits.body, read).await;
    let read = read.unwrap_or(Err(Refusal::BodyTimeout))?;
    peer.permit.heard();
    Ok(read)
}
