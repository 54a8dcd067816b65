//! What a process gives up before it reads its first request.
//!
//! In this order: no new privileges, files and ports (Landlock), capabilities, system calls
//! (seccomp). A layer that the kernel does not have is an error unless the configuration names it
//! in `allow_degraded`.

mod calls;

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, NetPort,
    PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

pub(crate) use calls::Calls;

use crate::config::Layer;

/// What is left.
#[derive(Clone, Debug)]
pub(crate) struct Confinement {
    pub(crate) capabilities: CapabilitySet,
    /// Below these, files may be read and directories listed. What is not there is left out.
    pub(crate) read: Vec<PathBuf>,
    /// Below these, files may be changed too; devices may be told things.
    pub(crate) write: Vec<PathBuf>,
    /// These may be executed, and read.
    pub(crate) execute: Vec<PathBuf>,
    /// Ports that may be connected to.
    pub(crate) connect: Vec<u16>,
    pub(crate) calls: Calls,
    /// Whether files and ports are restricted at all.
    pub(crate) landlock: bool,
}

impl Default for Confinement {
    /// Nothing.
    fn default() -> Self {
        Self {
            capabilities: CapabilitySet::empty(),
            read: Vec::new(),
            write: Vec::new(),
            execute: Vec::new(),
            connect: Vec::new(),
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
    set_no_new_privs(true)?;
    let missing = |layer: Layer, done: Result<(), ConfineError>| match done {
        Err(error) if degraded.contains(&layer) => {
            tracing::warn!(%error, "weaker confinement, as the configuration allows");
            Ok(())
        }
        done => done,
    };
    if wanted.landlock {
        missing(Layer::Landlock, restrict_files(wanted).map_err(ConfineError::Landlock))?;
    }
    drop_capabilities(wanted.capabilities)?;
    missing(Layer::Seccomp, wanted.calls.apply().map_err(ConfineError::Seccomp))
}

/// Everything but `kept`; and what is not in the bounding set can not come back by executing.
fn drop_capabilities(kept: CapabilitySet) -> Result<(), ConfineError> {
    for one in CapabilitySet::all().iter() {
        let known = capability_is_in_bounding_set(one).unwrap_or(false);
        // Without CAP_SETPCAP there is nothing to take away from either.
        if known && !kept.contains(one) && rustix::process::geteuid().is_root() {
            remove_capability_from_bounding_set(one)?;
        }
    }
    if rustix::process::geteuid().is_root() {
        let now = rustix::thread::capabilities(None)?;
        let kept = kept & now.permitted;
        let inheritable = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable })?;
    }
    Ok(())
}

fn restrict_files(wanted: &Confinement) -> Result<(), String> {
    // Truncation, ioctl on devices and scopes are handled where the kernel can.
    const NEWEST: ABI = ABI::V6;
    let say = |error: &dyn std::fmt::Display| error.to_string();
    let everything = AccessFs::from_all(NEWEST);
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(everything)
        .and_then(|rules| rules.handle_access(AccessNet::from_all(NEWEST)))
        .and_then(|rules| rules.scope(Scope::AbstractUnixSocket | Scope::Signal))
        .and_then(Ruleset::create)
        .map_err(|error| say(&error))?;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = everything & !AccessFs::Execute & !make_special();
    let execute = read | AccessFs::Execute;
    let groups = [(&wanted.read, read), (&wanted.write, write), (&wanted.execute, execute)];
    for (paths, access) in groups {
        for path in paths {
            let Ok(fd) = PathFd::new(path) else { continue };
            let access = if path.is_dir() { access } else { access & AccessFs::from_file(NEWEST) };
            let rule = PathBeneath::new(fd, access);
            rules = rules.add_rule(rule).map_err(|error| say(&error))?;
        }
    }
    for port in &wanted.connect {
        let rule = NetPort::new(*port, AccessNet::ConnectTcp);
        rules = rules.add_rule(rule).map_err(|error| say(&error))?;
    }
    let status = rules.restrict_self().map_err(|error| say(&error))?;
    match status.ruleset {
        RulesetStatus::NotEnforced => Err("the kernel does not have it".to_owned()),
        _ => Ok(()),
    }
}

/// Devices, sockets and pipes are made by nobody here.
fn make_special() -> BitFlags<AccessFs> {
    AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::MakeSock | AccessFs::MakeFifo
}

/// The paths of a list as they are on this host.
pub(crate) fn paths(root: &Path, list: &[&str]) -> Vec<PathBuf> {
    list.iter().map(|path| root.join(path.trim_start_matches('/'))).collect()
}
