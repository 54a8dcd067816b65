//! The side of the gate that is started.

use std::io::{self, BufRead as _, BufReader, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use process::activation::tcp_listener;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::Value;

use super::{Given, LISTENERS, Word};
use crate::control::{Request, SOCKET};
use crate::limits::{CONTROL_LINE, CONTROL_PATIENCE, HANDOVER_WAIT};
use crate::listeners::Listeners;
use crate::running::StartError;

/// Bytes of the answer that comes with the listeners.
const ANSWER: usize = 4096;

/// A gate whose place is taken.
#[derive(Debug)]
pub struct Takeover {
    path: PathBuf,
    stream: UnixStream,
    sockets: Vec<TcpListener>,
    given: Given,
}

/// Why the place could not be taken. The other one goes on as before then.
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
        let given = accepted(&path, &answer)?;
        let given = serde_json::from_value(given).map_err(|error| lost(error.into()))?;
        Ok(Self { path, stream, sockets, given })
    }

    /// The listeners, once, as far as they are to be listened on still; what is missing of
    /// `addresses` is bound. Those that somebody else has bound are all there are.
    ///
    /// # Errors
    /// [`StartError::Bind`] with the address at fault.
    pub fn listeners(
        &mut self,
        addresses: &[SocketAddr],
        follow: &[u16],
    ) -> Result<Listeners, StartError> {
        let sockets = std::mem::take(&mut self.sockets);
        match self.given.handed_in {
            true => Ok(Listeners::from_sockets(sockets)),
            false => Listeners::taken(sockets, addresses, follow),
        }
    }

    /// The other one stops to accept and lets go of the state, until [`Takeover::done`] or until
    /// this is dropped: then it goes on.
    ///
    /// # Errors
    /// [`TakeoverError`].
    pub fn release(&mut self) -> Result<(), TakeoverError> {
        let answer = self.say(Word::Release).map_err(|source| self.lost(source))?;
        accepted(&self.path, &answer).map(drop)
    }

    /// Everything that can fail has been done: the place is taken for good. The other one stays
    /// until this is dropped, and for longer where it has consoles.
    ///
    /// # Errors
    /// [`TakeoverError::Refused`]: it has waited for too long and goes on.
    pub fn done(&mut self) -> Result<(), TakeoverError> {
        match self.say(Word::Done) {
            Ok(answer) if !answer.is_empty() => accepted(&self.path, &answer).map(drop),
            // It has gone meanwhile, or is stopped and finds the word when it goes on: either way
            // there is nobody but this one.
            _ => Ok(()),
        }
    }

    /// Says it, and waits for a line.
    fn say(&mut self, word: Word) -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(&word)?;
        line.push(b'\n');
        let said = self.stream.write_all(&line);
        // A refusal may lie there already, of one that has closed the connection after it.
        let mut answer = Vec::new();
        let mut reader = BufReader::new((&self.stream).take(CONTROL_LINE));
        let read = reader.read_until(b'\n', &mut answer).map(|_| answer);
        match read {
            Ok(answer) if !answer.is_empty() => Ok(answer),
            read => said.and(read),
        }
    }

    fn lost(&self, source: io::Error) -> TakeoverError {
        TakeoverError::Lost { path: self.path.clone(), source }
    }
}

/// What came with the yes.
fn accepted(path: &Path, answer: &[u8]) -> Result<Value, TakeoverError> {
    let mut value: Value = serde_json::from_slice(answer).unwrap_or_default();
    if let Some(ok) = value.get_mut("ok") {
        return Ok(ok.take());
    }
    let said = match value.pointer("/error/message").and_then(Value::as_str) {
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
