//! Reads a chain from beginning to end and says whether it holds.

use std::io::{self, BufRead, Read as _};

use super::key::Key;
use super::record::{Head, parse};
use crate::limits::AUDIT_LINE;

/// What the reader of a log already knows about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The head of the file before this one; [`Head::START`] for the first file.
    pub after: Head,
    /// A head remembered from earlier. The chain must contain it, and may have grown since.
    pub head: Option<Head>,
}

impl Default for Expected {
    fn default() -> Self {
        Self { after: Head::START, head: None }
    }
}

/// The answer of [`verify`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every record is as it was written and where it was written.
    Intact {
        /// How many were read.
        records: u64,
        /// The last of them: what to remember.
        head: Head,
    },
    /// The chain breaks here; what is before this line holds.
    Broken {
        /// Counted from 1; one past the last line when something is missing at the end.
        line: u64,
        /// What is wrong.
        reason: Reason,
    },
}

/// How a chain is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Longer than any record.
    #[error("the line is longer than {AUDIT_LINE} bytes")]
    TooLong,
    /// The last line has no line feed: the writer was interrupted. The next start of the writer
    /// repairs this.
    #[error("the last line is incomplete: the writer was interrupted")]
    Torn,
    /// Not of the form of a record.
    #[error("not an audit record")]
    Malformed,
    /// The hash is not the one of the bytes.
    #[error("the record was changed")]
    Edited,
    /// The file does not begin with the first record (or the one after [`Expected::after`]).
    #[error("the head is missing: expected record {expected}, found {found}")]
    HeadMissing {
        /// The number due.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// Numbers were left out: records were removed or moved.
    #[error("records were removed or moved: expected record {expected}, found {found}")]
    Gap {
        /// The number due.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// A number was there before: a record was repeated or moved.
    #[error("a record was repeated or moved: expected record {expected}, found {found}")]
    Repeated {
        /// The number due.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// The right number, but made for another predecessor: one of the two was replaced.
    #[error("the record does not follow the one before it: one of them was replaced")]
    Unlinked,
    /// The chain ends before the remembered head.
    #[error("the tail is missing: record {remembered} was there and is gone")]
    TailMissing {
        /// The number remembered.
        remembered: u64,
    },
    /// The remembered record has another hash now: the chain was written anew.
    #[error("the chain was rewritten: record {remembered} is not the remembered one")]
    Rewritten {
        /// The number remembered.
        remembered: u64,
    },
}

/// Reads a whole log, in constant memory.
///
/// # Errors
/// Only what reading itself reports; a broken chain is a [`Verdict`].
pub fn verify(reader: impl BufRead, expected: &Expected) -> io::Result<Verdict> {
    read(reader, expected, None)
}

/// As [`verify`], for a log that was opened with [`Log::open_keyed`](super::Log::open_keyed).
/// With another key every record counts as changed.
///
/// # Errors
/// As [`verify`].
pub fn verify_keyed(reader: impl BufRead, expected: &Expected, key: &Key) -> io::Result<Verdict> {
    read(reader, expected, Some(key))
}

fn read(mut reader: impl BufRead, expected: &Expected, key: Option<&Key>) -> io::Result<Verdict> {
    let mut head = expected.after;
    let mut records = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        reader.by_ref().take(AUDIT_LINE as u64).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            break;
        }
        match follow(head, &line, records == 0, key).and_then(|next| remembered(next, expected)) {
            Ok(next) => head = next,
            Err(reason) => {
                return Ok(Verdict::Broken { line: records + 1, reason });
            }
        }
        records += 1;
    }
    Ok(match expected.head {
        Some(Head { seq, .. }) if seq > head.seq => {
            Verdict::Broken { line: records + 1, reason: Reason::TailMissing { remembered: seq } }
        }
        Some(last) if last.seq == expected.after.seq && last != expected.after => {
            Verdict::Broken { line: 1, reason: Reason::Rewritten { remembered: last.seq } }
        }
        _ => Verdict::Intact { records, head },
    })
}

/// The head after `line`, when it is the record that follows `head`.
fn follow(head: Head, line: &[u8], first: bool, key: Option<&Key>) -> Result<Head, Reason> {
    let Some(line) = line.strip_suffix(b"\n") else {
        return Err(if line.len() >= AUDIT_LINE { Reason::TooLong } else { Reason::Torn });
    };
    let record = parse(line, key)?;
    let (expected, found) = (head.seq.saturating_add(1), record.head.seq);
    if found != expected {
        return Err(match first {
            true => Reason::HeadMissing { expected, found },
            false if found > expected => Reason::Gap { expected, found },
            false => Reason::Repeated { expected, found },
        });
    }
    if record.prev != head.hash {
        return Err(Reason::Unlinked);
    }
    Ok(record.head)
}

fn remembered(head: Head, expected: &Expected) -> Result<Head, Reason> {
    match expected.head {
        Some(Head { seq, hash }) if seq == head.seq && hash != head.hash => {
            Err(Reason::Rewritten { remembered: seq })
        }
        _ => Ok(head),
    }
}
