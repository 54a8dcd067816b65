//! The files with the cluster's public keys.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use pve_access::limits::MAX_PEM_BYTES;
use pve_access::{ClusterKeys, DatedKey, VerifyKey};

/// Behind the name of the key in use, that of the one before.
const FORMER: &str = ".old";

/// Both files, and what was in them when they were read last.
#[derive(Debug)]
pub(crate) struct KeyFiles {
    current: PathBuf,
    former: PathBuf,
    last: Option<(Read, Arc<ClusterKeys>)>,
}

type Read = (Content, Option<Content>);

/// Of one file: its text, and when it was changed, in seconds since 1970.
#[derive(Debug, PartialEq, Eq)]
struct Content {
    text: String,
    changed: u64,
}

impl KeyFiles {
    /// The file of the key in use; beside it lies, as `.old`, the one before.
    pub(crate) fn new(current: &Path) -> Self {
        let mut former = OsString::from(current);
        former.push(FORMER);
        Self { current: current.to_owned(), former: former.into(), last: None }
    }

    /// Reads them. Blocks, on a file system that may hang. The same keys are the same value.
    ///
    /// # Errors
    /// A file that is there and can not be used, or no key in use: in a sentence that names it.
    pub(crate) fn read(&mut self) -> Result<Arc<ClusterKeys>, String> {
        let at = |path: &Path, error: &dyn ToString| {
            format!("{}: {}", path.display(), error.to_string())
        };
        let current = content(&self.current).map_err(|error| at(&self.current, &error))?;
        let former = match content(&self.former) {
            Ok(former) => Some(former),
            // A cluster whose key was never replaced.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(at(&self.former, &error)),
        };
        let read = (current, former);
        if let Some((_, keys)) = self.last.as_ref().filter(|(last, _)| *last == read) {
            return Ok(Arc::clone(keys));
        }
        let current = key(&read.0).map_err(|error| at(&self.current, &error))?;
        let former = read.1.as_ref().map(key).transpose();
        let former = former.map_err(|error| at(&self.former, &error))?;
        let keys = Arc::new(ClusterKeys::new(current, former));
        self.last = Some((read, Arc::clone(&keys)));
        Ok(keys)
    }
}

fn key(content: &Content) -> Result<DatedKey, pve_access::KeyError> {
    Ok(DatedKey { key: VerifyKey::from_pem(&content.text)?, changed: content.changed })
}

/// One byte more than a key may have, so that a longer file is none.
fn content(path: &Path) -> io::Result<Content> {
    let file = File::open(path)?;
    let changed = file.metadata()?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut text = String::new();
    file.take(MAX_PEM_BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(Content { text, changed: changed.as_secs() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pve_access::SigningKey;

    #[test]
    fn the_same_files_are_the_same_keys_and_what_is_half_written_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("authkey.pub");
        let mut files = KeyFiles::new(&path);
        assert!(files.read().unwrap_err().contains("authkey.pub: "));
        let pem = || SigningKey::generate().unwrap().verify_key().unwrap().to_pem();
        let first = pem();
        std::fs::write(&path, &first).unwrap();
        let keys = files.read().unwrap();
        assert_eq!(keys.count(), 1);
        assert!(Arc::ptr_eq(&keys, &files.read().unwrap()));
        std::fs::write(directory.path().join("authkey.pub.old"), &first).unwrap();
        std::fs::write(&path, pem()).unwrap();
        assert_eq!(files.read().unwrap().count(), 2);
        for bad in ["", "-----BEGIN PUBLIC KEY-----\n", &"A".repeat(MAX_PEM_BYTES + 1)] {
            std::fs::write(directory.path().join("authkey.pub.old"), bad).unwrap();
            assert!(files.read().unwrap_err().contains("authkey.pub.old: "), "{bad}");
        }
        std::fs::remove_file(directory.path().join("authkey.pub.old")).unwrap();
        assert_eq!(files.read().unwrap().count(), 1);
    }
}
