//! Certificates that clients show.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use crate::connector::roots;
use crate::error::CertificateError;
use crate::limits::{REVOCATION_LISTS_MAX, REVOCATION_MAX};

/// Which certificates of clients are accepted.
///
/// Where there are revocation lists, every certificate of a chain has to be covered by one that
/// has not expired: a list that is missing or old must not let a revoked certificate in.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientAuth {
    /// PEM of the authorities that sign them, at most [`TRUST_MAX`](crate::TRUST_MAX) bytes.
    pub authorities: Vec<u8>,
    /// Revocation lists, PEM (several) or DER (one), at most [`REVOCATION_MAX`] bytes.
    pub revocations: Option<Vec<u8>>,
    /// Whether a client without a certificate is refused.
    pub required: bool,
}

impl std::fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientAuth").field("required", &self.required).finish_non_exhaustive()
    }
}

impl ClientAuth {
    pub(crate) fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, CertificateError> {
        let roots: Arc<RootCertStore> = Arc::new(roots(&self.authorities)?);
        let mut builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
        if let Some(revocations) = &self.revocations {
            builder = builder.with_crls(lists(revocations)?).enforce_revocation_expiration();
        }
        if !self.required {
            builder = builder.allow_unauthenticated();
        }
        builder.build().map_err(|error| CertificateError::Revocations(error.to_string()))
    }
}

fn lists(text: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, CertificateError> {
    if text.len() > REVOCATION_MAX {
        let limit = REVOCATION_MAX;
        return Err(CertificateError::TooLarge { what: "revocation lists", limit });
    }
    // DER begins with a SEQUENCE.
    if text.first() == Some(&0x30) {
        return Ok(vec![CertificateRevocationListDer::from(text.to_vec())]);
    }
    let mut found = Vec::new();
    for list in CertificateRevocationListDer::pem_slice_iter(text) {
        if found.len() == REVOCATION_LISTS_MAX {
            let (what, limit) = ("number of revocation lists", REVOCATION_LISTS_MAX);
            return Err(CertificateError::TooLarge { what, limit });
        }
        found.push(list.map_err(|reason| CertificateError::Revocations(reason.to_string()))?);
    }
    match found.is_empty() {
        true => Err(CertificateError::Revocations("no list in the file".to_owned())),
        false => Ok(found),
    }
}
