//! What a process gives up for the rest of its life, layer by layer.
//!
//! Each function confines the thread that calls it and all it will start, so a program calls
//! them while it has one thread ([`threads`] counts). A layer that the kernel lacks is an error
//! here; whether one may go on without it is the caller's decision.

mod filter;
mod rights;

use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, NetPort,
    PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
};

pub use filter::Filter;
pub use rights::{
    become_user, drop_bounding, drop_capabilities, no_new_privileges, threads, undumpable,
};
pub use rustix::thread::CapabilitySet;

/// Files and ports that stay within reach (Landlock).
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Below these, files may be read and directories listed. What is not there is left out.
    pub read: Vec<PathBuf>,
    /// Below these, files may be changed too; devices may be told things.
    pub write: Vec<PathBuf>,
    /// Below these, as with `write`, and unix sockets may be bound.
    pub sockets: Vec<PathBuf>,
    /// These may be executed, and read.
    pub execute: Vec<PathBuf>,
    /// TCP ports that may be connected to.
    pub connect: Vec<u16>,
    /// TCP ports that may be bound.
    pub bind: Vec<u16>,
}

impl Reach {
    /// Takes everything else out of reach: other files, other TCP ports, signals to processes
    /// outside and abstract unix sockets of theirs. What is open already stays open.
    ///
    /// # Errors
    /// What the kernel lacks or refuses, as a text.
    pub fn enforce(&self) -> Result<(), String> {
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
        let sockets = write | AccessFs::MakeSock;
        let groups = [
            (&self.read, read),
            (&self.write, write),
            (&self.sockets, sockets),
            (&self.execute, execute),
        ];
        for (paths, access) in groups {
            for path in paths {
                let Ok(fd) = PathFd::new(path) else { continue };
                let file = access & AccessFs::from_file(NEWEST);
                let access = if path.is_dir() { access } else { file };
                let rule = PathBeneath::new(fd, access);
                rules = rules.add_rule(rule).map_err(|error| say(&error))?;
            }
        }
        let connect = self.connect.iter().map(|port| (port, AccessNet::ConnectTcp));
        let bind = self.bind.iter().map(|port| (port, AccessNet::BindTcp));
        for (port, access) in connect.chain(bind) {
            let rule = NetPort::new(*port, access);
            rules = rules.add_rule(rule).map_err(|error| say(&error))?;
        }
        let status = rules.restrict_self().map_err(|error| say(&error))?;
        match status.ruleset {
            RulesetStatus::NotEnforced => Err("the kernel does not have it".to_owned()),
            _ => Ok(()),
        }
    }
}

/// Devices and pipes are made by nobody, sockets only where it is said.
fn make_special() -> BitFlags<AccessFs> {
    AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::MakeSock | AccessFs::MakeFifo
}
