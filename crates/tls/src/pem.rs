//! PEM (RFC 7468): reading certificates and keys, writing both.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::CertificateError;

/// Bytes that fill one line of 64 characters (RFC 7468 §2).
const LINE_BYTES: usize = 48;

/// One PEM block. The buffer is sized first, so that a private key is not left behind in memory
/// by a growing one.
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let lines = der.len().div_ceil(LINE_BYTES);
    let mut text = String::with_capacity(2 * (label.len() + 20) + lines * 65);
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    for line in der.chunks(LINE_BYTES) {
        STANDARD.encode_string(line, &mut text);
        text.push('\n');
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

pub(crate) fn encode_chain<'a>(chain: impl IntoIterator<Item = &'a [u8]>) -> String {
    chain.into_iter().map(|der| encode("CERTIFICATE", der)).collect()
}

/// All certificates in the text; other blocks and comments are passed over.
pub(crate) fn certificates(
    text: &[u8],
    limit: usize,
    most: usize,
) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    if text.len() > limit {
        return Err(CertificateError::TooLarge { what: "certificate text", limit });
    }
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(text) {
        if found.len() == most {
            return Err(CertificateError::TooLarge { what: "number of certificates", limit: most });
        }
        found.push(certificate.map_err(|reason| CertificateError::Pem(reason.to_string()))?);
    }
    if found.is_empty() {
        return Err(CertificateError::NoCertificate);
    }
    Ok(found)
}

/// The first private key in the text: PKCS#8, PKCS#1 or SEC1.
pub(crate) fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, CertificateError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|reason| match reason {
        pem::Error::NoItemsFound => CertificateError::NoKey,
        // The reason may quote the line it stumbled over, which is key material here.
        _ => CertificateError::UnreadableKey,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_64_characters() {
        let text = encode("X", &[0; 97]);
        let lengths: Vec<usize> = text.lines().map(str::len).collect();
        assert_eq!(lengths, [17, 64, 64, 4, 15]);
    }

    #[test]
    fn a_key_block_among_certificates_is_passed_over() {
        let text = format!(
            "subject=x\n{}{}{}",
            encode("CERTIFICATE", b"one"),
            encode("PRIVATE KEY", b"secret"),
            encode("CERTIFICATE", b"two")
        );
        let found = certificates(text.as_bytes(), 10_000, 2).unwrap();
        assert_eq!(found.iter().map(AsRef::as_ref).collect::<Vec<&[u8]>>(), [b"one", b"two"]);
        assert!(matches!(
            certificates(text.as_bytes(), 10_000, 1),
            Err(CertificateError::TooLarge { .. })
        ));
        assert!(matches!(
            certificates(text.as_bytes(), 10, 2),
            Err(CertificateError::TooLarge { .. })
        ));
    }

    proptest! {
        #[test]
        fn written_blocks_read_back(chain in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 1..5)) {
            let text = encode_chain(chain.iter().map(Vec::as_slice));
            let read = certificates(text.as_bytes(), 1_000_000, 10).unwrap();
            prop_assert_eq!(read.iter().map(|der| der.to_vec()).collect::<Vec<_>>(), chain);
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = certificates(&bytes, 1000, 3);
            let _ = private_key(&bytes);
        }

        #[test]
        fn broken_blocks_are_answered(middle in ".{0,80}") {
            let text = format!("-----BEGIN CERTIFICATE-----\n{middle}\n-----END CERTIFICATE-----\n");
            let _ = certificates(text.as_bytes(), 1000, 3);
        }
    }
}
