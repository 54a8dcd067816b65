//! Snapshots: what a file was before it was replaced, and until when a change is on trial.

use std::path::{Path, PathBuf};

use broker_api::Refusal;
use secrets::private_file;
use serde::{Deserialize, Serialize};

use super::failed;
use crate::limits::SNAPSHOTS;

/// Largest file of a snapshot: its content with every byte escaped.
const FILE: usize = broker_api::limits::FILE_CONTENT * 6 + 4096;

/// One file before a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Snapshot {
    pub(super) id: String,
    pub(super) root: String,
    pub(super) path: String,
    /// `None` when there was no file.
    pub(super) content: Option<String>,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Put back then (since 1970, milliseconds), unless confirmed.
    pub(super) lease_until_ms: Option<u64>,
}

/// A directory of them, one file each.
pub(super) struct Snapshots {
    folder: PathBuf,
}

/// 32 hexadecimal characters.
pub(super) fn fresh_id() -> std::io::Result<String> {
    Ok(secrets::random::hex()?.expose().clone())
}

/// Whether changes are on trial, for who starts the worker.
pub(crate) fn pending(folder: &Path) -> bool {
    let snapshots = Snapshots { folder: folder.to_owned() };
    !snapshots.leases().is_empty()
}

impl Snapshots {
    pub(super) fn open(folder: &Path) -> Result<Self, String> {
        private_file::create_dir(folder).map_err(|error| error.to_string())?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Keeps one; beyond the limit of its root the oldest that is not on trial goes.
    pub(super) fn keep(&self, snapshot: &Snapshot) -> Result<(), Refusal> {
        let mut own: Vec<PathBuf> =
            self.files().filter(|path| self.is_of(path, &snapshot.root)).collect();
        if own.len() >= SNAPSHOTS {
            own.sort_by_key(|path| path.metadata().and_then(|meta| meta.modified()).ok());
            let old = own.iter().find(|path| read(path).is_none_or(|s| s.lease_until_ms.is_none()));
            if let Some(old) = old {
                std::fs::remove_file(old).map_err(failed)?;
            }
        }
        let text = serde_json::to_string(snapshot).map_err(failed)?;
        private_file::write(&self.path(&snapshot.root, &snapshot.id), text.as_bytes())
            .map_err(failed)
    }

    /// Ends the trial; the snapshot stays.
    pub(super) fn release(&self, snapshot: &Snapshot) -> Result<(), Refusal> {
        let released = Snapshot { lease_until_ms: None, ..snapshot.clone() };
        let text = serde_json::to_string(&released).map_err(failed)?;
        private_file::write(&self.path(&snapshot.root, &snapshot.id), text.as_bytes())
            .map_err(failed)
    }

    pub(super) fn find(&self, root: &str, id: &str) -> Option<Snapshot> {
        let sound = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
        sound.then(|| read(&self.path(root, id))).flatten()
    }

    /// Those on trial.
    pub(super) fn leases(&self) -> Vec<Snapshot> {
        self.files().filter_map(|path| read(&path)).filter(|s| s.lease_until_ms.is_some()).collect()
    }

    fn files(&self) -> impl Iterator<Item = PathBuf> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        paths.filter(|path| path.extension().is_some_and(|end| end == "snapshot"))
    }

    fn is_of(&self, path: &Path, root: &str) -> bool {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.strip_prefix(root).is_some_and(|rest| rest.starts_with('.')))
    }

    fn path(&self, root: &str, id: &str) -> PathBuf {
        self.folder.join(format!("{root}.{id}.snapshot"))
    }
}

fn read(path: &Path) -> Option<Snapshot> {
    let bytes = private_file::read(path, FILE).ok()?;
    serde_json::from_slice(bytes.expose()).ok()
}
