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

/// Stack of the process that holds a namespace open; it makes a few calls.
const HOLDER_STACK: usize = 16 << 10;

/// A process that holds a namespace open. Dropping this ends it and waits for it, which costs
/// nothing once it has gone.
#[derive(Debug)]
pub(crate) struct Holder {
    pid: Pid,
    /// It runs on it. None in a program that was executed since: there it has the old memory.
    _stack: Option<Vec<u64>>,
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.end();
        let _ = rustix::process::waitpid(Some(self.pid), rustix::process::WaitOptions::empty());
    }
}

impl Holder {
    fn start(
        flags: libc::c_int,
        entry: extern "C" fn(*mut libc::c_void) -> libc::c_int,
        number: RawFd,
    ) -> Result<Self, Errno> {
        let mut stack = vec![0_u64; HOLDER_STACK / 8];
        let words = (std::process::id(), number.cast_unsigned());
        let argument = usize::try_from(u64::from(words.0) << 32 | u64::from(words.1));
        let argument = std::ptr::without_provenance_mut(argument.unwrap_or(0));
        // SAFETY: the child runs on the upper end of its own stack, which lives until it has been
        // waited for, and writes nothing else of the shared memory but errno. Sharing it saves
        // copying the tables of a large process.
        let pid = check(libc::c_long::from(unsafe {
            let top = stack.as_mut_ptr().add(stack.len()).cast();
            libc::clone(entry, top, flags | libc::CLONE_VM | libc::SIGCHLD, argument)
        }))?;
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
        Ok(Self { pid, _stack: Some(stack) })
    }

    /// The one with this number, in the program that its starter executed.
    pub(crate) fn again(number: i32) -> Option<Self> {
        Pid::from_raw(number).map(|pid| Self { pid, _stack: None })
    }

    pub(crate) fn number(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// A namespace of its own, by its name below `/proc/PID/ns`.
    pub(crate) fn namespace(&self, name: &str) -> std::io::Result<OwnedFd> {
        std::fs::File::open(self.file(&format!("ns/{name}"))).map(OwnedFd::from)
    }

    fn file(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.pid.as_raw_nonzero())
    }

    pub(crate) fn end(&self) {
        let _ = rustix::process::kill_process(self.pid, Signal::KILL);
    }
}

/// A user namespace whose mapping turns the owner `inside` of files into `outside`, for a mount.
///
/// # Errors
///
/// When the namespace can not be made or its mapping not be written.
pub(crate) fn id_map(inside: (u32, u32), outside: u32) -> std::io::Result<(OwnedFd, Holder)> {
    let holder = Holder::start(libc::CLONE_NEWUSER, hold, -1)?;
    std::fs::write(holder.file("uid_map"), format!("{} {outside} 1", inside.0))?;
    std::fs::write(holder.file("gid_map"), format!("{} {outside} 1", inside.1))?;
    let namespace = holder.namespace("user")?;
    holder.end();
    Ok((namespace, holder))
}

/// A network namespace that is made while the caller does something else, such as executing another
/// program: it takes the kernel a third of a millisecond. One byte at the descriptor says that it
/// is there, its end that it can not be made.
///
/// # Errors
///
/// When no process or no pipe can be made.
pub(crate) fn network_ahead() -> Result<(Holder, OwnedFd), Errno> {
    let (ready, told) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let holder = Holder::start(0, hold_network, std::os::fd::AsRawFd::as_raw_fd(&told))?;
    Ok((holder, ready))
}

extern "C" fn hold_network(argument: *mut libc::c_void) -> libc::c_int {
    // SAFETY: calls with numbers, and one that reads a constant byte. When the first one fails the
    // caller may find a wrong errno, in a cell that can not be built.
    unsafe {
        if !ends_with_its_starter(argument) || libc::unshare(libc::CLONE_NEWNET) != 0 {
            return 1;
        }
        let told = libc::c_int::try_from(argument.addr() & 0xffff_ffff).unwrap_or(-1);
        libc::write(told, c"n".as_ptr().cast(), 1);
    }
    hold(argument)
}

/// Waits for the signal that ends it.
extern "C" fn hold(argument: *mut libc::c_void) -> libc::c_int {
    // SAFETY: calls with numbers only. They do not fail, so errno, which is shared, stays.
    unsafe {
        while ends_with_its_starter(argument) {
            libc::pause();
        }
    }
    0
}

/// From now on; false when the starter is gone already. Its number is the argument's upper half.
///
/// # Safety
///
/// Calls with numbers only.
unsafe fn ends_with_its_starter(argument: *mut libc::c_void) -> bool {
    // SAFETY: as above.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        usize::try_from(libc::getppid()) == Ok(argument.addr() >> 32)
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
