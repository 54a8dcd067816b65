//! From rows to the program: architecture, then a search tree over numbers, then each call's checks.

use super::Shape;
use super::assemble::{
    ARCHITECTURE, NUMBER, and, give, high, if_any_bit, if_at_least, if_equal, jump, load, low,
};
use super::calls::{Call, Check, Then, rows};
use crate::sys::seccomp::Instruction;

const X86_64: u32 = 0xc000_003e;
/// Numbers from here on are the x32 ABI's, whose calls would need rows of their own.
const X32: u32 = 0x4000_0000;

const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const SUPERVISOR: u32 = 0x7fc0_0000;
const ERRNO: u32 = 0x0005_0000;

/// What is only known when a cell is built.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// The command's process id in its own namespace.
    pub(crate) process: u32,
    /// The descriptor that the command is executed from.
    pub(crate) executable: u32,
}

/// The filter of a shape.
pub(crate) fn compile(shape: Shape, facts: Facts) -> Vec<Instruction> {
    let refused = if shape.audit { SUPERVISOR } else { errno(libc::EPERM) };
    let mut rows = rows(shape);
    rows.sort_by_key(|row| row.number);
    let leaves = leaves(&rows, facts, refused);
    let mut program = vec![
        load(ARCHITECTURE),
        if_equal(X86_64, 1, 0),
        give(KILL_PROCESS),
        load(NUMBER),
        if_at_least(X32, 0, 1),
        give(KILL_PROCESS),
    ];
    program.extend(tree(&leaves, refused));
    program
}

/// What is decided for each number, by the lowest of those that it is decided for. Neighbours that
/// are allowed whatever their arguments are one leaf: the kernel checks, translates and tries the
/// whole program at each start of a cell.
fn leaves(rows: &[Call], facts: Facts, refused: u32) -> Vec<(u32, Vec<Instruction>)> {
    let mut leaves: Vec<(u32, Vec<Instruction>)> = Vec::new();
    let mut run: Option<(u32, u32)> = None;
    for calls in rows.chunk_by(|one, other| one.number == other.number) {
        let Some(number) = calls.first().and_then(|call| u32::try_from(call.number).ok()) else {
            continue;
        };
        let plain = calls.iter().all(|call| call.then == Then::Allow)
            && calls.iter().any(|call| call.checks.is_empty());
        match run.filter(|(_, last)| plain && last + 1 == number) {
            Some((first, _)) => {
                run = Some((first, number));
                leaves.pop();
                leaves.push((first, range(first, number, refused)));
            }
            None => {
                run = plain.then_some((number, number));
                leaves.push((number, leaf(number, calls, facts, refused)));
            }
        }
    }
    leaves
}

fn tree(leaves: &[(u32, Vec<Instruction>)], refused: u32) -> Vec<Instruction> {
    let (left, right) = match leaves {
        [] => return vec![give(refused)],
        [(_, one)] => return one.clone(),
        _ => leaves.split_at(leaves.len() / 2),
    };
    let Some((border, _)) = right.first() else { return vec![give(refused)] };
    let lower = tree(left, refused);
    let mut program = vec![if_at_least(*border, 0, 1), jump(lower.len())];
    program.extend(lower);
    program.extend(tree(right, refused));
    program
}

/// Allowed from the first to the last number.
fn range(first: u32, last: u32, refused: u32) -> Vec<Instruction> {
    vec![if_at_least(first, 0, 1), if_at_least(last + 1, 0, 1), give(refused), give(ALLOW)]
}

/// `refused` unless it is this number, then the alternatives one after the other.
fn leaf(number: u32, calls: &[Call], facts: Facts, refused: u32) -> Vec<Instruction> {
    let mut program = vec![if_equal(number, 1, 0), give(refused)];
    for call in calls {
        program.extend(alternative(call, facts));
    }
    let always = calls.iter().any(|call| call.checks.is_empty());
    if !always {
        program.push(give(refused));
    }
    program
}

/// The action when all checks hold; falls out at its end otherwise.
fn alternative(call: &Call, facts: Facts) -> Vec<Instruction> {
    let action = match call.then {
        Then::Allow => ALLOW,
        Then::Missing => errno(libc::ENOSYS),
        Then::Supervisor => SUPERVISOR,
    };
    let mut program = vec![give(action)];
    // From the last check to the first, so that the way to the end is known.
    for check in call.checks.iter().rev() {
        let mut checked = condition(*check, facts, program.len());
        checked.extend(program);
        program = checked;
    }
    program
}

/// Goes on when the check holds, else skips `rest` instructions.
fn condition(check: Check, facts: Facts, rest: usize) -> Vec<Instruction> {
    let away = |further: usize| u8::try_from(rest + further).unwrap_or(u8::MAX);
    match check {
        Check::Is(argument, value) => vec![load(low(argument)), if_equal(value, 0, away(0))],
        Check::OwnProcess(argument) => condition(Check::Is(argument, facts.process), facts, rest),
        Check::Executable(argument) => {
            condition(Check::Is(argument, facts.executable), facts, rest)
        }
        Check::In(argument, values) => {
            let mut program = vec![load(low(argument))];
            for (at, value) in values.iter().enumerate() {
                let left = values.len() - at - 1;
                let otherwise = if left == 0 { away(0) } else { 0 };
                program.push(if_equal(*value, u8::try_from(left).unwrap_or(u8::MAX), otherwise));
            }
            program
        }
        Check::Without(argument, bits) => {
            vec![load(low(argument)), if_any_bit(bits, away(0), 0)]
        }
        Check::With(argument, bits) => {
            vec![load(low(argument)), and(bits), if_equal(bits, 0, away(0))]
        }
        Check::Only(argument, bits) => vec![
            load(low(argument)),
            if_any_bit(!bits, away(2), 0),
            load(high(argument)),
            if_equal(0, 0, away(0)),
        ],
        Check::Null(argument) => vec![
            load(low(argument)),
            if_equal(0, 0, away(2)),
            load(high(argument)),
            if_equal(0, 0, away(0)),
        ],
    }
}

fn errno(number: i32) -> u32 {
    ERRNO | number.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::super::assemble::run;
    use super::*;
    use crate::seccomp::Egress;

    const FACTS: Facts = Facts { process: 2, executable: 512 };

    fn shape(egress: Egress) -> Shape {
        Shape { subprocess: false, egress, audit: false, by_path: false }
    }

    fn verdict(shape: Shape, number: libc::c_long, arguments: [u64; 6]) -> u32 {
        run(&compile(shape, FACTS), u32::try_from(number).unwrap(), X86_64, arguments)
    }

    /// What a supervisor lets go on by the rows is what the filter would have allowed.
    #[test]
    fn calls_by_path_fit_a_row_exactly_when_the_filter_allows_them() {
        let shape = Shape { audit: true, ..shape(Egress::Tcp) };
        let rows = super::super::by_path(shape);
        let words = [0, 0o100, 0o644, 0o4755, 0o2755, 0o20_200_000, 1 << 40, u64::MAX];
        let numbers: std::collections::BTreeSet<_> = rows.iter().map(|row| row.number).collect();
        for number in numbers {
            for at in 0..words.len().pow(3) {
                let word = |step: u32| words[at / words.len().pow(step) % words.len()];
                let arguments = [0, word(0), word(1), word(2), 0, 0];
                let fits =
                    rows.iter().any(|row| row.fits(i32::try_from(number).unwrap(), &arguments));
                assert_eq!(
                    fits,
                    verdict(shape, number, arguments) == ALLOW,
                    "{number} {arguments:x?}"
                );
            }
        }
    }

    #[test]
    fn other_architectures_and_x32_kill() {
        let program = compile(shape(Egress::None), FACTS);
        assert_eq!(run(&program, 1, 0x4000_0003, [0; 6]), KILL_PROCESS);
        assert_eq!(run(&program, X32, X86_64, [0; 6]), KILL_PROCESS);
        assert_eq!(run(&program, u32::MAX, X86_64, [0; 6]), KILL_PROCESS);
    }

    #[test]
    fn every_number_has_the_verdict_of_its_rows_and_no_other() {
        for egress in [Egress::None, Egress::Tcp, Egress::Udp] {
            let listed = rows(shape(egress));
            for number in 0..600 {
                let calls: Vec<&Call> = listed.iter().filter(|row| row.number == number).collect();
                let got = verdict(shape(egress), number, [u64::MAX; 6]);
                if calls.is_empty() {
                    assert_eq!(got, errno(libc::EPERM), "{number}");
                } else if let Some(row) = calls.iter().find(|row| row.checks.is_empty()) {
                    let expected = match row.then {
                        Then::Allow => ALLOW,
                        Then::Missing => errno(libc::ENOSYS),
                        Then::Supervisor => SUPERVISOR,
                    };
                    assert_eq!(got, expected, "{}", row.name);
                } else {
                    assert_eq!(got, errno(libc::EPERM), "{}: no argument fits all", calls[0].name);
                }
            }
        }
    }

    /// Arguments that pass, and one step beside them that must not.
    #[test]
    fn arguments_are_checked_exactly() {
        let none = shape(Egress::None);
        let denied = errno(libc::EPERM);
        let thread = 0x003d_0f00;
        let of = |a, b, c, d| [a, b, c, d, 0, 0];
        let cases: &[(libc::c_long, [u64; 6], u32)] = &[
            (libc::SYS_clone, of(thread, 0, 0, 0), ALLOW),
            (libc::SYS_clone, of(thread | 1 << 33, 0, 0, 0), denied),
            (libc::SYS_clone, of(thread | 0x1000_0000, 0, 0, 0), denied),
            (libc::SYS_clone, of(thread & !0x400, 0, 0, 0), denied),
            (libc::SYS_clone, of(17, 0, 0, 0), denied),
            (libc::SYS_kill, of(2, 9, 0, 0), ALLOW),
            (libc::SYS_kill, of(1, 9, 0, 0), denied),
            (libc::SYS_kill, of(0, 9, 0, 0), denied),
            (libc::SYS_kill, of(u64::MAX, 9, 0, 0), denied),
            (libc::SYS_socket, of(2, 1 | 0o4000, 6, 0), ALLOW),
            (libc::SYS_socket, of(10, 2 | 0o2_000_000, 17, 0), ALLOW),
            (libc::SYS_socket, of(2, 1, 262, 0), denied),
            (libc::SYS_socket, of(2, 3, 0, 0), denied),
            (libc::SYS_socket, of(2, 2, 136, 0), denied),
            (libc::SYS_socket, of(1, 1, 0, 0), denied),
            (libc::SYS_socket, of(2, 5, 132, 0), denied),
            (libc::SYS_ioctl, of(0, 0x5421, 0, 0), ALLOW),
            (libc::SYS_ioctl, of(0, 0x5412, 0, 0), denied),
            (libc::SYS_ioctl, of(0, 0x1_0000_5412, 0, 0), denied),
            (libc::SYS_openat, of(0, 0, 0, 0o6000), ALLOW),
            (libc::SYS_openat, of(0, 0, 0o100, 0o644), ALLOW),
            (libc::SYS_openat, of(0, 0, 0o100, 0o4755), denied),
            (libc::SYS_openat, of(0, 0, 0o20_200_000, 0o2755), denied),
            (libc::SYS_chmod, of(0, 0o2755, 0, 0), denied),
            (libc::SYS_prlimit64, of(0, 7, 0, 1), ALLOW),
            (libc::SYS_prlimit64, of(0, 7, 1 << 40, 1), denied),
            (libc::SYS_prlimit64, of(1, 7, 0, 1), denied),
            (libc::SYS_execveat, [512, 0, 0, 0, 0x1000, 0], ALLOW),
            (libc::SYS_execveat, [511, 0, 0, 0, 0x1000, 0], denied),
            (libc::SYS_execveat, [512, 0, 0, 0, 0, 0], denied),
            (libc::SYS_sendto, of(3, 0, 0, 0x4000), ALLOW),
            (libc::SYS_sendto, of(3, 0, 0, 0x2000_0000), denied),
            (libc::SYS_setsockopt, of(3, 1, 25, 0), denied),
            (libc::SYS_setsockopt, of(3, 6, 30, 0), denied),
            (libc::SYS_setsockopt, of(3, 6, 31, 0), denied),
            (libc::SYS_setsockopt, of(3, 6, 1, 0), ALLOW),
            (libc::SYS_prctl, of(38, 0, 0, 0), denied),
            (libc::SYS_arch_prctl, of(0x1012, 0, 0, 0), denied),
        ];
        for (number, arguments, expected) in cases {
            assert_eq!(verdict(none, *number, *arguments), *expected, "{number} {arguments:x?}");
        }
    }

    #[test]
    fn with_udp_a_send_with_an_address_goes_to_the_supervisor() {
        let udp = shape(Egress::Udp);
        assert_eq!(verdict(udp, libc::SYS_sendto, [3, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(verdict(udp, libc::SYS_sendto, [3, 0, 0, 0, 8, 16]), SUPERVISOR);
        assert_eq!(verdict(udp, libc::SYS_sendto, [3, 0, 0, 0, 1 << 32, 16]), SUPERVISOR);
        assert_eq!(verdict(udp, libc::SYS_sendmsg, [3, 0, 0, 0, 0, 0]), SUPERVISOR);
        assert_eq!(verdict(udp, libc::SYS_sendmmsg, [0; 6]), errno(libc::ENOSYS));
    }
}
