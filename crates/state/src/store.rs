//! What a store keeps and promises.

use std::time::Duration;

use crate::error::StoreError;
use crate::limits::{BATCH_CHANGES, KEY_BYTES, VALUE_BYTES};

/// The tables. A name on disk is for ever: add rows, never rename one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Logins in force.
    Sessions,
    /// What must not be believed again, until it would have expired by itself.
    Revocations,
    /// Addresses shut out.
    Bans,
    /// Tokens that the gate has issued.
    Tokens,
    /// Changes that wait for a confirmation.
    Pending,
    /// What has lately been tried, where several processes count it together.
    Attempts,
    /// Tickets that are good once, where several processes may be shown one.
    Consoles,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 7] = [
        Self::Sessions,
        Self::Revocations,
        Self::Bans,
        Self::Tokens,
        Self::Pending,
        Self::Attempts,
        Self::Consoles,
    ];

    /// Its name on disk.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Revocations => "revocations",
            Self::Bans => "bans",
            Self::Tokens => "tokens",
            Self::Pending => "pending",
            Self::Attempts => "attempts",
            Self::Consoles => "consoles",
        }
    }
}

/// One entry of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Unique in its table, at most [`KEY_BYTES`].
    pub key: Vec<u8>,
    /// At most [`VALUE_BYTES`].
    pub value: Vec<u8>,
    /// Unix time from which the entry means nothing; `Duration::MAX` for never. A store may
    /// drop it then, and drops it at [`Change::Prune`] at the latest.
    pub expires: Duration,
}

/// One step of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sets an entry, in place of the one with its key.
    Put {
        /// Where.
        table: Table,
        /// What.
        entry: Entry,
    },
    /// Sets an entry in place of the one with its key, if there is one: what another process has
    /// deleted meanwhile does not come back.
    Update {
        /// Where.
        table: Table,
        /// What.
        entry: Entry,
    },
    /// Moves the end of the entry with this key, if there is one. Its value stays.
    Extend {
        /// Where.
        table: Table,
        /// Which.
        key: Vec<u8>,
        /// As in [`Entry`].
        expires: Duration,
    },
    /// Removes the entry with this key, if there is one.
    Delete {
        /// Where.
        table: Table,
        /// Which.
        key: Vec<u8>,
    },
    /// Removes every entry that has expired.
    Prune {
        /// Where.
        table: Table,
        /// Unix time.
        now: Duration,
    },
}

/// Tables of entries. One owner at a time; every call may block for as long as a disk or a
/// network does.
pub trait Store: Send {
    /// All entries of a table, in no order. Entries that have expired may be among them.
    ///
    /// # Errors
    /// [`StoreError`].
    fn load(&mut self, table: Table) -> Result<Vec<Entry>, StoreError>;

    /// The entry with this key. It may have expired.
    ///
    /// # Errors
    /// [`StoreError`].
    fn find(&mut self, table: Table, key: &[u8]) -> Result<Option<Entry>, StoreError>;

    /// Makes all changes in their order, or none. When this returns `Ok`, they outlast the
    /// process and, as far as the store outlasts anything, a power failure. After an error
    /// they may or may not be there: only `Ok` is an answer to give to anyone.
    ///
    /// # Errors
    /// [`StoreError::Size`] and [`StoreError::Batch`] before anything is changed; else what
    /// the medium said. The store stays usable: the next call tries anew.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError>;
}

/// Refuses what no store takes.
pub(crate) fn check(changes: &[Change]) -> Result<(), StoreError> {
    if changes.len() > BATCH_CHANGES {
        return Err(StoreError::Batch);
    }
    let fits = changes.iter().all(|change| match change {
        Change::Put { entry, .. } | Change::Update { entry, .. } => {
            entry.key.len() <= KEY_BYTES && entry.value.len() <= VALUE_BYTES
        }
        Change::Delete { key, .. } | Change::Extend { key, .. } => key.len() <= KEY_BYTES,
        Change::Prune { .. } => true,
    });
    if fits { Ok(()) } else { Err(StoreError::Size) }
}
