//! The directory a run keeps its files in: one that was named, or one that ends with the run.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use secrets::SecretString;
use secrets::private_file::{self, FileError};
use telemetry::CorrelationId;

use crate::exit::{Exit, Stop, file_fault};

/// Longest password file.
const PASSWORD_BYTES: usize = 4096;

/// A directory of mode 0700.
pub(crate) struct Place {
    path: PathBuf,
    temporary: bool,
}

impl Place {
    /// `named`, which stays, or a new one below the system's directory for temporary files,
    /// which is removed when this is dropped.
    pub(crate) fn open(named: Option<&Path>) -> Result<Self, Stop> {
        let (path, temporary) = match named {
            Some(path) => (std::path::absolute(path).map_err(Stop::usage)?, false),
            None => {
                let name = format!("proxward-{}", CorrelationId::random());
                (std::env::temp_dir().join(name), true)
            }
        };
        private_file::create_dir(&path).map_err(private_fault)?;
        Ok(Self { path, temporary })
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file that everybody may know, such as a certificate.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf, Stop> {
        let path = self.file(name);
        private_file::write(&path, text.as_bytes()).map_err(private_fault)?;
        Ok(path)
    }

    /// The password kept in `name`, or a new one that is kept there.
    pub(crate) fn password(&self, name: &str) -> Result<(SecretString, PathBuf), Stop> {
        let path = self.file(name);
        if path.exists() {
            return Ok((read_secret(&path)?, path));
        }
        let password = secrets::random::hex().map_err(Stop::usage)?;
        // Without a line break: tools such as curl send a file to its last byte.
        self.write(name, password.expose())?;
        Ok((password, path))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.temporary {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// One line from a private file.
pub(crate) fn read_secret(path: &Path) -> Result<SecretString, Stop> {
    let bytes = private_file::read(path, PASSWORD_BYTES).map_err(private_fault)?;
    first_line(path, bytes.expose())
}

/// The first line of a secret that came from `path`.
pub(crate) fn first_line(path: &Path, bytes: &[u8]) -> Result<SecretString, Stop> {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let line = text.lines().next().unwrap_or_default().trim_end();
    if line.is_empty() {
        let text = format!("{}: expected one line with the secret", path.display());
        return Err(Stop::say(Exit::Usage, text));
    }
    Ok(SecretString::from(line))
}

/// A text file of a bounded size that need not be private.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String, Stop> {
    let length = std::fs::metadata(path).map_err(|error| file_fault(path, &error))?.len();
    if length > limit {
        let text = format!("{}: {length} bytes, at most {limit}", path.display());
        return Err(Stop::say(Exit::Usage, text));
    }
    std::fs::read_to_string(path).map_err(|error| file_fault(path, &error))
}

/// What the system refuses is a question of permission, everything else of configuration.
fn private_fault(error: FileError) -> Stop {
    match &error {
        FileError::Io { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
            Stop::say(Exit::Denied, format!("{error}; name a place that you may write to"))
        }
        _ => Stop::usage(error),
    }
}
