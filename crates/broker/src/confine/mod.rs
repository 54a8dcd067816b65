//! What a process gives up before it reads its first request.
//!
//! In this order: no new privileges, files and ports (Landlock), capabilities, system calls
//! (seccomp). A layer that the kernel does not have is an error unless the configuration names it
//! in `allow_degraded`.

mod calls;

use std::path::{Path, PathBuf};

use process::confine::{Reach, drop_capabilities, no_new_privileges};
use rustix::thread::CapabilitySet;

pub(crate) use calls::Calls;

use crate::config::Layer;

/// What is left.
#[derive(Clone, Debug)]
pub(crate) struct Confinement {
    pub(crate) capabilities: CapabilitySet,
    pub(crate) reach: Reach,
    pub(crate) calls: Calls,
    /// Whether files and ports are restricted at all.
    pub(crate) landlock: bool,
}

impl Default for Confinement {
    /// Nothing.
    fn default() -> Self {
        Self {
            capabilities: CapabilitySet::empty(),
            reach: Reach::default(),
            calls: Calls::Read,
            landlock: true,
        }
    }
}

/// Why a process could not be confined.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfineError {
    #[error("capabilities can not be given up: {0}")]
    Capabilities(#[from] rustix::io::Errno),
    #[error("Landlock: {0}; boot a kernel with it, or name landlock in broker.allow_degraded")]
    Landlock(String),
    #[error("seccomp: {0}; boot a kernel with it, or name seccomp in broker.allow_degraded")]
    Seccomp(String),
}

/// Confines this process for the rest of its life. It must have one thread.
pub(crate) fn confine(wanted: &Confinement, degraded: &[Layer]) -> Result<(), ConfineError> {
    no_new_privileges()?;
    let missing = |layer: Layer, done: Result<(), ConfineError>| match done {
        Err(error) if degraded.contains(&layer) => {
            tracing::warn!(%error, "weaker confinement, as the configuration allows");
            Ok(())
        }
        done => done,
    };
    if wanted.landlock {
        missing(Layer::Landlock, wanted.reach.enforce().map_err(ConfineError::Landlock))?;
    }
    drop_capabilities(wanted.capabilities)?;
    missing(Layer::Seccomp, wanted.calls.apply().map_err(ConfineError::Seccomp))
}

/// The paths of a list as they are on this host.
pub(crate) fn paths(root: &Path, list: &[&str]) -> Vec<PathBuf> {
    list.iter().map(|path| root.join(path.trim_start_matches('/'))).collect()
}
