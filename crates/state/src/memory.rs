//! A store that forgets with the process.

use std::collections::HashMap;

use crate::error::StoreError;
use crate::store::{Change, Entry, Store, Table, check};

/// Entries in memory: for tests, and for a gate that was given no directory. Nothing in it
/// outlasts the process.
#[derive(Debug, Default)]
pub struct Memory(HashMap<Table, HashMap<Vec<u8>, Entry>>);

impl Memory {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn entry(&mut self, table: Table, key: &[u8]) -> Option<&mut Entry> {
        self.0.get_mut(&table)?.get_mut(key)
    }
}

impl Store for Memory {
    fn load(&mut self, table: Table) -> Result<Vec<Entry>, StoreError> {
        Ok(self.0.get(&table).map(|table| table.values().cloned().collect()).unwrap_or_default())
    }

    fn find(&mut self, table: Table, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        Ok(self.0.get(&table).and_then(|table| table.get(key)).cloned())
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        check(changes)?;
        for change in changes {
            match change {
                Change::Put { table, entry } => {
                    self.0.entry(*table).or_default().insert(entry.key.clone(), entry.clone());
                }
                Change::Update { table, entry } => {
                    if let Some(old) = self.entry(*table, &entry.key) {
                        *old = entry.clone();
                    }
                }
                Change::Extend { table, key, expires } => {
                    if let Some(old) = self.entry(*table, key) {
                        old.expires = *expires;
                    }
                }
                Change::Delete { table, key } => {
                    self.0.entry(*table).or_default().remove(key);
                }
                Change::Prune { table, now } => {
                    self.0.entry(*table).or_default().retain(|_, entry| entry.expires > *now);
                }
            }
        }
        Ok(())
    }
}
