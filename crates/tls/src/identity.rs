//! A certificate chain with its private key.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use secrets::SecretBytes;
use secrets::private_file::{self, Readers};

use crate::error::CertificateError;
use crate::fingerprint::Fingerprint;
use crate::limits::{CERTIFICATE_FILE_MAX, CHAIN_MAX, KEY_FILE_MAX};
use crate::pem;
use crate::provider::provider;
use crate::x509::{self, Validity};

/// A certificate chain, leaf first, with the leaf's private key: what a server shows.
///
/// Cloning shares the key. `Debug` shows the fingerprint only.
#[derive(Clone)]
pub struct Identity {
    certified: Arc<CertifiedKey>,
    key_pem: Arc<SecretBytes>,
    fingerprint: Fingerprint,
    validity: Option<Validity>,
}

impl Identity {
    /// Reads a PEM chain (leaf first, at most [`CHAIN_MAX`]) and an unencrypted PEM key (PKCS#8,
    /// PKCS#1 or SEC1; RSA, ECDSA or Ed25519) and checks that they belong together.
    ///
    /// # Errors
    /// Damaged or missing PEM, a limit exceeded, a key of another certificate.
    pub fn from_pem(
        certificate_pem: &[u8],
        key_pem: &SecretBytes,
    ) -> Result<Self, CertificateError> {
        let chain = pem::certificates(certificate_pem, CERTIFICATE_FILE_MAX, CHAIN_MAX)?;
        Self::new(chain, SecretBytes::new(key_pem.expose().clone()))
    }

    /// Reads both from files: the certificate of at most [`CERTIFICATE_FILE_MAX`] bytes, the key
    /// of at most [`KEY_FILE_MAX`] bytes and readable by its owner alone.
    ///
    /// The key PVE keeps under /etc/pve is readable by group www-data, which that file system
    /// dictates; a caller that means it reads the file itself and uses [`Identity::from_pem`].
    ///
    /// # Errors
    /// As [`Identity::from_pem`], and every failure of reading, with the path.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        Self::load_for(certificate, key, Readers::Owner)
    }

    /// As [`Identity::load`], with a key that others may read too.
    ///
    /// # Errors
    /// As of [`Identity::load`].
    pub fn load_for(
        certificate: &Path,
        key: &Path,
        readers: Readers,
    ) -> Result<Self, CertificateError> {
        let key_pem = private_file::read_for(key, KEY_FILE_MAX, readers)?;
        let text = read_bounded(certificate)
            .map_err(|source| CertificateError::File { path: certificate.to_owned(), source })?;
        Self::new(pem::certificates(&text, CERTIFICATE_FILE_MAX, CHAIN_MAX)?, key_pem)
    }

    /// Writes both files: the chain world-readable, the key (first) as a private file of mode 0600.
    ///
    /// # Errors
    /// The failure of writing, with the path.
    pub fn write(&self, certificate: &Path, key: &Path) -> Result<(), CertificateError> {
        private_file::write(key, self.key_pem.expose())?;
        fs::write(certificate, self.certificate_pem())
            .map_err(|source| CertificateError::File { path: certificate.to_owned(), source })
    }

    /// SHA-256 of the leaf.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// When the leaf is valid; `None` when its dates can not be read.
    #[must_use]
    pub fn validity(&self) -> Option<Validity> {
        self.validity
    }

    /// For which hosts the leaf is, DNS names and addresses; the subject where it names none. At
    /// most [`NAMES_MAX`](crate::limits::NAMES_MAX).
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let Some(facts) = self.certified.cert.first().and_then(|leaf| x509::facts(leaf)) else {
            return Vec::new();
        };
        match facts.names.is_empty() {
            true => vec![facts.subject],
            false => facts.names,
        }
    }

    /// The chain as PEM, leaf first; never the key.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        pem::encode_chain(self.certified.cert.iter().map(AsRef::as_ref))
    }

    /// The private key as PEM.
    #[must_use]
    pub fn key_pem(&self) -> &SecretBytes {
        &self.key_pem
    }

    pub(crate) fn new(
        chain: Vec<CertificateDer<'static>>,
        key_pem: SecretBytes,
    ) -> Result<Self, CertificateError> {
        let Some(leaf) = chain.first() else {
            return Err(CertificateError::NoCertificate);
        };
        let fingerprint = Fingerprint::of(leaf);
        let validity = x509::facts(leaf).map(|facts| facts.validity);
        let key = pem::private_key(key_pem.expose())?;
        let certified = CertifiedKey::from_der(chain, key, &provider())
            .map_err(|error| CertificateError::Mismatch(error.to_string()))?;
        let (certified, key_pem) = (Arc::new(certified), Arc::new(key_pem));
        Ok(Self { certified, key_pem, fingerprint, validity })
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// One byte more than the limit is read, so that the limit shows as exceeded rather than as a
/// certificate cut in two.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let most = u64::try_from(CERTIFICATE_FILE_MAX).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(most).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::{Acceptor, Alpn, Authority, Connector, Distrust, HandshakeError, Trust};

    fn issued() -> Identity {
        let now = UNIX_EPOCH.elapsed().unwrap();
        Authority::generate("Test", now).unwrap().issue(&["pve1"], now).unwrap()
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (one, other) = (issued(), issued());
        let mixed = Identity::from_pem(one.certificate_pem().as_bytes(), other.key_pem());
        assert!(matches!(mixed, Err(CertificateError::Mismatch(_))), "{mixed:?}");
    }

    #[test]
    fn one_text_may_hold_both_and_the_key_does_not_come_out_with_the_chain() {
        let identity = issued();
        let mut both = identity.key_pem().expose().clone();
        both.extend_from_slice(identity.certificate_pem().as_bytes());
        let read = Identity::from_pem(&both, &SecretBytes::new(both.clone())).unwrap();
        assert_eq!(read.certificate_pem(), identity.certificate_pem());
        assert!(!read.certificate_pem().contains("KEY"));
    }

    #[test]
    fn what_is_no_key_is_told_without_quoting_it() {
        let certificate = issued().certificate_pem();
        let attempt = |key: &str| {
            let key = SecretBytes::new(key.as_bytes().to_vec());
            Identity::from_pem(certificate.as_bytes(), &key).unwrap_err().to_string()
        };
        assert!(attempt("").contains("no usable private key"));
        let encrypted =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert!(attempt(encrypted).contains("openssl pkey"));
        let damaged = "-----BEGIN PRIVATE KEY-----\nc2Vj*cmV0\n-----END PRIVATE KEY-----\n";
        assert!(!attempt(damaged).contains("c2Vj"));
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = format!("{:?}", issued());
        assert!(shown.starts_with("Identity { fingerprint: ") && !shown.contains("KEY"), "{shown}");
    }

    #[tokio::test]
    async fn a_copied_certificate_does_not_pass_the_pin() {
        let (real, thief) = (issued(), issued());
        let copied = CertifiedKey::new(real.certified.cert.clone(), thief.certified.key.clone());
        let impostor = Identity { certified: Arc::new(copied), ..thief };
        let acceptor = Acceptor::new(&impostor, Alpn::Http1).unwrap();
        let connector = Connector::new(&Trust::Pin(real.fingerprint())).unwrap();

        let (near, far) = tokio::io::duplex(64 * 1024);
        let wait = Duration::from_secs(10);
        let (client, _) = tokio::time::timeout(wait, async {
            tokio::join!(connector.connect("pve1", near), acceptor.accept(far))
        })
        .await
        .unwrap();
        assert!(matches!(
            client.unwrap_err(),
            HandshakeError::Untrusted { reason: Distrust::BadSignature, seen, .. }
                if seen == real.fingerprint()
        ));
    }
}
