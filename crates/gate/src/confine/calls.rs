//! The system calls that the gate may make. Everything else is answered with EPERM.
//!
//! A row says why. A test runs the gate through its work under a tracer and fails for a row of
//! which no call is made.

use libc::c_long;
use process::confine::{Filter, Reach};

use super::reach::DNS;

/// Calls for one purpose.
#[derive(Debug)]
pub struct Row {
    /// What for.
    pub why: &'static str,
    /// Each with its number. Of calls that do the same, the C library and kernel pick one.
    pub calls: &'static [(&'static str, c_long)],
}

macro_rules! rows {
    ($($why:literal: $($call:ident)+;)*) => {
        &[$(Row { why: $why, calls: &[$((stringify!($call), libc::$call)),+] }),*]
    };
}

const ROWS: &[Row] = rows! {
    "memory": SYS_munmap SYS_mremap SYS_madvise SYS_brk;
    "the end of a thread and of the process": SYS_exit SYS_exit_group;
    "signals, and the stack they are handled on":
        SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_sigaltstack SYS_restart_syscall;
    "threads that start": SYS_set_robust_list SYS_rseq SYS_sched_getaffinity SYS_gettid;
    "threads that wait for each other": SYS_futex SYS_sched_yield;
    "a panic in a thread that must end the process": SYS_tgkill SYS_getpid;
    "time": SYS_clock_gettime SYS_clock_nanosleep SYS_nanosleep SYS_clock_getres;
    "randomness": SYS_getrandom;
    "bytes of sockets and files": SYS_read SYS_write SYS_readv SYS_writev;
    "the end of a descriptor": SYS_close;
    "flags of descriptors": SYS_fcntl SYS_ioctl SYS_dup;
    "readiness": SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2;
    "waking a runtime": SYS_eventfd2;
    "waiting for one descriptor": SYS_ppoll;
    "connections from clients": SYS_accept4 SYS_getsockname SYS_getpeername;
    "connections upstream": SYS_connect SYS_getsockopt SYS_setsockopt;
    "bytes of connections": SYS_recvfrom SYS_sendto SYS_shutdown;
    "listeners that are bound later: the control socket, a new address": SYS_bind SYS_listen;
    "listeners, for a process that takes over": SYS_sendmsg;
    "files that are opened again: logs, certificates, counters":
        SYS_openat SYS_fstat SYS_newfstatat SYS_statx SYS_readlinkat SYS_faccessat;
    "the state's pages": SYS_pread64 SYS_pwrite64;
    "the state's length": SYS_ftruncate SYS_fallocate;
    "what is on the disk": SYS_fsync SYS_fdatasync;
    "one owner of the state": SYS_flock;
    "new files of the state": SYS_mkdirat SYS_renameat SYS_renameat2;
    "the control socket's file": SYS_unlinkat SYS_fchmod SYS_fchmodat SYS_umask;
    "this host's own name, which requests may name": SYS_uname;
    "who am I": SYS_geteuid SYS_getuid SYS_getegid SYS_getgid SYS_getgroups;
};

/// The same under names that only this architecture has.
#[cfg(target_arch = "x86_64")]
const OLD: &[Row] = rows! {
    "readiness": SYS_epoll_wait;
    "waiting for one descriptor": SYS_poll;
    "files that are opened again: logs, certificates, counters":
        SYS_open SYS_stat SYS_lstat SYS_readlink SYS_access;
    "new files of the state": SYS_mkdir SYS_rename;
    "the control socket's file": SYS_unlink SYS_chmod;
};
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[Row] = &[];

/// Beside these where the configuration names an upstream by its name: the C library's resolver.
const RESOLVER: &[c_long] = &[libc::SYS_sendmmsg];

/// The table, for tests and for people. Rows of one purpose are one.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().chain(OLD)
}

/// The filter: the table, and sockets of few families. `follows`: addresses of this host.
pub(super) fn filter(reach: &Reach, follows: bool) -> Result<Filter, String> {
    let calls = rows().flat_map(|row| row.calls).map(|(_, number)| *number);
    let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];
    let resolves = reach.connect.contains(&DNS);
    let calls = calls.chain(RESOLVER.iter().filter(|_| resolves).copied());
    // Addresses of this host: to listen on each of them, or to ask for the right kind of a name's.
    let follow = (resolves || follows).then_some(libc::AF_NETLINK);
    let families: Vec<u64> =
        families.into_iter().chain(follow).map(|family| u64::from(family.unsigned_abs())).collect();
    Filter::allow(calls)?.only(libc::SYS_socket, 0, &families)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_call_twice_and_none_that_makes_a_process_or_reaches_another() {
        let calls: Vec<c_long> =
            rows().flat_map(|row| row.calls).map(|(_, number)| *number).collect();
        assert_eq!(calls.iter().collect::<BTreeSet<_>>().len(), calls.len());
        for call in [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_clone,
            libc::SYS_fork,
            libc::SYS_ptrace,
            libc::SYS_kill,
            libc::SYS_setuid,
            libc::SYS_pidfd_getfd,
            libc::SYS_io_uring_setup,
            libc::SYS_socket,
        ] {
            assert!(!calls.contains(&call), "{call}");
        }
        assert!(filter(&Reach::default(), false).unwrap().programs().is_ok());
    }
}
