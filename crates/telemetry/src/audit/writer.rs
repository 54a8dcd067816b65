//! Appends records to the file, one at a time.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::event::Event;
use super::file::{self, Tail};
use super::key::Key;
use super::record::{Head, render};
use super::verify::Reason;
use crate::Clock;

/// When records are forced to the disk. A crash of the program alone loses nothing either way;
/// a power failure loses what was not forced, and never tears the chain before that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before [`Log::append`] returns: for records that must not be lost, at the disk's speed.
    Each,
    /// With the first record this long or longer after the last time, on [`Log::sync`] and at
    /// the end. Call [`Log::sync`] from a timer when the log may fall silent.
    Interval(Duration),
}

/// Why the audit log could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file could not be opened, created or read.
    #[error("{}: audit log can not be opened; check that its directory exists and is writable", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The file is not one that only this user can change.
    #[error("{}: audit log refused: {why}; correct that or name another file", path.display())]
    NotPrivate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Another process has it open for writing.
    #[error("{}: audit log is in use by another process; stop that or name another file", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Its last complete line is not an intact record.
    #[error("{}: audit log is damaged at its end ({reason}); move it away to begin a new one", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with the last line.
        reason: Reason,
    },
    /// After a rotation the name leads to a file with records of its own.
    #[error("{}: audit log can not be continued here: the file has records already; move it away", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The record could not be written; it is not in the log.
    #[error("{}: audit record can not be written; check the free space", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The record is written, but could not be forced to the disk.
    #[error("{}: audit log can not be forced to disk; check the disk", path.display())]
    Sync {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
}

/// An open audit log. Shared by reference; records are written in the order of the calls.
///
/// [`Log::append`] writes and, by policy, syncs before it returns: it blocks like any file.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    clock: Clock,
    policy: SyncPolicy,
    key: Option<Key>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    head: Head,
    /// Where the last complete record ends.
    length: u64,
    /// A write failed half-way: the file may be longer than `length`.
    torn: bool,
    /// Monotonic time of the last sync; whether anything was written since.
    synced: Duration,
    unsynced: bool,
}

impl Log {
    /// Opens the log at `path`, or creates it (0600). The last component of the path must not
    /// be a link. An existing log is continued after its last record, which is checked. A torn
    /// last line (a crash while writing) is cut off and kept in a `log.torn` record: its length,
    /// SHA-256 and its text up to the limit of a field.
    ///
    /// # Errors
    /// [`AuditError`], when the file is not private, is in use, or does not end with a record.
    pub fn open(path: &Path, clock: Clock, policy: SyncPolicy) -> Result<Self, AuditError> {
        Self::begin(path, clock, policy, None)
    }

    /// As [`Log::open`], with hashes that only who has `key` can make or check. A log that was
    /// written without a key, or with another, counts as damaged.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn open_keyed(
        path: &Path,
        clock: Clock,
        policy: SyncPolicy,
        key: Key,
    ) -> Result<Self, AuditError> {
        Self::begin(path, clock, policy, Some(key))
    }

    fn begin(
        path: &Path,
        clock: Clock,
        policy: SyncPolicy,
        key: Option<Key>,
    ) -> Result<Self, AuditError> {
        let file = file::open_alone(path)?;
        let (head, length) = match file::tail(path, &file, key.as_ref())? {
            Tail::Empty | Tail::OnlyTorn => (Head::START, 0),
            Tail::Record(head, length) => (head, length),
        };
        let failed = |cause| AuditError::Open { path: path.into(), cause };
        let torn = file::torn(&file, length).map_err(failed)?;
        let synced = clock.monotonic();
        let unclean = !torn.is_empty();
        let state = State { file, head, length, torn: unclean, synced, unsynced: unclean };
        let log = Self { path: path.into(), clock, policy, key, state: Mutex::new(state) };
        if unclean {
            let event = Event::new("log.torn")
                .field("bytes", torn.len())
                .field("sha256", hex(&Sha256::digest(&torn)))
                .field("text", String::from_utf8_lossy(&torn).into_owned());
            log.append(event)?;
        }
        Ok(log)
    }

    /// Writes one record and returns the head it makes.
    ///
    /// # Errors
    /// [`AuditError::Write`]: the record is not in the log, and the next call tries to remove
    /// what a half-finished write left. [`AuditError::Sync`]: it is in the log.
    pub fn append(&self, event: Event) -> Result<Head, AuditError> {
        self.append_all([event])
    }

    /// Writes several records with one call of the system; all of them or, after an error, none.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn append_all(&self, events: impl IntoIterator<Item = Event>) -> Result<Head, AuditError> {
        let mut state = self.state();
        self.write(&mut state, events)?;
        let due = match self.policy {
            SyncPolicy::Each => true,
            SyncPolicy::Interval(wait) => {
                self.clock.monotonic().saturating_sub(state.synced) >= wait
            }
        };
        if due {
            self.sync_state(&mut state)?;
        }
        Ok(state.head)
    }

    /// The last record written: what to remember elsewhere.
    #[must_use]
    pub fn head(&self) -> Head {
        self.state().head
    }

    /// Forces to disk what was written since the last time.
    ///
    /// # Errors
    /// [`AuditError::Sync`].
    pub fn sync(&self) -> Result<(), AuditError> {
        self.sync_state(&mut self.state())
    }

    /// After the file was renamed (rotation): continues the chain in a new file of the old name,
    /// which begins with a `log.continued` record. Without a rename it does nothing.
    ///
    /// # Errors
    /// [`AuditError`]; the log then still writes to the renamed file.
    pub fn reopen(&self) -> Result<(), AuditError> {
        let mut state = self.state();
        let failed = |cause| AuditError::Open { path: self.path.clone(), cause };
        let ours = state.file.metadata().map_err(failed)?;
        let named = std::fs::symlink_metadata(&self.path);
        if named.is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino())) {
            return Ok(());
        }
        let file = file::open_alone(&self.path)?;
        if !matches!(file::tail(&self.path, &file, self.key.as_ref())?, Tail::Empty) {
            return Err(AuditError::Foreign { path: self.path.clone() });
        }
        self.sync_state(&mut state)?;
        let (head, synced) = (state.head, state.synced);
        let mut next = State { file, head, length: 0, torn: false, synced, unsynced: false };
        let event = Event::new("log.continued").field("records_before", head.seq);
        self.write(&mut next, [event])?;
        self.sync_state(&mut next)?;
        *state = next;
        Ok(())
    }

    fn write(
        &self,
        state: &mut State,
        events: impl IntoIterator<Item = Event>,
    ) -> Result<(), AuditError> {
        let failed = |cause| AuditError::Write { path: self.path.clone(), cause };
        if state.torn {
            state.file.set_len(state.length).map_err(failed)?;
            state.torn = false;
        }
        let (mut lines, mut head) = (String::new(), state.head);
        for event in events {
            let (line, next) = render(head, self.clock.unix(), event, self.key.as_ref());
            if lines.is_empty() {
                lines = line;
            } else {
                lines.push_str(&line);
            }
            head = next;
        }
        state.unsynced = true;
        if let Err(cause) = state.file.write_all(lines.as_bytes()) {
            state.torn = true;
            return Err(failed(cause));
        }
        state.length = state.length.saturating_add(lines.len() as u64);
        state.head = head;
        Ok(())
    }

    fn sync_state(&self, state: &mut State) -> Result<(), AuditError> {
        if state.unsynced {
            let failed = |cause| AuditError::Sync { path: self.path.clone(), cause };
            state.file.sync_data().map_err(failed)?;
            state.unsynced = false;
        }
        state.synced = self.clock.monotonic();
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Nobody is left to tell; the kernel writes it out in its own time.
        let _ = self.sync();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Expected, Verdict, verify};

    #[test]
    fn what_a_failed_write_left_is_removed_by_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let (clock, _) = Clock::manual(Duration::ZERO);
        let log = Log::open(&path, clock, SyncPolicy::Each).unwrap();
        log.append(Event::new("a")).unwrap();
        {
            let mut state = log.state();
            state.file.write_all(b"{\"seq\":2,\"ti").unwrap();
            state.torn = true;
        }
        log.append(Event::new("b")).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let verdict = verify(&*bytes, &Expected::default()).unwrap();
        assert!(matches!(verdict, Verdict::Intact { records: 2, .. }), "{verdict:?}");
    }

    #[test]
    fn an_interval_syncs_with_the_first_record_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let (clock, by_hand) = Clock::manual(Duration::ZERO);
        let policy = SyncPolicy::Interval(Duration::from_secs(1));
        let log = Log::open(&path, clock, policy).unwrap();
        let unsynced = |after| {
            by_hand.advance(Duration::from_millis(after));
            log.append(Event::new("a")).unwrap();
            log.state().unsynced
        };
        assert_eq!([600, 399, 1, 999, 1].map(unsynced), [true, true, false, true, false]);
        by_hand.set(Duration::ZERO);
        assert!(unsynced(10));
        log.sync().unwrap();
        assert!(!log.state().unsynced);
    }
}
