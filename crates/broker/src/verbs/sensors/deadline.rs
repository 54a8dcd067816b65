//! Files that may hang: read in a thread that is left behind when it does.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::limits::{STUCK_READERS, SYS_FILE};

/// How long a file that hung is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(60);

/// Files that are remembered to have hung.
const HUNG: usize = 256;

/// Reads files, each within the same time.
pub(crate) struct DeadlineFiles {
    within: Duration,
    reader: Option<Reader>,
    stuck: Arc<AtomicUsize>,
    hung: HashMap<PathBuf, Instant>,
}

struct Reader {
    ask: SyncSender<PathBuf>,
    answer: Receiver<io::Result<String>>,
}

/// Why a file has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It did not answer in time, now or a moment ago.
    TimedOut,
    /// Too many files hang.
    Stuck,
    /// The driver's own error: EIO, ENODATA, EAGAIN, ENXIO are everyday ones.
    Errno(i32),
    /// Not text, or none.
    Other,
}

impl DeadlineFiles {
    pub(crate) fn new(within: Duration) -> Self {
        let (stuck, hung) = (Arc::default(), HashMap::new());
        Self { within, reader: None, stuck, hung }
    }

    /// The text of a small file, without blanks around it.
    pub(crate) fn read(&mut self, path: &Path) -> Result<String, Fault> {
        self.hung.retain(|_, at| at.elapsed() < LEFT_ALONE);
        if self.hung.contains_key(path) {
            return Err(Fault::TimedOut);
        }
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.start()?,
        };
        if reader.ask.send(path.to_owned()).is_err() {
            return Err(Fault::Other);
        }
        match reader.answer.recv_timeout(self.within) {
            Ok(answer) => {
                self.reader = Some(reader);
                match answer {
                    Ok(text) => Ok(text.trim().to_owned()),
                    Err(error) => Err(error.raw_os_error().map_or(Fault::Other, Fault::Errno)),
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                // The thread ends when the driver lets it go; nobody waits for it.
                if self.hung.len() < HUNG {
                    self.hung.insert(path.to_owned(), Instant::now());
                }
                Err(Fault::TimedOut)
            }
            Err(RecvTimeoutError::Disconnected) => Err(Fault::Other),
        }
    }

    fn start(&self) -> Result<Reader, Fault> {
        if self.stuck.load(Ordering::Acquire) >= STUCK_READERS {
            return Err(Fault::Stuck);
        }
        let (ask, asked) = sync_channel::<PathBuf>(1);
        let (answers, answer) = sync_channel(1);
        let running = Running(Arc::clone(&self.stuck));
        running.0.fetch_add(1, Ordering::AcqRel);
        let thread = thread::Builder::new().name("sensor".to_owned()).stack_size(128 * 1024);
        let spawned = thread.spawn(move || {
            let _running = running;
            while let Ok(path) = asked.recv() {
                if answers.send(read(&path)).is_err() {
                    return;
                }
            }
        });
        spawned.map(|_| Reader { ask, answer }).map_err(|_| Fault::Other)
    }
}

/// Counts threads that live, the one in use and those that hang.
struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let limit = u64::try_from(SYS_FILE).unwrap_or(u64::MAX);
    File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn a_file_that_hangs_costs_its_time_once() {
        let dir = tempfile::tempdir().unwrap();
        let good = dir.path().join("good");
        std::fs::write(&good, "42\n").unwrap();
        let mut files = DeadlineFiles::new(Duration::from_millis(30));
        assert_eq!(files.read(&good).as_deref(), Ok("42"));
        let missing = files.read(&dir.path().join("missing"));
        assert_eq!(missing, Err(Fault::Errno(libc::ENOENT)));
        // Opening a FIFO waits for a writer, as a driver waits for its hardware.
        let fifos: Vec<PathBuf> =
            (0..=STUCK_READERS).map(|n| dir.path().join(format!("fifo{n}"))).collect();
        for fifo in &fifos {
            let name = std::ffi::CString::new(fifo.as_os_str().as_bytes()).unwrap();
            rustix::fs::mknodat(
                rustix::fs::CWD,
                &name,
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::RUSR,
                0,
            )
            .unwrap();
        }
        assert_eq!(files.read(&fifos[0]), Err(Fault::TimedOut));
        assert_eq!(files.read(&good).as_deref(), Ok("42"), "the others go on");
        assert_eq!(files.read(&fifos[0]), Err(Fault::TimedOut));
        assert_eq!(files.stuck.load(Ordering::Acquire), 2, "the second time it was not asked");
        for fifo in &fifos[1..STUCK_READERS] {
            assert_eq!(files.read(fifo), Err(Fault::TimedOut));
        }
        assert_eq!(files.read(&fifos[STUCK_READERS]), Err(Fault::Stuck));
        // Let them go.
        for fifo in &fifos[..STUCK_READERS] {
            drop(File::options().read(true).write(true).open(fifo));
        }
    }
}
