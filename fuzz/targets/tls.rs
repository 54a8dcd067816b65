//! Fingerprints and PEM: one fingerprint has one spelling, and no text passes for a key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use secrets::SecretBytes;
use tls::{Connector, Fingerprint, Identity, Trust};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(fingerprint) = text.parse::<Fingerprint>()
    {
        let written = fingerprint.to_string();
        assert_eq!(written.parse(), Ok(fingerprint));
        assert_eq!(written.replace(':', ""), text.replace(':', "").to_ascii_uppercase());
    }
    if let Ok(identity) = Identity::from_pem(bytes, &SecretBytes::new(bytes.to_vec())) {
        let certificate = identity.certificate_pem();
        assert!(!certificate.contains("PRIVATE KEY"));
        let again = Identity::from_pem(certificate.as_bytes(), identity.key_pem());
        assert_eq!(again.map(|again| again.fingerprint()).ok(), Some(identity.fingerprint()));
    }
    if Connector::new(&Trust::Authority(bytes.to_vec())).is_ok() {
        let marker = b"-----BEGIN ";
        assert!(bytes.windows(marker.len()).any(|part| part == marker), "trust without PEM");
    }
});
