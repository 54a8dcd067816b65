//! New processes, and what only a process can do to itself.

use std::ffi::CString;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::check;

/// Which side of a clone this is.
#[derive(Debug)]
pub(crate) enum Side {
    /// The new process.
    Child,
    /// The old one, with a descriptor of the new.
    Parent(Pid, OwnedFd),
}

/// A new process as by fork, with further `CLONE_*` flags. Only for the launcher, which has one
/// thread: no lock can be held by a thread that does not exist in the child.
///
/// # Errors
///
/// `EPERM` when a namespace may not be made, `ENOSPC` over a limit of namespaces, `EAGAIN` over a
/// limit of processes, `EINVAL` when the kernel lacks one.
pub(crate) fn clone(flags: libc::c_int) -> Result<Side, Errno> {
    let mut pidfd: RawFd = -1;
    let flags = flags | libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: no CLONE_VM, so the child has its own memory and stack; the kernel writes the
    // descriptor into `pidfd` of the parent before it returns.
    let pid = check(unsafe {
        libc::syscall(
            libc::SYS_clone,
            libc::c_long::from(flags),
            0_usize,
            std::ptr::from_mut(&mut pidfd),
            0_usize,
            0_usize,
        )
    })?;
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Ok(Side::Child);
    };
    // SAFETY: made by the call for this process alone.
    Ok(Side::Parent(pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// A child as by fork, for the canary that tries to make one. Ends the child at once.
pub(crate) fn fork_succeeds() -> bool {
    // SAFETY: the child does nothing but end.
    let pid = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    if pid == 0 {
        // SAFETY: ends the process without running anything of it.
        unsafe { libc::_exit(0) };
    }
    pid > 0
}

/// A call that must fail, by number, with small arguments and no pointer. True when it did not.
pub(crate) fn call_succeeds(number: libc::c_long, arguments: [libc::c_long; 3]) -> bool {
    let [a, b, c] = arguments;
    // SAFETY: callers pass numbers only, to calls that a cell refuses before they read memory.
    unsafe { libc::syscall(number, a, b, c, 0, 0, 0) != -1 }
}

/// Executes what `fd` holds. Returns only when it failed.
pub(crate) fn exec(fd: RawFd, arguments: &[CString], environment: &[CString]) -> Errno {
    let pointers = |texts: &[CString]| {
        let mut list: Vec<*const libc::c_char> = texts.iter().map(|text| text.as_ptr()).collect();
        list.push(std::ptr::null());
        list
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both lists end in a null pointer and point to texts that live until the call.
    let result = check(unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd,
            c"".as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    });
    result.err().unwrap_or(Errno::INVAL)
}

/// Blocks the signals, and returns a descriptor that they can be read from.
///
/// # Errors
///
/// `EMFILE` and the like.
pub(crate) fn signal_descriptor(signals: &[Signal]) -> Result<OwnedFd, Errno> {
    // SAFETY: the set is initialised before it is used; the call makes a new descriptor.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, signal.as_raw());
        }
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        let fd = check(libc::c_long::from(libc::signalfd(
            -1,
            &raw const set,
            libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
        )))?;
        Ok(OwnedFd::from_raw_fd(i32::try_from(fd).unwrap_or(-1)))
    }
}

/// Default handling and no blocked signal, as a program expects to be started.
pub(crate) fn reset_signals() {
    // SAFETY: sets default actions and an empty mask; refused numbers (SIGKILL) change nothing.
    unsafe {
        for number in 1..=64 {
            libc::signal(number, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Ends the process without running anything of it: what a forked child of the launcher does.
pub(crate) fn end(code: i32) -> ! {
    // SAFETY: does not return and touches no memory.
    unsafe { libc::_exit(code) }
}

/// Takes user and group ids for every thread of this process, without supplementary groups.
///
/// # Errors
///
/// `EPERM` without the capability.
pub(crate) fn become_user(id: u32) -> Result<(), Errno> {
    // SAFETY: an empty list and three numbers; glibc changes every thread.
    unsafe {
        check(libc::c_long::from(libc::setgroups(0, std::ptr::null())))?;
        check(libc::c_long::from(libc::setresgid(id, id, id)))?;
        check(libc::c_long::from(libc::setresuid(id, id, id)))?;
    }
    Ok(())
}

/// Stack of the process that holds a namespace open; it makes two calls.
const HOLDER_STACK: usize = 16 << 10;

/// A process that was ended and has not been waited for yet. Waiting can be left for later, when
/// it costs nothing; dropping this waits.
#[derive(Debug)]
pub(crate) struct Holder {
    pid: Pid,
    /// It may still run on it.
    _stack: Vec<u64>,
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = rustix::process::waitpid(Some(self.pid), rustix::process::WaitOptions::empty());
    }
}

/// A user namespace whose mapping turns the owner `inside` of files into `outside`, for a mount.
///
/// # Errors
///
/// When the namespace can not be made or its mapping not be written.
pub(crate) fn id_map(inside: (u32, u32), outside: u32) -> std::io::Result<(OwnedFd, Holder)> {
    let mut stack = vec![0_u64; HOLDER_STACK / 8];
    // SAFETY: the child runs on the upper end of its own stack, which lives until it has been
    // waited for, and writes nothing else of the shared memory. Sharing it saves copying the
    // tables of a large process.
    let pid = check(libc::c_long::from(unsafe {
        let top = stack.as_mut_ptr().add(stack.len()).cast();
        let flags = libc::CLONE_NEWUSER | libc::CLONE_VM | libc::SIGCHLD;
        libc::clone(hold, top, flags, std::ptr::null_mut())
    }))?;
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    let holder = Holder { pid, _stack: stack };
    let write = || {
        let of = |name: &str| format!("/proc/{}/{name}", pid.as_raw_nonzero());
        std::fs::write(of("uid_map"), format!("{} {outside} 1", inside.0))?;
        std::fs::write(of("gid_map"), format!("{} {outside} 1", inside.1))?;
        std::fs::File::open(of("ns/user")).map(OwnedFd::from)
    };
    let namespace = write();
    let _ = rustix::process::kill_process(pid, Signal::KILL);
    Ok((namespace?, holder))
}

/// Waits for the signal that ends it.
extern "C" fn hold(_: *mut libc::c_void) -> libc::c_int {
    // SAFETY: calls with numbers only. They do not fail, so errno, which is shared, stays.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        loop {
            libc::pause();
        }
    }
}

/// Whether this process has more than one thread, counted by the kernel.
pub(crate) fn is_threaded() -> bool {
    std::fs::read_dir("/proc/self/task").map_or(true, |tasks| tasks.count() != 1)
}

/// PR_SET_MDWE with PR_MDWE_REFUSE_EXEC_GAIN.
///
/// # Errors
///
/// `EINVAL` before Linux 6.3.
pub(crate) fn refuse_write_then_execute() -> Result<(), Errno> {
    const SET_MDWE: libc::c_int = 65;
    // SAFETY: numbers only.
    check(unsafe { libc::c_long::from(libc::prctl(SET_MDWE, 1_u64, 0_u64, 0_u64, 0_u64)) })?;
    Ok(())
}

/// A namespace of control groups, rooted at the caller's own.
///
/// # Errors
///
/// `EPERM` without the right to, `EINVAL` when the kernel lacks it.
pub(crate) fn own_control_groups() -> Result<(), Errno> {
    // SAFETY: changes what this process sees, no memory.
    check(unsafe { libc::c_long::from(libc::unshare(libc::CLONE_NEWCGROUP)) })?;
    Ok(())
}
