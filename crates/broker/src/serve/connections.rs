//! Connections, counted: a full house makes room by ending those that only sit there.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

use crate::peer::PeerKey;

/// All connections of peers the policy knows.
pub(crate) struct Connections {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    per_peer: usize,
    total: usize,
    next: u64,
    open: HashMap<u64, Open>,
    of_peer: HashMap<PeerKey, usize>,
}

struct Open {
    key: PeerKey,
    busy: Arc<AtomicBool>,
    task: Option<AbortHandle>,
}

/// The place of one connection, free again when dropped.
pub(crate) struct Place {
    connections: Arc<Connections>,
    id: u64,
    busy: Arc<AtomicBool>,
}

impl Connections {
    pub(crate) fn new(per_peer: usize, total: usize) -> Self {
        Self { state: Mutex::new(State { per_peer, total, ..State::default() }) }
    }

    /// Other caps from now on. Nobody is sent away for them, but whoever comes makes room.
    pub(crate) fn set_caps(&self, per_peer: usize, total: usize) {
        let mut state = self.state();
        (state.per_peer, state.total) = (per_peer, total);
    }

    /// A place for one more of this peer. When the peer has too many, its own oldest idle one
    /// ends; when all together have, the oldest idle one of the peer that has most. `None` when
    /// all are at work.
    pub(crate) fn enter(self: &Arc<Self>, key: &PeerKey) -> Option<Place> {
        let mut state = self.state();
        if state.of_peer.get(key).copied().unwrap_or(0) >= state.per_peer {
            state.end_idle(|open| open.key == *key)?;
        } else if state.open.len() >= state.total {
            state.end_idle(|_| true)?;
        }
        let id = state.next;
        state.next += 1;
        let busy = Arc::new(AtomicBool::new(false));
        let open = Open { key: key.clone(), busy: Arc::clone(&busy), task: None };
        state.open.insert(id, open);
        *state.of_peer.entry(key.clone()).or_default() += 1;
        Some(Place { connections: Arc::clone(self), id, busy })
    }

    /// Notes the task of a connection, by which it can be ended.
    pub(crate) fn runs(&self, id: u64, task: AbortHandle) {
        if let Some(open) = self.state().open.get_mut(&id) {
            open.task = Some(task);
        }
    }

    /// Ends all that wait for a request.
    pub(crate) fn end_all_idle(&self) {
        let mut state = self.state();
        while state.end_idle(|_| true).is_some() {}
    }

    pub(crate) fn len(&self) -> usize {
        self.state().open.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end_idle(&mut self, which: impl Fn(&Open) -> bool) -> Option<()> {
        let idle = self.open.iter().filter(|(_, open)| {
            open.task.is_some() && !open.busy.load(Ordering::Relaxed) && which(open)
        });
        let share = |open: &Open| self.of_peer.get(&open.key).copied().unwrap_or(0);
        let (id, _) = idle.max_by_key(|(id, open)| (share(open), std::cmp::Reverse(**id)))?;
        let open = self.remove(*id)?;
        open.task.inspect(AbortHandle::abort);
        Some(())
    }

    fn remove(&mut self, id: u64) -> Option<Open> {
        let open = self.open.remove(&id)?;
        if let Some(count) = self.of_peer.get_mut(&open.key) {
            *count -= 1;
            if *count == 0 {
                self.of_peer.remove(&open.key);
            }
        }
        Some(open)
    }
}

impl Place {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Whether a request is being done: such a connection is not ended to make room.
    pub(crate) fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.state().remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_is_made_where_most_is_taken() {
        let connections = Arc::new(Connections::new(3, 5));
        let mut tasks = tokio::task::JoinSet::new();
        let mut enter = |name: &str| {
            let place = connections.enter(&PeerKey::for_tests(name))?;
            let task = tasks.spawn(std::future::pending::<()>());
            connections.runs(place.id(), task.clone());
            Some((place, task))
        };
        let ended = |one: &(Place, AbortHandle)| !connections.state().open.contains_key(&one.0.id);
        let flood = [enter("a").unwrap(), enter("a").unwrap(), enter("a").unwrap()];
        let more = enter("a").unwrap();
        assert_eq!(flood.each_ref().map(ended), [true, false, false], "its own oldest");
        let (_b, _c) = (enter("b").unwrap(), enter("c").unwrap());
        flood[1].0.set_busy(true);
        let _d = enter("d").unwrap();
        assert_eq!(flood.each_ref().map(ended), [true, false, true], "not the one at work");
        more.0.set_busy(true);
        assert_eq!(connections.len(), 5);
        let lawful = enter("e").unwrap();
        assert!(ended(&_b) && !ended(&_c) && !ended(&lawful));
        drop(lawful);
        assert_eq!(connections.len(), 4);
        connections.end_all_idle();
        assert_eq!(connections.len(), 2);
    }
}
