//! The limits of every parser and list here.

/// Longest text of an [`AddressSet`](crate::AddressSet), bytes.
pub const MAX_SET_BYTES: usize = 64 * 1024;

/// Most entries of an [`AddressSet`](crate::AddressSet).
pub const MAX_SET_ENTRIES: usize = 4096;

/// Most ranges of a [`PortSet`](crate::PortSet).
pub const MAX_PORT_RANGES: usize = 64;

/// Longest host name, bytes, without the dot of the root (RFC 1035 §2.3.4).
pub const MAX_HOST_BYTES: usize = 253;

/// Longest label of a host name, bytes (RFC 1035 §2.3.4).
pub(crate) const MAX_LABEL_BYTES: usize = 63;

/// Most rules of a [`Policy`](crate::Policy).
pub const MAX_RULES: usize = 1024;

/// Most resolved addresses [`Policy::check`](crate::Policy::check) looks at; it never returns one
/// it has not looked at, so what is beyond can not be reached.
pub const MAX_RESOLVED: usize = 64;

/// Most characters of foreign text repeated in an error.
pub(crate) const MAX_QUOTED_CHARS: usize = 64;
