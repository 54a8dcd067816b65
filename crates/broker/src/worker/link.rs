//! Workers as the process with the sockets sees them.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use broker_api::{Code, Refusal};
use serde_json::{Map, Value};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::{Done, WorkerKind};
use crate::ipc::{AsyncChannel, ChannelError, Packet, Sender as _, WorkerAnswer, WorkerRequest};
use crate::limits::{WORKER_REQUESTS, WORKER_START};

/// Asks the supervisor for a worker, or to end one.
pub(crate) trait Launcher: Send + Sync {
    /// Its channel comes to [`Links::started`].
    fn start(&self, kind: WorkerKind) -> Result<(), ChannelError>;
    /// It does not answer.
    fn end(&self, kind: WorkerKind);
}

/// All workers.
pub(crate) struct Links {
    launcher: Box<dyn Launcher>,
    state: Mutex<HashMap<WorkerKind, State>>,
}

enum State {
    /// Asked for; those who wait see the link, or why there is none.
    Starting(watch::Sender<Option<Result<Arc<Link>, String>>>),
    Running(Arc<Link>),
}

/// One worker.
pub(crate) struct Link {
    channel: AsyncChannel,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    answers: HashMap<u64, oneshot::Sender<Result<Done, Refusal>>>,
    ended: bool,
}

impl Links {
    pub(crate) fn new(launcher: Box<dyn Launcher>) -> Self {
        Self { launcher, state: Mutex::default() }
    }

    /// Has a worker do something, starting it when it does not run.
    pub(crate) async fn call(
        &self,
        kind: WorkerKind,
        verb: &str,
        params: &Map<String, Value>,
        within: Duration,
    ) -> Result<Done, Refusal> {
        let link = self.link(kind).await?;
        match timeout(within, link.call(verb, params)).await {
            Ok(answer) => answer,
            Err(_) => {
                // What works in order is stuck; the others end their programs by themselves.
                if !matches!(kind, WorkerKind::Ssh | WorkerKind::Commands) {
                    self.launcher.end(kind);
                }
                Err(Refusal::new(Code::HandlerTimeout, "the work did not end in time"))
            }
        }
    }

    /// The supervisor has started a worker. Returns its link, whose answers have to be read.
    pub(crate) fn started(&self, kind: WorkerKind, end: OwnedFd) -> std::io::Result<Arc<Link>> {
        let channel = AsyncChannel::new(end)?;
        let link = Arc::new(Link { channel, waiting: Mutex::default() });
        let before = self.state().insert(kind, State::Running(Arc::clone(&link)));
        if let Some(State::Starting(wait)) = before {
            wait.send_replace(Some(Ok(Arc::clone(&link))));
        }
        Ok(link)
    }

    /// The supervisor could not start it.
    pub(crate) fn failed(&self, kind: WorkerKind, why: String) {
        if let Some(State::Starting(wait)) = self.state().remove(&kind) {
            wait.send_replace(Some(Err(why)));
        }
    }

    /// Reads a worker's answers until it ends.
    pub(crate) async fn read(&self, kind: WorkerKind, link: Arc<Link>) {
        link.read().await;
        let mut state = self.state();
        if let Some(State::Running(current)) = state.get(&kind)
            && Arc::ptr_eq(current, &link)
        {
            state.remove(&kind);
        }
    }

    /// Has all of them ended; the next request starts them anew.
    pub(crate) fn end_all(&self) {
        self.running().into_iter().for_each(|kind| self.launcher.end(kind));
    }

    /// Workers that run or start.
    pub(crate) fn running(&self) -> Vec<WorkerKind> {
        let mut kinds: Vec<WorkerKind> = self.state().keys().copied().collect();
        kinds.sort_unstable();
        kinds
    }

    async fn link(&self, kind: WorkerKind) -> Result<Arc<Link>, Refusal> {
        let unavailable =
            |why: &str| Refusal::new(Code::Unavailable, format!("{} worker: {why}", kind.name()));
        let mut wait = {
            let mut state = self.state();
            match state.get(&kind) {
                Some(State::Running(link)) => return Ok(Arc::clone(link)),
                Some(State::Starting(wait)) => wait.subscribe(),
                None => {
                    let started = self.launcher.start(kind);
                    started.map_err(|error| unavailable(&error.to_string()))?;
                    let (sender, receiver) = watch::channel(None);
                    state.insert(kind, State::Starting(sender));
                    receiver
                }
            }
        };
        let found = timeout(WORKER_START, wait.wait_for(Option::is_some)).await;
        let found = found.ok().and_then(Result::ok).and_then(|found| found.clone());
        match found {
            Some(Ok(link)) => Ok(link),
            Some(Err(why)) => Err(unavailable(&why)),
            None => {
                self.state().remove(&kind);
                Err(unavailable("it does not start; the broker's log says why"))
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, HashMap<WorkerKind, State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    async fn call(&self, verb: &str, params: &Map<String, Value>) -> Result<Done, Refusal> {
        let broken = || Refusal::new(Code::Internal, "the worker has ended; its log says why");
        let (id, answer) = {
            let mut waiting = self.waiting();
            if waiting.ended {
                return Err(broken());
            }
            if waiting.answers.len() >= WORKER_REQUESTS {
                return Err(Refusal::new(Code::Busy, "the worker has too much to do"));
            }
            waiting.next += 1;
            let (sender, receiver) = oneshot::channel();
            let id = waiting.next;
            waiting.answers.insert(id, sender);
            (id, receiver)
        };
        let _forget = Forget { link: self, id };
        let params = Value::Object(params.clone());
        let request = WorkerRequest { id, verb: verb.to_owned(), params };
        let bytes = request.to_bytes().map_err(|_| broken())?;
        match self.channel.send(&bytes, &[]) {
            Ok(()) => {}
            Err(ChannelError::WouldBlock) => {
                return Err(Refusal::new(Code::Busy, "the worker has too much to do"));
            }
            Err(_) => return Err(broken()),
        }
        answer.await.unwrap_or_else(|_| Err(broken()))
    }

    async fn read(&self) {
        loop {
            let Ok(received) = self.channel.receive().await else { break };
            let Ok(answer) = WorkerAnswer::from_bytes(&received.body) else { break };
            if let Some(waiting) = self.waiting().answers.remove(&answer.id) {
                let descriptor = received.descriptors.into_iter().next();
                let outcome = answer.outcome.map(|value| Done { value, descriptor });
                // Who asked may have given up.
                let _ = waiting.send(outcome.map_err(Into::into));
            }
        }
        let mut waiting = self.waiting();
        waiting.ended = true;
        waiting.answers.clear();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer nobody waits for any more takes no place.
struct Forget<'a> {
    link: &'a Link,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.link.waiting().answers.remove(&self.id);
    }
}
