//! Atomic replacement: temporary file, sync, rename, sync of the directory.

use super::{FILE_MODE, FileError};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// Names tried for the temporary file before giving up; a name is taken only by the leftover
/// of a crashed process that had the same process id.
const TEMP_NAMES_TRIED: u32 = 16;

static NEXT_TEMP: AtomicU32 = AtomicU32::new(0);

pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let Some(name) = path.file_name() else {
        return Err(FileError::NotAFile { path: path.to_owned() });
    };
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(parent, flags, Mode::empty())
        .map_err(|errno| FileError::io(parent, "open directory", errno))?;
    check_target(dir.as_fd(), name, path)?;

    let (temp_name, temp) = create_temp(dir.as_fd(), path)?;
    let done = fill(temp, bytes, path).and_then(|()| {
        rustix::fs::renameat(&dir, temp_name.as_str(), &dir, name)
            .map_err(|errno| FileError::io(path, "rename into place", errno))
    });
    if done.is_err() {
        // Best effort: the first error is the one to report.
        let _ = rustix::fs::unlinkat(&dir, temp_name.as_str(), AtFlags::empty());
        return done;
    }
    rustix::fs::fsync(&dir).map_err(|errno| FileError::io(parent, "sync directory", errno))
}

/// A rename never writes through a link; a link is refused all the same, because whoever set
/// it expects the file behind it to change.
fn check_target(dir: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<(), FileError> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(FileError::io(path, "stat", errno)),
        Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(()),
            FileType::Symlink => Err(FileError::Link { path: path.to_owned() }),
            _ => Err(FileError::NotAFile { path: path.to_owned() }),
        },
    }
}

fn create_temp(dir: BorrowedFd<'_>, path: &Path) -> Result<(String, OwnedFd), FileError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut last = Errno::EXIST;
    for _ in 0..TEMP_NAMES_TRIED {
        let number = NEXT_TEMP.fetch_add(1, Ordering::Relaxed);
        let name = format!(".proxward-{}-{number}.tmp", std::process::id());
        match rustix::fs::openat(dir, name.as_str(), flags, FILE_MODE) {
            Ok(fd) => return Ok((name, fd)),
            Err(errno) => last = errno,
        }
        if last != Errno::EXIST {
            break;
        }
    }
    Err(FileError::io(path, "create a temporary file beside it", last))
}

fn fill(temp: OwnedFd, bytes: &[u8], path: &Path) -> Result<(), FileError> {
    let mut file = File::from(temp);
    // The umask may have taken bits of the owner away.
    rustix::fs::fchmod(&file, FILE_MODE)
        .map_err(|errno| FileError::io(path, "set the mode", errno))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|source| FileError::Io {
        path: path.to_owned(),
        doing: "write",
        source,
    })
}

/// The number the next temporary file's name will hold.
#[cfg(test)]
pub(super) fn next_temp_number() -> u32 {
    NEXT_TEMP.load(Ordering::Relaxed)
}
