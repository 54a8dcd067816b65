//! The side of the gate that is started.

use std::io::{self, BufRead as _, BufReader, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use process::activation::tcp_listener;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::{LISTENERS, Word};
use crate::control::{Request, SOCKET};
use crate::limits::{CONTROL_LINE, CONTROL_PATIENCE, HANDOVER_WAIT};

/// Bytes of the answer that comes with the listeners.
const ANSWER: usize = 4096;

/// A gate whose place is taken.
#[derive(Debug)]
pub struct Takeover {
    path: PathBuf,
    stream: UnixStream,
    sockets: Vec<TcpListener>,
}

/// Why the place could not be taken. Before [`Takeover::release`] nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    /// Nobody answers, or stops to.
    #[error("{}: {source}; is a gate running with this state directory? without one, start without --takeover", path.display())]
    Lost {
        /// The control socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It refuses.
    #[error("{}: the gate there gives nothing away: {said}", path.display())]
    Refused {
        /// The control socket.
        path: PathBuf,
        /// Its answer.
        said: String,
    },
}

impl Takeover {
    /// Gets the listeners of the gate with this state directory. It goes on as before.
    ///
    /// # Errors
    /// [`TakeoverError`].
    pub fn begin(state: &Path) -> Result<Self, TakeoverError> {
        let path = state.join(SOCKET);
        let lost = |source: io::Error| TakeoverError::Lost { path: path.clone(), source };
        let mut stream = UnixStream::connect(&path).map_err(lost)?;
        let patience = Some(CONTROL_PATIENCE.max(HANDOVER_WAIT));
        stream.set_read_timeout(patience).map_err(lost)?;
        stream.set_write_timeout(patience).map_err(lost)?;
        let mut line = serde_json::to_vec(&Request::Takeover).map_err(|e| lost(e.into()))?;
        line.push(b'\n');
        stream.write_all(&line).map_err(lost)?;
        let (answer, sockets) = receive(&stream).map_err(lost)?;
        accepted(&path, &answer)?;
        Ok(Self { path, stream, sockets })
    }

    /// The listeners, once.
    pub fn listeners(&mut self) -> Vec<TcpListener> {
        std::mem::take(&mut self.sockets)
    }

    /// The other one stops to accept and lets go of the state. It can not go on after this.
    ///
    /// # Errors
    /// [`TakeoverError`].
    pub fn release(&mut self) -> Result<(), TakeoverError> {
        let answer = self.say(Word::Release).and_then(|()| {
            let mut line = Vec::new();
            let mut reader = BufReader::new((&self.stream).take(CONTROL_LINE));
            reader.read_until(b'\n', &mut line).map(|_| line)
        });
        let lost = |source| TakeoverError::Lost { path: self.path.clone(), source };
        accepted(&self.path, &answer.map_err(lost)?)
    }

    /// Connections are accepted here now.
    pub fn done(mut self) {
        // One that has gone meanwhile needs no word.
        let _ = self.say(Word::Done);
    }

    fn say(&mut self, word: Word) -> io::Result<()> {
        let mut line = serde_json::to_vec(&word)?;
        line.push(b'\n');
        self.stream.write_all(&line)
    }
}

fn accepted(path: &Path, answer: &[u8]) -> Result<(), TakeoverError> {
    let value: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
    if value.get("ok").is_some() {
        return Ok(());
    }
    let said = match value.pointer("/error/message").and_then(serde_json::Value::as_str) {
        Some(said) => said.to_owned(),
        None => "no answer; is it another version?".to_owned(),
    };
    Err(TakeoverError::Refused { path: path.to_owned(), said })
}

/// The first message, with what came along. What is no TCP socket that listens is let go of.
fn receive(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<TcpListener>)> {
    let mut bytes = vec![0; ANSWER];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(stream, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    bytes.truncate(received.bytes);
    let sockets = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => fds.filter_map(tcp_listener).collect(),
        _ => Vec::new(),
    });
    Ok((bytes, sockets.collect()))
}
