//! The asking side, for the command line. Blocks.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Request;
use crate::limits::{CONTROL_ANSWER, CONTROL_PATIENCE};

/// Why there is no answer, or why it is no.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens there, or we may not ask.
    #[error("{}: no gate answers here ({cause}); name the state directory of a running gate with --state", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// The system's answer.
        #[source]
        cause: io::Error,
    },
    /// The gate did not answer, or not in JSON.
    #[error("{}: the gate gave no answer; is it another version, or does it run under another user?", path.display())]
    Silent {
        /// The socket.
        path: PathBuf,
    },
    /// There is nothing to act on.
    #[error("{0}")]
    NotFound(String),
    /// The gate said no.
    #[error("{0}")]
    Refused(String),
}

/// Asks the gate whose socket is at `path`, and returns its answer.
///
/// # Errors
/// [`CallError`].
pub fn call(path: &Path, request: &Request) -> Result<Value, CallError> {
    let unreachable = |cause| CallError::Unreachable { path: path.to_owned(), cause };
    let mut stream = UnixStream::connect(path).map_err(unreachable)?;
    let silent = || CallError::Silent { path: path.to_owned() };
    let line = exchange(&mut stream, request).map_err(|_| silent())?;
    let mut answer: Value = serde_json::from_slice(&line).map_err(|_| silent())?;
    if let Some(ok) = answer.get_mut("ok") {
        return Ok(ok.take());
    }
    let error = |member: &str| answer.pointer(&format!("/error/{member}")).and_then(Value::as_str);
    let message = error("message").ok_or_else(silent)?.to_owned();
    Err(match error("kind") {
        Some("not_found") => CallError::NotFound(message),
        _ => CallError::Refused(message),
    })
}

fn exchange(stream: &mut UnixStream, request: &Request) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(CONTROL_PATIENCE))?;
    stream.set_write_timeout(Some(CONTROL_PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(CONTROL_ANSWER)).read_until(b'\n', &mut answer)?;
    Ok(answer)
}
