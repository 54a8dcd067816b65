//! Installing a filter, and answering the calls it hands over (seccomp_unotify(2)).

use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use rustix::io::Errno;

use super::check;

/// One instruction of a classic BPF program, `struct sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) jump_true: u8,
    pub(crate) jump_false: u8,
    pub(crate) operand: u32,
}

const SET_MODE_FILTER: libc::c_ulong = 1;
const FLAG_NEW_LISTENER: libc::c_ulong = 1 << 3;
const FLAG_WAIT_KILLABLE: libc::c_ulong = 1 << 5;

/// Puts the calling thread, and what it will become, under the filter for ever. With `listen`,
/// returns the number of the descriptor that handed-over calls are read from.
///
/// # Errors
///
/// `EINVAL` for a program the kernel refuses, `EACCES` without no-new-privileges.
pub(crate) fn install(program: &[Instruction], listen: bool) -> Result<Option<RawFd>, Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::TOOBIG)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    let call = |flags: libc::c_ulong| {
        // SAFETY: the program is valid for its length; the kernel copies it.
        check(unsafe {
            libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, std::ptr::from_ref(&program))
        })
    };
    if !listen {
        call(0)?;
        return Ok(None);
    }
    let fd = match call(FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE) {
        // Before Linux 5.19: a signal then restarts the call, which only costs time.
        Err(Errno::INVAL) => call(FLAG_NEW_LISTENER)?,
        other => other?,
    };
    Ok(RawFd::try_from(fd).ok())
}

/// `struct seccomp_notif`: a call that waits for an answer.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Notification {
    pub(crate) id: u64,
    /// Thread that called, as the reader's process namespace numbers it.
    pub(crate) thread: u32,
    pub(crate) flags: u32,
    pub(crate) number: i32,
    pub(crate) architecture: u32,
    pub(crate) instruction_pointer: u64,
    pub(crate) arguments: [u64; 6],
}

#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

#[repr(C)]
struct AddDescriptor {
    id: u64,
    flags: u32,
    source: u32,
    target: u32,
    target_flags: u32,
}

const RECEIVE: libc::c_ulong = 0xc050_2100;
const SEND: libc::c_ulong = 0xc018_2101;
const ID_VALID: libc::c_ulong = 0x4008_2102;
const ADD_DESCRIPTOR: libc::c_ulong = 0x4018_2103;
const SET_FLAGS: libc::c_ulong = 0x4008_2104;
const SYNC_WAKE_UP: libc::c_ulong = 1;
const ADD_AT: u32 = 1;
const ADD_AS_ANSWER: u32 = 2;
const CONTINUE: u32 = 1;

/// What the caller of a handed-over call gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The call returns this.
    Value(i64),
    /// The call fails with this.
    Error(Errno),
    /// The kernel makes the call. Whatever was looked at may have changed meanwhile, so this is no
    /// permission: only for calls that the filter would have let through.
    Continue,
}

/// Next call that waits.
///
/// # Errors
///
/// `ENOENT` when the caller is gone, `EAGAIN`/`EINTR`; the listener is at its end when it hangs up.
pub(crate) fn receive(listener: BorrowedFd<'_>) -> Result<Notification, Errno> {
    let mut notification = Notification::default();
    // SAFETY: the structure has the layout and size of the kernel's.
    check(unsafe {
        libc::c_long::from(libc::ioctl(
            listener.as_raw_fd(),
            RECEIVE,
            std::ptr::from_mut(&mut notification),
        ))
    })?;
    Ok(notification)
}

/// Answers a call. A caller that has gone away is not an error.
pub(crate) fn respond(listener: BorrowedFd<'_>, id: u64, answer: Answer) {
    let response = match answer {
        Answer::Value(value) => Response { id, value, error: 0, flags: 0 },
        Answer::Error(errno) => Response { id, value: 0, error: -errno.raw_os_error(), flags: 0 },
        Answer::Continue => Response { id, value: 0, error: 0, flags: CONTINUE },
    };
    // SAFETY: the structure has the layout and size of the kernel's.
    unsafe { libc::ioctl(listener.as_raw_fd(), SEND, std::ptr::from_ref(&response)) };
}

/// Whether the call still waits, so that what was read from its thread's memory was its own.
pub(crate) fn still_waits(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: passes a pointer to the id.
    unsafe { libc::ioctl(listener.as_raw_fd(), ID_VALID, std::ptr::from_ref(&id)) == 0 }
}

/// Puts `source` at the number `target` of the waiting caller, replacing what was there.
///
/// # Errors
///
/// `ENOENT` when the caller is gone, `EBADF` or `EMFILE` when it can hold no such descriptor.
pub(crate) fn add_descriptor(
    listener: BorrowedFd<'_>,
    id: u64,
    source: BorrowedFd<'_>,
    target: u32,
) -> Result<(), Errno> {
    let add = AddDescriptor {
        id,
        flags: ADD_AT,
        source: u32::try_from(source.as_raw_fd()).unwrap_or(u32::MAX),
        target,
        target_flags: libc::O_CLOEXEC.unsigned_abs(),
    };
    place(listener, &add)
}

/// Gives `source` to the waiting caller under its lowest free number, which is what its call
/// returns.
///
/// # Errors
///
/// As [`add_descriptor`]; the call still waits then.
pub(crate) fn give_descriptor(
    listener: BorrowedFd<'_>,
    id: u64,
    source: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let add = AddDescriptor {
        id,
        flags: ADD_AS_ANSWER,
        source: u32::try_from(source.as_raw_fd()).unwrap_or(u32::MAX),
        target: 0,
        target_flags: libc::O_CLOEXEC.unsigned_abs(),
    };
    place(listener, &add)
}

fn place(listener: BorrowedFd<'_>, add: &AddDescriptor) -> Result<(), Errno> {
    // SAFETY: the structure has the layout and size of the kernel's.
    check(unsafe {
        libc::c_long::from(libc::ioctl(
            listener.as_raw_fd(),
            ADD_DESCRIPTOR,
            std::ptr::from_ref(add),
        ))
    })?;
    Ok(())
}

/// Lets the answering thread and the waiting one share a core: a third of the time for a call.
/// Linux 6.6; without it everything works, slower.
pub(crate) fn wake_in_turn(listener: BorrowedFd<'_>) {
    // SAFETY: the argument is a number.
    unsafe { libc::ioctl(listener.as_raw_fd(), SET_FLAGS, SYNC_WAKE_UP) };
}

/// Takes over the listener that [`install`] made.
pub(crate) fn listener(number: RawFd) -> OwnedFd {
    // SAFETY: only called with the number that `install` returned, in the process that shares its
    // table of descriptors and for whom nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(number) }
}
