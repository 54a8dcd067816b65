//! Every limit of this crate, by name.

/// Longest log line in bytes, its newline included. Longer events are cut and say so.
/// journald splits at 48 KiB by default; this stays well below.
pub const LOG_LINE: usize = 8 * 1024;

/// Most bytes of one field that are rendered before masking. What is behind it is not looked
/// at, so that logging a large value costs no more than this.
pub const LOG_VALUE: usize = 16 * 1024;

/// Most fields of one event or span; further ones are dropped and the line says so.
pub const LOG_FIELDS: usize = 64;

/// Most series of one metric family; further label sets are counted under
/// [`crate::metrics::OVERFLOW_LABEL`].
pub const METRIC_SERIES: usize = 1024;

/// Longest label value in bytes; the rest is cut.
pub const METRIC_LABEL: usize = 128;

/// Longest line of an audit log in bytes, its newline included. A longer one is not a record.
pub const AUDIT_LINE: usize = 64 * 1024;

/// Longest text value in an audit record in bytes, before escaping; the rest is cut and counted.
pub const AUDIT_TEXT: usize = 4 * 1024;

/// Shortest and longest correlation id accepted from outside, in characters.
pub const CORRELATION_ID: core::ops::RangeInclusive<usize> = 8..=64;

/// Most times the kernel is asked again for random bytes after an interrupted call.
pub const RANDOM_RETRIES: usize = 8;

/// Bytes of access lines a thread gathers before it hands them over.
pub const ACCESS_BUFFER: usize = 64 * 1024;

/// Buffers that may wait to be written; further ones are dropped and counted.
pub const ACCESS_QUEUE: usize = 16;

/// Bytes of one value in an access line; the rest is cut.
pub const ACCESS_TEXT: usize = 4 * 1024;
