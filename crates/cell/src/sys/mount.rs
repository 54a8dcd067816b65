//! `mount_setattr`, which rustix lacks.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::io::Errno;

use super::check;

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// `MOUNT_ATTR_*` of linux/mount.h.
pub(crate) const RDONLY: u64 = 0x1;
pub(crate) const NOSUID: u64 = 0x2;
pub(crate) const NODEV: u64 = 0x4;
pub(crate) const NOEXEC: u64 = 0x8;
const IDMAP: u64 = 0x0010_0000;

/// Sets attributes of a mount, and an id mapping when a user namespace is given.
///
/// # Errors
///
/// `EINVAL` when the file system knows no mapping of ids, `EPERM` without the right to change it.
pub(crate) fn set_attributes(
    mount: BorrowedFd<'_>,
    set: u64,
    recursive: bool,
    id_map: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let attr = MountAttr {
        attr_set: set | if id_map.is_some() { IDMAP } else { 0 },
        attr_clr: 0,
        propagation: 0,
        userns_fd: id_map.map_or(0, |fd| u64::try_from(fd.as_raw_fd()).unwrap_or(0)),
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is empty and ends in NUL, the structure is valid and of the size given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(&attr),
            size_of::<MountAttr>(),
        )
    })?;
    Ok(())
}
