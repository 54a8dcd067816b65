//! A user id of its own for each cell.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, flock};

use crate::layer::Layer;
use crate::limits::{CELLS, FIRST_UID};
use crate::plan::{PlanError, Planned as _};

/// Where the ids that are taken are locked; a lock ends with its last holder.
const FOLDER: &str = "/run/proxward-cells";

/// An id that no other cell has as long as the lock is held.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) lock: OwnedFd,
}

/// Takes a free id. Root only.
pub(super) fn take() -> Result<Identity, PlanError> {
    let folder = Path::new(FOLDER);
    fs::create_dir_all(folder).planned(Layer::Identity, format_args!("make {FOLDER}"))?;
    // Different starting points, so that cells started together do not queue for the same locks.
    let start = std::process::id() % CELLS;
    for step in 0..CELLS {
        let slot = (start + step) % CELLS;
        let path = folder.join(slot.to_string());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let lock = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)
            .planned(Layer::Identity, format_args!("open {}", path.display()))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Ok(Identity { uid: FIRST_UID + slot, lock });
        }
    }
    Err(PlanError::new(Layer::Identity, format_args!("all {CELLS} ids of cells are taken")))
}
