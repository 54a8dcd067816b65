//! What can go wrong, each in one line with the remedy.

use std::fmt;
use std::io;
use std::path::PathBuf;

use rustls::{AlertDescription, CertificateError as Rejected, Error, InvalidMessage};

use crate::fingerprint::Fingerprint;

/// A certificate, key or authority could not be made, read or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The PEM text is damaged.
    #[error("damaged PEM: {0}; expected blocks -----BEGIN CERTIFICATE-----")]
    Pem(String),
    /// No certificate in the text.
    #[error("no certificate found; expected a PEM block -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// No certificate of the text can be used as an authority.
    #[error("none of the certificates can serve as an authority: {0}")]
    NoAuthority(String),
    /// No private key in the text.
    #[error(
        "no usable private key found; expected an unencrypted PEM block -----BEGIN PRIVATE KEY----- \
         (an encrypted one is decrypted by `openssl pkey -in FILE -out FILE`)"
    )]
    NoKey,
    /// The private key's PEM block is damaged.
    #[error("the private key's PEM block is damaged")]
    UnreadableKey,
    /// Certificate and key do not belong together, or the key's kind is unknown.
    #[error("certificate and private key can not be used together: {0}")]
    Mismatch(String),
    /// A name for the certificate is neither a DNS name nor an IP address.
    #[error("{0:?} is neither a DNS name nor an IP address")]
    Name(String),
    /// The common name is empty, too long or holds control characters.
    #[error("{0:?} can not be a common name: 1 to 64 printable characters")]
    CommonName(String),
    /// A size limit of this crate.
    #[error("{what} over the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit, in bytes or pieces.
        limit: usize,
    },
    /// The time passed for the certificate is beyond what X.509 can write.
    #[error("the clock shows a time after the year 9000; set it right")]
    Time,
    /// The certificate file can not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The certificate file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The private key file can not be read or written, or others can read it.
    #[error(transparent)]
    KeyFile(#[from] secrets::private_file::FileError),
    /// A revocation list can not be read or used.
    #[error("revocation list: {0}; expected -----BEGIN X509 CRL----- or DER")]
    Revocations(String),
    /// The crypto library refused; a defect of the installation.
    #[error("the crypto library refused: {0}")]
    Crypto(String),
}

/// A TLS connection could not be established.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The host given can not be checked against a certificate.
    #[error("{0:?} is neither a DNS name nor an IP address")]
    Host(String),
    /// The server's certificate was not accepted.
    #[error("{host}: {reason}; certificate seen: {seen}")]
    Untrusted {
        /// The host connected to.
        host: String,
        /// Why, with the remedy.
        reason: Distrust,
        /// SHA-256 of the certificate the server showed.
        seen: Fingerprint,
    },
    /// The peer does not speak TLS.
    #[error("the peer does not speak TLS; plain HTTP on this port?")]
    NotTls,
    /// The peer refused; the alert is its reason.
    #[error("the peer refused the TLS handshake: {0}")]
    Refused(String),
    /// The connection ended during the handshake.
    #[error("the connection was closed during the TLS handshake")]
    Closed,
    /// Reading or writing failed.
    #[error("TLS handshake: {0}")]
    Io(#[source] io::Error),
    /// The peers have nothing in common, or the peer broke the protocol.
    #[error("TLS handshake: {0}")]
    Protocol(String),
}

/// Why a server's certificate was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Distrust {
    /// Not signed by the authority given.
    UnknownIssuer,
    /// Signed, but not for this host.
    WrongName {
        /// The names it is valid for.
        valid_for: Vec<String>,
    },
    /// No longer valid.
    Expired,
    /// Not valid yet.
    NotYetValid,
    /// Another certificate than the pinned one.
    WrongPin {
        /// The pinned one.
        expected: Fingerprint,
    },
    /// The peer does not hold the certificate's private key.
    BadSignature,
    /// Anything else, in the words of the TLS library.
    Unusable(String),
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownIssuer => f.write_str(
                "certificate not signed by the authority given; name its own with --ca FILE \
                 or pin the fingerprint after comparing it with the node's",
            ),
            Self::WrongName { valid_for } if valid_for.is_empty() => f.write_str(
                "certificate is not for this host; connect by a name it holds, or pin it",
            ),
            Self::WrongName { valid_for } => write!(
                f,
                "certificate is for {}; connect by such a name, or pin it",
                valid_for.join(", ")
            ),
            Self::Expired => f.write_str("certificate has expired; renew it on the server"),
            Self::NotYetValid => {
                f.write_str("certificate is not valid yet; compare the clocks of both machines")
            }
            Self::WrongPin { expected } => write!(
                f,
                "certificate is not the pinned {expected}; if it was renewed, pin the new one"
            ),
            Self::BadSignature => f.write_str("the server does not hold the certificate's key"),
            Self::Unusable(reason) => write!(f, "certificate can not be used ({reason})"),
        }
    }
}

/// What a verifier hands through rustls, so that the error can tell the certificate seen.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Refusal {
    pub(crate) reason: Distrust,
    pub(crate) seen: Fingerprint,
}

impl From<&Error> for Distrust {
    fn from(error: &Error) -> Self {
        let Error::InvalidCertificate(rejected) = error else {
            return Self::Unusable(error.to_string());
        };
        match rejected {
            Rejected::UnknownIssuer => Self::UnknownIssuer,
            Rejected::NotValidForName => Self::WrongName { valid_for: Vec::new() },
            Rejected::NotValidForNameContext { presented, .. } => Self::WrongName {
                valid_for: presented.iter().map(|name| plain_name(name)).collect(),
            },
            Rejected::Expired | Rejected::ExpiredContext { .. } => Self::Expired,
            Rejected::NotValidYet | Rejected::NotValidYetContext { .. } => Self::NotYetValid,
            Rejected::BadSignature => Self::BadSignature,
            other => Self::Unusable(format!("{other:?}")),
        }
    }
}

impl HandshakeError {
    /// Sorts what tokio-rustls reports; `host` is empty on the accepting side.
    pub(crate) fn from_io(host: &str, error: io::Error) -> Self {
        let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
            return match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe => Self::Closed,
                _ => Self::Io(error),
            };
        };
        match inner {
            Error::InvalidCertificate(Rejected::Other(other)) => {
                match other.0.downcast_ref::<Refusal>() {
                    Some(refusal) => Self::Untrusted {
                        host: host.to_owned(),
                        reason: refusal.reason.clone(),
                        seen: refusal.seen,
                    },
                    None => Self::Protocol(inner.to_string()),
                }
            }
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) => Self::NotTls,
            Error::AlertReceived(AlertDescription::CloseNotify) => Self::Closed,
            Error::AlertReceived(alert) => Self::Refused(format!("{alert:?}")),
            _ => Self::Protocol(inner.to_string()),
        }
    }
}

/// rustls shows names as `DnsName("pve1")` and `IpAddress(1.2.3.4)`.
fn plain_name(shown: &str) -> String {
    let inner = shown.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(shown).trim_matches('"').to_owned()
}
