//! The state file: every acknowledged write survives the process, also `kill -9` and a full disk.
//!
//! A file of lines ([`frame`]): a header, all records of the cluster at one moment, then one line
//! for each group of changes since ([`file`]). A thread of its own ([`writer`]) writes what all
//! calls have changed meanwhile with one sync, and only then are they answered; so are calls that
//! only read, when they may have seen a change that is not on the disk yet. When the changes have
//! outgrown the rest, everything is written anew beside the file and renamed over it.
//!
//! A change that can not be written is answered with an error, and the cluster in memory is read
//! back from the file: memory is never ahead of it.

pub(crate) mod file;
pub(crate) mod frame;
mod receipt;
mod writer;

pub(crate) use file::StateFile;
pub(crate) use receipt::{NotKept, Receipt};
pub(crate) use writer::Journal;
