//! Whether the access lists have changed, from the counters that the cluster file system keeps
//! in `/etc/pve/.version`. Changes by other nodes do not show as file events there, so the file
//! is read once a second, by a thread of its own: it is a network file system that may hang. The
//! same thread looks at the files of certificates and at the key of tickets, which usually lie there
//! too.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::certificates::Renewal;
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
    thread: JoinHandle<()>,
}

/// What tells one state of `user.cfg` from the next. The counters begin anew when the file
/// system is started.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
struct Version {
    starttime: u64,
    #[serde(rename = "user.cfg")]
    user_cfg: u64,
}

impl Watch {
    /// Watches `path` for as long as it lives. Without such a file nothing is ever noticed, and
    /// what is kept is only as old as it may be anyway.
    /// Certificates are looked at as often as `certificates` says, the key of tickets as often as
    /// `path`.
    pub(crate) fn start(
        path: PathBuf,
        certificates: Duration,
        mut ticket_key: Option<KeyFiles>,
        shared: &Arc<Shared>,
    ) -> std::io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        // Stuck in the file system, the thread must not keep what others wait for.
        let shared = Arc::downgrade(shared);
        let thread = thread::Builder::new().name("watch".to_owned()).spawn(move || {
            let mut last = read(&path);
            let (mut renewal, mut looked) = (Renewal::default(), None);
            while !end.load(Ordering::Relaxed) {
                if looked.is_none_or(|at: Instant| at.elapsed() >= certificates) {
                    looked = Some(Instant::now());
                    let Some(()) = renewal.look(&shared) else { return };
                }
                thread::park_timeout(EVERY.min(certificates));
                let (now, began) = (read(&path), shared.upgrade().map(|it| it.clock.monotonic()));
                let keys = ticket_key.as_mut().map(KeyFiles::read);
                let Some(shared) = shared.upgrade() else { return };
                if let (Some(keys), Some(began)) = (keys, began) {
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
            }
        })?;
        Ok(Self { ended, thread })
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
    std::fs::File::open(path).ok()?.take(FILE_BYTES).read_to_end(&mut text).ok()?;
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
