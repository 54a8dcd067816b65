//! An established connection.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::{CommonState, HandshakeKind};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::fingerprint::Fingerprint;
use crate::x509;

/// A TLS connection over `S`, either side. Shut it down to send close_notify; an end of the
/// transport without one reads as an error (`UnexpectedEof`), so that a cut body shows.
pub struct TlsStream<S>(tokio_rustls::TlsStream<S>);

/// What [`Acceptor::accept`](crate::Acceptor::accept) returns.
pub type ServerStream<S> = TlsStream<S>;

/// What [`Connector::connect`](crate::Connector::connect) returns.
pub type ClientStream<S> = TlsStream<S>;

/// What the handshake agreed on, for logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// `TLSv1_2` or `TLSv1_3`.
    pub version: &'static str,
    /// The key exchange, such as `X25519MLKEM768`; empty where a TLS 1.2 session was resumed.
    pub key_exchange: &'static str,
    /// A former session was continued.
    pub resumed: bool,
}

impl<S> TlsStream<S> {
    pub(crate) fn new(inner: tokio_rustls::TlsStream<S>) -> Self {
        Self(inner)
    }

    /// Both sides agreed on HTTP/2.
    #[must_use]
    pub fn negotiated_h2(&self) -> bool {
        self.state().alpn_protocol() == Some(b"h2")
    }

    /// SHA-256 of the peer's leaf certificate; `None` when it showed none.
    #[must_use]
    pub fn peer_fingerprint(&self) -> Option<Fingerprint> {
        self.state().peer_certificates()?.first().map(|leaf| Fingerprint::of(leaf))
    }

    /// The subject of the peer's leaf certificate as RFC 4514 writes it, at most
    /// [`SUBJECT_MAX`](crate::SUBJECT_MAX) bytes; `None` when it showed none.
    #[must_use]
    pub fn peer_subject(&self) -> Option<String> {
        let leaf = self.state().peer_certificates()?.first()?;
        Some(x509::facts(leaf)?.subject)
    }

    /// What the handshake agreed on.
    #[must_use]
    pub fn session(&self) -> Session {
        let state = self.state();
        Session {
            version: state.protocol_version().and_then(|version| version.as_str()).unwrap_or(""),
            key_exchange: state
                .negotiated_key_exchange_group()
                .and_then(|group| group.name().as_str())
                .unwrap_or(""),
            resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    /// The connection underneath, for its addresses and options. Reading or writing there breaks
    /// the encryption.
    #[must_use]
    pub fn transport(&self) -> &S {
        self.0.get_ref().0
    }

    fn state(&self) -> &CommonState {
        self.0.get_ref().1
    }
}

impl<S> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsStream").field(&self.session()).finish()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
