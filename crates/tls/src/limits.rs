//! Every limit and validity of this crate.

use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Largest certificate file read, in bytes: a chain with room for comments.
pub const CERTIFICATE_FILE_MAX: usize = 256 * 1024;

/// Largest private key file read, in bytes; RSA-16384 in PEM needs 13 KiB.
pub const KEY_FILE_MAX: usize = 32 * 1024;

/// Most certificates in the chain of one identity; clients give up at about ten themselves.
pub const CHAIN_MAX: usize = 10;

/// Largest text of trusted authorities, in bytes; Debian's whole bundle is 220 KiB.
pub const TRUST_MAX: usize = 1024 * 1024;

/// Most names in one certificate, issued or shown.
pub const NAMES_MAX: usize = 100;

/// How long an issued authority is valid: ten years, as PVE's own.
pub const AUTHORITY_VALIDITY: Duration = Duration::from_secs(3650 * 24 * 3600);

/// How long an issued leaf is valid: two years, as PVE's own; Apple's clients refuse over 825 days.
pub const LEAF_VALIDITY: Duration = Duration::from_secs(730 * 24 * 3600);

/// How far before "now" validity starts, for peers whose clock lags.
pub(crate) const BACKDATE: Duration = DAY;

/// Latest time a certificate can be made for: year 9000, as X.509 has four digits for the year.
pub(crate) const LATEST: Duration = Duration::from_secs(221_845_392_000);

/// Session tickets sent after a full TLS 1.3 handshake. One: each further one costs 6–8 % of a
/// handshake, and every resumed connection brings a fresh one.
pub const TICKETS_PER_HANDSHAKE: usize = 1;

/// Longest list of cipher suites, in bytes; `ALL` spelt out has 2 KiB in OpenSSL.
pub const CIPHER_LIST_MAX: usize = 4096;

/// Largest text of revocation lists, in bytes: some 20,000 revoked certificates.
pub const REVOCATION_MAX: usize = 1024 * 1024;

/// Most revocation lists.
pub const REVOCATION_LISTS_MAX: usize = 32;

/// Longest subject of a certificate that is shown, in bytes.
pub const SUBJECT_MAX: usize = 256;

/// Longest common name (RFC 5280 appendix A, ub-common-name).
pub(crate) const COMMON_NAME_MAX: usize = 64;
