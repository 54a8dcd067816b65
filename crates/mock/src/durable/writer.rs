//! The thread that writes the state file: one sync for all changes that came meanwhile.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use pve_access::Release;

use super::file::{StateFile, bracketed, push};
use super::receipt::{Kept, NotKept, Promise, Receipt, promise};
use crate::limits::{COMPACT_BYTES, FRAME_BYTES};
use crate::state::State;

/// The state file of a running mock. Dropping it writes what waits and closes the file.
pub(crate) struct Journal {
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

/// What the next write takes. Bounded by the connections: each waits for its own change.
#[derive(Default)]
struct Waiting {
    /// Records without brackets.
    records: Vec<u8>,
    promises: Vec<Promise>,
    /// Whether everything is to be written anew.
    anew: bool,
    /// Why the changes could not even be handed out.
    failed: Option<String>,
    /// A write is under way.
    busy: bool,
    stop: bool,
    /// Why nothing is answered any more.
    broken: Option<NotKept>,
    /// Bytes of the file.
    size: u64,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.promises.is_empty() && !self.anew && self.failed.is_none()
    }

    /// Takes all but the marks that stay.
    fn take(&mut self) -> Self {
        let stays = Self {
            busy: true,
            stop: self.stop,
            broken: self.broken.clone(),
            size: self.size,
            ..Self::default()
        };
        std::mem::replace(self, stays)
    }
}

impl Journal {
    /// Writes the changes of `state` to `file` from a thread of its own.
    pub(crate) fn start(
        file: StateFile,
        state: Arc<Mutex<State>>,
        release: Release,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let writer = Writer { file, state, release, queue: Arc::clone(&queue), retry_above: 0 };
        writer.publish_size();
        let thread = std::thread::Builder::new().name("mock-state".to_owned());
        let thread = thread.spawn(move || writer.run())?;
        Ok(Self { queue, thread: Mutex::new(Some(thread)) })
    }

    /// Hands over what has changed. The answer to wait for, unless there is nothing to wait for:
    /// no change here, and none that could have been seen is under way.
    pub(crate) fn submit(&self, state: &mut State) -> Option<Receipt> {
        let mut waiting = self.queue.lock();
        if waiting.broken.is_some() {
            return Some(self.promised(waiting));
        }
        if let Err(error) = state.changes(&mut |record| push(&mut waiting.records, &record)) {
            waiting.failed = Some(error.to_string());
        }
        if waiting.is_empty() && !waiting.busy {
            return None;
        }
        Some(self.promised(waiting))
    }

    /// As [`Journal::submit`] for a cluster that has become another one.
    pub(crate) fn submit_all(&self) -> Receipt {
        let mut waiting = self.queue.lock();
        waiting.anew = true;
        self.promised(waiting)
    }

    /// Bytes of the file.
    pub(crate) fn size(&self) -> u64 {
        self.queue.lock().size
    }

    /// Writes what waits and closes the file; what comes later is refused.
    pub(crate) fn close(&self) {
        self.queue.lock().stop = true;
        self.queue.more.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the state file has panicked");
        }
        let mut waiting = self.queue.lock();
        waiting.broken.get_or_insert_with(|| NotKept("the mock has ended".into()));
    }

    fn promised(&self, mut waiting: MutexGuard<'_, Waiting>) -> Receipt {
        let (promise, receipt) = promise();
        match &waiting.broken {
            Some(broken) => promise.keep(Err(broken.clone())),
            None => waiting.promises.push(promise),
        }
        self.queue.more.notify_one();
        receipt
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

struct Writer {
    file: StateFile,
    state: Arc<Mutex<State>>,
    release: Release,
    queue: Arc<Queue>,
    /// After a failed attempt to write everything: the size from which on to try again.
    retry_above: u64,
}

impl Writer {
    fn run(mut self) {
        while let Some(batch) = self.next() {
            self.write(batch);
            self.compact();
            self.publish_size();
        }
    }

    /// What has come, waiting for something; `None` at the end.
    fn next(&self) -> Option<Waiting> {
        let mut waiting = self.queue.lock();
        waiting.busy = false;
        loop {
            if !waiting.is_empty() {
                return Some(waiting.take());
            }
            if waiting.stop {
                return None;
            }
            waiting = self.queue.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn write(&mut self, mut batch: Waiting) {
        let anew = batch.anew || self.file.is_suspect() || batch.records.len() > FRAME_BYTES - 2;
        let written = if let Some(failed) = batch.failed.take() {
            Err(io::Error::other(failed))
        } else if anew {
            self.write_anew(&mut batch)
        } else if batch.records.is_empty() {
            Ok(())
        } else {
            self.file.append(&bracketed(&batch.records))
        };
        match written {
            Ok(()) => tell(&batch.promises, &Ok(())),
            Err(error) => self.take_back(batch.promises, &error),
        }
    }

    /// Writes the whole cluster, with all that has changed meanwhile, which joins the batch.
    fn write_anew(&mut self, batch: &mut Waiting) -> io::Result<()> {
        let contents = {
            let mut state = lock(&self.state);
            let mut more = self.queue.lock().take();
            batch.promises.append(&mut more.promises);
            batch.anew |= more.anew;
            for list in [more.records, changes(&mut state)?] {
                if !list.is_empty() && !batch.records.is_empty() {
                    batch.records.push(b',');
                }
                batch.records.extend(list);
            }
            self.file.contents(&mut state)?
        };
        self.file.replace(&contents)
    }

    /// Makes the cluster what the file says, and tells everybody who may have seen another one.
    fn take_back(&mut self, mut promises: Vec<Promise>, error: &io::Error) {
        let path = self.file.path().display().to_string();
        let mut state = lock(&self.state);
        let mut waiting = self.queue.lock();
        promises.append(&mut waiting.take().promises);
        let not_kept = match self.file.reload(self.release) {
            Ok(kept) => {
                state.replace_with(kept);
                NotKept(format!("state file {path}: {error}; nothing was changed").into())
            }
            Err(unreadable) => {
                let text = format!("{error}; and then {unreadable}; restart the mock");
                let broken = NotKept(text.into());
                waiting.broken = Some(broken.clone());
                broken
            }
        };
        drop((waiting, state));
        tracing::error!(error = %not_kept, "a change is not kept");
        tell(&promises, &Err(not_kept));
    }

    /// Writes everything anew when the changes have outgrown it. The file is as good as before
    /// when that fails, only longer.
    fn compact(&mut self) {
        let (length, changes) = self.file.size();
        let rest = length.saturating_sub(changes);
        let is_due = changes > COMPACT_BYTES.max(rest) && length >= self.retry_above;
        if !is_due || self.queue.lock().broken.is_some() {
            return;
        }
        let mut batch = Waiting::default();
        match self.write_anew(&mut batch) {
            Ok(()) => {
                self.retry_above = 0;
                tell(&batch.promises, &Ok(()));
            }
            Err(error) => {
                self.retry_above = length.saturating_add(COMPACT_BYTES);
                tracing::warn!(%error, "the state file could not be written anew; it grows on");
                self.write(batch);
            }
        }
    }

    fn publish_size(&self) {
        self.queue.lock().size = self.file.size().0;
    }
}

fn tell(promises: &[Promise], kept: &Kept) {
    promises.iter().for_each(|promise| promise.keep(kept.clone()));
}

fn changes(state: &mut State) -> io::Result<Vec<u8>> {
    let mut records = Vec::new();
    state.changes(&mut |record| push(&mut records, &record))?;
    Ok(records)
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
