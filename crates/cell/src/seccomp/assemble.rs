//! Classic BPF, as far as a filter of system calls needs it (bpf(4), seccomp(2)).

use crate::sys::seccomp::Instruction;

const LOAD_WORD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const JUMP_IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Where `struct seccomp_data` holds the number of the call.
pub(super) const NUMBER: u32 = 0;
/// Where it holds the architecture.
pub(super) const ARCHITECTURE: u32 = 4;

/// Lower half of an argument: all the kernel looks at for an `int`.
pub(super) fn low(argument: u8) -> u32 {
    16 + 8 * u32::from(argument)
}

/// Upper half of an argument.
pub(super) fn high(argument: u8) -> u32 {
    low(argument) + 4
}

pub(super) fn load(offset: u32) -> Instruction {
    plain(LOAD_WORD, offset)
}

pub(super) fn and(bits: u32) -> Instruction {
    plain(AND, bits)
}

pub(super) fn give(action: u32) -> Instruction {
    plain(RETURN, action)
}

pub(super) fn jump(over: usize) -> Instruction {
    plain(JUMP, u32::try_from(over).unwrap_or(u32::MAX))
}

pub(super) fn if_equal(value: u32, then: u8, otherwise: u8) -> Instruction {
    Instruction { code: JUMP_IF_EQUAL, jump_true: then, jump_false: otherwise, operand: value }
}

pub(super) fn if_at_least(value: u32, then: u8, otherwise: u8) -> Instruction {
    Instruction { code: JUMP_IF_AT_LEAST, jump_true: then, jump_false: otherwise, operand: value }
}

pub(super) fn if_any_bit(bits: u32, then: u8, otherwise: u8) -> Instruction {
    Instruction { code: JUMP_IF_ANY_BIT, jump_true: then, jump_false: otherwise, operand: bits }
}

fn plain(code: u16, operand: u32) -> Instruction {
    Instruction { code, jump_true: 0, jump_false: 0, operand }
}

/// Runs a program as the kernel would; for tests, which could otherwise only try it on themselves.
#[cfg(test)]
pub(super) fn run(program: &[Instruction], number: u32, arch: u32, arguments: [u64; 6]) -> u32 {
    let word = |offset: u32| match offset {
        NUMBER => number,
        ARCHITECTURE => arch,
        _ => {
            let argument = arguments[usize::try_from((offset - 16) / 8).unwrap()];
            let half = if (offset - 16).is_multiple_of(8) { argument } else { argument >> 32 };
            u32::try_from(half & 0xffff_ffff).unwrap()
        }
    };
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let one = program[at];
        let taken = match one.code {
            LOAD_WORD => {
                accumulator = word(one.operand);
                0
            }
            AND => {
                accumulator &= one.operand;
                0
            }
            JUMP => usize::try_from(one.operand).unwrap(),
            RETURN => return one.operand,
            code => {
                let holds = match code {
                    JUMP_IF_EQUAL => accumulator == one.operand,
                    JUMP_IF_AT_LEAST => accumulator >= one.operand,
                    JUMP_IF_ANY_BIT => accumulator & one.operand != 0,
                    other => panic!("instruction {other:#x}"),
                };
                usize::from(if holds { one.jump_true } else { one.jump_false })
            }
        };
        at += 1 + taken;
    }
}
