//! What the gate gives up before it reads its first byte from outside.
//!
//! Started as root, it takes the uid of its account ([`USER`], or [`FALLBACK_ID`] where there is
//! none), with the group www-data beside, which is what may read the certificates of Proxmox VE.
//! In each case it gives up every capability, the right to gain any, the files and ports it does
//! not need (Landlock) and the system calls it does not need (seccomp, [`calls`]). It reads what
//! www-data may read of the directories of its certificates and of the key of tickets, and nothing
//! below `/etc/pve/priv`.
//!
//! All of that is a thread's own in Linux, so it happens while there is one thread; those that
//! start later begin with it. A layer that can not be had is an error, unless
//! `gate.allow_degraded` names it.

mod belongings;
mod calls;
mod reach;
mod standing;

use std::io;
use std::path::PathBuf;

use process::Accounts;
use process::confine::{self, CapabilitySet};
use rustix::process::{geteuid, getgid, getgroups};
use secrets::private_file::FileError;
use thiserror::Error;

pub use calls::{Row, rows as call_rows};
pub use standing::{Layer, Standing};

use crate::config::Config;
use crate::session::{KeyError, Sealer};

/// The account that the gate takes when it is started as root, unless `gate.user` says another.
pub const USER: &str = "proxward";

/// User and group where there is no such account. No package of Debian and no range of systemd's
/// gives it to anybody (users: 1000 to 60000, dynamic services: from 61184 on, containers from
/// 524288 on).
pub const FALLBACK_ID: u32 = 60_871;

/// The group that may read the certificates of Proxmox VE, and pveproxy's own.
pub const GROUP: &str = "www-data";

/// Why the gate does not start.
#[derive(Debug, Error)]
pub enum ConfineError {
    /// There are other threads, which would keep what this one gives up. A bug.
    #[error("confinement: {0} threads run already, which would keep root's rights")]
    Threads(usize),
    /// A file that the gate's user needs can not be given to it.
    #[error("{}: {what}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong, with the remedy.
        what: String,
    },
    /// The state directory.
    #[error(transparent)]
    State(#[from] FileError),
    /// The key of stored sessions.
    #[error("gate.sessions.key: {0}")]
    Key(#[from] KeyError),
    /// A layer can not be had.
    #[error("confinement: {layer}: {why}; name {layer:?} in gate.allow_degraded to run without it", layer = layer.name())]
    Layer {
        /// Which.
        layer: Layer,
        /// What the system said.
        why: String,
    },
    /// The system.
    #[error("confinement: {0}")]
    Io(#[from] io::Error),
}

/// Gives up everything the gate does not need, for good. To be called with one thread, after the
/// sockets are bound and before [`start`](crate::start).
///
/// # Errors
/// [`ConfineError`]; what was given up by then stays given up.
pub fn confine(config: &mut Config, accounts: &Accounts) -> Result<(), ConfineError> {
    match confine::threads()? {
        1 => {}
        more => return Err(ConfineError::Threads(more)),
    }
    let mut standing = Standing::new(&config.allow_degraded);
    // Read as the user that was started, to whom it may belong (a systemd credential does).
    if let (Some(_), Some(path)) = (&config.state, &config.sessions.key) {
        config.sealer = Some(Sealer::load(path, false)?);
    }
    if let Some(store) = &mut config.store {
        store.read_password()?;
        store.destination.warm_up();
    }
    config.destination.warm_up();
    belongings::make(config)?;
    let reach = reach::of(config);
    let rules = calls::filter(&reach, !config.follow.is_empty());
    let root = geteuid().is_root();
    let (uid, gid) = accounts.ids(&config.user).unwrap_or((FALLBACK_ID, FALLBACK_ID));
    let groups: Vec<u32> = accounts.gid(GROUP).into_iter().collect();
    if root {
        belongings::give(config, uid, gid)?;
    }
    confine::no_new_privileges().map_err(io::Error::from)?;
    standing.apply(Layer::Landlock, reach.enforce())?;
    let none = CapabilitySet::empty();
    let say = |errno: rustix::io::Errno| errno.to_string();
    if root {
        standing.apply(Layer::Capabilities, confine::drop_bounding(none).map_err(say))?;
        let became = confine::become_user(uid, gid, &groups).map_err(say);
        if became.is_err() {
            // Without the capability to pass over that, root reads only what is root's.
            belongings::give(config, 0, 0)?;
        }
        standing.apply(Layer::User, became)?;
    }
    standing.apply(Layer::Capabilities, confine::drop_capabilities(none).map_err(say))?;
    confine::undumpable().map_err(io::Error::from)?;
    standing.apply(Layer::Seccomp, rules.and_then(confine::Filter::apply))?;
    belongings::reachable(config)?;
    standing.uid = geteuid().as_raw();
    standing.gid = getgid().as_raw();
    standing.groups = getgroups().unwrap_or_default().iter().map(|gid| gid.as_raw()).collect();
    config.standing = standing;
    Ok(())
}
