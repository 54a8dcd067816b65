//! What is wrong with a private file, and what to do about it.

use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};

/// Why a private file or directory was not used. `Display` is one line with the path and,
/// where there is one, the command that helps.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is no such file.
    #[error("{path}: no such file", path = path.display())]
    Missing {
        /// The path as given.
        path: PathBuf,
    },
    /// The last component is a symbolic link.
    #[error("{path}: is a symbolic link; name the file it points to", path = path.display())]
    Link {
        /// The path as given.
        path: PathBuf,
    },
    /// A directory, FIFO, socket or device.
    #[error("{path}: is not a regular file", path = path.display())]
    NotAFile {
        /// The path as given.
        path: PathBuf,
    },
    /// Something else has the directory's name.
    #[error("{path}: exists and is not a directory", path = path.display())]
    NotADirectory {
        /// The path as given.
        path: PathBuf,
    },
    /// The owner is neither root nor the effective user.
    #[error(
        "{path}: belongs to uid {owner}, who could change it; run: chown {own} {path}",
        path = path.display()
    )]
    Owner {
        /// The path as given.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// The effective uid of this process.
        own: u32,
    },
    /// Group or others have a right.
    #[error(
        "{path}: mode {mode:04o} lets others in; if it is yours alone, run: chmod {wanted} {path}",
        path = path.display()
    )]
    Mode {
        /// The path as given.
        path: PathBuf,
        /// The mode found, without the file type.
        mode: u32,
        /// The mode that is right, for `chmod`.
        wanted: &'static str,
    },
    /// The file is longer than the caller takes.
    #[error("{path}: is larger than {limit} bytes", path = path.display())]
    TooLarge {
        /// The path as given.
        path: PathBuf,
        /// The caller's limit in bytes.
        limit: usize,
    },
    /// The system refused a step.
    #[error("{path}: can not {doing}: {source}", path = path.display())]
    Io {
        /// The path as given.
        path: PathBuf,
        /// The step, as an infinitive.
        doing: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

impl FileError {
    pub(super) fn io(path: &Path, doing: &'static str, errno: Errno) -> Self {
        Self::Io { path: path.to_owned(), doing, source: errno.into() }
    }
}
