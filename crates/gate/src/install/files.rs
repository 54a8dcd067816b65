//! Files that are whole or not there, also after a power failure.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::Path;

use super::{InstallError, file_error};

/// Bytes of a file that is read: pveproxy's defaults have some hundred.
const FILE_BYTES: u64 = 1024 * 1024;

/// The bytes, or `None` when there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, InstallError> {
    use io::Read as _;
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Ok(length) if length as u64 <= FILE_BYTES => Ok(Some(bytes)),
        Ok(_) => Err(file_error(path)(io::ErrorKind::FileTooLarge.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file_error(path)(error)),
    }
}

/// Replaces a file in one step. One that is there keeps its mode and owner.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), InstallError> {
    replace(path, bytes).map_err(file_error(path))
}

/// Removes a file; one that is not there is removed.
pub(super) fn remove(path: &Path) -> Result<(), InstallError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file_error(path)(error)),
        _ => path.parent().map_or(Ok(()), sync).map_err(file_error(path)),
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(directory)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".proxward-new");
    let new = directory.join(name);
    let before = fs::metadata(path).ok();
    let mode = before.as_ref().map_or(0o644, |before| before.mode() & 0o7777);
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(mode).open(&new)?;
    file.write_all(bytes)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    if let Some(before) = before {
        chown(&new, Some(before.uid()), Some(before.gid()))?;
    }
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync(directory)
}

fn sync(directory: &Path) -> io::Result<()> {
    match File::open(directory) {
        Ok(directory) => directory.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
