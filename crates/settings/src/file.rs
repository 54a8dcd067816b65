//! Configuration files as the disk has them: whole, small, and in nobody else's hands.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use rustix::process::geteuid;

use crate::error::{ErrorKind, SettingsError};
use crate::limits::{DIRECTORY_FILES, FILE_BYTES};
use crate::node::Origin;

/// The text of a file; `None` when there is none. A link is followed: what counts is who may
/// change the file it leads to.
pub(crate) fn read(path: &Path) -> Result<Option<String>, SettingsError> {
    // Without NONBLOCK a named pipe would hold the program before it can be refused.
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::empty()).map_err(io::Error::from) {
        Ok(fd) => File::from(fd),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(path, &error)),
    };
    let meta = file.metadata().map_err(|error| unreadable(path, &error))?;
    if !meta.is_file() {
        let what = "not a regular file";
        return Err(refused(ErrorKind::Unreadable, path, what, "name a file"));
    }
    trusted(path, &meta)?;
    let mut bytes = Vec::new();
    let limit = FILE_BYTES as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    if bytes.len() > FILE_BYTES {
        let what = format!("larger than {FILE_BYTES} bytes");
        return Err(refused(ErrorKind::Limit, path, &what, "split it into conf.d/*.toml"));
    }
    String::from_utf8(bytes).map(Some).map_err(|error| {
        let before = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        let origin = Origin::File { path: path.into(), line };
        SettingsError::new(ErrorKind::Syntax, origin, "", "not UTF-8", "save the file as UTF-8")
    })
}

/// The text of a file of another format that has to be there, under the rules of our own files:
/// small, UTF-8, and nobody but root or this user may change it.
///
/// # Errors
/// The file is absent, too large, no text, or in somebody else's hands.
pub fn text(path: &Path) -> Result<String, SettingsError> {
    read(path)?.ok_or_else(|| missing(path))
}

/// The `*.toml` files of a directory, without hidden ones, sorted by name; none when there is
/// no directory.
pub(crate) fn list(directory: &Path) -> Result<Vec<PathBuf>, SettingsError> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(directory, &error)),
    };
    let meta = std::fs::metadata(directory).map_err(|error| unreadable(directory, &error))?;
    trusted(directory, &meta)?;
    let mut files = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| unreadable(directory, &error))?.file_name();
        let bytes = name.as_bytes();
        if !bytes.ends_with(b".toml") || bytes.starts_with(b".") {
            continue;
        }
        if files.len() == DIRECTORY_FILES {
            let what = format!("more than {DIRECTORY_FILES} files");
            return Err(refused(ErrorKind::Limit, directory, &what, "merge some of them"));
        }
        files.push(directory.join(name));
    }
    files.sort();
    Ok(files)
}

pub(crate) fn missing(path: &Path) -> SettingsError {
    refused(ErrorKind::Unreadable, path, "no such file", "create it or name another")
}

/// Refuses what somebody other than root and this user could change.
fn trusted(path: &Path, meta: &Metadata) -> Result<(), SettingsError> {
    let shown = path.display();
    if meta.mode() & 0o022 != 0 {
        let remedy = format!("chmod go-w {shown}");
        return Err(refused(ErrorKind::Permissions, path, "others may write to it", &remedy));
    }
    if meta.uid() != 0 && meta.uid() != geteuid().as_raw() {
        let remedy = format!("chown root {shown}");
        return Err(refused(ErrorKind::Permissions, path, "it belongs to another user", &remedy));
    }
    Ok(())
}

fn unreadable(path: &Path, error: &io::Error) -> SettingsError {
    let what = format!("can not be read: {error}");
    refused(ErrorKind::Unreadable, path, &what, "check the path and its permissions")
}

fn refused(kind: ErrorKind, path: &Path, what: &str, remedy: &str) -> SettingsError {
    SettingsError::new(kind, Origin::File { path: path.into(), line: 0 }, "", what, remedy)
}
