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
        let key = key.into_bytes();
        let value = self.sealer.seal(&Id::of(&key), record).ok_or(StoreError::Closed)?;
        let entry = Entry { key, value, expires: Duration::MAX };
        self.writer.durable(vec![Change::Put { table: Table::Tokens, entry }]).await
    }

    /// Removes one, durably.
    pub(super) async fn remove(&self, key: String) -> Result<(), StoreError> {
        let key = key.into_bytes();
        self.writer.durable(vec![Change::Delete { table: Table::Tokens, key }]).await
    }
}
