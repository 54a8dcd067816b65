//! Descriptors by number: those that a starter handed in, and the one the command is executed from.

use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use rustix::io::Errno;

use super::check;

/// Takes over a descriptor that whoever started this process left open under this number.
///
/// # Errors
///
/// `EBADF` when nothing is open there.
pub(crate) fn take(number: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: asks about a number; a closed one is an error.
    check(unsafe { libc::c_long::from(libc::fcntl(number, libc::F_GETFD)) })?;
    // SAFETY: it is open, and callers take only numbers that nothing in this program made:
    // standard input of the launcher, and those of LISTEN_FDS.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Makes `fd` available under `number` too, replacing what was there; `close_on_exec` says whether
/// the executed program gets it.
///
/// # Errors
///
/// `EBADF` when the number is not below the limit of open files.
pub(crate) fn place(fd: BorrowedFd<'_>, number: RawFd, close_on_exec: bool) -> Result<(), Errno> {
    let flags = if close_on_exec { libc::O_CLOEXEC } else { 0 };
    if fd.as_raw_fd() == number {
        let flags = if close_on_exec { libc::FD_CLOEXEC } else { 0 };
        // SAFETY: sets a flag of an open descriptor.
        check(unsafe { libc::c_long::from(libc::fcntl(number, libc::F_SETFD, flags)) })?;
        return Ok(());
    }
    // SAFETY: only called between fork and exec, with numbers that no owner in this process holds.
    check(unsafe { libc::c_long::from(libc::dup3(fd.as_raw_fd(), number, flags)) })?;
    Ok(())
}

/// Marks every descriptor from `first` on to be closed by exec.
///
/// # Errors
///
/// `ENOSYS` before Linux 5.11.
pub(crate) fn close_on_exec_from(first: RawFd) -> Result<(), Errno> {
    let first = u32::try_from(first).unwrap_or(0);
    // SAFETY: changes flags only.
    check(unsafe {
        libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
    })?;
    Ok(())
}
