//! Every limit of the crate.

/// Largest `user.cfg` that is parsed, in bytes. The cluster file system refuses larger files.
pub const MAX_USER_CFG_BYTES: usize = 1024 * 1024;

/// Largest `/etc/default/pveproxy` that is parsed, in bytes; the genuine ones have a few lines.
pub const MAX_PROXY_DEFAULTS_BYTES: usize = 64 * 1024;

/// Most (subject, role) pairs that all `acl:` lines of one file may name. A line of `n` subjects
/// and `m` roles costs `n * m`, so a hostile file of legal size could otherwise ask for 10^10.
pub const MAX_GRANTS: usize = 200_000;

/// Warnings kept of one file; the rest is only counted.
pub const MAX_WARNINGS: usize = 1_000;

/// Characters of an offending value repeated in a warning.
pub(crate) const MAX_WARNING_VALUE: usize = 128;
