//! Listening, connections, and the end of both.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use secrets::SecretString;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::builder::Builder;
use crate::console;
use crate::control::{self, Control};
use crate::error::StartError;
use crate::faults::{self, Delivery, Verdict};
use crate::limits::{CONNECTIONS, DRAIN, HANDSHAKE, REQUESTS_PER_CONNECTION, SLOW_BODY};
use crate::pipeline::{self, Admission, Body};
use crate::recording::{Exchange, Key, Upstream};
use crate::shared::{Config, Shared};
use crate::upload::{Form, Upload};
use crate::wire::{Fault, Head, Parsed, Response, Upgrade, Wire, read_head};

/// Bytes thrown away, at most, from a client that still sends while it is being refused.
const LINGER_BYTES: usize = 1 << 20;
const LINGER: Duration = Duration::from_millis(500);
const READ_BYTES: usize = 16 * 1024;
/// The first byte of a TLS handshake record (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// A running mock. Dropping it stops it.
pub struct Mock {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    is_plain: bool,
    /// The authority of a mock that made its own.
    pub(crate) ca: Option<String>,
}

impl Mock {
    /// A mock for tests: a few words instead of a [`Config`] and a listener.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Serves `listener` from a thread of its own until the mock is dropped.
    ///
    /// # Errors
    /// When the seed, the schema, the key or the certificate can not be used.
    pub fn start(mut config: Config, listener: TcpListener) -> Result<Self, StartError> {
        let tls = |identity| tls::Acceptor::new(identity, tls::Alpn::Http1);
        let acceptor = config.identity.as_ref().map(tls).transpose();
        let acceptor = acceptor.map_err(|error| StartError::Tls(error.to_string()))?;
        let is_plain = acceptor.is_none();
        config.idle = config.idle.max(Duration::from_millis(1));
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let control = config.control.take();
        let shared = Arc::new(Shared::new(config)?);
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("mock".to_owned()).spawn(move || {
            runtime.block_on(async {
                let steering = async {
                    if let Some(control) = control {
                        control::serve(Arc::clone(&serving), control, stopped.clone()).await;
                    }
                };
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => {
                        let serving =
                            serve(Arc::clone(&serving), listener, acceptor, stopped.clone());
                        tokio::join!(serving, steering);
                    }
                    Err(error) => tracing::error!(%error, "the mock's listener can not be used"),
                }
            });
        })?;
        Ok(Self { address, shared, stop, thread: Some(thread), is_plain, ca: None })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where its API and interface are: `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.is_plain { "http" } else { "https" };
        format!("{scheme}://{}", self.address)
    }

    /// The certificate that clients have to trust, as PEM; `None` when [`Config::identity`] was
    /// given or there is no TLS.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca.as_deref()
    }

    /// The value of an `Authorization` header that has all rights of `root@pam`.
    ///
    /// # Errors
    /// As of [`Mock::token`].
    pub fn authorization(&self) -> Result<SecretString, StartError> {
        let secret = self.token()?;
        Ok(SecretString::new(format!("PVEAPIToken=root@pam!ci={}", secret.expose())))
    }

    /// The handle to snapshots, clock, faults and reset.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::new(Arc::clone(&self.shared))
    }

    /// The secret of `root@pam!ci`, a token with all rights of `root@pam`: that of the seed or of
    /// the state file; one that is not there, or not any more, is made.
    ///
    /// # Errors
    /// The system gives no randomness, or the state file can not be written.
    pub fn token(&self) -> Result<SecretString, StartError> {
        self.shared.token()
    }

    /// The sum of the delays it has put before failed authentications, before scaling: tells a
    /// test with time scale 0 which requests a genuine server would have kept waiting.
    #[must_use]
    pub fn deliberate_delay(&self) -> Duration {
        self.shared.deliberate_delay()
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the mock's thread has panicked");
        }
        self.shared.close();
    }
}

async fn serve(
    shared: Arc<Shared>,
    listener: tokio::net::TcpListener,
    acceptor: Option<tls::Acceptor>,
    stopped: watch::Receiver<bool>,
) {
    let acceptor = acceptor.map(Arc::new);
    let mut connections = JoinSet::new();
    let mut stop = stopped.clone();
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    let (shared, acceptor) = (Arc::clone(&shared), acceptor.clone());
                    let stopped = stopped.clone();
                    connections.spawn(async move { connect(&shared, acceptor, stream, stopped).await });
                }
                // Out of descriptors: the listen queue waits until a connection ends.
                Err(error) => {
                    tracing::warn!(%error, "accept");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN, drained).await.is_err() {
        connections.abort_all();
    }
}

async fn connect(
    shared: &Shared,
    acceptor: Option<Arc<tls::Acceptor>>,
    stream: TcpStream,
    stopped: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = acceptor else {
        return converse(shared, stream, stopped, false).await;
    };
    let mut first = [0; 1];
    match timeout(shared.idle, stream.peek(&mut first)).await {
        Ok(Ok(1)) if first == [TLS_HANDSHAKE] => {}
        Ok(Ok(1)) => return converse(shared, stream, stopped, true).await,
        _ => return,
    }
    if let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await {
        converse(shared, stream, stopped, false).await;
    }
}

/// Serves one connection; with `redirect` every request is sent to HTTPS.
async fn converse<S>(shared: &Shared, stream: S, mut stopped: watch::Receiver<bool>, redirect: bool)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = Connection {
        stream,
        buffer: Vec::new(),
        remaining: REQUESTS_PER_CONNECTION,
        upgrade: None,
        broken: false,
    };
    loop {
        let head = tokio::select! {
            head = connection.head(shared) => head,
            _ = stopped.wait_for(|stop| *stop) => None,
        };
        let Some(head) = head else { break };
        connection.remaining = connection.remaining.saturating_sub(1);
        let proceed = if redirect {
            connection.redirect(shared, &head).await
        } else {
            connection.exchange(shared, &head).await
        };
        if proceed.is_none() {
            break;
        }
    }
    if let Some(upgrade) = connection.upgrade.take() {
        let received = std::mem::take(&mut connection.buffer);
        tokio::select! {
            () = console::run(shared, &mut connection.stream, received, &upgrade) => {}
            _ = stopped.wait_for(|stop| *stop) => {}
        }
        return connection.linger().await;
    }
    // A dropped connection ends without a word, without that of TLS too.
    if !connection.broken {
        let _ = connection.stream.shutdown().await;
    }
}

/// Keeps an exchange, when exchanges are kept.
async fn record(shared: &Shared, head: &Head, key: &Key, response: &Response, began: Duration) {
    let Some(recorder) = &shared.recorder else { return };
    let took = shared.clock.monotonic().saturating_sub(began);
    if let Some(exchange) = Exchange::of(head, key, response, took) {
        recorder.record(&exchange).await;
    }
}

struct Connection<S> {
    stream: S,
    buffer: Vec<u8>,
    remaining: u32,
    /// Set by an answer that ends the requests and begins a websocket.
    upgrade: Option<Box<Upgrade>>,
    /// A fault has ended it.
    broken: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// The next request's head; `None` ends the connection.
    async fn head(&mut self, shared: &Shared) -> Option<Head> {
        loop {
            match read_head(&self.buffer) {
                Parsed::Head { head, consumed } => {
                    self.buffer.drain(..consumed);
                    return Some(head);
                }
                Parsed::Incomplete => self.fill(shared).await?,
                Parsed::Refused(fault) => {
                    self.refuse(shared, &fault).await;
                    return None;
                }
                Parsed::Silence => {
                    while self.fill(shared).await.is_some() {
                        self.buffer.clear();
                    }
                    return None;
                }
            }
        }
    }

    /// One request and its answer; `None` when the connection ends after it.
    async fn exchange(&mut self, shared: &Shared, head: &Head) -> Option<()> {
        let wire = self.wire(shared, head);
        let began = shared.clock.monotonic();
        if let Some(upstream) = &shared.upstream {
            return self.relay(shared, upstream, head, wire).await;
        }
        let response = match pipeline::admit(shared, head).await {
            Admission::Refused(response) => {
                self.send(shared, wire, response).await?;
                return Some(());
            }
            Admission::Silence => {
                while self.fill(shared).await.is_some() {
                    self.buffer.clear();
                }
                return None;
            }
            Admission::Admitted { caller, body } => {
                while self.buffer.len() < body {
                    self.fill(shared).await?;
                }
                let body: Vec<u8> = self.buffer.drain(..body).collect();
                match faults::meet(shared, head, &caller).await {
                    Verdict::Drop => return self.abandon(),
                    Verdict::Instead(response) => response,
                    Verdict::Call { doom, delivery } => {
                        let key =
                            if shared.keeps_keys() { pipeline::key(head, &body) } else { None };
                        let response = match key.as_ref().and_then(|key| shared.replay.answer(key))
                        {
                            Some(response) => response,
                            None => {
                                let body = Body::Bytes(&body);
                                pipeline::handle(shared, head, &caller, body, doom).await
                            }
                        };
                        if let Some(key) = key {
                            record(shared, head, &key, &response, began).await;
                        }
                        Response { delivery: delivery.map(Box::new), ..response }
                    }
                }
            }
            Admission::Upload { caller, upload } => {
                let wire = Wire { keep_alive: false, ..wire };
                let form = self.receive(shared, *upload).await?;
                let response = match (form, faults::meet(shared, head, &caller).await) {
                    (Err(message), _) => Response::error(500, &message),
                    (_, Verdict::Drop) => return self.abandon(),
                    (_, Verdict::Instead(response)) => response,
                    (Ok(form), Verdict::Call { doom, delivery }) => {
                        let response =
                            pipeline::handle_upload(shared, head, &caller, form, doom).await;
                        Response { delivery: delivery.map(Box::new), ..response }
                    }
                };
                self.send(shared, wire, response).await;
                return None;
            }
        };
        self.send(shared, wire, response).await
    }

    /// One request that another server answers.
    async fn relay(
        &mut self,
        shared: &Shared,
        upstream: &Upstream,
        head: &Head,
        wire: Wire,
    ) -> Option<()> {
        let began = shared.clock.monotonic();
        let length = match pipeline::admit_relayed(head) {
            Ok(length) => length,
            Err(response) => return self.send(shared, wire, response).await,
        };
        while self.buffer.len() < length {
            self.fill(shared).await?;
        }
        let body: Vec<u8> = self.buffer.drain(..length).collect();
        let response = upstream.forward(head, &body).await;
        if let Some(key) = pipeline::key(head, &body) {
            record(shared, head, &key, &response, began).await;
        }
        self.send(shared, wire, response).await
    }

    /// Reads an upload; `None` when the client stops sending.
    async fn receive(
        &mut self,
        shared: &Shared,
        mut upload: Upload,
    ) -> Option<Result<Form, String>> {
        loop {
            match upload.take(&mut self.buffer) {
                Ok(None) => self.fill(shared).await?,
                Ok(Some(form)) => return Some(Ok(form)),
                Err(message) => return Some(Err(message)),
            }
        }
    }

    /// What a clear-text request on the TLS port gets; without a host there is nowhere to send it.
    async fn redirect(&mut self, shared: &Shared, head: &Head) -> Option<()> {
        let host = head.header("Host")?;
        let (status, reason) = if head.method == "GET" {
            (301, "Moved Permanently")
        } else {
            (308, "Permanent Redirect")
        };
        let location = Some(format!("https://{host}{}", head.target).into());
        let response = Response { location, ..Response::error(status, reason) };
        let wire = self.wire(shared, head);
        self.send(shared, wire, response).await;
        None
    }

    async fn refuse(&mut self, shared: &Shared, fault: &Fault) {
        let wire = Wire {
            proto: fault.proto,
            keep_alive: false,
            gzip: false,
            deflate: false,
            now: shared.clock.unix_secs(),
        };
        self.send(shared, wire, Response::error(fault.status, &fault.message)).await;
    }

    async fn send(&mut self, shared: &Shared, wire: Wire, mut response: Response) -> Option<()> {
        let delivery = response.delivery.take();
        if let Some(upgrade) = response.upgrade.take()
            && delivery.is_none()
        {
            self.upgrade = Some(upgrade);
            return None;
        }
        if response.delayed {
            shared.delay(crate::limits::AUTH_FAILURE_DELAY).await;
        }
        // The clock is read after the delay, as the genuine `Date` is.
        let wire = Wire { now: shared.clock.unix_secs(), ..wire };
        let bytes = response.encode(wire);
        match delivery {
            Some(delivery) => self.deliver(&bytes, *delivery).await?,
            None => self.stream.write_all(&bytes).await.ok()?,
        }
        self.stream.flush().await.ok()?;
        if wire.keep_alive && !response.closes() {
            return Some(());
        }
        self.linger().await;
        None
    }

    /// Sends an answer as a fault wants it; `None` when it ends the connection.
    async fn deliver(&mut self, bytes: &[u8], delivery: Delivery) -> Option<()> {
        let body = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
        let (sent, rest) = bytes.split_at(delivery.head(body, bytes.len()));
        self.stream.write_all(sent).await.ok()?;
        self.stream.flush().await.ok()?;
        let Delivery::Slow { bytes, every } = delivery else { return self.abandon() };
        let mut left = SLOW_BODY;
        for piece in rest.chunks(bytes) {
            if let Some(after) = left.checked_sub(every) {
                tokio::time::sleep(every).await;
                left = after;
            }
            self.stream.write_all(piece).await.ok()?;
            self.stream.flush().await.ok()?;
        }
        Some(())
    }

    /// Ends the connection as a crash would.
    fn abandon(&mut self) -> Option<()> {
        self.broken = true;
        None
    }

    /// Ends the own half and lets the client read the answer: closing while it still sends
    /// would make its system throw the answer away.
    async fn linger(&mut self) {
        let _ = self.stream.shutdown().await;
        let discard = async {
            let mut waste = [0; 4096];
            let mut read = 0;
            while let Ok(count @ 1..) = self.stream.read(&mut waste).await {
                read += count;
                if read > LINGER_BYTES {
                    break;
                }
            }
        };
        let _ = timeout(LINGER, discard).await;
    }

    fn wire(&self, shared: &Shared, head: &Head) -> Wire {
        let connection = head.header("Connection").unwrap_or_default().to_ascii_lowercase();
        let encodings = head.header("Accept-Encoding").unwrap_or_default();
        let wanted =
            if connection.is_empty() { head.minor > 0 } else { !connection.contains("close") };
        Wire {
            proto: head.proto(),
            keep_alive: wanted && self.remaining > 0,
            gzip: encodings.contains("gzip"),
            deflate: encodings.contains("deflate"),
            now: shared.clock.unix_secs(),
        }
    }

    /// Reads more; `None` at the end of the stream, on an error, or when idle for too long.
    async fn fill(&mut self, shared: &Shared) -> Option<()> {
        self.buffer.reserve(READ_BYTES);
        let read = timeout(shared.idle, self.stream.read_buf(&mut self.buffer)).await;
        matches!(read, Ok(Ok(1..))).then_some(())
    }
}
