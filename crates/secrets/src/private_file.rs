//! Files that only their owner may read: keys, tokens, passwords.
//!
//! What is checked of a file, on the opened descriptor, so that nothing can be exchanged
//! between check and use:
//!
//! | property | rule |
//! |---|---|
//! | last component of the path | not a symbolic link (`O_NOFOLLOW`) |
//! | kind | regular file; a FIFO or device is refused without waiting on it |
//! | owner | the effective user of this process, or root |
//! | mode | no bit for group and others (`mode & 0o077 == 0`, POSIX ACLs show there too); [`read_for`] lets some of them read |
//! | size | at most the caller's limit |
//!
//! Links in the directories before the last component are followed: `/var/run` is one on
//! every Debian. Whoever may write such a directory is trusted.

mod error;
mod replace;

pub use error::FileError;

use crate::SecretBytes;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use zeroize::Zeroizing;

const DIR_MODE: Mode = Mode::RWXU;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Who may read a secret file besides its owner. Nobody else may ever write or execute it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Nobody.
    Owner,
    /// Its group, as Proxmox VE has it with the keys that pveproxy reads (`root:www-data`, 0640).
    Group,
    /// Everybody: for a key that is no secret, such as one of a test.
    Anyone,
}

impl Readers {
    /// The bits that must not be set, and the mode to suggest.
    fn refused(self) -> (u32, &'static str) {
        match self {
            Self::Owner => (0o077, "600"),
            Self::Group => (0o037, "640"),
            Self::Anyone => (0o033, "644"),
        }
    }
}

/// Reads a private file of at most `limit` bytes.
///
/// # Errors
/// [`FileError`] names the property of the table above that failed, and the remedy.
pub fn read(path: &Path, limit: usize) -> Result<SecretBytes, FileError> {
    read_for(path, limit, Readers::Owner)
}

/// As [`read`], of a file that others may read too.
///
/// # Errors
/// As of [`read`].
pub fn read_for(path: &Path, limit: usize, readers: Readers) -> Result<SecretBytes, FileError> {
    // O_NONBLOCK: opening a FIFO would wait for a writer. O_NOCTTY: nor may a terminal
    // become ours before its kind was looked at.
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT => FileError::Missing { path: path.to_owned() },
        Errno::LOOP => FileError::Link { path: path.to_owned() },
        errno => FileError::io(path, "open", errno),
    })?;
    let stat = rustix::fs::fstat(&fd).map_err(|errno| FileError::io(path, "stat", errno))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(FileError::NotAFile { path: path.to_owned() });
    }
    check(path, &stat, readers.refused())?;
    let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
    if size > limit {
        return Err(FileError::TooLarge { path: path.to_owned(), limit });
    }
    // One byte more than expected: the vector must not move while it fills, or a copy of the
    // secret stays in freed memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(size.saturating_add(1)));
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    File::from(fd).take(most).read_to_end(&mut bytes).map_err(|source| FileError::Io {
        path: path.to_owned(),
        doing: "read",
        source,
    })?;
    if bytes.len() > limit {
        return Err(FileError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(SecretBytes::new(std::mem::take(&mut *bytes)))
}

/// Opens a private file for reading and writing; one that does not exist is created, empty and
/// with mode 0600.
///
/// # Errors
/// As of [`read`].
pub fn open(path: &Path) -> Result<File, FileError> {
    // As in `read`; O_EXCL is left out, an existing file is as welcome when it is private.
    let flags = OFlags::RDWR
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::NOCTTY
        | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, FILE_MODE).map_err(|errno| match errno {
        Errno::LOOP => FileError::Link { path: path.to_owned() },
        Errno::ISDIR | Errno::NXIO => FileError::NotAFile { path: path.to_owned() },
        errno => FileError::io(path, "open", errno),
    })?;
    let stat = rustix::fs::fstat(&fd).map_err(|errno| FileError::io(path, "stat", errno))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(FileError::NotAFile { path: path.to_owned() });
    }
    check(path, &stat, Readers::Owner.refused())?;
    Ok(File::from(fd))
}

/// Replaces or creates the file with mode 0600 in one step: readers see the old content or
/// the new, and after a crash one of both is on disk.
///
/// The bytes go to a temporary file in the same directory, which is synced and renamed over
/// `path`; then the directory is synced. The result belongs to this process's user.
///
/// # Errors
/// [`FileError::Link`] and [`FileError::NotAFile`] when `path` is such; nothing is changed
/// then, nor on any error before the rename.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    replace::replace(path, bytes)
}

/// Creates a directory with mode 0700; its parent must exist.
///
/// Fine if it exists as such: a directory itself, not a link to one, of this process's user
/// or root, without a mode bit for group and others.
///
/// # Errors
/// [`FileError`] names what is different, and the remedy.
pub fn create_dir(path: &Path) -> Result<(), FileError> {
    // Without the last slash: `link/` names the directory behind the link.
    let path = path.components().as_path();
    match rustix::fs::mkdir(path, DIR_MODE) {
        Ok(()) => return Ok(()),
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(FileError::io(path, "create directory", errno)),
    }
    let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| FileError::io(path, "stat", errno))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => check(path, &stat, (Readers::Owner.refused().0, "700")),
        FileType::Symlink => Err(FileError::Link { path: path.to_owned() }),
        _ => Err(FileError::NotADirectory { path: path.to_owned() }),
    }
}

fn check(
    path: &Path,
    stat: &Stat,
    (refused, wanted): (u32, &'static str),
) -> Result<(), FileError> {
    let own = rustix::process::geteuid().as_raw();
    if stat.st_uid != own && stat.st_uid != 0 {
        return Err(FileError::Owner { path: path.to_owned(), owner: stat.st_uid, own });
    }
    if stat.st_mode & refused != 0 {
        let mode = stat.st_mode & 0o7777;
        return Err(FileError::Mode { path: path.to_owned(), mode, wanted });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
