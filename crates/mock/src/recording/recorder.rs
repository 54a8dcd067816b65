//! Writes exchanges to a file, from a thread of its own: a disk may take its time, and the mock's
//! one thread serves all connections.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::thread::JoinHandle;

use serde_json::json;
use tokio::sync::mpsc;

use super::{Exchange, VERSION, VERSION_KEY};
use crate::document::{FileError, Place};
use crate::limits::{RECORD_FILE_BYTES, RECORD_LINE_BYTES, RECORD_QUEUE};

/// An open recording. Dropping it waits until all is written.
#[derive(Debug)]
pub(crate) struct Recorder {
    sender: Option<mpsc::Sender<String>>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Makes the file, with mode 0600; `source` says where the answers come from.
    pub(crate) fn create(path: &Path, source: &str) -> Result<Self, FileError> {
        let place = Place::file(&path.display().to_string());
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|error| {
            let remedy = match error.kind() {
                std::io::ErrorKind::AlreadyExists => "remove it, or name another",
                _ => "name a file that can be made",
            };
            place.refused(format!("the recording can not be made: {error}"), remedy)
        })?;
        let (sender, lines) = mpsc::channel(RECORD_QUEUE);
        let head = json!({ VERSION_KEY: VERSION, "source": source }).to_string();
        let started = std::thread::Builder::new()
            .name("recording".to_owned())
            .spawn(move || write(file, &head, lines));
        let thread = started.map_err(|error| place.refused(error.to_string(), "try again"))?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    /// Queues one exchange; waits while the queue is full.
    pub(crate) async fn record(&self, exchange: &Exchange) {
        let Some(sender) = &self.sender else { return };
        match serde_json::to_string(exchange) {
            Ok(line) if line.len() < RECORD_LINE_BYTES => drop(sender.send(line).await),
            Ok(line) => tracing::warn!(
                bytes = line.len(),
                limit = RECORD_LINE_BYTES,
                "an exchange is too long and is not recorded"
            ),
            Err(error) => tracing::warn!(%error, "an exchange is not recorded"),
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the recording has panicked");
        }
    }
}

/// A line is written at once: what was recorded is there even when the program is killed.
fn write(mut file: File, head: &str, mut lines: mpsc::Receiver<String>) {
    let mut left = RECORD_FILE_BYTES;
    let mut next = Some(head.to_owned());
    while let Some(mut line) = next {
        line.push('\n');
        let Some(after) = left.checked_sub(line.len()) else {
            tracing::error!(limit = RECORD_FILE_BYTES, "the recording is full and ends here");
            return;
        };
        if let Err(error) = file.write_all(line.as_bytes()) {
            tracing::error!(%error, "the recording can not be written and ends here");
            return;
        }
        left = after;
        next = lines.blocking_recv();
    }
}
