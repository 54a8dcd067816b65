//! Netlink messages: written, and taken apart. Both are small: four kinds of attributes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of a message's head, of the family head behind it, and of an attribute's head.
const HEAD: usize = 16;
const FAMILY_HEAD: usize = 4;
const ATTRIBUTE: usize = 4;

/// `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u16 = 10;

const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NFT_MSG_NEWSETELEM`, as the kernel lists elements.
const NEW_ELEMENT: u16 = SUBSYSTEM << 8 | 12;

/// An attribute that holds others.
const NESTED: u16 = 0x8000;

/// Messages one behind the other.
#[derive(Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    seq: u32,
}

/// A message, or an attribute, whose length is not known yet.
#[derive(Clone, Copy)]
#[must_use]
pub(super) struct Open(usize);

impl Writer {
    pub(super) fn finish(self) -> (Vec<u8>, u32) {
        (self.bytes, self.seq)
    }

    /// The number of the last message so far.
    pub(super) fn seq(&self) -> u32 {
        self.seq
    }

    /// A message of nf_tables for this family.
    pub(super) fn begin(&mut self, kind: u16, flags: u16, family: u8) -> Open {
        self.message(SUBSYSTEM << 8 | kind, flags, family, 0)
    }

    /// `NFNL_MSG_BATCH_BEGIN` (16) or `NFNL_MSG_BATCH_END` (17).
    pub(super) fn batch(&mut self, kind: u16) {
        let open = self.message(kind, 1, 0, SUBSYSTEM);
        self.end(open);
    }

    fn message(&mut self, kind: u16, flags: u16, family: u8, resource: u16) -> Open {
        let at = self.bytes.len();
        self.seq += 1;
        self.bytes.extend(0_u32.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend(self.seq.to_ne_bytes());
        self.bytes.extend(0_u32.to_ne_bytes());
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        Open(at)
    }

    pub(super) fn end(&mut self, open: Open) {
        let length = u32::try_from(self.bytes.len() - open.0).unwrap_or(0);
        self.put(open.0, &length.to_ne_bytes());
    }

    pub(super) fn bytes(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + ATTRIBUTE).unwrap_or(0);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.align();
    }

    pub(super) fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes);
    }

    pub(super) fn number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(super) fn nest(&mut self, kind: u16, inner: impl FnOnce(&mut Self)) {
        let at = self.bytes.len();
        self.bytes.extend(0_u16.to_ne_bytes());
        self.bytes.extend((kind | NESTED).to_ne_bytes());
        inner(self);
        // Callers keep lists short enough: a length has 16 bits.
        let length = u16::try_from(self.bytes.len() - at).unwrap_or(0);
        self.put(at, &length.to_ne_bytes());
    }

    fn align(&mut self) {
        let padded = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(padded, 0);
    }

    fn put(&mut self, at: usize, value: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
    }
}

/// One message of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    /// What was asked for: attributes.
    Body(&'a [u8]),
    /// The list is complete.
    Done,
    /// The answer to message `seq`; 0 means that it was done.
    Error { seq: u32, errno: i32 },
}

/// Takes a packet apart; what is no message ends it.
pub(crate) fn replies(mut packet: &[u8]) -> Vec<Reply<'_>> {
    let mut found = Vec::new();
    while let Some((length, kind, seq)) = head(packet) {
        let Some(message) = packet.get(HEAD..length) else { break };
        match kind {
            ERROR => {
                let Some(code) = message.first_chunk::<4>() else { break };
                let asked = message.get(4..).and_then(head).map_or(seq, |(_, _, seq)| seq);
                let errno = i32::from_ne_bytes(*code).checked_neg().unwrap_or(i32::MAX);
                found.push(Reply::Error { seq: asked, errno });
            }
            DONE => found.push(Reply::Done),
            NEW_ELEMENT => {
                found.extend(message.get(FAMILY_HEAD..).map(Reply::Body));
            }
            // A table that was looked up; its acknowledgement follows.
            _ => {}
        }
        match packet.get(length.next_multiple_of(4)..) {
            Some(rest) => packet = rest,
            None => break,
        }
    }
    found
}

/// Length, kind and number of the message at the start.
fn head(bytes: &[u8]) -> Option<(usize, u16, u32)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_first_chunk::<2>()?;
    let seq = rest.get(2..6)?.first_chunk::<4>()?;
    let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
    let sound = length >= HEAD;
    sound.then(|| (length, u16::from_ne_bytes(*kind), u32::from_ne_bytes(*seq)))
}

/// Attributes, by kind without flags; what is none ends them.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (kind, _) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_ne_bytes(*length));
        let value = bytes.get(ATTRIBUTE..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes(*kind) & 0x3fff, value))
    })
}

fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// The elements of a listing: each address with the milliseconds left.
pub(super) fn elements(body: &[u8]) -> Vec<(IpAddr, Option<u64>)> {
    // NFTA_SET_ELEM_LIST_ELEMENTS, of NFTA_LIST_ELEM each.
    let list = attribute(body, 3).unwrap_or_default();
    attributes(list).filter_map(|(_, element)| one(element)).collect()
}

/// NFTA_SET_ELEM_KEY (1) with NFTA_DATA_VALUE (1), NFTA_SET_ELEM_EXPIRATION (5).
fn one(element: &[u8]) -> Option<(IpAddr, Option<u64>)> {
    let key = attribute(attribute(element, 1)?, 1)?;
    let address = match key.len() {
        4 => IpAddr::V4(Ipv4Addr::from(*key.first_chunk::<4>()?)),
        16 => IpAddr::V6(Ipv6Addr::from(*key.first_chunk::<16>()?)),
        _ => return None,
    };
    let left = attribute(element, 5).and_then(|value| value.first_chunk::<8>());
    Some((address, left.map(|millis| u64::from_be_bytes(*millis))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut writer = Writer::default();
        let open = writer.begin(12, 0, 1);
        writer.nest(3, |list| {
            for (n, address) in [[192, 0, 2, 1], [192, 0, 2, 2]].iter().enumerate() {
                list.nest(1, |element| {
                    element.nest(1, |key| key.bytes(1, address));
                    if n == 1 {
                        element.bytes(5, &7_u64.to_be_bytes());
                    }
                });
            }
        });
        writer.end(open);
        let (bytes, _) = writer.finish();
        let replies = replies(&bytes);
        let [Reply::Body(body)] = replies.as_slice() else { panic!("{replies:?}") };
        let expected =
            [("192.0.2.1".parse().unwrap(), None), ("192.0.2.2".parse().unwrap(), Some(7))];
        assert_eq!(elements(body), expected);
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged(bytes: Vec<u8>) {
            for reply in replies(&bytes) {
                if let Reply::Body(body) = reply {
                    elements(body);
                }
            }
            elements(&bytes);
        }
    }
}
