//! Secrets of the policy at rest: sealed with the key of the sessions, in the table of tokens.

use std::sync::Arc;
use std::time::Duration;

use secrets::SecretBytes;
use state::{Change, Entry, StoreError, Table, Writer};

use crate::session::{Id, Sealer};

/// Where they outlast the process.
pub(crate) struct Sealed {
    writer: Arc<Writer>,
    sealer: Arc<Sealer>,
}

impl Sealed {
    pub(crate) fn new(writer: Arc<Writer>, sealer: Arc<Sealer>) -> Self {
        Self { writer, sealer }
    }

    /// Those stored under keys with this beginning, as far as the key opens them.
    pub(super) fn open(&self, stored: &[Entry], prefix: &str) -> Vec<SecretBytes> {
        let of_prefix = |entry: &&Entry| entry.key.starts_with(prefix.as_bytes());
        let open = |entry: &Entry| self.sealer.open(&Id::of(&entry.key), &entry.value);
        stored.iter().filter(of_prefix).filter_map(open).collect()
    }

    /// Stores one, durably.
    pub(super) async fn put(&self, key: String, record: Vec<u8>) -> Result<(), StoreError> {
        self.put_all(vec![(key, record, Duration::MAX)]).await
    }

    /// Stores some together, durably, each until its end.
    pub(super) async fn put_all(
        &self,
        records: Vec<(String, Vec<u8>, Duration)>,
    ) -> Result<(), StoreError> {
        let mut changes = Vec::new();
        for (key, record, expires) in records {
            let key = key.into_bytes();
            let value = self.sealer.seal(&Id::of(&key), record).ok_or(StoreError::Closed)?;
            let entry = Entry { key, value, expires };
            changes.push(Change::Put { table: Table::Tokens, entry });
        }
        self.writer.durable(changes).await
    }

    /// One that was stored, if it begins so and the key opens it.
    pub(super) fn open_one(&self, entry: &Entry, prefix: &str) -> Option<SecretBytes> {
        self.open(std::slice::from_ref(entry), prefix).pop()
    }

    /// Removes some, soon.
    pub(super) fn remove_later(&self, keys: impl IntoIterator<Item = Vec<u8>>) {
        for key in keys {
            self.writer.later(Change::Delete { table: Table::Tokens, key });
        }
    }

    /// Removes one, durably.
    pub(super) async fn remove(&self, key: String) -> Result<(), StoreError> {
        let key = key.into_bytes();
        self.writer.durable(vec![Change::Delete { table: Table::Tokens, key }]).await
    }
}
