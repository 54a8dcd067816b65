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

/// Most bytes of one answer of a server.
pub const ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// Most values in one answer of a server, arrays among them.
pub const ANSWER_VALUES: usize = 64 * 1024;

/// Most arrays within each other in an answer.
pub const ANSWER_DEPTH: usize = 8;

/// Longest line of an answer: a length, a number, an error.
pub const ANSWER_LINE: usize = 4096;

/// How long a connection to a server may take to be made, with its handshake.
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(2);

/// How long a server may take for an answer.
pub const REPLY_PATIENCE: Duration = Duration::from_secs(2);

/// Pause after a try to reach a server that failed: the first, and the longest of those that
/// double. Whoever asks meanwhile is refused at once.
pub const RECONNECT_PAUSES: (Duration, Duration) =
    (Duration::from_millis(50), Duration::from_secs(1));

/// Entries that a server is asked for at a time when a table is loaded.
pub const SCAN_COUNT: usize = 128;

/// Records of the feed that a server keeps, about. Who has missed more loads everything.
pub const FEED_LENGTH: usize = 64 * 1024;

/// Most bytes of one record of the feed; what is larger is told as "everything".
pub const FEED_RECORD: usize = 256 * 1024;

/// Records that are read at a time.
pub const FEED_COUNT: usize = 16;

/// How long a server holds the question for news when there are none.
pub const FEED_POLL: Duration = Duration::from_millis(500);
