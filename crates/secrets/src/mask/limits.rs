//! Every bound of the scanner, so that its time is linear and its stack small.

/// What a secret is replaced by.
pub const MARK: &str = "***";

/// Values nested deeper than this in a JSON document are replaced as a whole.
/// `serde_json` itself reads 128 levels.
pub const JSON_MAX_DEPTH: usize = 64;

/// How often percent-encoding may be applied on itself (`%22`, `%2522`, …) and be seen through.
pub(super) const ENCODING_MAX_DEPTH: u8 = 4;

/// Bytes of a name that are compared with the table, counted from its end.
pub(super) const KEY_MAX_BYTES: usize = 32;

/// Bytes of punctuation looked through to see whether a value ends; longer runs belong to it.
pub(super) const PUNCTUATION_MAX_BYTES: usize = 12;

/// Bytes of the next name looked at to see whether a value ended at a comma.
pub(super) const NEXT_NAME_MAX_BYTES: usize = 40;

/// Bytes of `RSA PRIVATE KEY` and the like between `-----BEGIN` and the next dashes.
pub(super) const PEM_LABEL_MAX_BYTES: usize = 64;

/// Characters of a user name looked at in front of a ticket's time stamp: PVE's 64, and
/// room for a realm and escapes.
pub(super) const USER_MAX_UNITS: usize = 256;

/// How often a text is read: once to find secrets, and again while there were any.
pub(super) const PASSES_MAX: usize = 8;
