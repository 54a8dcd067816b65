//! How much, how often? Budgets, concurrency and offence counts with bounded memory.
//!
//! Everything here is a plain value: no clock (`now` is passed in), no lock (the owner
//! synchronises), no task, no I/O. That is what lets one ledger serve the gate, the broker and
//! the ban engine, and lets a test drive a day of traffic in a millisecond.
//!
//! `now` is a [`Duration`](std::time::Duration) since any fixed start, from a monotonic clock. A
//! `now` earlier than one the value has already seen counts as the later one: a clock that steps
//! back neither refills a budget nor prolongs a ban.
//!
//! Memory is bounded everywhere: a table holds at most the capacity it was built with. When it is
//! full the least recently used key goes, and keys in penalty or ban go last; [`Keyed`] says what
//! exactly is guaranteed, because "flood the table to be forgotten" is the attack on every limiter.

mod bounds;
mod concurrency;
mod keyed;
mod keyed_rate;
mod offences;
mod rate;

pub use bounds::{MAX_DEBT, MAX_THRESHOLD};
pub use concurrency::{Busy, Concurrency};
pub use keyed::Keyed;
pub use keyed_rate::KeyedRate;
pub use offences::{Ban, OffenceRules, Offences, Verdict};
pub use rate::{Exhausted, Rate, TokenBucket};
