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
}

impl Store for Memory {
    fn load(&mut self, table: Table) -> Result<Vec<Entry>, StoreError> {
        Ok(self.0.get(&table).map(|table| table.values().cloned().collect()).unwrap_or_default())
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        check(changes)?;
        for change in changes {
            match change {
                Change::Put { table, entry } => {
                    self.0.entry(*table).or_default().insert(entry.key.clone(), entry.clone());
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
