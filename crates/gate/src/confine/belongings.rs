//! Files that have to be the gate user's: the state directory with what is in it, and its logs.
//!
//! Done as root in a directory that an earlier gate could write to, so nothing in it is followed
//! and nothing is given away that has a second name elsewhere.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, chownat, fchown, fstat, openat, statat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use secrets::private_file::create_dir;

use super::{ConfineError, FALLBACK_ID};
use crate::config::{AccessLogTo, Config};
use crate::limits::STATE_FILES;

/// Makes the state directory: what is not there when the gate is confined stays out of reach.
pub(super) fn make(config: &Config) -> Result<(), ConfineError> {
    match &config.state {
        // One that is there is the user's already, which is not root's to complain about.
        Some(directory) if statat(CWD, directory, AtFlags::SYMLINK_NOFOLLOW).is_err() => {
            Ok(create_dir(directory)?)
        }
        _ => Ok(()),
    }
}

/// Gives the state directory and the logs to this user.
pub(super) fn give(config: &Config, uid: u32, gid: u32) -> Result<(), ConfineError> {
    if let Some(directory) = &config.state {
        give_directory(directory, uid, gid)?;
    }
    let access = match &config.access_log {
        AccessLogTo::File(path) => Some(path),
        AccessLogTo::Off | AccessLogTo::Stderr => None,
    };
    for path in access.into_iter().chain(&config.login.failure_log) {
        give_log(path, uid)?;
    }
    Ok(())
}

/// Says now, and clearly, that the user can not get to its state.
pub(super) fn reachable(config: &Config) -> Result<(), ConfineError> {
    let Some(directory) = &config.state else { return Ok(()) };
    match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let uid = rustix::process::geteuid().as_raw();
            let what = format!(
                "uid {uid} does not get there; every directory above must be searchable \
                 (chmod o+x), or name another state directory"
            );
            Err(fault(directory, &what))
        }
        _ => Ok(()),
    }
}

fn fault(path: &Path, what: &(impl ToString + ?Sized)) -> ConfineError {
    ConfineError::File { path: path.to_owned(), what: what.to_string() }
}

fn give_directory(directory: &Path, uid: u32, gid: u32) -> Result<(), ConfineError> {
    let failed = |errno: Errno| fault(directory, &errno);
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = openat(CWD, directory, flags, Mode::empty()).map_err(failed)?;
    let mut entries = rustix::fs::Dir::read_from(&open).map_err(failed)?;
    let mut left = STATE_FILES;
    while let Some(entry) = entries.read() {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        left =
            left.checked_sub(1).ok_or_else(|| fault(directory, "more files than a state has"))?;
        let path = directory.join(name.to_string_lossy().as_ref());
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file =
            openat(&open, name, flags, Mode::empty()).map_err(|errno| fault(&path, &errno))?;
        give_one(&path, &file, uid, gid)?;
    }
    let owner = fstat(&open).map_err(failed)?.st_uid;
    if ![0, uid, FALLBACK_ID].contains(&owner) {
        return Err(stranger(directory, owner));
    }
    fchown(&open, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).map_err(failed)
}

fn give_one(path: &Path, file: &OwnedFd, uid: u32, gid: u32) -> Result<(), ConfineError> {
    let stat = fstat(file).map_err(|errno| fault(path, &errno))?;
    if stat.st_uid == uid && stat.st_gid == gid {
        return Ok(());
    }
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind == FileType::RegularFile && stat.st_nlink != 1 {
        return Err(fault(path, "has a second name elsewhere; remove it"));
    }
    if ![0, uid, FALLBACK_ID].contains(&stat.st_uid) {
        return Err(stranger(path, stat.st_uid));
    }
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    let given = chownat(file.as_fd(), "", uid, gid, AtFlags::EMPTY_PATH);
    given.map_err(|errno| fault(path, &errno))
}

fn stranger(path: &Path, owner: u32) -> ConfineError {
    fault(path, &format!("belongs to uid {owner}; chown it to root, or name another directory"))
}

/// A log keeps its group, which is for whoever reads logs on this host.
fn give_log(path: &Path, uid: u32) -> Result<(), ConfineError> {
    let flags = OFlags::WRONLY
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP;
    let failed = |errno: Errno| fault(path, &errno);
    let file = openat(CWD, path, flags, mode).map_err(failed)?;
    let stat = fstat(&file).map_err(failed)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_uid == uid {
        return Ok(());
    }
    if stat.st_nlink != 1 {
        return Err(fault(path, "has a second name elsewhere; remove it"));
    }
    fchown(&file, Some(Uid::from_raw(uid)), None).map_err(failed)
}
