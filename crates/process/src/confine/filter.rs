//! System calls (seccomp).

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

/// System calls that stay, or that go.
#[derive(Debug)]
pub struct Filter {
    rules: BTreeMap<c_long, Vec<SeccompRule>>,
    listed: Listed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listed {
    Stay,
    Go,
}

/// `PR_SET_VMA` names memory for the allocator.
const PR_SET_VMA: u64 = 0x5356_4d41;

impl Filter {
    /// These calls stay, all others are answered with EPERM. With them stay what every program
    /// of ours needs, within bounds: memory that is not executable, threads but no processes,
    /// names of threads.
    ///
    /// # Errors
    /// A condition that can not be written; a bug.
    pub fn allow(calls: impl IntoIterator<Item = c_long>) -> Result<Self, String> {
        let mut rules: BTreeMap<c_long, Vec<SeccompRule>> =
            calls.into_iter().map(|call| (call, vec![])).collect();
        // Memory is never writable and executable, nor made executable.
        let exec = u64::from(libc::PROT_EXEC.unsigned_abs());
        rules.insert(libc::SYS_mmap, vec![masked(2, exec, 0)?]);
        rules.insert(libc::SYS_mprotect, vec![masked(2, exec, 0)?]);
        // Threads of this process, no processes.
        let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
        rules.insert(libc::SYS_clone, vec![masked(0, thread, thread)?]);
        // Refused by a filter of its own with ENOSYS, so that the C library asks for clone.
        rules.insert(libc::SYS_clone3, vec![]);
        let name = u64::from(libc::PR_SET_NAME.unsigned_abs());
        rules.insert(libc::SYS_prctl, vec![equal(0, name)?, equal(0, PR_SET_VMA)?]);
        Ok(Self { rules, listed: Listed::Stay })
    }

    /// These calls are answered with EPERM, all others stay.
    pub fn refuse(calls: impl IntoIterator<Item = c_long>) -> Self {
        let rules = calls.into_iter().map(|call| (call, vec![])).collect();
        Self { rules, listed: Listed::Go }
    }

    /// Lists a call for these values of one of its arguments alone.
    ///
    /// # Errors
    /// An argument that there is none of; a bug.
    pub fn only(mut self, call: c_long, argument: u8, values: &[u64]) -> Result<Self, String> {
        let rules = values.iter().map(|value| equal(argument, *value));
        self.rules.insert(call, rules.collect::<Result<_, _>>()?);
        Ok(self)
    }

    /// Installs it on this thread and all it will start.
    ///
    /// # Errors
    /// What the kernel lacks or refuses, as a text.
    pub fn apply(self) -> Result<(), String> {
        for program in self.programs()? {
            apply_filter(&program).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// The filters in the order they are to be installed in: the last lets no further one in.
    ///
    /// # Errors
    /// What can not be compiled, as a text; a bug, or an unknown architecture.
    pub fn programs(self) -> Result<Vec<BpfProgram>, String> {
        let eperm = SeccompAction::Errno(libc::EPERM.unsigned_abs());
        let enosys = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
        if self.listed == Listed::Go {
            return Ok(vec![compile(self.rules, SeccompAction::Allow, eperm)?]);
        }
        let main = compile(self.rules, eperm, SeccompAction::Allow)?;
        // A refusal of either one counts.
        let clone3 = BTreeMap::from([(libc::SYS_clone3, vec![])]);
        Ok(vec![compile(clone3, SeccompAction::Allow, enosys)?, main])
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

    #[test]
    fn both_kinds_compile_and_a_wrong_condition_is_an_error() {
        assert_eq!(Filter::allow([libc::SYS_read]).unwrap().programs().unwrap().len(), 2);
        assert_eq!(Filter::refuse([libc::SYS_bpf]).programs().unwrap().len(), 1);
        let socket = Filter::allow([]).unwrap().only(libc::SYS_socket, 0, &[1, 2]).unwrap();
        assert!(socket.programs().is_ok());
        assert!(Filter::allow([]).unwrap().only(libc::SYS_socket, 9, &[1]).is_err());
    }
}
