//! Every limit of this crate, by name.

use std::time::Duration;

/// Largest request of the own protocol in bytes, without its length.
pub const REQUEST_BYTES: usize = 128 * 1024;

/// Largest line of pulse-sensor-proxy's protocol in bytes, its line feed included (its own limit).
pub const PULSE_LINE: usize = 16 * 1024;

/// Largest answer in bytes; what is longer is answered as [`crate::Code::OutputTooLarge`].
pub const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Deepest nesting of JSON from outside.
pub const JSON_DEPTH: usize = 16;

/// Most members of an object and elements of an array from outside.
pub const JSON_MEMBERS: usize = 1024;

/// Longest text parameter in bytes unless its row says otherwise.
pub const TEXT_PARAMETER: usize = 256;

/// Longest content of a file in bytes.
pub const FILE_CONTENT: usize = 96 * 1024;

/// Most elements of a list parameter.
pub const LIST_PARAMETER: usize = 1024;

/// How long the client waits for the connection and for each answer unless told otherwise.
pub const CLIENT_WAIT: Duration = Duration::from_secs(30);
