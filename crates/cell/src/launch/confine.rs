//! Capabilities, executable memory, Landlock.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::step::{At as _, Failure};
use crate::blueprint::{Blueprint, Kind};
use crate::layer::Layer;
use crate::sys::landlock::{self, RulesetAttr};

/// Empties the set that limits what an executed file could give.
pub(super) fn drop_bounding_set() -> rustix::io::Result<()> {
    rustix::thread::clear_ambient_capability_set()?;
    // Bit by bit until the kernel knows no such capability.
    for bit in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        match rustix::thread::remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Keeps only these capabilities.
pub(super) fn drop_capabilities(keep: CapabilitySet) -> rustix::io::Result<()> {
    let inheritable = CapabilitySet::empty();
    let sets = CapabilitySets { effective: keep, permitted: keep, inheritable };
    rustix::thread::set_capabilities(None, sets)
}

/// From now on no memory becomes executable that was writable (Linux 6.3).
pub(super) fn refuse_new_code() -> rustix::io::Result<()> {
    crate::sys::process::refuse_write_then_execute()
}

// LANDLOCK_ACCESS_FS_* of linux/landlock.h.
const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const REMOVE_DIR: u64 = 1 << 4;
const REMOVE_FILE: u64 = 1 << 5;
const MAKE_DIR: u64 = 1 << 7;
const MAKE_REG: u64 = 1 << 8;
const MAKE_SYM: u64 = 1 << 12;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
/// Abstract unix sockets and signals stay within.
const SCOPES: u64 = 0b11;

/// What may be done in a writable tree: everything but executing and making devices, sockets and
/// pipes.
const WRITABLE: u64 = READ_FILE
    | READ_DIR
    | WRITE_FILE
    | REMOVE_DIR
    | REMOVE_FILE
    | MAKE_DIR
    | MAKE_REG
    | MAKE_SYM
    | REFER
    | TRUNCATE;

/// The second wall around files: what is not named here is out of reach even if a mount held it.
pub(super) fn landlock(blueprint: &Blueprint) -> Result<(), Failure> {
    let abi = landlock::abi();
    // Rights that exist, and so are handled, by ABI.
    let (rights, size) = match abi {
        0 => {
            return Err(Failure::new(
                Layer::Landlock,
                "the kernel has none, or it is not in its list of security modules (lsm=)",
            ));
        }
        1 => ((1 << 13) - 1, 8),
        2 => ((1 << 14) - 1, 8),
        3 => ((1 << 15) - 1, 8),
        4 => ((1 << 15) - 1, 16),
        5 => ((1 << 16) - 1, 16),
        _ => ((1 << 16) - 1, 24),
    };
    let scoped = if abi >= 6 { SCOPES } else { 0 };
    let attr = RulesetAttr { handled_access_fs: rights, handled_access_net: 0, scoped };
    let ruleset = landlock::create(&attr, size).at(Layer::Landlock, "make a ruleset")?;
    let allow = |path: &str, access: u64| {
        let fd = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .at(Layer::Landlock, format_args!("open {path}"))?;
        landlock::allow_beneath(&ruleset, std::os::fd::AsFd::as_fd(&fd), access & rights)
            .at(Layer::Landlock, format_args!("allow {path}"))
    };
    for file in &blueprint.files {
        let access = match file.kind {
            Kind::Program => READ_FILE | EXECUTE,
            Kind::Library | Kind::Data | Kind::Addon => READ_FILE,
            Kind::DataDirectory => READ_FILE | READ_DIR,
        };
        allow(&file.target, access)?;
    }
    let read_only = blueprint.directory.read_only;
    allow("/cell", if read_only { READ_FILE | READ_DIR } else { WRITABLE })?;
    allow("/cell/scratch", WRITABLE)?;
    allow("/etc", READ_FILE | READ_DIR)?;
    allow("/dev", READ_DIR)?;
    for device in super::mounts::DEVICES {
        allow(&format!("/dev/{device}"), READ_FILE | WRITE_FILE)?;
    }
    if blueprint.proc {
        allow("/proc", READ_FILE | READ_DIR)?;
    }
    landlock::restrict_self(&ruleset).at(Layer::Landlock, "restrict")
}
