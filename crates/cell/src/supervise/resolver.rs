//! Answers the questions for names of a cell that is observed.
//!
//! Other cells have no resolver: the names of their policy are in `/etc/hosts`.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{RecvFlags, SendFlags, recvfrom, sendto};

use super::observe::Observer;
use crate::limits::{ADDRESSES_OF_NAME, WATCH_INTERVAL, timespec};

/// Longest question that is read (RFC 1035, section 4.2.1).
const QUESTION: usize = 512;
/// Header (RFC 1035, section 4.1.1).
const HEADER: usize = 12;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
/// No such name.
const NAME_ERROR: u8 = 3;
/// How long an answer may be kept, seconds.
const TTL: u32 = 60;

/// A question for one name.
#[derive(Debug, PartialEq, Eq)]
struct Question<'a> {
    name: String,
    kind: u16,
    /// Name, type and class as they were sent.
    bytes: &'a [u8],
}

/// Answers until `over`.
pub(super) fn serve(socket: &OwnedFd, observer: &Observer, over: &AtomicBool) {
    let mut bytes = [0; QUESTION];
    while !over.load(Ordering::Acquire) {
        let mut watched = [PollFd::new(socket, PollFlags::IN)];
        if !matches!(poll(&mut watched, Some(&timespec(WATCH_INTERVAL))), Ok(1..)) {
            continue;
        }
        let Ok((length, _, Some(from))) = recvfrom(socket, &mut bytes, RecvFlags::DONTWAIT) else {
            continue;
        };
        let Ok(from) = SocketAddr::try_from(from) else { continue };
        let asked = bytes.get(..length).unwrap_or_default();
        let Some(question) = parse(asked) else { continue };
        let found = (question.name.as_str(), 0).to_socket_addrs();
        let mut found: Vec<IpAddr> =
            found.map_or_else(|_| Vec::new(), |all| all.map(|one| one.ip()).collect());
        found.sort_unstable();
        found.dedup();
        found.truncate(ADDRESSES_OF_NAME);
        observer.name(&question.name, &found);
        let _ = sendto(socket, &answer(asked, &question, &found), SendFlags::DONTWAIT, &from);
    }
}

/// One question of class IN, without pointers; everything else is not answered.
fn parse(bytes: &[u8]) -> Option<Question<'_>> {
    let half = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let is_question = half(2)? & 0xf800 == 0 && half(4)? == 1;
    if !is_question {
        return None;
    }
    let mut name = String::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        if length > 63 || name.len() + length > 253 {
            return None;
        }
        let label = std::str::from_utf8(bytes.get(at..at + length)?).ok()?;
        if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&label.to_ascii_lowercase());
        at += length;
    }
    let (kind, class) = (half(at)?, half(at + 2)?);
    let question = bytes.get(HEADER..at + 4)?;
    (class == 1 && !name.is_empty()).then_some(Question { name, kind, bytes: question })
}

fn answer(asked: &[u8], question: &Question<'_>, found: &[IpAddr]) -> Vec<u8> {
    let data = |address: &IpAddr| match (address, question.kind) {
        (IpAddr::V4(v4), TYPE_A) => Some(v4.octets().to_vec()),
        (IpAddr::V6(v6), TYPE_AAAA) => Some(v6.octets().to_vec()),
        _ => None,
    };
    let records: Vec<Vec<u8>> = found.iter().filter_map(data).collect();
    let code = if found.is_empty() { NAME_ERROR } else { 0 };
    let count = u16::try_from(records.len()).unwrap_or(0);
    let mut bytes = asked.get(..2).unwrap_or_default().to_vec();
    // An answer, recursion wanted and available; one question, so many answers.
    bytes.extend([0x81, 0x80 | code, 0, 1]);
    bytes.extend(count.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(question.bytes);
    for record in records {
        // The name of the question, by its place.
        bytes.extend([0xc0, 12]);
        bytes.extend(question.kind.to_be_bytes());
        bytes.extend([0, 1]);
        bytes.extend(TTL.to_be_bytes());
        bytes.extend(u16::try_from(record.len()).unwrap_or(0).to_be_bytes());
        bytes.extend(record);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn question(kind: u8) -> Vec<u8> {
        let mut bytes = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend(b"\x03API\x07example\x00\x00");
        bytes.extend([kind, 0, 1]);
        bytes
    }

    #[test]
    fn a_question_is_answered_by_its_kind() {
        let asked = question(1);
        let read = parse(&asked).unwrap();
        assert_eq!((read.name.as_str(), read.kind), ("api.example", TYPE_A));
        let found = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        let answered = answer(&asked, &read, &found);
        assert_eq!(answered[..8], [7, 9, 0x81, 0x80, 0, 1, 0, 1]);
        assert_eq!(answered[answered.len() - 6..], [0, 4, 192, 0, 2, 1]);
        let none = answer(&asked, &read, &[]);
        assert_eq!(none[3] & 0xf, NAME_ERROR);
    }

    #[test]
    fn what_is_no_plain_question_is_not_answered() {
        let whole = question(1);
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None, "{length}");
        }
        let mut pointer = question(1);
        pointer[12] = 0xc0;
        let mut response = question(1);
        response[2] = 0x80;
        assert!(parse(&pointer).is_none() && parse(&response).is_none());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            if let Some(question) = parse(&bytes) {
                let _ = answer(&bytes, &question, &[]);
            }
        }
    }
}
