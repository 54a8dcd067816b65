//! The gate in front of this node's pveproxy, and out of there again.
//!
//! pveproxy's port is fixed, so it is told to listen on 127.0.0.1 alone (`LISTEN_IP` in
//! `/etc/default/pveproxy`, the administrator's own file, which is kept byte by byte) and the
//! gate takes the port on every other address.
//!
//! Nothing is changed before the journal says what there was before. Every step after that can
//! be done twice, so whoever is killed in the middle is finished by the next `install` or undone
//! by `remove`. An installation whose gate does not answer is undone at once.

mod defaults;
mod files;
mod journal;
mod steps;

use std::path::{Path, PathBuf};
use std::time::Duration;

use process::{RunError, Spec, run};
use thiserror::Error;

pub use steps::{Outcome, install, plan, remove};

/// Where things are below the root.
const DEFAULTS: &str = "etc/default/pveproxy";
const CONFIG: &str = "etc/proxward/proxward.toml";
/// The administrator's copy, which the gate reads in the place of the original.
const SAVED: &str = "etc/proxward/pveproxy.saved";
const JOURNAL: &str = "var/lib/proxward/install.json";
const STATE: &str = "var/lib/proxward/gate";
const UNITS: &str = "etc/systemd/system";

/// What a command of the system may take. pveproxy waits for its workers when it restarts.
const COMMAND_TIME: Duration = Duration::from_secs(90);
const COMMAND_OUTPUT: usize = 64 * 1024;

/// How long the gate has to answer after it was started.
const ANSWER_TIME: Duration = Duration::from_secs(20);
const ANSWER_PAUSE: Duration = Duration::from_millis(100);

/// Where to install.
#[derive(Clone, Debug)]
pub struct Place {
    /// `/`, or a tree that stands for it. Programs are taken from it too, so that a tree that is
    /// no system brings its own.
    pub root: PathBuf,
    /// Whether the port goes back to pveproxy when the gate can not be started.
    pub fallback: bool,
}

/// Why the gate is not installed, or not removed.
#[derive(Debug, Error)]
pub enum InstallError {
    /// A file.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The journal is none.
    #[error("{}: {what}; an installation was begun that can not be read any more: compare pveproxy's defaults with the saved copy by hand, then remove this file", path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// There is no pveproxy here.
    #[error("{}: not there; the gate is installed on a node of Proxmox VE", .0.display())]
    NoNode(PathBuf),
    /// A program could not be run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A program said no.
    #[error("{command}: {how}: {said}")]
    Command {
        /// The program and its words.
        command: String,
        /// `exit 1`.
        how: String,
        /// Its last line.
        said: String,
    },
    /// The gate was started and does not answer.
    #[error("the gate does not answer: {0}; everything is as it was before")]
    Silent(String),
    /// The same, and it could not be undone.
    #[error("{cause}; and undoing it failed: {undo}; run proxward gate remove")]
    Undo {
        /// Why it had to be undone.
        cause: Box<InstallError>,
        /// Why that failed.
        undo: Box<InstallError>,
    },
}

impl Place {
    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Runs a program of the system.
    fn command(&self, program: &str, words: &[&str]) -> Result<(), InstallError> {
        let path = self.root.join("usr/bin").join(program);
        let arguments: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let finished = run(&Spec {
            program: &path,
            arguments: &arguments,
            environment: &[("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LC_ALL", "C.UTF-8")],
            output_bytes: COMMAND_OUTPUT,
            time: COMMAND_TIME,
        })?;
        if finished.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&finished.stderr);
        Err(InstallError::Command {
            command: format!("{program} {}", words.join(" ")),
            how: finished.how(),
            said: said.lines().last().unwrap_or("nothing said").to_owned(),
        })
    }
}

fn file_error(path: &Path) -> impl FnOnce(std::io::Error) -> InstallError {
    let path = path.to_owned();
    move |source| InstallError::File { path, source }
}
