//! System calls: what each kind of process may ask the kernel for.
//!
//! A list of what is allowed, by purpose; everything else is answered with EPERM. Processes that
//! start other programs pass their filter on to them, so those have a list of what is refused.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

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
            // Refused by a filter of its own with ENOSYS, so that the C library asks for clone.
            libc::SYS_clone3,
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

const FILES: &[Row] = &[(
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
)];

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
        for program in self.programs()? {
            apply_filter(&program).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn programs(self) -> Result<Vec<BpfProgram>, String> {
        let eperm = SeccompAction::Errno(libc::EPERM.unsigned_abs());
        if matches!(self, Self::Programs | Self::Launcher) {
            // What builds a cell needs the second row, and gives it up itself.
            let rows = REFUSED.iter().take(if self == Self::Launcher { 1 } else { REFUSED.len() });
            let rules = rows.flat_map(|(_, calls)| *calls).map(|call| (*call, vec![]));
            return Ok(vec![compile(rules.collect(), SeccompAction::Allow, eperm)?]);
        }
        let extra = match self {
            Self::Read | Self::Programs | Self::Launcher => &[][..],
            Self::Devices => DEVICES,
            Self::Netlink => NETLINK,
            Self::Files => FILES,
            Self::Listener => LISTENER,
        };
        let old = if self == Self::Files { OLD_FILES } else { &[] };
        let rows = BASE.iter().chain(OLD).chain(extra).chain(old);
        let mut rules: BTreeMap<c_long, Vec<SeccompRule>> =
            rows.flat_map(|(_, calls)| *calls).map(|call| (*call, vec![])).collect();
        self.conditions(&mut rules)?;
        let main = compile(rules, eperm, SeccompAction::Allow)?;
        // Before the other, which lets no further filter in. A refusal of either one counts.
        let enosys = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
        let clone3 = BTreeMap::from([(libc::SYS_clone3, vec![])]);
        Ok(vec![compile(clone3, SeccompAction::Allow, enosys)?, main])
    }

    /// Calls that are allowed with some arguments only.
    fn conditions(self, rules: &mut BTreeMap<c_long, Vec<SeccompRule>>) -> Result<(), String> {
        // Memory is never writable and executable, nor made executable.
        let exec = u64::from(libc::PROT_EXEC.unsigned_abs());
        let no_exec = || masked(2, exec, 0);
        rules.insert(libc::SYS_mmap, vec![no_exec()?]);
        rules.insert(libc::SYS_mprotect, vec![no_exec()?]);
        // Threads of this process, no processes.
        let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
        rules.insert(libc::SYS_clone, vec![masked(0, thread, thread)?]);
        // A thread's name; `PR_SET_VMA` names memory for the allocator.
        let name = u64::from(libc::PR_SET_NAME.unsigned_abs());
        rules.insert(libc::SYS_prctl, vec![equal(0, name)?, equal(0, 0x5356_4d41)?]);
        if self == Self::Netlink {
            let netlink = u64::from(libc::AF_NETLINK.unsigned_abs());
            rules.insert(libc::SYS_socket, vec![equal(0, netlink)?]);
        }
        if self == Self::Listener {
            rules.insert(libc::SYS_ioctl, vec![equal(1, libc::FIONBIO)?]);
        }
        Ok(())
    }
}

fn compile(
    rules: BTreeMap<c_long, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, String> {
    let arch: TargetArch = std::env::consts::ARCH
        .try_into()
        .map_err(|_| format!("no filter for {}", std::env::consts::ARCH))?;
    let filter = SeccompFilter::new(rules, otherwise, matched, arch);
    filter.and_then(TryInto::try_into).map_err(|error| error.to_string())
}

fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompRule, String> {
    condition(argument, SeccompCmpOp::MaskedEq(mask), value)
}

fn equal(argument: u8, value: u64) -> Result<SeccompRule, String> {
    condition(argument, SeccompCmpOp::Eq, value)
}

fn condition(argument: u8, op: SeccompCmpOp, value: u64) -> Result<SeccompRule, String> {
    let one = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value);
    one.and_then(|one| SeccompRule::new(vec![one])).map_err(|error| error.to_string())
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
            assert!(!kind.programs().unwrap().is_empty(), "{kind:?}");
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
