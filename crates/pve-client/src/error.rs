//! What can go wrong with a call.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use tls::{CertificateError, HandshakeError};

/// A call failed. The variants follow what a caller does about it; `reason` is the server's own
/// reason phrase, which is where PVE puts its message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The call can not be sent like this; a mistake of the caller.
    #[error("{0}")]
    Usage(String),
    /// The trust given can not be used.
    #[error(transparent)]
    Trust(#[from] CertificateError),
    /// No connection.
    #[error("no connection to {addr}: {source}")]
    Connect {
        /// Host and port.
        addr: String,
        /// Why.
        source: io::Error,
    },
    /// No TLS connection, or a server that is not trusted.
    #[error(transparent)]
    Tls(HandshakeError),
    /// 401: ticket, token or password refused.
    #[error("authentication refused: {reason}")]
    Auth {
        /// The server's words.
        reason: String,
    },
    /// The password is right, and a second factor is asked for that was not given or is used up.
    #[error("a second factor is needed (the account has: {}); {remedy}", offered.join(", "))]
    SecondFactor {
        /// The kinds that would do: `totp`, `recovery`, `webauthn`, …
        offered: Vec<String>,
        /// What to do.
        remedy: &'static str,
    },
    /// 403: authenticated, and not allowed.
    #[error("permission denied: {reason}")]
    Permission {
        /// The server's words, which name path and privilege.
        reason: String,
    },
    /// Any other error the API answered.
    #[error("the API answered {status} {reason}{}", fields(errors))]
    Api {
        /// The status code; 595 to 599 mean a node that could not be reached.
        status: u16,
        /// The server's words.
        reason: String,
        /// Parameter → what is wrong with it.
        errors: BTreeMap<String, String>,
    },
    /// 3xx. Never followed: the credentials are for the host they were given for.
    #[error(
        "the server redirects ({status}) to {host:?}, which is not followed; check the address"
    )]
    Redirect {
        /// The status code.
        status: u16,
        /// The host of the Location header, empty for a relative one.
        host: String,
    },
    /// Too late.
    #[error("{what} took over {after:?}")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        after: Duration,
    },
    /// The answer is not HTTP or not an answer of PVE's API, or the connection broke.
    #[error("{0}")]
    Protocol(String),
    /// A size limit of this crate.
    #[error("{what} over the limit of {limit} bytes")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}

fn fields(errors: &BTreeMap<String, String>) -> String {
    errors.iter().map(|(name, text)| format!("; {name}: {text}")).collect()
}

impl ClientError {
    /// The server or the way to it failed, not the request: asking again later may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Timeout { .. } | Self::Protocol(_) => true,
            Self::Tls(error) => {
                matches!(error, HandshakeError::Closed | HandshakeError::Io(_))
            }
            Self::Api { status, .. } => matches!(status, 502..=504 | 595..=599),
            _ => false,
        }
    }
}
