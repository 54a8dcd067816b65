//! Denials as lines of a file.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Mutex;

use cell::Denial;
use serde_json::json;
use telemetry::{Clock, Rfc3339};

use crate::exit::{Stop, file_fault};

/// Where denials are written.
pub(crate) struct AuditFile {
    clock: Clock,
    to: Mutex<Box<dyn Write + Send>>,
}

impl AuditFile {
    /// Appends to a file, made for its owner alone; `-` is stderr.
    pub(crate) fn open(path: &Path, clock: Clock) -> Result<Self, Stop> {
        let to: Box<dyn Write + Send> = if path == Path::new("-") {
            Box::new(std::io::stderr())
        } else {
            Box::new(create(path).map_err(|error| file_fault(path, &error))?)
        };
        Ok(Self { clock, to: Mutex::new(to) })
    }

    /// One line. A full disk must not end what is confined, so it is not an error here.
    pub(crate) fn record(&self, denial: &Denial) {
        let line = json!({
            "time": Rfc3339(self.clock.unix()).to_string(),
            "event": "denied",
            "cell": denial.cell,
            "rule": denial.rule,
            "what": secrets::mask::text(&denial.what),
        });
        let mut to = self.to.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = to.write_all(format!("{line}\n").as_bytes());
    }
}

fn create(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}
