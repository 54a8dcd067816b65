//! The limits of the limiters.

use std::time::Duration;

/// Most debt a penalty can pile up beyond an empty bucket: an offender is served again at the
/// latest this long after the last penalty. Without it one misbehaving client with a slow budget
/// could be shut out for ever by a bug of its own.
pub const MAX_DEBT: Duration = Duration::from_secs(3600);

/// Most offences one key is remembered for; a larger [`threshold`](crate::OffenceRules) counts as
/// this. A key costs up to 16 bytes per remembered offence.
pub const MAX_THRESHOLD: u32 = 1024;

/// Of a table's capacity, the part kept for keys that are not protected is one in so many.
/// Without it, enough penalised keys would leave the lawful ones a single slot to share, and a
/// shared slot forgets its budget at every change of hands.
pub(crate) const UNPROTECTED_SHARE: usize = 4;

/// Picoseconds per token of a rate so slow, zero or not a number that it never refills
/// (39 million years). Small enough that [`u32::MAX`] tokens of it, twice, fit in a `u128`.
pub(crate) const NEVER_PS: u128 = 1 << 90;
