//! A UDP socket of the host's takes packets from anybody. A cell's takes them from where it may
//! send to, by a locked filter on the socket itself.

use std::os::fd::{AsFd as _, OwnedFd};

use netpolicy::Transport;
use rustix::io::Errno;
use std::net::IpAddr;

use super::rules::{Entry, Rules};
use crate::sys::seccomp::Instruction;
use crate::sys::socket::attach_filter;

const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const AND: u16 = 0x54;
const EQUAL: u16 = 0x15;
const AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;
/// `SKF_NET_OFF`: offsets from here on count from the network header.
const NETWORK: u32 = 0xfff0_0000;
const SOURCE_V4: u32 = NETWORK + 12;
const SOURCE_V6: u32 = NETWORK + 8;
/// The packet as a socket filter sees it begins with the UDP header, whose first half is the
/// source port.
const SOURCE_PORT: u32 = 0;
const WHOLE: u32 = u32::MAX;
/// Longest filter the kernel takes.
const INSTRUCTIONS: usize = 4096;

/// Lets packets through only from addresses and ports that the rules allow to send to.
pub(super) fn only_from(socket: &OwnedFd, rules: &Rules) -> Result<(), Errno> {
    let Rules::Allow(entries) = rules else { return Ok(()) };
    attach_filter(socket.as_fd(), &program(entries)?)
}

fn program(entries: &[Entry]) -> Result<Vec<Instruction>, Errno> {
    let mut program = Vec::new();
    for entry in entries.iter().filter(|entry| entry.transport == Transport::Udp) {
        for (first, last) in entry.ports.ranges() {
            program.extend(source(entry, first, last));
        }
    }
    program.push(one(RETURN, 0, 0, 0));
    if program.len() > INSTRUCTIONS {
        return Err(Errno::TOOBIG);
    }
    Ok(program)
}

/// Accepts when address and port match; falls out at its end otherwise.
fn source(entry: &Entry, first: u16, last: u16) -> Vec<Instruction> {
    let (version, words) = match entry.network.first() {
        IpAddr::V4(v4) => (0x40, vec![(SOURCE_V4, v4.to_bits())]),
        IpAddr::V6(v6) => {
            let words = v6.octets();
            let words = words.chunks_exact(4).zip(0_u32..).map(|(word, at)| {
                let word = word.try_into().map_or(0, u32::from_be_bytes);
                (SOURCE_V6 + 4 * at, word)
            });
            (0x60, words.collect())
        }
    };
    let mut checks =
        vec![vec![one(LOAD_BYTE, NETWORK, 0, 0), one(AND, 0xf0, 0, 0), one(EQUAL, version, 0, 1)]];
    let mut left = u32::from(entry.network.prefix());
    for (offset, value) in words {
        let bits = left.min(32);
        left -= bits;
        let mask = if bits == 0 { 0 } else { u32::MAX << (32 - bits) };
        checks.push(vec![
            one(LOAD_WORD, offset, 0, 0),
            one(AND, mask, 0, 0),
            one(EQUAL, value & mask, 0, 1),
        ]);
    }
    checks.push(vec![one(LOAD_HALF, SOURCE_PORT, 0, 0), one(AT_LEAST, first.into(), 0, 1)]);
    if last < u16::MAX {
        checks.push(vec![one(AT_LEAST, u32::from(last) + 1, 1, 0)]);
    }
    let mut program = vec![one(RETURN, WHOLE, 0, 0)];
    // From the last check to the first: a failed one skips all that follows it.
    for mut check in checks.into_iter().rev() {
        let skip = u8::try_from(program.len()).unwrap_or(u8::MAX);
        if let Some(test) = check.last_mut() {
            let (when_true, when_false) = (test.jump_true, test.jump_false);
            test.jump_true = when_true * skip;
            test.jump_false = when_false * skip;
        }
        check.extend(program);
        program = check;
    }
    program
}

fn one(code: u16, operand: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code, jump_true, jump_false, operand }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::time::Duration;

    /// Over real packets: from the allowed port they arrive, from another they do not.
    #[test]
    fn packets_come_through_from_the_allowed_source_only() {
        let allowed = UdpSocket::bind("127.0.0.1:0").unwrap();
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        let entry = Entry {
            network: "127.0.0.1/32".parse().unwrap(),
            ports: netpolicy::PortSet::one(allowed.local_addr().unwrap().port()),
            transport: Transport::Udp,
        };
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = receiver.local_addr().unwrap();
        let held = OwnedFd::from(receiver);
        only_from(&held, &Rules::Allow(vec![entry])).unwrap();
        let receiver = UdpSocket::from(held);
        receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        other.send_to(b"no", to).unwrap();
        allowed.send_to(b"yes", to).unwrap();
        let mut bytes = [0; 8];
        let (length, from) = receiver.recv_from(&mut bytes).unwrap();
        assert_eq!((&bytes[..length], from), (&b"yes"[..], allowed.local_addr().unwrap()));
    }
}
