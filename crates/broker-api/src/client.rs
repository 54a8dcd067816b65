//! The client: blocking, one connection, a deadline for everything.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::frame::TooLarge;
use crate::limits::REQUEST_BYTES;
use crate::{Answer, Outcome, Request, frame};

/// A connection to the broker.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: UnixStream,
    wait: Duration,
    /// Read and not yet used.
    rest: Vec<u8>,
    next_id: u64,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens, or this user may not connect.
    #[error("{}: the broker is not reached ({source}); check that it runs and that this user may use the socket", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The connection broke, or the time was over.
    #[error("{}: the broker does not answer ({source})", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The request is too long.
    #[error("the request is too long: {0}")]
    TooLarge(#[from] TooLarge),
    /// What came back is no answer.
    #[error("{}: what answers here is not the broker ({what})", path.display())]
    Protocol {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl Client {
    /// Connects; `wait` bounds each call too.
    ///
    /// # Errors
    /// [`ClientError::Connect`].
    pub fn connect(path: &Path, wait: Duration) -> Result<Self, ClientError> {
        let failed = |source| ClientError::Connect { path: path.into(), source };
        let stream = UnixStream::connect(path).map_err(failed)?;
        stream.set_write_timeout(Some(wait)).map_err(failed)?;
        Ok(Self { path: path.into(), stream, wait, rest: Vec::new(), next_id: 1 })
    }

    /// Sends a request and waits for its last answer; those before it go to `each`, which may
    /// take as long as it likes.
    ///
    /// # Errors
    /// [`ClientError`]. A refusal is an [`Answer`].
    pub fn call(
        &mut self,
        mut request: Request,
        mut each: impl FnMut(&Value),
    ) -> Result<Answer, ClientError> {
        let id = *request.id.get_or_insert(self.next_id);
        self.next_id = self.next_id.wrapping_add(1).max(1);
        let body = request.to_json();
        if body.len() > REQUEST_BYTES {
            return Err(TooLarge { length: body.len() as u64, limit: REQUEST_BYTES }.into());
        }
        let mut bytes = Vec::new();
        frame::push(&mut bytes, body.as_bytes())?;
        let sent = self.stream.write_all(&bytes);
        loop {
            // A refusal may have been written before the request was taken: read before telling.
            let answer = match (self.answer(), &sent) {
                (Err(ClientError::Io { path, .. }), Err(error)) => {
                    return Err(ClientError::Io { path, source: error.kind().into() });
                }
                (answer, _) => answer?,
            };
            if answer.id.is_some_and(|other| other != id) {
                continue;
            }
            match &answer.outcome {
                Outcome::Done { result, more: true } => each(result),
                _ => return Ok(answer),
            }
        }
    }

    fn answer(&mut self) -> Result<Answer, ClientError> {
        let until = Instant::now() + self.wait;
        let path = self.path.clone();
        let protocol = |what: String| ClientError::Protocol { path: path.clone(), what };
        loop {
            let whole = frame::answer(&self.rest).map_err(|error| protocol(error.to_string()))?;
            if let Some((body, used)) = whole {
                let value: Value =
                    serde_json::from_slice(body).map_err(|error| protocol(error.to_string()))?;
                self.rest.drain(..used);
                let answer = Answer::from_value(&value);
                return answer.ok_or_else(|| protocol("JSON of another shape".to_owned()));
            }
            self.more(until).map_err(|source| ClientError::Io { path: path.clone(), source })?;
        }
    }

    fn more(&mut self, until: Instant) -> io::Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut buffer = [0; 16 * 1024];
        let read = self.stream.read(&mut buffer).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
            _ => error,
        })?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.rest.extend(buffer.iter().take(read));
        Ok(())
    }
}
