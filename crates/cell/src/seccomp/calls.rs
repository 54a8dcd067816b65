//! The allow-list. A row allows a call, always or when its arguments pass the checks; several rows
//! of one call are alternatives. What has no row is refused.

use libc::c_long as Number;

use super::options::{ARCH_PRCTL, FCNTL, GET_SOCKET, IOCTL, PRCTL, SET_SOCKET};
use super::{Egress, Shape};

/// One call that is allowed, refused in a special way, or handed to the supervisor.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) number: Number,
    pub(crate) name: &'static str,
    /// All must hold.
    pub(crate) checks: Vec<Check>,
    pub(crate) then: Then,
}

impl Call {
    /// Does this row allow the call with these arguments, as the filter would? For rows without
    /// checks that depend on the cell. Arguments are registers: the caller can not change them
    /// while it waits.
    pub(crate) fn fits(&self, number: i32, arguments: &[u64; 6]) -> bool {
        Number::from(number) == self.number
            && self.checks.iter().all(|check| check.holds(arguments) == Some(true))
    }
}

impl Check {
    /// None for what is only known in the cell.
    fn holds(self, arguments: &[u64; 6]) -> Option<bool> {
        let whole = |at: u8| arguments.get(usize::from(at)).copied().unwrap_or(u64::MAX);
        let low = |at: u8| u32::try_from(whole(at) & 0xffff_ffff).unwrap_or(u32::MAX);
        match self {
            Self::Is(at, value) => Some(low(at) == value),
            Self::In(at, values) => Some(values.contains(&low(at))),
            Self::Without(at, bits) => Some(low(at) & bits == 0),
            Self::With(at, bits) => Some(low(at) & bits == bits),
            Self::Only(at, bits) => Some(whole(at) & !u64::from(bits) == 0),
            Self::Null(at) => Some(whole(at) == 0),
            Self::OwnProcess(_) | Self::Executable(_) => None,
        }
    }
}

/// What an argument has to be. Numbers are the lower 32 bits unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// Equal.
    Is(u8, u32),
    /// One of these.
    In(u8, &'static [u32]),
    /// None of these bits.
    Without(u8, u32),
    /// All of these bits.
    With(u8, u32),
    /// No bit but these, in all 64.
    Only(u8, u32),
    /// Null, in all 64 bits.
    Null(u8),
    /// The command's own process id.
    OwnProcess(u8),
    /// The descriptor that the command is executed from, which exists only until then.
    Executable(u8),
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// The kernel does it.
    Allow,
    /// `ENOSYS`: the C library then uses an older call that can be checked.
    Missing,
    /// The supervisor does it, or refuses.
    Supervisor,
}

use Check::{Executable, In, Is, Null, Only, OwnProcess, With, Without};

macro_rules! always {
    ($($number:ident $name:literal),* $(,)?) => { &[$((libc::$number, $name)),*] };
}

/// Calls that act on what the process already has, whatever their arguments.
const PLAIN: &[(Number, &str)] = always! {
    // files by descriptor
    SYS_read "read", SYS_write "write", SYS_readv "readv", SYS_writev "writev",
    SYS_pread64 "pread64", SYS_pwrite64 "pwrite64", SYS_preadv "preadv", SYS_pwritev "pwritev",
    SYS_close "close", SYS_close_range "close_range", SYS_lseek "lseek", SYS_fstat "fstat",
    SYS_ftruncate "ftruncate", SYS_fallocate "fallocate", SYS_fsync "fsync",
    SYS_fdatasync "fdatasync", SYS_flock "flock", SYS_fadvise64 "fadvise64",
    SYS_copy_file_range "copy_file_range", SYS_sendfile "sendfile", SYS_fstatfs "fstatfs",
    SYS_getdents64 "getdents64", SYS_dup "dup", SYS_dup2 "dup2", SYS_dup3 "dup3",
    SYS_pipe "pipe", SYS_pipe2 "pipe2",
    // files by path: what a path can reach is the mounts' and Landlock's business
    SYS_stat "stat", SYS_lstat "lstat", SYS_newfstatat "newfstatat", SYS_statx "statx",
    SYS_access "access", SYS_faccessat "faccessat", SYS_faccessat2 "faccessat2",
    SYS_readlink "readlink", SYS_readlinkat "readlinkat", SYS_getcwd "getcwd",
    SYS_statfs "statfs", SYS_rmdir "rmdir", SYS_unlink "unlink", SYS_unlinkat "unlinkat",
    SYS_rename "rename", SYS_renameat "renameat", SYS_renameat2 "renameat2", SYS_link "link",
    SYS_linkat "linkat", SYS_symlink "symlink", SYS_symlinkat "symlinkat",
    SYS_utimensat "utimensat", SYS_truncate "truncate", SYS_umask "umask",
    // waiting
    SYS_poll "poll", SYS_ppoll "ppoll", SYS_select "select", SYS_pselect6 "pselect6",
    SYS_epoll_create "epoll_create", SYS_epoll_create1 "epoll_create1",
    SYS_epoll_ctl "epoll_ctl", SYS_epoll_wait "epoll_wait", SYS_epoll_pwait "epoll_pwait",
    SYS_epoll_pwait2 "epoll_pwait2", SYS_eventfd2 "eventfd2",
    SYS_timerfd_create "timerfd_create", SYS_timerfd_settime "timerfd_settime",
    SYS_timerfd_gettime "timerfd_gettime", SYS_inotify_init1 "inotify_init1",
    SYS_inotify_add_watch "inotify_add_watch", SYS_inotify_rm_watch "inotify_rm_watch",
    SYS_pause "pause", SYS_nanosleep "nanosleep", SYS_clock_nanosleep "clock_nanosleep",
    SYS_restart_syscall "restart_syscall", SYS_wait4 "wait4", SYS_waitid "waitid",
    // memory: files are mounted without the right to execute, so mapping them so fails there
    SYS_mmap "mmap", SYS_munmap "munmap", SYS_mprotect "mprotect", SYS_mremap "mremap",
    SYS_madvise "madvise", SYS_brk "brk", SYS_msync "msync", SYS_mlock "mlock",
    SYS_munlock "munlock", SYS_membarrier "membarrier", SYS_pkey_alloc "pkey_alloc",
    SYS_pkey_free "pkey_free", SYS_pkey_mprotect "pkey_mprotect",
    // threads and signals within the process
    SYS_futex "futex", SYS_set_robust_list "set_robust_list",
    SYS_set_tid_address "set_tid_address", SYS_rseq "rseq", SYS_exit "exit",
    SYS_exit_group "exit_group", SYS_sched_yield "sched_yield",
    SYS_sched_getaffinity "sched_getaffinity", SYS_sched_getparam "sched_getparam",
    SYS_sched_getscheduler "sched_getscheduler",
    SYS_sched_get_priority_max "sched_get_priority_max",
    SYS_sched_get_priority_min "sched_get_priority_min", SYS_getpriority "getpriority",
    SYS_rt_sigaction "rt_sigaction", SYS_rt_sigprocmask "rt_sigprocmask",
    SYS_rt_sigreturn "rt_sigreturn", SYS_rt_sigpending "rt_sigpending",
    SYS_rt_sigtimedwait "rt_sigtimedwait", SYS_rt_sigsuspend "rt_sigsuspend",
    SYS_sigaltstack "sigaltstack", SYS_alarm "alarm", SYS_setitimer "setitimer",
    SYS_getitimer "getitimer",
    // who, when, how much
    SYS_getpid "getpid", SYS_gettid "gettid", SYS_getppid "getppid", SYS_getpgid "getpgid",
    SYS_getpgrp "getpgrp", SYS_getsid "getsid", SYS_getuid "getuid", SYS_geteuid "geteuid",
    SYS_getgid "getgid", SYS_getegid "getegid", SYS_getresuid "getresuid",
    SYS_getresgid "getresgid", SYS_getgroups "getgroups", SYS_capget "capget",
    SYS_uname "uname", SYS_sysinfo "sysinfo", SYS_times "times", SYS_getrusage "getrusage",
    SYS_getrlimit "getrlimit", SYS_getcpu "getcpu", SYS_time "time",
    SYS_gettimeofday "gettimeofday", SYS_clock_gettime "clock_gettime",
    SYS_clock_getres "clock_getres", SYS_getrandom "getrandom",
    // sockets that exist
    SYS_accept "accept", SYS_accept4 "accept4", SYS_getsockname "getsockname",
    SYS_getpeername "getpeername", SYS_shutdown "shutdown", SYS_recvfrom "recvfrom",
    SYS_recvmsg "recvmsg", SYS_recvmmsg "recvmmsg",
};

/// Calls that are said not to exist, so that the C library falls back to one that is checked.
const MISSING: &[(Number, &str)] = always! {
    SYS_clone3 "clone3", SYS_openat2 "openat2", SYS_fchmodat2 "fchmodat2",
    SYS_futex_waitv "futex_waitv",
};

/// Exactly a thread: everything is shared, nothing is new. (0x3d0f00 is what glibc passes.)
const THREAD: u32 = (libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SYSVSEM)
    .unsigned_abs();
const THREAD_EXTRAS: u32 = (libc::CLONE_SETTLS
    | libc::CLONE_PARENT_SETTID
    | libc::CLONE_CHILD_CLEARTID
    | libc::CLONE_CHILD_SETTID
    | libc::CLONE_DETACHED)
    .unsigned_abs();
/// A process as by fork, vfork and posix_spawn: the signal of its end and no namespace.
const FORK: u32 = (libc::CLONE_VM
    | libc::CLONE_VFORK
    | libc::CLONE_CHILD_CLEARTID
    | libc::CLONE_CHILD_SETTID
    | libc::SIGCHLD)
    .unsigned_abs();
/// Set-user-id and set-group-id. They would have no effect here, but stay on the file outside.
const SET_ID_BITS: u32 = 0o6000;
const CREATES: u32 = (libc::O_CREAT | (libc::O_TMPFILE & !libc::O_DIRECTORY)).unsigned_abs();
/// Flags of a send that neither connect (MSG_FASTOPEN) nor share pages with the kernel.
const SEND_FLAGS: u32 = (libc::MSG_NOSIGNAL
    | libc::MSG_DONTWAIT
    | libc::MSG_MORE
    | libc::MSG_EOR
    | libc::MSG_CONFIRM
    | libc::MSG_OOB)
    .unsigned_abs();
const SOCKET_TYPE_FLAGS: u32 = (libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC).unsigned_abs();

/// Calls whose arguments decide, in every cell.
const CHECKED: &[(Number, &str, &[Check])] = &[
    (libc::SYS_open, "open", &[Without(1, CREATES)]),
    (libc::SYS_open, "open", &[Without(2, SET_ID_BITS)]),
    (libc::SYS_openat, "openat", &[Without(2, CREATES)]),
    (libc::SYS_openat, "openat", &[Without(3, SET_ID_BITS)]),
    (libc::SYS_creat, "creat", &[Without(1, SET_ID_BITS)]),
    (libc::SYS_mkdir, "mkdir", &[Without(1, SET_ID_BITS)]),
    (libc::SYS_mkdirat, "mkdirat", &[Without(2, SET_ID_BITS)]),
    (libc::SYS_chmod, "chmod", &[Without(1, SET_ID_BITS)]),
    (libc::SYS_fchmod, "fchmod", &[Without(1, SET_ID_BITS)]),
    (libc::SYS_fchmodat, "fchmodat", &[Without(2, SET_ID_BITS)]),
    (libc::SYS_fcntl, "fcntl", &[In(1, &FCNTL)]),
    (libc::SYS_ioctl, "ioctl", &[In(1, &IOCTL)]),
    (libc::SYS_prctl, "prctl", &[In(0, &PRCTL)]),
    (libc::SYS_arch_prctl, "arch_prctl", &[In(0, &ARCH_PRCTL)]),
    (libc::SYS_clone, "clone", &[With(0, THREAD), Only(0, THREAD | THREAD_EXTRAS)]),
    (libc::SYS_kill, "kill", &[OwnProcess(0)]),
    (libc::SYS_tgkill, "tgkill", &[OwnProcess(0)]),
    (libc::SYS_prlimit64, "prlimit64", &[Is(0, 0), Null(2)]),
    (libc::SYS_prlimit64, "prlimit64", &[OwnProcess(0), Null(2)]),
    (libc::SYS_setpriority, "setpriority", &[Is(0, 0), Is(1, 0)]),
    (libc::SYS_socket, "socket", &[In(0, &[2, 10]), SOCK_STREAM_ONLY, In(2, &[0, 6])]),
    (libc::SYS_socket, "socket", &[In(0, &[2, 10]), SOCK_DGRAM_ONLY, In(2, &[0, 17])]),
];
/// `SOCK_STREAM` is 1 and `SOCK_DGRAM` 2: without the other's bit, and no bit but flags.
const SOCK_STREAM_ONLY: Check = Only(1, SOCKET_TYPE_FLAGS | 1);
const SOCK_DGRAM_ONLY: Check = Only(1, SOCKET_TYPE_FLAGS | 2);

/// The rows for a shape, in no order.
pub(crate) fn rows(shape: Shape) -> Vec<Call> {
    let mut rows: Vec<Call> = Vec::with_capacity(256);
    rows.extend(PLAIN.iter().map(|&(number, name)| row(number, name, &[], Then::Allow)));
    rows.extend(MISSING.iter().map(|&(number, name)| row(number, name, &[], Then::Missing)));
    let checked = CHECKED.iter();
    rows.extend(checked.map(|&(number, name, checks)| row(number, name, checks, Then::Allow)));
    rows.extend(SET_SOCKET.iter().map(|&(level, options)| {
        row(libc::SYS_setsockopt, "setsockopt", &[Is(1, level), In(2, options)], Then::Allow)
    }));
    rows.extend(GET_SOCKET.iter().map(|&(level, options)| {
        row(libc::SYS_getsockopt, "getsockopt", &[Is(1, level), In(2, options)], Then::Allow)
    }));
    rows.extend(network(shape.egress));
    rows.extend(execution(shape.subprocess));
    if shape.by_path {
        let handed = |row: &&mut Call| BY_PATH.contains(&row.number) && row.then == Then::Allow;
        rows.iter_mut().filter(handed).for_each(|row| row.then = Then::Supervisor);
    }
    rows
}

/// The calls by path that the kernel would make: what a supervisor who is only shown them may let
/// go on.
pub(crate) fn by_path(shape: Shape) -> Vec<Call> {
    let mut rows = rows(Shape { by_path: false, ..shape });
    rows.retain(|row| BY_PATH.contains(&row.number) && row.then == Then::Allow);
    rows
}

/// Calls that look at files by path.
const BY_PATH: [Number; 12] = [
    libc::SYS_execve,
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_access,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
];

/// Connecting, binding, listening and sending. In its own namespace a command may do that itself;
/// as soon as it can hold a socket of the host's, all of it goes through the supervisor, because a
/// filter can not read the address and the command could change it after a look at it.
fn network(egress: Egress) -> Vec<Call> {
    let handed = if egress == Egress::None { Then::Allow } else { Then::Supervisor };
    let mut rows = vec![
        row(libc::SYS_connect, "connect", &[], handed),
        row(libc::SYS_bind, "bind", &[], handed),
        row(libc::SYS_listen, "listen", &[], handed),
    ];
    if egress == Egress::Udp {
        rows.extend([
            row(libc::SYS_sendto, "sendto", &[Null(4), Only(3, SEND_FLAGS)], Then::Allow),
            row(libc::SYS_sendto, "sendto", &[Only(3, SEND_FLAGS)], Then::Supervisor),
            row(libc::SYS_sendmsg, "sendmsg", &[Only(2, SEND_FLAGS)], Then::Supervisor),
            row(libc::SYS_sendmmsg, "sendmmsg", &[], Then::Missing),
        ]);
    } else {
        rows.extend([
            row(libc::SYS_sendto, "sendto", &[Only(3, SEND_FLAGS)], Then::Allow),
            row(libc::SYS_sendmsg, "sendmsg", &[Only(2, SEND_FLAGS)], Then::Allow),
            row(libc::SYS_sendmmsg, "sendmmsg", &[Only(3, SEND_FLAGS)], Then::Allow),
        ]);
    }
    rows
}

/// The one start of the command. Its descriptor has a number that no descriptor can have again:
/// the limit of open files is set to it afterwards. So no second execution succeeds.
fn execution(subprocess: bool) -> Vec<Call> {
    let empty_path = libc::AT_EMPTY_PATH.unsigned_abs();
    let mut rows =
        vec![row(libc::SYS_execveat, "execveat", &[Executable(0), Is(4, empty_path)], Then::Allow)];
    if subprocess {
        rows.extend([
            row(libc::SYS_execve, "execve", &[], Then::Allow),
            row(libc::SYS_fork, "fork", &[], Then::Allow),
            row(libc::SYS_vfork, "vfork", &[], Then::Allow),
            row(libc::SYS_clone, "clone", &[Only(0, FORK)], Then::Allow),
            row(libc::SYS_chdir, "chdir", &[], Then::Allow),
            row(libc::SYS_fchdir, "fchdir", &[], Then::Allow),
            row(libc::SYS_setpgid, "setpgid", &[], Then::Allow),
            // Standard streams of a child, as Node.js makes them: two ends, both in the cell.
            row(
                libc::SYS_socketpair,
                "socketpair",
                &[Is(0, 1), SOCK_STREAM_ONLY, Is(2, 0)],
                Then::Allow,
            ),
            row(libc::SYS_kill, "kill", &[], Then::Allow),
        ]);
    }
    rows
}

fn row(number: Number, name: &'static str, checks: &[Check], then: Then) -> Call {
    Call { number, name, checks: checks.to_vec(), then }
}
