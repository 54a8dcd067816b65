//! The two ways a server's certificate is judged, each telling what it saw when it refuses.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError as Rejected, DigitallySignedStruct, Error, OtherError, RootCertStore,
    SignatureScheme,
};

use crate::error::{CertificateError, Distrust, Refusal};
use crate::fingerprint::Fingerprint;
use crate::pins::Pins;

#[derive(Debug)]
pub(crate) struct Verifier {
    rule: Rule,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
enum Rule {
    Pin(Pins),
    Authority(Arc<WebPkiServerVerifier>),
}

impl Verifier {
    pub(crate) fn pin(expected: Pins, provider: &CryptoProvider) -> Self {
        Self { rule: Rule::Pin(expected), algorithms: provider.signature_verification_algorithms }
    }

    pub(crate) fn authority(
        roots: RootCertStore,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, CertificateError> {
        let inner =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                .build()
                .map_err(|error| CertificateError::NoAuthority(error.to_string()))?;
        Ok(Self {
            rule: Rule::Authority(inner),
            algorithms: provider.signature_verification_algorithms,
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let seen = Fingerprint::of(leaf);
        match &self.rule {
            Rule::Pin(pins) if pins.accept(seen) => Ok(ServerCertVerified::assertion()),
            Rule::Pin(pins) => Err(refusal(Distrust::WrongPin { expected: pins.expected() }, seen)),
            Rule::Authority(inner) => inner
                .verify_server_cert(leaf, intermediates, host, ocsp, now)
                .map_err(|error| refusal(of_chain(&error), seen)),
        }
    }

    // The signature over the handshake is what ties the connection to the certificate: without it
    // anybody could show a copy of the pinned one.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signed, &self.algorithms)
            .map_err(|error| refusal(Distrust::from(&error), Fingerprint::of(leaf)))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.algorithms)
            .map_err(|error| refusal(Distrust::from(&error), Fingerprint::of(leaf)))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// In a chain a bad signature comes from an authority of the same name with another key, as two
/// runs of the demo have; "the server does not hold the key" would mislead.
fn of_chain(error: &Error) -> Distrust {
    match Distrust::from(error) {
        Distrust::BadSignature => Distrust::UnknownIssuer,
        other => other,
    }
}

fn refusal(reason: Distrust, seen: Fingerprint) -> Error {
    Rejected::Other(OtherError(Arc::new(Refusal { reason, seen }))).into()
}
