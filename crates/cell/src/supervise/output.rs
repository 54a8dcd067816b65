//! What the command writes: carried on, up to a rate, without ever waiting for the reader.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;

use crate::limits::OUTPUT_BUFFER;
use crate::policy::Limits;

/// Most bytes written at once: what a pipe that is ready takes without waiting (pipe(7)).
const AT_ONCE: usize = 4096;

/// One of the command's two streams, on its way to one of ours.
#[derive(Debug)]
pub(super) struct Stream<'a> {
    from: Option<OwnedFd>,
    to: BorrowedFd<'a>,
    waiting: Vec<u8>,
    /// Nobody reads any more.
    closed: bool,
}

/// Lines and bytes that may still pass in this second, for both streams together.
#[derive(Debug)]
pub(super) struct Rate {
    since: Instant,
    lines: u32,
    bytes: u64,
    limit: (u32, u64),
    /// Bytes that were over it.
    pub(super) dropped: u64,
}

impl Rate {
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        let limit = (limits.log_lines, limits.log_bytes.0);
        Self { since: now, lines: limit.0, bytes: limit.1, limit, dropped: 0 }
    }

    /// How much of this may pass; the rest is counted.
    fn pass<'b>(&mut self, bytes: &'b [u8], now: Instant) -> &'b [u8] {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            (self.since, self.lines, self.bytes) = (now, self.limit.0, self.limit.1);
        }
        let mut end = 0;
        for byte in bytes {
            if self.bytes == 0 || self.lines == 0 {
                break;
            }
            self.bytes -= 1;
            self.lines -= u32::from(*byte == b'\n');
            end += 1;
        }
        let (passed, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
        self.dropped += u64::try_from(rest.len()).unwrap_or(u64::MAX);
        passed
    }
}

impl<'a> Stream<'a> {
    pub(super) fn new(from: OwnedFd, to: BorrowedFd<'a>) -> Self {
        let _ = rustix::io::ioctl_fionbio(&from, true);
        Self { from: Some(from), to, waiting: Vec::new(), closed: false }
    }

    /// What to wait for on the command's side.
    pub(super) fn source(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let room = self.waiting.len() < OUTPUT_BUFFER;
        self.from.as_ref().filter(|_| room).map(|from| (from.as_fd(), PollFlags::IN))
    }

    /// What to wait for on ours.
    pub(super) fn sink(&self) -> Option<(BorrowedFd<'a>, PollFlags)> {
        (!self.waiting.is_empty()).then_some((self.to, PollFlags::OUT))
    }

    pub(super) fn is_done(&self) -> bool {
        self.from.is_none() && self.waiting.is_empty()
    }

    pub(super) fn read(&mut self, rate: &mut Rate, now: Instant) {
        let Some(from) = &self.from else { return };
        let mut bytes = [0; 16 << 10];
        match rustix::io::read(from, &mut bytes) {
            Ok(0) => self.from = None,
            Ok(count) => {
                let passed = rate.pass(bytes.get(..count).unwrap_or_default(), now);
                if !self.closed {
                    self.waiting.extend_from_slice(passed);
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.from = None,
        }
    }

    /// Returns whether something was written.
    pub(super) fn write(&mut self) -> bool {
        let part = self.waiting.get(..self.waiting.len().min(AT_ONCE)).unwrap_or_default();
        match rustix::io::write(self.to, part) {
            Ok(count) => {
                self.waiting.drain(..count.min(self.waiting.len()));
                count > 0
            }
            Err(Errno::AGAIN | Errno::INTR) => false,
            Err(_) => {
                self.closed = true;
                self.waiting.clear();
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_rate_is_dropped_and_counted_until_the_next_second() {
        let limits = Limits { log_lines: 2, ..Limits::default() };
        let now = Instant::now();
        let mut rate = Rate::new(&limits, now);
        assert_eq!(rate.pass(b"a\nb\nc\n", now), b"a\nb\n");
        assert_eq!(rate.pass(b"d\n", now), b"");
        assert_eq!(rate.dropped, 4);
        assert_eq!(rate.pass(b"e\n", now + Duration::from_secs(1)), b"e\n");
    }
}
