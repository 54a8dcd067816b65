//! Whether the access lists have changed, from the counters that the cluster file system keeps
//! in `/etc/pve/.version`. Changes by other nodes do not show as file events there, so the file
//! is read once a second, by a thread of its own: it is a network file system that may hang. The
//! same thread looks at the files of certificates and at the key of tickets, which usually lie there
//! too.
//!
//! When the cluster file system is started anew, another one is mounted in its place, on which the
//! gate has no right: what it may read was fixed when it confined itself. Nothing breaks at once
//! (permissions are asked for more often, a renewed certificate is not seen), and only another
//! process can have the new one. So it is said in the log and the metrics, and the wish for a
//! successor is left in a file that systemd waits for (`proxward-gate-successor.path`).

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use tracing::{error, warn};

use crate::certificates::{Renewal, TlsFiles};
use crate::limits::SUCCESSOR_WISH;
use crate::sharing::Sharing;
use crate::tickets::KeyFiles;
use crate::worker::Shared;

/// How often the file is read.
const EVERY: Duration = Duration::from_secs(1);

/// Bytes of the file that are read: the genuine one has about 2 KB.
const FILE_BYTES: u64 = 64 * 1024;

/// The thread. Dropping it tells it to end, without waiting: it may be stuck in the file system.
#[derive(Debug)]
pub(crate) struct Watch {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Option<()>>,
}

/// What is watched.
#[derive(Debug)]
pub(crate) struct Watched {
    /// `/etc/pve/.version`. Without such a file nothing is ever noticed, and what is kept is only
    /// as old as it may be anyway.
    pub(crate) version: PathBuf,
    /// How often certificates are looked at.
    pub(crate) certificates: Duration,
    /// The key of tickets, looked at as often as `version`.
    pub(crate) ticket_key: Option<KeyFiles>,
    /// Where the wish for a successor is written.
    pub(crate) wish: Option<PathBuf>,
}

/// What is wrong with files, as far as it has been seen.
#[derive(Debug, Default)]
pub(crate) struct FilesStanding {
    /// Why the certificate files are not shown as they are now.
    refused: Mutex<Option<String>>,
    /// A file that the gate must not read any more.
    out_of_reach: Mutex<Option<PathBuf>>,
}

/// Files that could be read at the start.
#[derive(Debug)]
struct Readable(Vec<PathBuf>);

/// What tells one state of `user.cfg` from the next. The counters begin anew when the file
/// system is started.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
struct Version {
    starttime: u64,
    #[serde(rename = "user.cfg")]
    user_cfg: u64,
}

impl Watch {
    /// Watches for as long as it lives.
    pub(crate) fn start(mut watched: Watched, shared: &Arc<Shared>) -> std::io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        // Stuck in the file system, the thread must not keep what others wait for.
        let shared = Arc::downgrade(shared);
        let thread = thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || watch(&mut watched, &shared, &end))?;
        Ok(Self { ended, thread })
    }
}

/// Returns when the gate has ended.
fn watch(watched: &mut Watched, gate: &Weak<Shared>, ended: &AtomicBool) -> Option<()> {
    let mut last = read(&watched.version);
    let readable = Readable::of(watched, gate)?;
    let (mut renewal, mut looked, mut wished) = (Renewal::default(), None, None);
    if let Some(wish) = &watched.wish {
        // A predecessor's, who has what it wished for.
        let _ = std::fs::remove_file(wish);
    }
    while !ended.load(Ordering::Relaxed) {
        if looked.is_none_or(|at: Instant| at.elapsed() >= watched.certificates) {
            looked = Some(Instant::now());
            renewal.look(gate)?;
        }
        thread::park_timeout(EVERY.min(watched.certificates));
        let (now, began) = (read(&watched.version), gate.upgrade()?.clock.monotonic());
        let keys = watched.ticket_key.as_mut().map(KeyFiles::read);
        let lost = readable.lost();
        let shared = gate.upgrade()?;
        if let Some(keys) = keys {
            shared.tickets.found(keys, began);
        }
        // For its line in the log: a request would see to it, too.
        shared.policy.generation(shared.clock.monotonic());
        if now != last {
            last = now;
            shared.permissions.clear();
            shared.policy.reread();
            shared.sharing.iter().for_each(Sharing::changed);
        }
        if let Some(file) = lost
            && wished.is_none_or(|at: Instant| at.elapsed() >= SUCCESSOR_WISH)
        {
            wished = Some(Instant::now());
            ask_for_a_successor(file, watched.wish.as_deref(), &shared);
        }
    }
    Some(())
}

/// Asked for again and again: one that came may have failed.
fn ask_for_a_successor(file: &Path, wish: Option<&Path>, shared: &Shared) {
    warn!(
        file = %file.display(),
        "out of reach, as after a mount: only a successor may read it; systemctl reload \
         proxward-gate, or proxward gate --takeover"
    );
    let text = format!("{} is out of reach\n", file.display());
    if let Some(Err(error)) = wish.map(|wish| std::fs::write(wish, text)) {
        error!(%error, "the wish for a successor can not be written");
    }
    shared.metrics.successor_wanted();
    let mut out_of_reach = shared.files.out_of_reach.lock().unwrap_or_else(PoisonError::into_inner);
    *out_of_reach = Some(file.to_owned());
}

impl Readable {
    fn of(watched: &Watched, gate: &Weak<Shared>) -> Option<Self> {
        let live = gate.upgrade()?.live.newest();
        let files = live.files.iter().flat_map(TlsFiles::paths);
        let files = files.chain([watched.version.as_path()]);
        Some(Self(files.filter(|file| File::open(file).is_ok()).map(Path::to_owned).collect()))
    }

    /// One that is there and must not be read any more. (Its device number tells nothing: the next
    /// file system gets that of the one before.)
    fn lost(&self) -> Option<&Path> {
        let denied = |file: &&PathBuf| {
            File::open(file).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
        };
        self.0.iter().find(denied).map(PathBuf::as_path)
    }
}

impl FilesStanding {
    pub(crate) fn refuse(&self, why: Option<String>) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Files are out of reach until another process takes over.
    pub(crate) fn wants_successor(&self) -> bool {
        self.out_of_reach.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// `{"refused":WHY,"out_of_reach":FILE}`, each null where all is well.
    pub(crate) fn json(&self) -> Value {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let out_of_reach = self.out_of_reach.lock().unwrap_or_else(PoisonError::into_inner);
        json!({ "refused": *refused, "out_of_reach": *out_of_reach })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
    }
}

/// None when there is no such file, or it is something else.
fn read(path: &Path) -> Option<Version> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(FILE_BYTES).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::{Version, read};

    #[test]
    fn the_counter_of_user_cfg_and_the_start() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".version");
        assert_eq!(read(&path), None);
        let text = r#"{"starttime":1763650000,"clinfo":5,"vmlist":9,"user.cfg":3,"kvstore":{}}"#;
        std::fs::write(&path, text).unwrap();
        assert_eq!(read(&path), Some(Version { starttime: 1_763_650_000, user_cfg: 3 }));
        std::fs::write(&path, "[]").unwrap();
        assert_eq!(read(&path), None);
    }
}
