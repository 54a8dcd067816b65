//! Why a store can not be opened, read or written, each with its remedy.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use secrets::private_file::FileError;

use crate::limits::{BATCH_CHANGES, DURABLE_CALLS, KEY_BYTES, LOAD_ENTRIES, VALUE_BYTES};

/// What went wrong with a store. `Display` is one line with the place and the remedy. Cloned
/// to everyone who waits for the same commit.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory is not ours alone.
    #[error("state: {0}")]
    Directory(#[source] Arc<FileError>),
    /// Another process has it open.
    #[error("{}: in use by another process; stop that, or name another directory", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The file is not what was last written to it.
    #[error(
        "{}: damaged ({what}); restore it from a backup, or move it away to begin anew without \
         the bans, revocations and sessions it holds",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// Written by a later version of this program.
    #[error(
        "{}: written in format {found}, this program reads {known}; use the version that wrote it",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// The number found.
        found: u64,
        /// The number of this version.
        known: u64,
    },
    /// No room on the disk: nothing of this commit counts. Retry when there is.
    #[error("{}: no space left for the state ({cause}); free some, nothing acknowledged is lost", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        cause: Arc<io::Error>,
    },
    /// The system refused something else.
    #[error("{}: can not {doing}: {cause}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The step, as an infinitive.
        doing: &'static str,
        /// The system's answer.
        #[source]
        cause: Arc<io::Error>,
    },
    /// A caller's mistake: a key or value over its limit.
    #[error(
        "a state entry has a key of at most {KEY_BYTES} and a value of at most {VALUE_BYTES} bytes"
    )]
    Size,
    /// A caller's mistake: too much in one commit.
    #[error("a state commit has at most {BATCH_CHANGES} changes")]
    Batch,
    /// Someone has filled a table beyond what is ever loaded.
    #[error("{}: a table holds more than {LOAD_ENTRIES} entries; move the file away to begin anew", path.display())]
    Entries {
        /// The file.
        path: PathBuf,
    },
    /// A server does not answer, or not as one. Retry: connections are made anew.
    #[error("{name}: can not be reached ({cause}); logins and logouts are refused until it is")]
    Unreachable {
        /// Its address.
        name: String,
        /// What the system said.
        #[source]
        cause: Arc<io::Error>,
    },
    /// A server answers with an error: a wrong password, no right, no memory, a replica.
    #[error("{name}: refused: {said}")]
    Declined {
        /// Its address.
        name: String,
        /// Its words.
        said: String,
    },
    /// What is on a server was written by another version of this program.
    #[error(
        "{name}: written in format {found:?}, which this program does not read; use the version \
         that wrote it, or name another database or prefix"
    )]
    Layout {
        /// Its address.
        name: String,
        /// The number found.
        found: String,
    },
    /// Someone has filled a table on a server beyond what is ever loaded.
    #[error("{name}: a table holds more than {LOAD_ENTRIES} entries; empty that database")]
    TooMany {
        /// Its address.
        name: String,
    },
    /// Too many wait for the disk.
    #[error("{DURABLE_CALLS} changes of state wait for the disk, the most allowed: retry")]
    Busy,
    /// The writer has been told to end.
    #[error("the state is closed: the program is ending")]
    Closed,
}

impl StoreError {
    /// Whether the same change may succeed when tried again.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        matches!(
            self,
            Self::Full { .. }
                | Self::Io { .. }
                | Self::Busy
                | Self::Unreachable { .. }
                | Self::Declined { .. }
        )
    }
}
