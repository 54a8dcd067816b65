//! The file behind the log: opened without trust, its end examined.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::key::Key;
use super::record::{Head, parse};
use super::verify::Reason;
use super::writer::AuditError;
use crate::limits::AUDIT_LINE;

/// How an existing file ends.
pub(super) enum Tail {
    Empty,
    /// The last record, and how many bytes the file has up to its end. What follows is torn.
    Record(Head, u64),
    /// Only an incomplete line.
    OnlyTorn,
}

/// Opens or creates the file (0600), alone: a second writer would break the chain.
pub(super) fn open_alone(path: &Path) -> Result<File, AuditError> {
    let flags = OFlags::RDWR
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::NOCTTY
        | OFlags::NONBLOCK
        | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::RUSR | Mode::WUSR) {
        Ok(fd) => File::from(fd),
        Err(Errno::LOOP) => return Err(not_private(path, "it is a symbolic link")),
        Err(cause) => {
            return Err(AuditError::Open { path: path.into(), cause: cause.into() });
        }
    };
    let failed = |cause: io::Error| AuditError::Open { path: path.into(), cause };
    let meta = file.metadata().map_err(failed)?;
    let me = geteuid().as_raw();
    let faults = [
        (!meta.is_file(), "it is not a regular file"),
        (meta.nlink() != 1, "it has another name (hard link)"),
        (meta.mode() & 0o077 != 0, "others may read or write it (chmod 600)"),
        // Root opens it on behalf of the user the program becomes later.
        (meta.uid() != me && me != 0, "it belongs to another user (chown)"),
    ];
    if let Some((_, why)) = faults.iter().find(|(fault, _)| *fault) {
        return Err(not_private(path, why));
    }
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(AuditError::InUse { path: path.into() }),
        Err(cause) => return Err(failed(cause.into())),
    }
    if meta.len() == 0 {
        sync_directory(path).map_err(failed)?;
    }
    Ok(file)
}

/// Finds the last record by reading no more than two lines' worth from the end.
pub(super) fn tail(path: &Path, file: &File, key: Option<&Key>) -> Result<Tail, AuditError> {
    let failed = |cause| AuditError::Open { path: path.into(), cause };
    let length = file.metadata().map_err(failed)?.len();
    let from = length.saturating_sub(2 * AUDIT_LINE as u64);
    let mut bytes = Vec::new();
    read_from(file, from, length, &mut bytes).map_err(failed)?;
    if bytes.is_empty() {
        return Ok(Tail::Empty);
    }
    let damaged = |reason| AuditError::Damaged { path: path.into(), reason };
    let Some((ended, torn)) = split_after_last(&bytes) else {
        let whole = from == 0 && bytes.len() < AUDIT_LINE;
        return if whole { Ok(Tail::OnlyTorn) } else { Err(damaged(Reason::TooLong)) };
    };
    if torn.len() >= AUDIT_LINE {
        return Err(damaged(Reason::TooLong));
    }
    let line = split_after_last(ended).map_or(ended, |(_, line)| line);
    let record = parse(line, key).map_err(damaged)?;
    Ok(Tail::Record(record.head, length - torn.len() as u64))
}

/// The bytes from `start` to the end of the file, at most a line.
pub(super) fn torn(file: &File, start: u64) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    let mut bytes = Vec::new();
    read_from(file, start, length.min(start + AUDIT_LINE as u64), &mut bytes)?;
    Ok(bytes)
}

/// Makes the name of a new file outlast a power failure.
fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

fn read_from(file: &File, from: u64, to: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.resize(usize::try_from(to.saturating_sub(from)).unwrap_or(0), 0);
    file.read_exact_at(bytes, from)
}

/// What is before and after the last line feed.
fn split_after_last(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().rposition(|&b| b == b'\n')?;
    let (before, rest) = bytes.split_at_checked(at)?;
    Some((before, rest.get(1..)?))
}

fn not_private(path: &Path, why: &'static str) -> AuditError {
    AuditError::NotPrivate { path: path.into(), why }
}
