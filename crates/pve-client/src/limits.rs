//! Every limit of this crate.

use std::time::Duration;

/// Longest wait for name resolution and TCP connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for the TLS handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for a whole answer. PVE delays failed logins by 3 s and takes 23 s for a node
/// report.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// Largest answer read, in bytes. `cluster/resources` of 10,000 guests has 4 MB.
pub const BODY_MAX: usize = 16 * 1024 * 1024;

/// Most connections at a time; pveproxy has three workers.
pub const CONNECTIONS_MAX: usize = 16;

/// Most idle connections kept.
pub const IDLE_MAX: usize = 4;

/// How long an idle connection is kept: pveproxy closes at five seconds.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Most addresses of a host that are tried.
pub const ADDRESSES_MAX: usize = 8;

/// Longest request target, in bytes: pveproxy drops a header block over 8 KiB without an answer,
/// and ticket and CSRF token need up to 2 KiB of that.
pub const TARGET_MAX: usize = 6 * 1024;

/// Largest request body, in bytes: PVE::APIServer::AnyEvent's `limit_max_post`.
pub const UPLOAD_MAX: usize = 512 * 1024;

/// Longest reason phrase kept, in characters.
pub const REASON_MAX: usize = 1024;

/// Lifetime of a ticket (PVE::AccessControl, `ticket_lifetime`).
pub const TICKET_LIFETIME: Duration = Duration::from_secs(2 * 3600);

/// Age at which a ticket is renewed.
pub const TICKET_RENEWAL: Duration = Duration::from_secs(3600);

/// Shortest pause between two looks at a task.
pub const POLL_MIN: Duration = Duration::from_millis(100);

/// The limits a caller may choose; the defaults are the constants above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// [`CONNECT_TIMEOUT`].
    pub connect: Duration,
    /// [`HANDSHAKE_TIMEOUT`].
    pub handshake: Duration,
    /// [`RESPONSE_TIMEOUT`], from the start of an exchange, connecting included, to its last byte.
    pub response: Duration,
    /// [`BODY_MAX`], in bytes.
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: CONNECT_TIMEOUT,
            handshake: HANDSHAKE_TIMEOUT,
            response: RESPONSE_TIMEOUT,
            body: BODY_MAX,
        }
    }
}
