//! System calls: what each kind of process may ask the kernel for.
//!
//! A list of what is allowed, by purpose; everything else is answered with EPERM. Processes that
//! start other programs pass their filter on to them, so those have a list of what is refused.

use libc::c_long;
use process::confine::Filter;

/// A kind of process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    /// Reads files, answers on its channel.
    Read,
    /// Also ioctl on devices.
    Devices,
    /// Also netlink.
    Netlink,
    /// Also changes files.
    Files,
    /// Accepts connections, writes the audit log.
    Listener,
    /// Starts other programs.
    Programs,
    /// Starts a program that makes namespaces.
    Launcher,
}

/// Calls and why they are needed.
type Row = (&'static str, &'static [c_long]);

const BASE: &[Row] = &[
    ("memory", &[libc::SYS_munmap, libc::SYS_mremap, libc::SYS_madvise, libc::SYS_brk]),
    ("end", &[libc::SYS_exit, libc::SYS_exit_group]),
    (
        "signals of the runtime and of the loader",
        &[
            libc::SYS_rt_sigaction,
            libc::SYS_rt_sigprocmask,
            libc::SYS_rt_sigreturn,
            libc::SYS_sigaltstack,
            libc::SYS_restart_syscall,
            libc::SYS_tgkill,
        ],
    ),
    (
        "threads",
        &[
            libc::SYS_futex,
            libc::SYS_set_robust_list,
            libc::SYS_rseq,
            libc::SYS_sched_yield,
            libc::SYS_sched_getaffinity,
            libc::SYS_gettid,
            libc::SYS_getpid,
        ],
    ),
    (
        "time and randomness",
        &[
            libc::SYS_clock_gettime,
            libc::SYS_clock_getres,
            libc::SYS_clock_nanosleep,
            libc::SYS_nanosleep,
            libc::SYS_getrandom,
        ],
    ),
    (
        "open files",
        &[
            libc::SYS_read,
            libc::SYS_readv,
            libc::SYS_pread64,
            libc::SYS_write,
            libc::SYS_writev,
            libc::SYS_lseek,
            libc::SYS_close,
            libc::SYS_fstat,
            libc::SYS_fstatfs,
            libc::SYS_fcntl,
            libc::SYS_dup,
            libc::SYS_ppoll,
        ],
    ),
    (
        "looking at files",
        &[
            libc::SYS_openat,
            libc::SYS_newfstatat,
            libc::SYS_statx,
            libc::SYS_readlinkat,
            libc::SYS_getdents64,
            libc::SYS_faccessat,
            libc::SYS_faccessat2,
        ],
    ),
    (
        "messages and their memory files",
        &[libc::SYS_sendmsg, libc::SYS_recvmsg, libc::SYS_memfd_create, libc::SYS_ftruncate],
    ),
    (
        "who am I",
        &[
            libc::SYS_getuid,
            libc::SYS_geteuid,
            libc::SYS_getgid,
            libc::SYS_getegid,
            libc::SYS_uname,
            libc::SYS_sysinfo,
        ],
    ),
];

/// Names that only this architecture has.
#[cfg(target_arch = "x86_64")]
const OLD: &[Row] = &[(
    "the same under older names",
    &[
        libc::SYS_open,
        libc::SYS_stat,
        libc::SYS_lstat,
        libc::SYS_access,
        libc::SYS_poll,
        libc::SYS_readlink,
        libc::SYS_epoll_wait,
    ],
)];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[Row] = &[];

const DEVICES: &[Row] = &[("commands to disks and the baseboard controller", &[libc::SYS_ioctl])];

const NETLINK: &[Row] = &[(
    "nf_tables",
    &[
        libc::SYS_bind,
        libc::SYS_sendto,
        libc::SYS_recvfrom,
        libc::SYS_getsockname,
        libc::SYS_setsockopt,
    ],
)];

const FILES: &[Row] = &[
    ("being told of changes", &[libc::SYS_inotify_init1, libc::SYS_inotify_add_watch]),
    (
        "replacing files",
        &[
            libc::SYS_openat2,
            libc::SYS_renameat,
            libc::SYS_renameat2,
            libc::SYS_unlinkat,
            libc::SYS_mkdirat,
            libc::SYS_fchmod,
            libc::SYS_fchown,
            libc::SYS_fsync,
            libc::SYS_fdatasync,
        ],
    ),
];

/// The same under older names.
#[cfg(target_arch = "x86_64")]
const OLD_FILES: &[Row] = &[("replacing files", &[libc::SYS_rename, libc::SYS_unlink])];
#[cfg(not(target_arch = "x86_64"))]
const OLD_FILES: &[Row] = &[];

const LISTENER: &[Row] = &[
    (
        "connections",
        &[
            libc::SYS_accept4,
            libc::SYS_getsockopt,
            libc::SYS_setsockopt,
            libc::SYS_getsockname,
            libc::SYS_getpeername,
            libc::SYS_shutdown,
            libc::SYS_recvfrom,
            libc::SYS_sendto,
        ],
    ),
    (
        "waiting for many",
        &[
            libc::SYS_epoll_create1,
            libc::SYS_epoll_ctl,
            libc::SYS_epoll_pwait,
            libc::SYS_epoll_pwait2,
            libc::SYS_eventfd2,
        ],
    ),
    ("the audit log", &[libc::SYS_fdatasync, libc::SYS_fsync, libc::SYS_flock]),
];

/// Refused to programs that are started: what changes the machine or another process.
const REFUSED: &[Row] = &[
    (
        "the kernel itself",
        &[
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_delete_module,
            libc::SYS_kexec_load,
            libc::SYS_reboot,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_io_uring_setup,
            libc::SYS_io_uring_enter,
            libc::SYS_io_uring_register,
            libc::SYS_syslog,
            libc::SYS_acct,
            libc::SYS_swapon,
            libc::SYS_swapoff,
            libc::SYS_settimeofday,
            libc::SYS_clock_settime,
            libc::SYS_clock_adjtime,
        ],
    ),
    (
        "other processes and namespaces",
        &[
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_pidfd_getfd,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_chroot,
            libc::SYS_move_mount,
            libc::SYS_open_tree,
            libc::SYS_fsopen,
            libc::SYS_open_by_handle_at,
            libc::SYS_keyctl,
            libc::SYS_add_key,
            libc::SYS_request_key,
        ],
    ),
];

impl Calls {
    /// Installs the filter on this thread and all it will make.
    pub(super) fn apply(self) -> Result<(), String> {
        self.filter()?.apply()
    }

    fn filter(self) -> Result<Filter, String> {
        let extra = match self {
            Self::Programs | Self::Launcher => {
                // What builds a cell needs the second row, and gives it up itself.
                let rows = if self == Self::Launcher { 1 } else { REFUSED.len() };
                let calls = REFUSED.iter().take(rows).flat_map(|(_, calls)| *calls);
                return Ok(Filter::refuse(calls.copied()));
            }
            Self::Read => &[][..],
            Self::Devices => DEVICES,
            Self::Netlink => NETLINK,
            Self::Files => FILES,
            Self::Listener => LISTENER,
        };
        let old = if self == Self::Files { OLD_FILES } else { &[] };
        let rows = BASE.iter().chain(OLD).chain(extra).chain(old);
        let filter = Filter::allow(rows.flat_map(|(_, calls)| *calls).copied())?;
        let netlink = u64::from(libc::AF_NETLINK.unsigned_abs());
        match self {
            Self::Netlink => filter.only(libc::SYS_socket, 0, &[netlink]),
            Self::Listener => filter.only(libc::SYS_ioctl, 1, &[libc::FIONBIO]),
            _ => Ok(filter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const KINDS: [Calls; 7] = [
        Calls::Read,
        Calls::Devices,
        Calls::Netlink,
        Calls::Files,
        Calls::Listener,
        Calls::Programs,
        Calls::Launcher,
    ];

    #[test]
    fn every_list_compiles_and_none_lets_a_process_execute() {
        for kind in KINDS {
            assert!(!kind.filter().unwrap().programs().unwrap().is_empty(), "{kind:?}");
        }
        let lists =
            BASE.iter().chain(OLD).chain(DEVICES).chain(NETLINK).chain(FILES).chain(LISTENER);
        let allowed: Vec<c_long> = lists.flat_map(|(_, calls)| *calls).copied().collect();
        for call in [libc::SYS_execve, libc::SYS_execveat, libc::SYS_ptrace, libc::SYS_mount] {
            assert!(!allowed.contains(&call));
        }
    }

    #[test]
    fn no_row_repeats_another() {
        let refused: Vec<_> = REFUSED.iter().flat_map(|(_, calls)| *calls).collect();
        assert_eq!(refused.iter().collect::<BTreeSet<_>>().len(), refused.len());
        for extra in [DEVICES, NETLINK, FILES, LISTENER] {
            let list: Vec<_> =
                BASE.iter().chain(OLD).chain(extra).flat_map(|(_, calls)| *calls).collect();
            assert_eq!(list.iter().collect::<BTreeSet<_>>().len(), list.len());
        }
    }
}
