//! Makes text safe to log: secrets in it become `***`, everything else stays.
//!
//! A secret is found in two ways:
//!
//! * by the name before it (a table with `password=`, `"otp": "`, `Authorization:`,
//!   `--token-secret x`, `%22ticket%22%3A%22`), whatever it looks like;
//! * by its own shape, without a name: tickets of PVE and its sister products, API tokens
//!   `user@realm!id=SECRET`, CSRF tokens, `Bearer` and `Basic` credentials, private keys in
//!   PEM, recovery keys, JSON web tokens, crypt(3) hashes, passwords in URLs.
//!
//! Who it was stays readable: `PVE:root@pam:6B00CE44::***`, `root@pam!ci=***`.
//!
//! The scanner is written by hand and reads the text front to back with bounded look-ahead, so
//! that its time is linear whatever the text holds. Percent-encoding (also doubled), JSON escapes
//! and backslashes before quotes are seen through. Where a value's end is in doubt, the
//! later end is taken: an unclosed quote hides the rest of the text.
//!
//! Every function is idempotent, and what holds no secret comes back borrowed.
//!
//! Not found: a secret without name and without known shape, and the rest of an unquoted
//! value behind a blank (`password=two words`). Secrets of ours are [`crate::Secret`] and
//! never become text; this is the second line of defence.

mod header;
mod json;
mod keys;
mod lexer;
mod limits;
mod ranges;
mod scan;
mod shapes;
mod url;
mod value;

pub use header::header;
pub use json::json;
pub use limits::{JSON_MAX_DEPTH, MARK};
pub use url::url;

use std::borrow::Cow;

/// Masks the secrets in any text: a log line, an error message, a body, a command line.
pub fn text(text: &str) -> Cow<'_, str> {
    ranges::mask(text, scan::secrets)
}

#[cfg(test)]
mod tests;
