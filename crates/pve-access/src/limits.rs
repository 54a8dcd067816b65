//! Every limit of the crate. Ages are in seconds and exclusive at both ends, as PVE compares.

use std::ops::Range;

/// Age of an authentication ticket or CSRF token: up to five minutes from the future, for
/// clocks that differ between nodes, and two hours old.
pub const TICKET_AGE: Range<i64> = -300..7200;

/// Seconds by which a ticket may seem older than its key, or younger than the end of it: clocks of
/// nodes differ.
pub const KEY_AGE_SLACK: i64 = 300;

/// Age of a console ticket: it is used by the page that asked for it, at once.
pub const VNC_TICKET_AGE: Range<i64> = -20..40;

/// Longest ticket in bytes. A challenge that lists WebAuthn credentials is the longest; it has
/// to fit a request body next to other fields.
pub const MAX_TICKET_BYTES: usize = 64 * 1024;

/// Longest value of an API token header in bytes: names of 64 + 64 and a UUID, with slack.
pub const MAX_TOKEN_BYTES: usize = 1024;

/// Longest CSRF token in bytes.
pub const MAX_CSRF_BYTES: usize = 128;

/// Longest PEM text of a public key in bytes; RSA-8192 needs 1.4 KiB.
pub const MAX_PEM_BYTES: usize = 8 * 1024;

/// Keys a ticket is tried against: a forged ticket costs one verification per key and scheme.
pub const MAX_VERIFY_KEYS: usize = 8;

/// Longest line of questions in bytes: the largest `user.cfg`, escaped, and its questions.
pub const MAX_JUDGE_LINE_BYTES: usize = 16 * 1024 * 1024;

/// Most questions on one line; an answer has up to 1.5 KB.
pub const MAX_JUDGE_CASES: usize = 100_000;
