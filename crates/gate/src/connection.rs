//! The life of one client connection, up to its requests (`stack`) and past them.
//!
//! The order is the defence: a place among all connections before a byte is read, the true
//! address before anything judges by it, TLS before HTTP, a first byte before the state of HTTP
//! is built, and after a refusal time for the client to read it.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::header::CONNECTION;
use http::{Method, Version};
use netpolicy::canonical;
use tls::ServerStream;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, info};

use crate::addresses::AddressRules;
use crate::admission::Permit;
use crate::head::Parts;
use crate::http1::{Connection, Next};
use crate::http2;
use crate::limits::{FIRST_REQUEST, LINGER, LINGER_BYTES, PROXY_HEADER_BYTES};
use crate::plain;
use crate::prefixed::Prefixed;
use crate::proxy_protocol::{self, Parsed, Source};
use crate::record::Record;
use crate::refusal::Refusal;
use crate::relay::{Traffic, relay};
use crate::scratch;
use crate::stack::{self, Peer, Tunnel};
use crate::worker::Worker;

/// A client after its handshake.
pub(crate) type Client = ServerStream<Prefixed<TcpStream>>;

/// First byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// Serves a connection until it ends.
pub(crate) async fn serve(worker: Rc<Worker>, tcp: TcpStream, from: SocketAddr) {
    let _open = worker.shared.metrics.open();
    let outcome = match admitted(&worker, tcp, from).await {
        Ok(()) => "served",
        Err(closed) => {
            debug!(client = %from, outcome = closed.outcome(), %closed, "connection not served");
            closed.outcome()
        }
    };
    worker.shared.metrics.connection(outcome);
}

/// Finds a place for the connection and serves it as long as it has that.
async fn admitted(worker: &Rc<Worker>, mut tcp: TcpStream, from: SocketAddr) -> Result<(), Closed> {
    let deadline = Instant::now() + worker.live().limits.handshake;
    let accepted = worker.shared.clock.monotonic();
    let placed = timeout_at(deadline, place(worker, &mut tcp, from)).await;
    let (client, early, permit) = placed.unwrap_or(Err(Closed::Timeout))?;
    let permit = Rc::new(permit);
    let served = async {
        // Boxed: the room of a handshake is given back before requests begin.
        let open = Box::pin(timeout_at(deadline, open(worker, early, tcp, client)));
        let stream = tokio::select! {
            biased;
            stream = open => stream.unwrap_or(Err(Closed::Timeout))?,
            () = overdue(worker, accepted) => return Err(Closed::Timeout),
        };
        requests(worker, stream, (client, accepted), &permit).await;
        Ok(())
    };
    tokio::select! {
        biased;
        () = permit.lost() => Err(Closed::Silent),
        served = served => served,
    }
}

/// Why a connection never got to its first request.
#[derive(Debug, thiserror::Error)]
enum Closed {
    #[error("{0}")]
    Busy(#[from] limits::Busy),
    #[error("{0}")]
    Proxy(#[from] proxy_protocol::NoHeader),
    #[error("the address is not admitted")]
    Denied,
    #[error("clear text on the TLS port")]
    Plain,
    #[error("{0}")]
    Handshake(#[from] tls::HandshakeError),
    #[error("silent, and its place went to a newer connection")]
    Silent,
    #[error("nothing that could be served within the handshake's time")]
    Timeout,
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Closed {
    /// The label under which it is counted.
    fn outcome(&self) -> &'static str {
        match self {
            Self::Busy(_) => "busy",
            Self::Proxy(_) => "no_proxy_header",
            Self::Denied => "denied",
            Self::Plain => "clear_text",
            Self::Handshake(_) => "handshake_failed",
            Self::Silent => "silent",
            Self::Timeout => "handshake_timeout",
            Self::Io(_) => "broken",
        }
    }
}

/// The true address, and a place for it. What came after a PROXY header is returned too.
async fn place(
    worker: &Rc<Worker>,
    tcp: &mut TcpStream,
    from: SocketAddr,
) -> Result<(SocketAddr, BytesMut, Permit), Closed> {
    let live = worker.live();
    // A proxy stands for many clients: their own addresses are counted, not its.
    let (client, early) = if live.proxies.contains(from.ip()) {
        proxied(tcp, from).await?
    } else {
        (from, BytesMut::new())
    };
    let client = SocketAddr::new(canonical(client.ip()), client.port());
    // Its requests are of other addresses, which are judged one by one.
    let trusted = live.trusted.contains(client.ip());
    let denied = |rules: &AddressRules| !trusted && !rules.admits(client.ip());
    if live.addresses.as_ref().is_some_and(denied) {
        Record::begin(worker, client, None).refused(&Refusal::Address);
        return Err(Closed::Denied);
    }
    let permit = worker.shared.admission.admit(client.ip(), trusted)?;
    Ok((client, early, permit))
}

/// The handshake.
async fn open(
    worker: &Worker,
    early: BytesMut,
    tcp: TcpStream,
    client: SocketAddr,
) -> Result<Client, Closed> {
    let shared = &worker.shared;
    let first = match early.first() {
        Some(byte) => *byte,
        None => peek(&tcp).await?,
    };
    let mut stream = Prefixed::new(early.freeze(), tcp);
    if first != TLS_HANDSHAKE {
        plain::answer(&mut stream, shared.clock.unix()).await?;
        linger(&mut stream).await;
        return Err(Closed::Plain);
    }
    Ok(worker.live().acceptor(client.ip()).accept(stream).await?)
}

/// Reads the PROXY header; what came after it is returned too.
async fn proxied(tcp: &mut TcpStream, from: SocketAddr) -> Result<(SocketAddr, BytesMut), Closed> {
    let mut bytes = BytesMut::with_capacity(PROXY_HEADER_BYTES);
    loop {
        if tcp.read_buf(&mut bytes).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        if let Parsed::Header(source, length) = proxy_protocol::parse(&bytes)? {
            bytes.advance(length);
            let client = match source {
                Source::Client(client) => client,
                Source::Proxy => from,
            };
            return Ok((client, bytes));
        }
    }
}

/// The first byte, left where it is.
async fn peek(tcp: &TcpStream) -> io::Result<u8> {
    let mut first = [0];
    match tcp.peek(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(first[0]),
    }
}

/// All requests of a connection, and the tunnel one of them may have opened.
async fn requests(
    worker: &Rc<Worker>,
    mut stream: Client,
    (client, accepted): (SocketAddr, Duration),
    permit: &Rc<Permit>,
) {
    // State is built when there is something to read: most attackers only connect.
    let mut first = [0];
    let drain = worker.drain.clone();
    let idle = timeout(worker.live().limits.idle, stream.read(&mut first));
    let read = tokio::select! {
        biased;
        read = idle => matches!(read, Ok(Ok(1))),
        () = overdue(worker, accepted) => false,
    };
    if !read {
        linger(&mut stream).await;
        return;
    }
    let (worker, permit) = (Rc::clone(worker), Rc::clone(permit));
    let certificate = stream.peer_subject().map(Rc::from);
    let tunnel_to = RefCell::new(None);
    let peer = Rc::new(Peer { worker, client, accepted, certificate, permit, tunnel: tunnel_to });
    if stream.negotiated_h2() {
        let client = Prefixed::new(Bytes::copy_from_slice(&first), stream);
        Box::pin(http2::serve(&peer, client, drain)).await;
        return;
    }
    let mut connection = Connection::new(stream, &first, &peer.worker.live().limits);
    let refusal = http1(&peer, &mut connection, drain).await;
    let (mut stream, rest) = connection.into_parts();
    if let Some(upstream) = peer.tunnel.take() {
        Box::pin(tunnel(&peer, Prefixed::new(rest, stream), upstream)).await;
        return;
    }
    if let Some(refusal) = refusal {
        refuse(&peer, &mut stream, &refusal).await;
    }
    linger(&mut stream).await;
}

/// Waits until the gate drains, and then for as long as whoever was just accepted has for a first
/// request: it is under way.
async fn overdue(worker: &Worker, accepted: Duration) {
    let _ = worker.drain.clone().wait_for(|drain| *drain).await;
    let since = worker.shared.clock.monotonic().saturating_sub(accepted);
    sleep(FIRST_REQUEST.saturating_sub(since)).await;
}

/// Requests of HTTP/1 one after the other, until one of them, the client or the gate ends it.
/// Returns why the last head was refused, if it was.
async fn http1(
    peer: &Rc<Peer>,
    connection: &mut Connection<Client>,
    mut drain: watch::Receiver<bool>,
) -> Option<Refusal> {
    let mut drained = std::pin::pin!(drain.wait_for(|drain| *drain));
    let mut draining = false;
    loop {
        let next = tokio::select! {
            biased;
            next = connection.next() => next,
            // A head that has begun to come is still answered.
            _ = &mut drained, if !draining => {
                if connection.is_idle() {
                    return None;
                }
                draining = true;
                continue;
            }
        };
        let parts = match next {
            Next::Request(parts) => parts,
            Next::Refused(refusal) => return Some(refusal),
            Next::End => return None,
        };
        // Boxed: an idle connection should not hold the room a request needs.
        match Box::pin(busy(peer, connection, parts)).await {
            Ok(Ended::Pause) => {}
            Ok(Ended::Over) => return None,
            Ok(Ended::Refused(refusal)) => return Some(refusal),
            Err(error) => {
                debug!(client = %peer.client, %error, "answer not delivered");
                return None;
            }
        }
    }
}

/// How requests without a pause have ended.
enum Ended {
    Pause,
    /// No other follows.
    Over,
    /// The head of the next is refused.
    Refused(Refusal),
}

/// A request, and those that follow it without a pause: the room of one serves them all.
async fn busy(
    peer: &Rc<Peer>,
    connection: &mut Connection<Client>,
    mut parts: Parts,
) -> io::Result<Ended> {
    loop {
        let more = request(peer, connection, parts).await?;
        if !more || peer.tunnel.borrow().is_some() {
            return Ok(Ended::Over);
        }
        parts = match connection.next_soon().await {
            Some(Next::Request(next)) => next,
            Some(Next::Refused(refusal)) => return Ok(Ended::Refused(refusal)),
            Some(Next::End) => return Ok(Ended::Over),
            None => return Ok(Ended::Pause),
        };
    }
}

/// One request and its answer; returns whether another may follow.
async fn request(
    peer: &Rc<Peer>,
    connection: &mut Connection<Client>,
    parts: Parts,
) -> io::Result<bool> {
    let answer = stack::serve(peer, &parts, connection).await;
    let head_only = parts.method == Method::HEAD;
    let keep = keeps(&parts) && connection.body_is_read() && !*peer.worker.drain.borrow();
    let version = parts.version;
    scratch::give_back(parts.headers);
    connection.answer((version, head_only), answer, keep).await
}

/// Whether the client wants to go on (RFC 9112 §9.3).
fn keeps(parts: &Parts) -> bool {
    let said = |word: &str| {
        let lines = parts.headers.get_all(CONNECTION);
        let mut words = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        words.any(|token| token.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
    };
    match parts.version {
        Version::HTTP_10 => said("keep-alive") && !said("close"),
        _ => !said("close"),
    }
}

/// The answer to a head that was never parsed.
async fn refuse(peer: &Peer, stream: &mut Client, refusal: &Refusal) {
    let shared = &peer.worker.shared;
    let mut record = Record::begin(&peer.worker, peer.client, None);
    record.refused(refusal);
    let answer = refusal.bytes(shared.clock.unix());
    let written = timeout(LINGER, async {
        stream.write_all(&answer).await?;
        stream.flush().await
    });
    // A client that takes nothing has had its chance.
    let _ = written.await;
}

/// A console or another websocket, until it ends.
async fn tunnel(peer: &Peer, client: Prefixed<Client>, upstream: Tunnel) {
    let Tunnel { socket, early, id, holder, client: from } = upstream;
    let shared = &peer.worker.shared;
    let begun = shared.clock.monotonic();
    let mut traffic = Traffic::default();
    let limit = peer.worker.live().limits.tunnel_idle;
    let open = shared.tunnel(holder, from);
    let sides = (client, Prefixed::new(early, socket));
    let ended = relay(sides, (limit, open.ended()), &mut traffic).await;
    if ended.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) {
        shared.metrics.limit("tunnel_idle_seconds");
    }
    let took = shared.clock.monotonic().saturating_sub(begun);
    info!(
        target: "gate::access",
        %id,
        client = %peer.client,
        to_upstream = traffic.to_upstream,
        to_client = traffic.to_client,
        seconds = took.as_secs(),
        cause = ended.err().map(|error| error.to_string()),
        "tunnel closed"
    );
}

/// Says goodbye and reads on for a moment: closing a socket with unread bytes resets it, and a
/// reset takes the answer from the client's buffers.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let drained = timeout(LINGER, async {
        stream.shutdown().await?;
        let mut waste = BytesMut::with_capacity(8 * 1024);
        let mut total = 0;
        while total < LINGER_BYTES {
            waste.clear();
            match stream.read_buf(&mut waste).await? {
                0 => break,
                read => total += read,
            }
        }
        io::Result::Ok(())
    });
    // There is nobody left to tell.
    let _ = drained.await;
}
