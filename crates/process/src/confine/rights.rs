//! Users, groups and capabilities.

use std::io;

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Gid, Uid, geteuid, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

/// The threads of this process. A change of user or rights is one thread's alone in Linux.
///
/// # Errors
/// `/proc` can not be read.
pub fn threads() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// Executing a program gives no rights from now on.
///
/// # Errors
/// The kernel's.
pub fn no_new_privileges() -> Result<(), Errno> {
    set_no_new_privs(true)
}

/// Becomes this user with this group and these supplementary groups, for good: real, effective
/// and saved.
///
/// # Errors
/// Not started with the right to do so, or the number means nothing in this user namespace.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> Result<(), Errno> {
    let groups: Vec<Gid> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_thread_groups(&groups)?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)
}

/// Nobody but root may trace this process or read its memory, and it leaves no core file.
///
/// # Errors
/// The kernel's.
pub fn undumpable() -> Result<(), Errno> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

/// What is not in the bounding set can not come back by executing. Only root has the right to
/// this, so it comes before the user changes.
///
/// # Errors
/// The kernel's: no CAP_SETPCAP.
pub fn drop_bounding(kept: CapabilitySet) -> Result<(), Errno> {
    for one in CapabilitySet::all().iter() {
        let known = capability_is_in_bounding_set(one).unwrap_or(false);
        if known && !kept.contains(one) {
            remove_capability_from_bounding_set(one)?;
        }
    }
    Ok(())
}

/// Gives up every capability but `kept`; as root, the bounding set's too.
///
/// # Errors
/// The kernel's.
pub fn drop_capabilities(kept: CapabilitySet) -> Result<(), Errno> {
    if geteuid().is_root() {
        drop_bounding(kept)?;
    }
    clear_ambient_capability_set()?;
    let kept = kept & capabilities(None)?.permitted;
    let inheritable = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable })
}
