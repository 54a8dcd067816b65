//! Attributes of a file as the kernel writes them, for a caller in another process.

use std::ffi::CStr;

use rustix::io::Errno;

use super::check;

/// By which call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Looked {
    /// `struct stat`, links followed unless the flags say otherwise.
    Stat,
    /// `struct stat` of a link itself.
    Lstat,
    /// `struct statx`.
    Statx,
}

/// The bytes that the call would have written.
///
/// # Errors
///
/// Those of the call.
pub(crate) fn look(path: &CStr, how: Looked, flags: u64) -> Result<Vec<u8>, Errno> {
    let asked = libc::c_int::try_from(flags & 0xffff).unwrap_or(0) & libc::AT_SYMLINK_NOFOLLOW;
    match how {
        Looked::Stat | Looked::Lstat => {
            let flags = if how == Looked::Lstat { libc::AT_SYMLINK_NOFOLLOW } else { asked };
            let mut bytes = vec![0_u8; size_of::<libc::stat>()];
            // SAFETY: the path ends in NUL, and the buffer has the structure's size.
            check(unsafe {
                libc::syscall(
                    libc::SYS_newfstatat,
                    libc::AT_FDCWD,
                    path.as_ptr(),
                    bytes.as_mut_ptr(),
                    flags,
                )
            })?;
            Ok(bytes)
        }
        Looked::Statx => {
            let mut bytes = vec![0_u8; size_of::<libc::statx>()];
            // SAFETY: as above.
            check(unsafe {
                libc::syscall(
                    libc::SYS_statx,
                    libc::AT_FDCWD,
                    path.as_ptr(),
                    asked,
                    libc::STATX_ALL,
                    bytes.as_mut_ptr(),
                )
            })?;
            Ok(bytes)
        }
    }
}
