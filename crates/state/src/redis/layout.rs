//! How entries and news of them are written down. A name or byte here is for ever: gates of two
//! versions may share a server while one is replaced by the other.
//!
//! Keys, with a prefix before each: `:TABLE` is a hash of rows, `:TABLE:ends` a sorted set of
//! their keys by the second of their end, `:feed` a stream of what has changed, `:format` the
//! number of this layout.

use std::time::Duration;

use crate::limits::{FEED_RECORD, KEY_BYTES};
use crate::store::{Change, Entry, Table};

/// Number of the layout.
pub(super) const FORMAT: &str = "1";

/// Seconds (8 bytes), nanoseconds (4), both with the most significant first.
const EXPIRY: usize = 12;

/// First byte of a row.
const ROW: u8 = 1;

/// What the feed says of one entry. Of what was set, only the key: whoever wants to know looks at
/// what is there now, so that no order of arrival can bring back what is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Note {
    Set {
        table: Table,
        key: Vec<u8>,
    },
    Extended {
        table: Table,
        key: Vec<u8>,
        expires: Duration,
    },
    Gone {
        table: Table,
        key: Vec<u8>,
    },
    /// More has changed than fits into a record.
    Everything,
    /// The server had lost what it acknowledged, and all sessions were ended.
    Lost,
}

/// The record of somebody who found that something was lost; the script writes it.
pub(super) const LOST: &[u8] = &[5];

/// The first bytes of a row.
pub(super) fn head(expires: Duration) -> Vec<u8> {
    let mut head = vec![ROW];
    push_expiry(&mut head, expires);
    head
}

pub(super) fn row(entry: &Entry) -> Vec<u8> {
    let mut row = head(entry.expires);
    row.extend_from_slice(&entry.value);
    row
}

/// None for what nobody of us has written.
pub(super) fn entry(key: Vec<u8>, row: &[u8]) -> Option<Entry> {
    let mut rest = row.strip_prefix(&[ROW])?;
    let expires = take_expiry(&mut rest)?;
    Some(Entry { key, value: rest.to_vec(), expires })
}

/// The end as the sorted set has it: the first whole second at which the entry means nothing.
pub(super) fn score(expires: Duration) -> String {
    let seconds = expires.as_secs().saturating_add(u64::from(expires.subsec_nanos() > 0));
    match seconds {
        // Beyond what a score can tell apart, which is the year 285,000,000.
        never if never >= 1 << 53 => "+inf".to_owned(),
        seconds => seconds.to_string(),
    }
}

/// The record of a commit; empty when there is nothing to tell.
pub(super) fn record(changes: &[Change]) -> Vec<u8> {
    let mut record = Vec::new();
    for change in changes {
        match change {
            Change::Put { table, entry } | Change::Update { table, entry } => {
                push(&mut record, 1, *table, &entry.key);
            }
            Change::Extend { table, key, expires } => {
                push(&mut record, 2, *table, key);
                push_expiry(&mut record, *expires);
            }
            Change::Delete { table, key } => push(&mut record, 3, *table, key),
            Change::Prune { .. } => {}
        }
        if record.len() > FEED_RECORD {
            return vec![4];
        }
    }
    record
}

/// None for what nobody of us has written.
pub(super) fn notes(mut record: &[u8]) -> Option<Vec<Note>> {
    let mut notes = Vec::new();
    while let Some((kind, rest)) = record.split_first() {
        record = rest;
        notes.push(match kind {
            1 => {
                let (table, key) = take(&mut record)?;
                Note::Set { table, key }
            }
            2 => {
                let (table, key) = take(&mut record)?;
                Note::Extended { table, key, expires: take_expiry(&mut record)? }
            }
            3 => {
                let (table, key) = take(&mut record)?;
                Note::Gone { table, key }
            }
            4 => Note::Everything,
            5 => Note::Lost,
            _ => return None,
        });
    }
    Some(notes)
}

fn push(record: &mut Vec<u8>, kind: u8, table: Table, key: &[u8]) {
    // A key is at most KEY_BYTES long.
    let length = u16::try_from(key.len()).unwrap_or(u16::MAX);
    record.extend([kind, number(table)]);
    record.extend(length.to_be_bytes());
    record.extend_from_slice(key);
}

fn take(record: &mut &[u8]) -> Option<(Table, Vec<u8>)> {
    let (head, rest) = record.split_first_chunk::<3>()?;
    let [of, high, low] = *head;
    let table = Table::ALL.into_iter().find(|table| number(*table) == of)?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (key, rest) = rest.split_at_checked(length).filter(|_| length <= KEY_BYTES)?;
    *record = rest;
    Some((table, key.to_vec()))
}

fn push_expiry(bytes: &mut Vec<u8>, expires: Duration) {
    bytes.extend(expires.as_secs().to_be_bytes());
    bytes.extend(expires.subsec_nanos().to_be_bytes());
}

fn take_expiry(bytes: &mut &[u8]) -> Option<Duration> {
    let (expiry, rest) = bytes.split_first_chunk::<EXPIRY>()?;
    *bytes = rest;
    let (seconds, nanos) = expiry.split_first_chunk::<8>()?;
    let nanos = u32::from_be_bytes(nanos.try_into().ok()?);
    let fits = nanos < 1_000_000_000;
    fits.then(|| Duration::new(u64::from_be_bytes(*seconds), nanos))
}

fn number(table: Table) -> u8 {
    match table {
        Table::Sessions => 1,
        Table::Revocations => 2,
        Table::Bans => 3,
        Table::Tokens => 4,
        Table::Pending => 5,
        Table::Attempts => 6,
        Table::Consoles => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_table() -> impl Strategy<Value = Table> {
        prop::sample::select(Table::ALL.to_vec())
    }

    proptest! {
        #[test]
        fn rows_are_read_back(key: Vec<u8>, value: Vec<u8>, secs: u64, nanos in 0..1_000_000_000_u32) {
            let expires = Duration::new(secs, nanos);
            let entry = Entry { key: key.clone(), value, expires };
            prop_assert_eq!(super::entry(key, &row(&entry)), Some(entry));
        }

        #[test]
        fn records_are_read_back(
            notes in prop::collection::vec((any_table(), prop::collection::vec(any::<u8>(), 0..20), 0..3_u8, any::<u64>()), 0..9),
        ) {
            let (mut changes, mut expected) = (Vec::new(), Vec::new());
            for (table, key, kind, secs) in notes {
                let expires = Duration::from_secs(secs);
                match kind {
                    0 => {
                        expected.push(Note::Set { table, key: key.clone() });
                        let entry = Entry { key, value: vec![1], expires };
                        changes.push(Change::Put { table, entry });
                    }
                    1 => {
                        expected.push(Note::Extended { table, key: key.clone(), expires });
                        changes.push(Change::Extend { table, key, expires });
                    }
                    _ => {
                        expected.push(Note::Gone { table, key: key.clone() });
                        changes.push(Change::Delete { table, key });
                    }
                }
            }
            prop_assert_eq!(super::notes(&record(&changes)), Some(expected));
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(0..9_u8, 0..40)) {
            notes(&bytes);
            entry(Vec::new(), &bytes);
        }
    }

    #[test]
    fn a_large_commit_is_told_as_everything() {
        let key = vec![7; KEY_BYTES];
        let change = Change::Delete { table: Table::Sessions, key };
        let many = vec![change; FEED_RECORD / KEY_BYTES + 1];
        assert_eq!(notes(&record(&many)), Some(vec![Note::Everything]));
        assert_eq!(notes(LOST), Some(vec![Note::Lost]));
        assert_eq!(notes(&[1, 9, 0, 0]), None, "no such table");
    }

    #[test]
    fn an_end_within_a_second_is_pruned_after_it() {
        assert_eq!(score(Duration::from_secs(10)), "10");
        assert_eq!(score(Duration::new(10, 1)), "11");
        assert_eq!(score(Duration::MAX), "+inf");
    }
}
