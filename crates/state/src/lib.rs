//! What must outlast the process? Bans, revocations and sessions, durable or in memory.
//!
//! Three things are kept apart, because mixing them is how acknowledged changes get lost:
//!
//! * a [`Store`] keeps tables of small entries. `commit` is atomic, and what it has returned
//!   from is on the disk. [`Redb`] is one file for one host, [`Redis`] a server that several
//!   processes share; [`Memory`] forgets with the process and says so in its name. One
//!   conformance suite judges all three.
//! * a [`Feed`] tells what other processes have changed on a shared server, without a gap: who
//!   has missed something is told everything.
//! * the [`Writer`] is the one thread that owns a store. A change is either *durable*, and
//!   its caller waits for the disk, or it comes *later*, in a batch, and may be lost with a
//!   crash. No runtime thread ever waits for a disk.
//! * what the entries mean is their owner's business: nothing here looks into a key or value.
//!
//! No clock: an entry's expiry is a number that its owner compares. Every bound is in
//! [`limits`]. A full disk is an error that says so, after which the store can be used again
//! when there is room.

mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    //! For the fuzz targets.
    pub use crate::redis::fuzzing::{answers, row_and_record};
}
pub mod limits;
mod memory;
mod redb_file;
mod redis;
mod store;
mod writer;

pub use error::StoreError;
pub use memory::Memory;
pub use redb_file::Redb;
pub use redis::{Dial, Dialling, Feed, Following, News, Redis, RedisOptions, Wire};
pub use store::{Change, Entry, Store, Table};
pub use writer::Writer;
