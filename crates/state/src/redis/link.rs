//! One connection to the server, made again when it breaks.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tracing::warn;

use super::layout::{FORMAT, LOST};
use super::resp::{Command, Decoder, Reply};
use super::script::OPEN;
use super::{Known, Redis, Server, Wire};
use crate::error::StoreError;
use crate::limits::{CONNECT_PATIENCE, RECONNECT_PAUSES, REPLY_PATIENCE};

/// A connection, and the runtime that waits for it. One thread's own.
pub(super) struct Link {
    runtime: Runtime,
    server: Arc<Server>,
    wire: Option<(Box<dyn Wire>, Decoder)>,
    /// Failed tries in a row, and when the next one may be made: who asks in between is refused at
    /// once instead of waiting in line for a server that is not there.
    failed: u32,
    next_try: Option<Instant>,
}

impl Link {
    pub(super) fn new(server: Arc<Server>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, server, wire: None, failed: 0, next_try: None })
    }

    /// Asks and waits, `longer` than for an answer that is made at once. A connection that was
    /// kept may have been closed meanwhile: then it is tried once more on a new one. To do twice
    /// what a request asks for does no harm, as it sets what is to be.
    pub(super) fn call(
        &mut self,
        request: &Command,
        longer: Duration,
    ) -> Result<Reply, StoreError> {
        let kept = self.wire.is_some();
        match self.try_call(request, longer) {
            Err(StoreError::Unreachable { .. }) if kept => {
                self.next_try = None;
                self.try_call(request, longer)
            }
            outcome => outcome,
        }
    }

    /// Compares with the server what is known of it, as a new connection does.
    pub(super) fn check(&mut self) -> Result<(), StoreError> {
        let request = self.server.opening();
        let reply = self.call(&request, Duration::ZERO)?;
        self.server.opened(reply)
    }

    /// How long nobody need ask.
    pub(super) fn pause(&self) -> Duration {
        self.next_try.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()))
    }

    /// Gives the connection up.
    pub(super) fn close(&mut self) {
        self.wire = None;
    }

    fn try_call(&mut self, request: &Command, longer: Duration) -> Result<Reply, StoreError> {
        let outcome = self.connect().and_then(|()| self.exchange(request, longer));
        match &outcome {
            Ok(_) => (self.failed, self.next_try) = (0, None),
            // The server is well, and does not want this.
            Err(StoreError::Declined { .. }) if self.wire.is_some() => {}
            Err(_) if self.pause() > Duration::ZERO => {}
            Err(_) => {
                self.wire = None;
                let (shortest, longest) = RECONNECT_PAUSES;
                let pause = shortest.saturating_mul(1 << self.failed.min(10)).min(longest);
                self.failed = self.failed.saturating_add(1);
                self.next_try = Some(Instant::now() + pause);
            }
        }
        outcome
    }

    fn connect(&mut self) -> Result<(), StoreError> {
        if self.wire.is_some() {
            return Ok(());
        }
        if self.pause() > Duration::ZERO {
            return Err(self.server.unreachable(io::ErrorKind::NotConnected.into()));
        }
        let dial = (self.server.options.dial)();
        let dialled = self.runtime.block_on(async { timeout(CONNECT_PATIENCE, dial).await });
        let wire = dialled.unwrap_or(Err(io::ErrorKind::TimedOut.into()));
        let wire = wire.map_err(|error| self.server.unreachable(error))?;
        self.wire = Some((wire, Decoder::default()));
        let opened = self.greet();
        if opened.is_err() {
            self.wire = None;
        }
        opened
    }

    fn greet(&mut self) -> Result<(), StoreError> {
        let server = Arc::clone(&self.server);
        let options = &server.options;
        if let Some(password) = &options.password {
            let command = Command::new(&[b"AUTH"]);
            let command = options.user.iter().fold(command, |all, user| all.with(user.as_bytes()));
            self.exchange(&command.with(password.expose().as_bytes()), Duration::ZERO)?;
        }
        if options.database > 0 {
            let number = options.database.to_string();
            self.exchange(&Command::new(&[b"SELECT", number.as_bytes()]), Duration::ZERO)?;
        }
        let reply = self.exchange(&server.opening(), Duration::ZERO)?;
        server.opened(reply)
    }

    /// One request, one answer. An error of the server is one; after any other the connection can
    /// not be used.
    fn exchange(&mut self, request: &Command, longer: Duration) -> Result<Reply, StoreError> {
        let Some((wire, decoder)) = &mut self.wire else {
            return Err(self.server.unreachable(io::ErrorKind::NotConnected.into()));
        };
        let exchange = async {
            wire.write_all(&request.to_bytes()).await?;
            wire.flush().await?;
            loop {
                if let Some(reply) = decoder.next().map_err(io::Error::other)? {
                    return Ok(reply);
                }
                let mut piece = [0; 16 * 1024];
                match wire.read(&mut piece).await? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    read => decoder.push(piece.get(..read).unwrap_or_default()),
                }
            }
        };
        let exchanged =
            self.runtime.block_on(async { timeout(REPLY_PATIENCE + longer, exchange).await });
        match exchanged.unwrap_or(Err(io::ErrorKind::TimedOut.into())) {
            Ok(Reply::Error(said)) => Err(self.server.declined(&said)),
            Ok(reply) => Ok(reply),
            Err(error) => {
                self.wire = None;
                Err(self.server.unreachable(error))
            }
        }
    }
}

impl Server {
    /// The request that begins a connection.
    fn opening(&self) -> Command {
        let known = self.known();
        let known = known.as_ref().map_or((0, ""), |known| (known.number, &*known.mark));
        Redis::script(OPEN, self)
            .with(FORMAT.as_bytes())
            .with(known.0.to_string().as_bytes())
            .with(known.1.as_bytes())
            .with(self.mark().as_bytes())
            .with(LOST)
    }

    /// Notes what the server holds.
    fn opened(&self, reply: Reply) -> Result<(), StoreError> {
        let Reply::Array(parts) = reply else { return Err(self.senseless()) };
        let [Reply::Integer(number), Reply::Bulk(mark), Reply::Integer(lost)] = parts.as_slice()
        else {
            return Err(self.senseless());
        };
        let number = u64::try_from(*number).map_err(|_| self.senseless())?;
        let mark = String::from_utf8_lossy(mark).into_owned();
        let mut known = self.known();
        if *lost == 1 {
            self.losses.fetch_add(1, Ordering::Relaxed);
            warn!(
                target: "state",
                server = self.options.name,
                "the server has lost what it had acknowledged: all sessions are ended; \
                 set `appendfsync always` there"
            );
        }
        // A record is known as soon as its commit has returned, which is ahead of what is read.
        if *lost == 1 || known.as_ref().is_none_or(|known| known.number < number) {
            *known = Some(Known { number, mark });
        }
        Ok(())
    }
}
