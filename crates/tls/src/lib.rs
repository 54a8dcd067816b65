//! Certificates, pins and the connector: the only crate that knows rustls.
//!
//! Every TLS byte of Proxward passes through [`Acceptor`] or [`Connector`], so protocol versions,
//! key exchange and the meaning of trust are decided here once:
//!
//! - TLS 1.2 and 1.3, the post-quantum hybrid X25519MLKEM768 preferred, crypto by aws-lc-rs, which
//!   is handed over explicitly: a process default could be set by anybody.
//! - A server is trusted because an authority that was named signed for its name
//!   ([`Trust::Authority`]) or because its certificate is the pinned one ([`Trust::Pin`]). There is
//!   no "trust anything": a refusal tells the fingerprint it saw, and pinning that one is as easy.
//! - [`Authority`] makes the certificates of demo, mock and tests; [`Identity`] holds a certificate
//!   with its private key, which never leaves secret-bearing types except into a private file.
//!
//! Validity is judged by the clock of the machine, which rustls reads by itself; certificates are
//! made for the time the caller passes. Handshake timeouts belong to the caller.

mod acceptor;
mod authority;
mod ciphers;
mod client_auth;
mod connector;
pub mod der;
mod error;
mod fingerprint;
mod identity;
mod limits;
mod pem;
mod pins;
mod policy;
mod provider;
mod stream;
mod verifier;
mod x509;

pub use acceptor::{Acceptor, Alpn};
pub use authority::Authority;
pub use ciphers::SuitesError;
pub use client_auth::ClientAuth;
pub use connector::{Connector, Trust};
pub use error::{CertificateError, Distrust, HandshakeError};
pub use fingerprint::{Fingerprint, NotAFingerprint};
pub use identity::Identity;
pub use limits::{
    AUTHORITY_VALIDITY, CERTIFICATE_FILE_MAX, CHAIN_MAX, CIPHER_LIST_MAX, KEY_FILE_MAX,
    LEAF_VALIDITY, NAMES_MAX, REVOCATION_LISTS_MAX, REVOCATION_MAX, SUBJECT_MAX,
    TICKETS_PER_HANDSHAKE, TRUST_MAX,
};
pub use pins::Pins;
pub use policy::{Policy, UnknownGroup, Version};
pub use stream::{ClientStream, ServerStream, Session, TlsStream};
pub use x509::Validity;
