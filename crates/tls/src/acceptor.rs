//! The server side.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use crate::client_auth::ClientAuth;
use crate::error::{CertificateError, HandshakeError};
use crate::identity::Identity;
use crate::limits::TICKETS_PER_HANDSHAKE;
use crate::policy::Policy;
use crate::stream::{ServerStream, TlsStream};

/// The HTTP versions offered to clients (RFC 7301). Clients that send no ALPN are served HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2, else HTTP/1.1.
    Http2AndHttp1,
}

/// Accepts TLS connections. Clones share certificate and session tickets.
#[derive(Clone)]
pub struct Acceptor {
    inner: TlsAcceptor,
    shown: Arc<Shown>,
}

impl Acceptor {
    /// A server showing `identity`. Sessions resume by stateless tickets, whose keys rotate every
    /// six hours and live in this process only.
    ///
    /// # Errors
    /// A refusal of the crypto library.
    pub fn new(identity: &Identity, alpn: Alpn) -> Result<Self, CertificateError> {
        Self::with(identity, alpn, &Policy::default(), None)
    }

    /// As [`Acceptor::new`], offering what `policy` does and judging certificates of clients.
    ///
    /// A resumed session keeps the client certificate of the first one without judging it anew,
    /// and tickets of one acceptor are worth nothing to another: whoever changes what is asked of
    /// clients, or exempts some, makes another acceptor.
    ///
    /// # Errors
    /// As [`Acceptor::new`]; authorities or revocation lists that can not be used.
    pub fn with(
        identity: &Identity,
        alpn: Alpn,
        policy: &Policy,
        clients: Option<&ClientAuth>,
    ) -> Result<Self, CertificateError> {
        let shown = Arc::new(Shown(RwLock::new(identity.certified())));
        let provider = policy.provider();
        let verifier = match clients {
            Some(clients) => clients.verifier(&provider)?,
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&policy.versions())
            .map_err(|error| CertificateError::Crypto(error.to_string()))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        config.ignore_client_order = policy.server_order;
        config.alpn_protocols = match alpn {
            Alpn::Http1 => vec![b"http/1.1".to_vec()],
            Alpn::Http2AndHttp1 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        config.ticketer =
            Ticketer::new().map_err(|error| CertificateError::Crypto(error.to_string()))?;
        // The tickets hold the sessions; a table of them beside that would only cost memory.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = TICKETS_PER_HANDSHAKE;
        Ok(Self { inner: TlsAcceptor::from(Arc::new(config)), shown })
    }

    /// Shows `identity` to every connection accepted from now on, on all clones; connections that
    /// are open stay as they are.
    pub fn replace(&self, identity: &Identity) {
        // The lock guards a plain assignment: a poisoned one holds a whole value.
        *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = identity.certified();
    }

    /// The handshake on an accepted connection. The caller bounds its time.
    ///
    /// # Errors
    /// The peer does not speak TLS, offers nothing acceptable, refuses the certificate or leaves.
    pub async fn accept<S>(&self, stream: S) -> Result<ServerStream<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match self.inner.accept(stream).await {
            Ok(stream) => Ok(TlsStream::new(stream.into())),
            Err(error) => Err(HandshakeError::from_io("", error)),
        }
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

/// The certificate shown at present.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}
