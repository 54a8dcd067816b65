//! The kernel's word about changes (inotify), for filesystems on which all changes pass the kernel.

use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::fstatfs;
use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use rustix::io::Errno;

/// Filesystems of local disks and of memory (`linux/magic.h`; ZFS has its own). Others, pmxcfs and
/// networks above all, change without a word to this kernel.
const LOCAL: [u64; 7] = [
    0xEF53,      // ext4
    0x5846_5342, // XFS
    0x9123_683E, // Btrfs
    0x2FC1_2FC1, // ZFS
    0x0102_1994, // tmpfs
    0x794C_7630, // overlayfs
    0xF2F5_2010, // F2FS
];

/// Watches a directory; `None` where that would tell less than the truth.
pub(super) fn watch(folder: &OwnedFd) -> Result<Option<OwnedFd>, Errno> {
    let kind = fstatfs(folder)?.f_type;
    if !u64::try_from(kind).is_ok_and(|kind| LOCAL.contains(&kind)) {
        return Ok(None);
    }
    let watch = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let changes = WatchFlags::CLOSE_WRITE
        | WatchFlags::MODIFY
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR;
    // The directory that was opened below its root, whatever its path leads to by now.
    add_watch(&watch, format!("/proc/self/fd/{}", folder.as_raw_fd()), changes)?;
    Ok(Some(watch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_local_directory_tells_and_one_that_a_program_makes_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let open = |path: &std::path::Path| OwnedFd::from(File::open(path).unwrap());
        let Some(told) = watch(&open(dir.path())).unwrap() else {
            eprintln!("skipped: temporary files are on a filesystem that is not listed");
            return;
        };
        let mut buffer = [0; 512];
        assert_eq!(rustix::io::read(&told, &mut buffer), Err(Errno::AGAIN));
        std::fs::write(dir.path().join("a"), "x").unwrap();
        assert!(rustix::io::read(&told, &mut buffer).unwrap() > 0);
        assert!(watch(&open("/proc".as_ref())).unwrap().is_none());
    }
}
