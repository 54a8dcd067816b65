//! System calls that rustix has no safe form of. The only `unsafe` of the workspace is below here.
//!
//! Each function takes and returns owned or borrowed Rust values, checks nothing but what memory
//! safety needs, and decides nothing: what to call, and in which order, is `launch`'s business.
#![expect(
    unsafe_code,
    reason = "raw system calls: mount_setattr, landlock, seccomp, clone, execveat"
)]

pub(crate) mod descriptor;
pub(crate) mod file;
pub(crate) mod landlock;
pub(crate) mod memory;
pub(crate) mod mount;
pub(crate) mod process;
pub(crate) mod seccomp;
pub(crate) mod socket;

use rustix::io::Errno;

/// The result of a raw system call: -1 is an error, its number in errno.
fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result == -1 {
        // SAFETY: errno of the calling thread, always there.
        let number = unsafe { *libc::__errno_location() };
        return Err(Errno::from_raw_os_error(number));
    }
    Ok(result)
}
