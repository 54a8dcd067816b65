//! The client side.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::error::{CertificateError, HandshakeError};
use crate::fingerprint::Fingerprint;
use crate::limits::TRUST_MAX;
use crate::pem;
use crate::pins::Pins;
use crate::provider::{VERSIONS, provider};
use crate::stream::{ClientStream, TlsStream};
use crate::verifier::Verifier;

/// Which server is believed to be the right one.
#[derive(Clone, PartialEq, Eq)]
pub enum Trust {
    /// Signed for the host connected to by one of these authorities (PEM, one or more, at most
    /// [`TRUST_MAX`] bytes), and valid now. Other authorities, also the system's, do not count;
    /// for those give the system's bundle.
    Authority(Vec<u8>),
    /// The leaf certificate has this SHA-256, and the server proves to hold its key. Names, issuer
    /// and validity are not looked at: the pin already says which certificate is meant, and PVE's
    /// self-signed ones are pinned because those would not pass.
    Pin(Fingerprint),
    /// The same, with a pin that changes when the server's certificate does.
    Follow(Pins),
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authority(pem) => write!(f, "Authority({} bytes)", pem.len()),
            Self::Pin(fingerprint) => write!(f, "Pin({fingerprint})"),
            Self::Follow(pins) => write!(f, "Follow({})", pins.expected()),
        }
    }
}

/// Makes TLS connections to servers that satisfy one [`Trust`]. Clones share resumable sessions.
#[derive(Clone)]
pub struct Connector(TlsConnector);

impl Connector {
    /// A client with this trust. It offers HTTP/1.1 by ALPN, and sessions are resumed.
    ///
    /// # Errors
    /// [`Trust::Authority`] without a usable certificate.
    pub fn new(trust: &Trust) -> Result<Self, CertificateError> {
        let provider = provider();
        let verifier = match trust {
            Trust::Pin(expected) => Verifier::pin(Pins::new(*expected), &provider),
            Trust::Follow(pins) => Verifier::pin(pins.clone(), &provider),
            Trust::Authority(pem) => Verifier::authority(roots(pem)?, &provider)?,
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(VERSIONS)
            .map_err(|error| CertificateError::Crypto(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// The handshake with `host` (DNS name, or IP address without brackets) over `stream`. The
    /// caller bounds its time, and decides which address `stream` leads to.
    ///
    /// # Errors
    /// [`HandshakeError::Untrusted`] with the fingerprint seen; a peer that refuses, leaves or
    /// does not speak TLS.
    pub async fn connect<S>(&self, host: &str, stream: S) -> Result<ClientStream<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| HandshakeError::Host(host.to_owned()))?;
        match self.0.connect(name, stream).await {
            Ok(stream) => Ok(TlsStream::new(stream.into())),
            Err(error) => Err(HandshakeError::from_io(host, error)),
        }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

/// A certificate of a bundle that can not be parsed is left out, as in every other client: it can
/// only make fewer servers trusted. A text with none left is refused.
pub(crate) fn roots(text: &[u8]) -> Result<RootCertStore, CertificateError> {
    let mut store = RootCertStore::empty();
    let mut refused = None;
    // Each certificate has more than 64 bytes, so the size bounds the number too.
    for certificate in pem::certificates(text, TRUST_MAX, TRUST_MAX / 64)? {
        if let Err(error) = store.add(certificate) {
            refused = Some(error.to_string());
        }
    }
    match refused {
        Some(reason) if store.is_empty() => Err(CertificateError::NoAuthority(reason)),
        _ => Ok(store),
    }
}
