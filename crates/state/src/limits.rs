//! Every limit of this crate, by name.

use std::time::Duration;

/// Longest key of an entry in bytes.
pub const KEY_BYTES: usize = 512;

/// Longest value of an entry in bytes: a session with its sealed ticket is under 4 KiB.
pub const VALUE_BYTES: usize = 64 * 1024;

/// Most entries of one table that are loaded; owners bound what they write well below.
pub const LOAD_ENTRIES: usize = 1 << 20;

/// How long a change that comes later may wait for others to share its commit.
pub const WRITE_BEHIND: Duration = Duration::from_secs(1);

/// Pause after a commit that failed before what comes later is tried again.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Most changes, of different keys, that wait for a later commit. Further ones are dropped and
/// counted: they would be lost with a crash anyway.
pub const LATER_CHANGES: usize = 64 * 1024;

/// Most calls that wait for a durable commit at once; further ones are refused.
pub const DURABLE_CALLS: usize = 4096;

/// Most changes of one durable call, and of the later ones that share a commit with it.
pub const BATCH_CHANGES: usize = 16 * 1024;

/// Memory that the file store caches pages in. Everything is read once, at the start.
pub const CACHE_BYTES: usize = 1024 * 1024;
