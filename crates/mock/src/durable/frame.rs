//! Lines that tell whether they are whole: `SUM JSON\n`, the sum as 16 hexadecimal digits.
//!
//! The sum is the start of the SHA-256 of the previous line's sum and this line's JSON, so a line
//! that was changed, left out, moved or doubled is found, and so is every line cut short. It is no
//! protection against somebody who wants to deceive: whoever can write the file owns the mock.

use std::io::{self, BufRead, Read as _, Write as _};

use aws_lc_rs::digest;

use crate::limits::FRAME_BYTES;

/// Digits of the sum and the blank after them.
const HEAD: usize = 17;

/// The sum that the next line goes on from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Chain(u64);

impl Chain {
    fn next(self, payload: &[u8]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.0.to_be_bytes());
        context.update(payload);
        let sum = context.finish();
        Self(sum.as_ref().first_chunk().map_or(0, |first| u64::from_be_bytes(*first)))
    }

    /// Appends one line; the payload is JSON, which has no line break of its own.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, payload: &[u8]) {
        *self = self.next(payload);
        out.reserve(HEAD + payload.len() + 1);
        let _ = write!(out, "{:016x} ", self.0);
        out.extend_from_slice(payload);
        out.push(b'\n');
    }
}

/// Why the reading of lines ended before the end of the file.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The last line was never completely written: its end is missing, or holds bytes that no
    /// system has filled. Nobody was told that it is kept.
    Torn,
    /// A whole line that is not the one that was written.
    Damaged,
    Io(io::Error),
}

/// Reads lines one by one.
pub(crate) struct Frames<R> {
    from: R,
    buffer: Vec<u8>,
    /// Of the last good line.
    pub(crate) chain: Chain,
    /// Bytes of all good lines.
    pub(crate) offset: u64,
    /// Good lines.
    pub(crate) lines: u64,
}

impl<R: BufRead> Frames<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, buffer: Vec::new(), chain: Chain::default(), offset: 0, lines: 0 }
    }

    /// The payload of the next line; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, Fault> {
        self.buffer.clear();
        let most = u64::try_from(HEAD + FRAME_BYTES + 1).unwrap_or(u64::MAX);
        let read = self.from.by_ref().take(most).read_until(b'\n', &mut self.buffer);
        let read = u64::try_from(read.map_err(Fault::Io)?).unwrap_or(u64::MAX);
        if read == 0 {
            return Ok(None);
        }
        let Some(sum) = self.sum() else { return Err(self.fault(read == most)) };
        self.chain = sum;
        self.offset += read;
        self.lines += 1;
        let end = self.buffer.len().saturating_sub(1);
        Ok(Some(self.buffer.get(HEAD..end).unwrap_or_default()))
    }

    /// Whether the line that was not good has this text in it.
    pub(crate) fn bad_line_holds(&self, text: &str) -> bool {
        self.buffer.windows(text.len()).any(|piece| piece == text.as_bytes())
    }

    /// The sum of the line in the buffer, when it is whole and right.
    fn sum(&self) -> Option<Chain> {
        let line = self.buffer.strip_suffix(b"\n")?;
        let (head, payload) = line.split_at_checked(HEAD)?;
        let wanted = self.chain.next(payload);
        (head == format!("{:016x} ", wanted.0).as_bytes()).then_some(wanted)
    }

    /// What is wrong with the line in the buffer.
    fn fault(&mut self, too_long: bool) -> Fault {
        let is_last = match self.from.fill_buf() {
            Ok(rest) => rest.is_empty(),
            Err(error) => return Fault::Io(error),
        };
        // A page that was never written reads as zeros, which JSON and sums do not hold.
        let is_partial = !self.buffer.ends_with(b"\n") || self.buffer.contains(&0);
        if is_last && is_partial && !too_long { Fault::Torn } else { Fault::Damaged }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(payloads: &[String]) -> Vec<u8> {
        let (mut bytes, mut chain) = (Vec::new(), Chain::default());
        payloads.iter().for_each(|payload| chain.write(&mut bytes, payload.as_bytes()));
        bytes
    }

    /// The good payloads, and why there are no more.
    fn read(bytes: &[u8]) -> (Vec<String>, Option<Fault>) {
        let mut frames = Frames::new(bytes);
        let mut payloads = Vec::new();
        loop {
            match frames.next() {
                Ok(Some(payload)) => {
                    payloads.push(String::from_utf8_lossy(payload).into_owned());
                }
                Ok(None) => return (payloads, None),
                Err(fault) => return (payloads, Some(fault)),
            }
        }
    }

    #[test]
    fn pages_that_were_never_written_are_a_torn_end() {
        let mut bytes = written(&["[1]".into(), "[2,3,4,5,6,7,8]".into()]);
        let at = bytes.len() - 8;
        bytes[at..at + 4].fill(0);
        assert!(matches!(read(&bytes), (good, Some(Fault::Torn)) if good == ["[1]"]));
        bytes.extend(written(&["[9]".into()]));
        assert!(matches!(read(&bytes), (_, Some(Fault::Damaged))));
    }

    fn payloads() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("[ -~]{0,40}", 1..8)
    }

    proptest! {
        #[test]
        fn lines_are_read_as_written(payloads in payloads()) {
            let (good, fault) = read(&written(&payloads));
            prop_assert!(fault.is_none());
            prop_assert_eq!(good, payloads);
        }

        #[test]
        fn every_cut_inside_a_line_is_a_torn_end(payloads in payloads(), at in any::<prop::sample::Index>()) {
            let bytes = written(&payloads);
            let at = at.index(bytes.len());
            let whole = bytes[..at].iter().filter(|byte| **byte == b'\n').count();
            let (good, fault) = read(&bytes[..at]);
            prop_assert_eq!(&good[..], &payloads[..whole]);
            let between = at == 0 || bytes[at - 1] == b'\n';
            prop_assert_eq!(fault.is_none(), between);
            prop_assert!(between || matches!(fault, Some(Fault::Torn)));
        }

        #[test]
        fn a_changed_byte_is_damage(
            payloads in payloads(),
            at in any::<prop::sample::Index>(),
            flip in 1..128_u8,
        ) {
            let mut bytes = written(&payloads);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let (good, fault) = read(&bytes);
            prop_assert!(fault.is_some() && good.len() < payloads.len());
            prop_assert_eq!(&good[..], &payloads[..good.len()]);
        }

        #[test]
        fn a_line_left_out_doubled_or_moved_is_damage(
            payloads in prop::collection::vec("[ -~]{0,40}", 3..8),
            at in any::<prop::sample::Index>(),
            how in 0..3,
        ) {
            let bytes = written(&payloads);
            let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
            let at = at.index(lines.len() - 1);
            match how {
                0 => drop(lines.remove(at)),
                1 => lines.insert(at, lines[at]),
                _ => lines.swap(at, at + 1),
            }
            prop_assert!(matches!(read(&lines.concat()).1, Some(Fault::Damaged)));
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            read(&bytes);
        }
    }
}
