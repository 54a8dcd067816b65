//! The life of a worker: settings, confinement, then one request after the other.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use broker_api::{Code, Refusal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Map, Value};

use super::{Done, WorkerKind};
use crate::config::Settings;
use crate::confine::confine;
use crate::ipc::{Channel, ChannelError, Packet, Sender as _, WorkerAnswer, WorkerRequest};
use crate::limits::SSH_AT_ONCE;
use crate::verbs::Handler;

/// Why a worker ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerError {
    #[error("{0}")]
    Channel(#[from] ChannelError),
    #[error("{0}")]
    Confine(#[from] crate::confine::ConfineError),
    #[error("{0}")]
    Start(String),
}

/// Serves until the other end is gone. The first message is the settings.
pub(crate) fn run(kind: WorkerKind, channel: Channel) -> Result<(), WorkerError> {
    let received = channel.receive()?;
    let settings: Settings =
        serde_json::from_slice(&received.body).map_err(|_| ChannelError::Malformed)?;
    // What needs more rights than the work itself, such as opening a socket, happens before.
    let handler = Arc::new(Handler::start(kind, &settings).map_err(WorkerError::Start)?);
    confine(&kind.confinement(&settings), &settings.allow_degraded)?;
    let channel = Arc::new(channel);
    match kind {
        // Each call is a program of its own, with a time of its own.
        WorkerKind::Ssh | WorkerKind::Commands => serve_at_once(&channel, &handler),
        _ => serve_in_order(&channel, &handler),
    }
}

fn serve_in_order(channel: &Channel, handler: &Handler) -> Result<(), WorkerError> {
    loop {
        if !wait(channel, handler)? {
            handler.tick();
            continue;
        }
        let Some(request) = next(channel)? else { return Ok(()) };
        answer(channel, handler, request)?;
    }
}

/// A fixed number of threads, each taking the next request from the channel: a packet goes to
/// one of them.
fn serve_at_once(channel: &Arc<Channel>, handler: &Arc<Handler>) -> Result<(), WorkerError> {
    let one = |n: usize| {
        let (channel, handler) = (Arc::clone(channel), Arc::clone(handler));
        thread::Builder::new()
            .name(format!("call-{n}"))
            .stack_size(256 * 1024)
            .spawn(move || serve_in_order(&channel, &handler))
            .map_err(|error| WorkerError::Start(error.to_string()))
    };
    let threads: Vec<_> = (0..SSH_AT_ONCE).map(one).collect::<Result<_, _>>()?;
    for thread in threads {
        match thread.join() {
            Ok(ended) => ended?,
            Err(_) => return Err(WorkerError::Start("a thread has failed".to_owned())),
        }
    }
    Ok(())
}

/// Waits for a request; false when something else is due before.
fn wait(channel: &Channel, handler: &Handler) -> Result<bool, WorkerError> {
    let Some(left) = handler.wakes() else { return Ok(true) };
    let mut fds = [PollFd::new(channel, PollFlags::IN)];
    // A moment longer than needed, so that it is due then.
    let left = Timespec::try_from(left + Duration::from_millis(1))
        .unwrap_or(Timespec { tv_sec: 60, tv_nsec: 0 });
    let ready = rustix::io::retry_on_intr(|| poll(&mut fds, Some(&left)));
    Ok(ready.map_err(|error| WorkerError::Start(error.to_string()))? > 0)
}

fn next(channel: &Channel) -> Result<Option<WorkerRequest>, WorkerError> {
    match channel.receive() {
        Ok(received) => Ok(Some(WorkerRequest::from_bytes(&received.body)?)),
        Err(ChannelError::Closed) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn answer(channel: &Channel, handler: &Handler, request: WorkerRequest) -> Result<(), WorkerError> {
    let params = match request.params {
        Value::Object(params) => params,
        _ => Map::new(),
    };
    let (outcome, descriptor) = match handler.handle(&request.verb, &params) {
        Ok(Done { value, descriptor }) => (Ok(value), descriptor),
        Err(refusal) => (Err(refusal.into()), None),
    };
    let descriptors: Vec<_> = descriptor.iter().map(AsFd::as_fd).collect();
    let sent = WorkerAnswer { id: request.id, outcome }
        .to_bytes()
        .and_then(|bytes| channel.send(&bytes, &descriptors));
    match sent {
        Err(ChannelError::TooLarge(bytes)) => {
            let text = format!("{bytes} bytes");
            let refusal = Refusal::new(Code::OutputTooLarge, text);
            Ok(WorkerAnswer { id: request.id, outcome: Err(refusal.into()) }.send(channel)?)
        }
        sent => Ok(sent?),
    }
}
