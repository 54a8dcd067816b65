//! The same sessions in several gates: what others have opened, used and ended.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use state::{Change, Entry, StoreError, Table as Place};

use super::value::Id;
use super::{Sessions, restore};

impl Sessions {
    /// Looks for a session that is not known here where other gates put theirs.
    ///
    /// # Errors
    /// [`StoreError`]: nobody can say whether there is one.
    pub(crate) async fn look_up(&self, id: Id, now: u64) -> Result<(), StoreError> {
        let Some(keeper) = self.keeper.as_ref().filter(|keeper| keeper.shared) else {
            return Ok(());
        };
        if self.table().get(&id).is_some() {
            return Ok(());
        }
        if let Some(entry) = keeper.writer.find(Place::Sessions, id.0.to_vec()).await? {
            self.told(&entry, now);
        }
        Ok(())
    }

    /// Returns when other gates can know the sessions that were opened and renewed here.
    ///
    /// # Errors
    /// [`StoreError`]: they may not.
    pub(crate) async fn settle(&self) -> Result<(), StoreError> {
        match &self.keeper {
            Some(keeper) if keeper.shared => keeper.writer.flush().await,
            _ => Ok(()),
        }
    }

    /// Takes over all that there is, before something is done to all of it.
    pub(super) async fn catch_up(&self, now: u64) -> Result<(), StoreError> {
        if let Some(keeper) = self.keeper.as_ref().filter(|keeper| keeper.shared) {
            keeper.writer.flush().await?;
            let entries = keeper.writer.load(Place::Sessions).await?;
            entries.iter().for_each(|entry| self.told(entry, now));
            let now = Duration::from_secs(now);
            keeper.writer.later(Change::Prune { table: Place::Sessions, now });
        }
        Ok(())
    }

    /// A session as it is stored. What is in memory may have been used later.
    pub(crate) fn told(&self, entry: &Entry, now: u64) {
        let Some(keeper) = &self.keeper else { return };
        let lifetimes = self.config.lifetimes();
        let Some(session) = restore(&keeper.sealer, entry, &lifetimes) else { return };
        let mut table = self.table();
        if let Some(old) = table.remove(&session.id) {
            session.extend(old.used().saturating_add(lifetimes.idle), &lifetimes);
        }
        if session.ends(&lifetimes) > now {
            // Those that make room are dropped here alone: who opened one has seen to the bounds.
            table.insert(Arc::new(session), &self.config.bounds());
        }
    }

    /// A session was used at another gate.
    pub(crate) fn told_end(&self, key: &[u8], expires: Duration) {
        if let Some(session) = id(key).and_then(|id| self.table().get(&id).cloned()) {
            session.extend(expires.as_secs(), &self.config.lifetimes());
        }
    }

    /// A session was ended.
    pub(crate) fn told_gone(&self, key: &[u8]) {
        if let Some(id) = id(key) {
            self.table().remove(&id);
        }
    }

    /// All that there are.
    pub(crate) fn told_all(&self, entries: &[Entry], now: u64) {
        let there: HashSet<&[u8]> = entries.iter().map(|entry| entry.key.as_slice()).collect();
        self.table().sweep(|session| !there.contains(session.id.0.as_slice()));
        entries.iter().for_each(|entry| self.told(entry, now));
    }
}

fn id(key: &[u8]) -> Option<Id> {
    key.try_into().ok().map(Id)
}

#[cfg(test)]
mod tests {
    use state::{Entry, Memory, Table, Writer};
    use std::sync::Arc;
    use std::time::Duration;

    use crate::session::tests::{NOW, block_on, login, sealer};
    use crate::session::{Keeper, SessionConfig, Sessions};

    fn gate(directory: &tempfile::TempDir) -> Sessions {
        let writer = Arc::new(Writer::start(Box::new(Memory::new())).unwrap());
        let keeper = Keeper { writer, sealer: Arc::new(sealer(directory)), shared: true };
        Sessions::new(SessionConfig::default(), Some(keeper), Vec::new(), NOW)
    }

    fn stored(gate: &Sessions) -> Vec<Entry> {
        block_on(gate.settle()).unwrap();
        block_on(gate.keeper.as_ref().unwrap().writer.load(Table::Sessions)).unwrap()
    }

    #[test]
    fn what_one_gate_stores_another_knows() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (gate(&directory), gate(&directory));
        let (session, value) = one.open(login("a@pve", "192.0.2.1"), NOW).unwrap();
        let entries = stored(&one);
        other.told(&entries[0], NOW);
        let there = other.find(&value, NOW + 30).unwrap();
        assert_eq!(&*there.vault().ticket(), "genuine");
        // Used elsewhere, told as a new end; and told again as it was stored, which is older.
        let ends = Duration::from_secs(NOW + 600 + one.config().idle);
        other.told_end(&session.id.0, ends);
        other.told(&entries[0], NOW);
        assert_eq!(other.find(&value, NOW + 40).unwrap().id.0, session.id.0);
        assert!(other.list(NOW)[0].used >= NOW + 40);
        other.told_gone(&session.id.0);
        assert!(other.find(&value, NOW).is_none());
        other.told_all(&entries, NOW);
        assert!(other.find(&value, NOW).is_some());
        other.told_all(&[], NOW);
        assert!(other.find(&value, NOW).is_none());
    }

    #[test]
    fn what_has_ended_here_by_itself_is_left_to_the_store() {
        let directory = tempfile::tempdir().unwrap();
        let one = gate(&directory);
        let (_, value) = one.open(login("a@pve", "192.0.2.1"), NOW).unwrap();
        let idle = one.config().idle;
        assert!(one.find(&value, NOW + idle).is_none());
        // Another gate may have used it since then.
        assert_eq!(stored(&one).len(), 1);
        assert!(block_on(one.look_up(value.id(), NOW)).is_ok());
        assert!(one.find(&value, NOW + 1).is_some());
    }

    #[test]
    fn a_use_moves_the_end_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let one = gate(&directory);
        let (_, value) = one.open(login("a@pve", "192.0.2.1"), NOW).unwrap();
        let before = stored(&one).remove(0);
        one.find(&value, NOW + 61).unwrap();
        let after = stored(&one).remove(0);
        assert_eq!(after.value, before.value);
        // The ticket ends it as before; the use shows when the entry is read.
        assert_eq!(after.expires, before.expires.min(Duration::from_secs(NOW + 7200)));
    }
}
