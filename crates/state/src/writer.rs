//! The one thread that owns a store, and the two ways to it.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{error, info};

use crate::error::StoreError;
use crate::limits::{
    BATCH_CHANGES, DURABLE_CALLS, KEY_BYTES, LATER_CHANGES, RETRY_AFTER, WRITE_BEHIND,
};
use crate::store::{Change, Entry, Store, Table, check};

/// A store at work in a thread of its own. Shared by reference (`Arc`) among all who write.
///
/// The order of changes to one key is the order of the calls, whichever way they took: a
/// durable change replaces a later one that still waits, and a later one made meanwhile is
/// written after it.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<Box<dyn Store>>>>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something was queued, or the end.
    wake: Condvar,
    failures: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    asked: VecDeque<Ask>,
    durable: VecDeque<Call>,
    later: HashMap<(Table, Vec<u8>), Change>,
    /// When what comes later is due.
    due: Option<Instant>,
    closed: bool,
}

#[derive(Debug)]
struct Call {
    changes: Vec<Change>,
    done: oneshot::Sender<Result<(), StoreError>>,
}

/// Somebody who wants to know what is there.
#[derive(Debug)]
enum Ask {
    Find { table: Table, key: Vec<u8>, done: oneshot::Sender<Result<Option<Entry>, StoreError>> },
    Load { table: Table, done: oneshot::Sender<Result<Vec<Entry>, StoreError>> },
}

/// What there is to do at once: questions first, then one commit.
struct Work {
    asked: VecDeque<Ask>,
    calls: Vec<Call>,
    later: Vec<Change>,
}

impl Writer {
    /// Gives the store to a new thread.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(store: Box<dyn Store>) -> std::io::Result<Self> {
        let writer = Self { shared: Arc::default(), thread: Mutex::new(None) };
        writer.resume(store)?;
        Ok(writer)
    }

    /// Goes on after [`Writer::shutdown`], with the same store or the one that has its data now.
    /// What came in between was refused or dropped. Nothing changes while a store is at work.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn resume(&self, store: Box<dyn Store>) -> std::io::Result<()> {
        let mut at_work = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if at_work.is_none() {
            let mine = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new().name("state".to_owned());
            // The thread waits for this lock: it must not see the end that was before.
            let mut queue = self.shared.queue();
            *at_work = Some(thread.spawn(move || run(&mine, store))?);
            queue.closed = false;
        }
        Ok(())
    }

    /// Makes the changes in a commit and returns after it: they are on the disk then. Calls at
    /// the same time share a commit. Dropping the future does not take the changes back.
    ///
    /// # Errors
    /// [`StoreError`]: the changes are not acknowledged, whether they are on the disk or not.
    pub async fn durable(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let done = self.submit(changes)?;
        // The thread ends only after it has answered.
        done.await.unwrap_or(Err(StoreError::Closed))
    }

    /// [`Writer::durable`] for a thread that may block; never one of a runtime.
    ///
    /// # Errors
    /// As there.
    pub fn durable_blocking(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.submit(changes)?.blocking_recv().unwrap_or(Err(StoreError::Closed))
    }

    /// Returns when all that was queued by [`Writer::later`] is on the disk too.
    ///
    /// # Errors
    /// [`StoreError`]: what was queued waits on, or was dropped.
    pub async fn flush(&self) -> Result<(), StoreError> {
        // A commit of nothing takes along what waits.
        self.durable(Vec::new()).await
    }

    /// The entry with this key, as the store has it: changes that still wait are not seen.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find(&self, table: Table, key: Vec<u8>) -> Result<Option<Entry>, StoreError> {
        let (done, waiting) = oneshot::channel();
        self.ask(Ask::Find { table, key, done })?;
        waiting.await.unwrap_or(Err(StoreError::Closed))
    }

    /// All entries of a table, likewise.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load(&self, table: Table) -> Result<Vec<Entry>, StoreError> {
        let (done, waiting) = oneshot::channel();
        self.ask(Ask::Load { table, done })?;
        waiting.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Makes the change within [`WRITE_BEHIND`], together with others; a second change of the
    /// same key before that replaces the first. It may be lost with a crash. Returns at once.
    pub fn later(&self, change: Change) {
        let mut queue = self.shared.queue();
        let slot = slot(&change);
        let older = queue.later.remove(&slot);
        let room = older.is_some() || queue.later.len() < LATER_CHANGES;
        if queue.closed || !room || check(std::slice::from_ref(&change)).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.later.insert(slot, merged(older, change));
        if queue.due.is_none() {
            queue.due = Some(Instant::now() + WRITE_BEHIND);
            self.shared.wake.notify_one();
        }
    }

    /// Commits that failed so far.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.shared.failures.load(Ordering::Relaxed)
    }

    /// Later changes dropped so far: for want of room, too large, or the writer had ended.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Writes what waits, ends the thread and gives the store back; None the second time.
    /// Blocks. Dropping the writer does the same.
    pub fn shutdown(&self) -> Option<Box<dyn Store>> {
        self.shared.queue().closed = true;
        self.shared.wake.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread?.join().ok()
    }

    fn ask(&self, ask: Ask) -> Result<(), StoreError> {
        let mut queue = self.shared.queue();
        if queue.closed {
            return Err(StoreError::Closed);
        }
        if queue.asked.len() >= DURABLE_CALLS {
            return Err(StoreError::Busy);
        }
        queue.asked.push_back(ask);
        self.shared.wake.notify_one();
        Ok(())
    }

    fn submit(
        &self,
        mut changes: Vec<Change>,
    ) -> Result<oneshot::Receiver<Result<(), StoreError>>, StoreError> {
        // Here and not in the commit, which others share.
        check(&changes)?;
        let mut queue = self.shared.queue();
        if queue.closed {
            return Err(StoreError::Closed);
        }
        if queue.durable.len() >= DURABLE_CALLS {
            return Err(StoreError::Busy);
        }
        for change in &mut changes {
            let older = queue.later.remove(&slot(change));
            *change = merged(older, change.clone());
        }
        let (done, waiting) = oneshot::channel();
        queue.durable.push_back(Call { changes, done });
        self.shared.wake.notify_one();
        Ok(waiting)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next batch; None when all is written and the end has come.
    fn next(&self) -> Option<Work> {
        let mut queue = self.queue();
        loop {
            let left = match queue.due {
                _ if queue.is_urgent() => Duration::ZERO,
                Some(due) => due.saturating_duration_since(Instant::now()),
                None => Duration::MAX,
            };
            if left == Duration::ZERO {
                if queue.is_urgent() && !queue.is_empty() || !queue.later.is_empty() {
                    return Some(queue.take());
                }
                if queue.closed {
                    return None;
                }
                // A durable change has taken the place of the last one that waited.
                queue.due = None;
                continue;
            }
            queue = match queue.due {
                None => self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(_) => {
                    let waited = self.wake.wait_timeout(queue, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl Queue {
    /// Somebody waits for it.
    fn is_urgent(&self) -> bool {
        !self.asked.is_empty() || !self.durable.is_empty() || self.closed
    }

    fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.durable.is_empty() && self.later.is_empty()
    }

    /// What was asked, or as many calls as fit in one commit with the later changes if they fit
    /// too.
    fn take(&mut self) -> Work {
        let (mut calls, mut room) = (Vec::new(), BATCH_CHANGES);
        let asked = mem::take(&mut self.asked);
        if !asked.is_empty() {
            return Work { asked, calls, later: Vec::new() };
        }
        while let Some(call) = self.durable.front()
            && call.changes.len() <= room
        {
            room -= call.changes.len();
            calls.extend(self.durable.pop_front());
        }
        let mut later = Vec::new();
        // What was queued after a call that still waits must not overtake it.
        if self.durable.is_empty() {
            if self.later.len() <= room {
                later = mem::take(&mut self.later).into_values().collect();
            } else {
                let keys: Vec<_> = self.later.keys().take(room).cloned().collect();
                later.extend(keys.iter().filter_map(|key| self.later.remove(key)));
            }
        }
        self.due = (!self.later.is_empty()).then(Instant::now);
        Work { asked, calls, later }
    }

    /// Later changes of a commit that failed wait again, below newer ones of the same entry.
    fn put_back(&mut self, changes: Vec<Change>) {
        for change in changes {
            let slot = slot(&change);
            let mut waiting = self.durable.iter_mut().flat_map(|call| &mut call.changes);
            if let Some(newer) = waiting.find(|newer| self::slot(newer) == slot) {
                *newer = merged(Some(change), newer.clone());
                continue;
            }
            let newer = self.later.remove(&slot);
            let change = match newer {
                Some(newer) => merged(Some(change), newer),
                None => change,
            };
            self.later.insert(slot, change);
        }
        self.due = (!self.later.is_empty()).then(|| Instant::now() + RETRY_AFTER);
    }
}

/// One change in the place of two of the same entry. What was to happen only to an entry that is
/// there happens to the one that was to be made, and not to one that was to go.
fn merged(older: Option<Change>, newer: Change) -> Change {
    match (older, newer) {
        (Some(Change::Put { .. }), Change::Update { table, entry }) => Change::Put { table, entry },
        (Some(Change::Put { table, mut entry }), Change::Extend { expires, .. }) => {
            entry.expires = expires;
            Change::Put { table, entry }
        }
        (Some(Change::Update { table, mut entry }), Change::Extend { expires, .. }) => {
            entry.expires = expires;
            Change::Update { table, entry }
        }
        (Some(gone @ Change::Delete { .. }), Change::Update { .. } | Change::Extend { .. }) => gone,
        (_, newer) => newer,
    }
}

/// What a change replaces while it waits. Prunes of one table replace each other.
fn slot(change: &Change) -> (Table, Vec<u8>) {
    match change {
        Change::Put { table, entry } | Change::Update { table, entry } => {
            (*table, entry.key.clone())
        }
        Change::Delete { table, key } | Change::Extend { table, key, .. } => (*table, key.clone()),
        // No key of an entry: those are as long as they are, this is longer than any.
        Change::Prune { table, .. } => (*table, vec![0; KEY_BYTES + 1]),
    }
}

fn run(shared: &Shared, mut store: Box<dyn Store>) -> Box<dyn Store> {
    let mut failing = false;
    while let Some(Work { asked, mut calls, later }) = shared.next() {
        if !asked.is_empty() {
            asked.into_iter().for_each(|ask| answer(&mut *store, ask));
            continue;
        }
        let mut changes: Vec<Change> =
            calls.iter_mut().flat_map(|call| mem::take(&mut call.changes)).collect();
        let durable = changes.len();
        changes.extend(later);
        let outcome = store.commit(&changes);
        match &outcome {
            Ok(()) if failing => info!(target: "state", "the state is written again"),
            Ok(()) => {}
            Err(cause) => {
                shared.failures.fetch_add(1, Ordering::Relaxed);
                // Once: a full disk fails every commit until someone makes room.
                if !failing {
                    error!(target: "state", %cause, "the state is not written");
                }
                let mut queue = shared.queue();
                let later = changes.split_off(durable);
                if cause.may_retry() && !queue.closed {
                    queue.put_back(later);
                } else {
                    shared.dropped.fetch_add(later.len() as u64, Ordering::Relaxed);
                }
            }
        }
        failing = outcome.is_err();
        for call in calls {
            // Who has gone needs no answer.
            let _ = call.done.send(outcome.clone());
        }
    }
    store
}

/// Who has gone needs no answer.
fn answer(store: &mut dyn Store, ask: Ask) {
    match ask {
        Ask::Find { table, key, done } => drop(done.send(store.find(table, &key))),
        Ask::Load { table, done } => drop(done.send(store.load(table))),
    }
}

#[cfg(test)]
mod tests;
