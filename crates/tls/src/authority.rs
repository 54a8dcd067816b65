//! A private certificate authority.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, DnsName};
use secrets::{Secret, SecretBytes};

use crate::error::CertificateError;
use crate::fingerprint::Fingerprint;
use crate::identity::Identity;
use crate::limits::{
    AUTHORITY_VALIDITY, BACKDATE, COMMON_NAME_MAX, LATEST, LEAF_VALIDITY, NAMES_MAX,
};
use crate::pem;

/// A certificate authority made by this process: an ECDSA P-256 key and a self-signed certificate
/// that may sign leaves and nothing below them (path length 0).
///
/// It lives as long as the value: its key can not be stored or loaded, so nobody can sign with it
/// afterwards. What it issued stays valid for those who keep [`Authority::certificate_pem`].
pub struct Authority {
    params: CertificateParams,
    key: Secret<KeyPair>,
    certificate: CertificateDer<'static>,
    certificate_pem: String,
}

impl Authority {
    /// A new authority, valid from a day before `now_unix` for [`AUTHORITY_VALIDITY`].
    ///
    /// # Errors
    /// A common name outside 1 to 64 printable characters; a time X.509 can not write; a refusal
    /// of the crypto library.
    pub fn generate(common_name: &str, now_unix: Duration) -> Result<Self, CertificateError> {
        let length = common_name.chars().count();
        if !(1..=COMMON_NAME_MAX).contains(&length) || common_name.chars().any(char::is_control) {
            return Err(CertificateError::CommonName(common_name.to_owned()));
        }
        let mut params = params(now_unix, AUTHORITY_VALIDITY)?;
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];

        let key = generate_key()?;
        let certificate =
            params.self_signed(key.expose()).map_err(|error| crypto(&error))?.der().clone();
        let certificate_pem = pem::encode_chain([certificate.as_ref()]);
        Ok(Self { params, key, certificate, certificate_pem })
    }

    /// A server certificate with a new key for these DNS names (a leading `*.` is possible) and IP
    /// addresses, valid from a day before `now_unix` for [`LEAF_VALIDITY`]. The first name also
    /// becomes the common name when it fits. The chain shown is the leaf alone.
    ///
    /// # Errors
    /// No name, over [`NAMES_MAX`] names or a malformed one; a time X.509 can not write; a refusal
    /// of the crypto library.
    pub fn issue(&self, names: &[&str], now_unix: Duration) -> Result<Identity, CertificateError> {
        let Some(first) = names.first() else {
            return Err(CertificateError::Name(String::new()));
        };
        if names.len() > NAMES_MAX {
            return Err(CertificateError::TooLarge { what: "number of names", limit: NAMES_MAX });
        }
        let mut params = params(now_unix, LEAF_VALIDITY)?;
        let common_name = if first.len() <= COMMON_NAME_MAX { *first } else { "Proxward" };
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names =
            names.iter().map(|name| alternative_name(name)).collect::<Result<_, _>>()?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];

        let key = generate_key()?;
        let issuer = Issuer::from_params(&self.params, self.key.expose());
        let leaf = params.signed_by(key.expose(), &issuer).map_err(|error| crypto(&error))?;
        let key_pem = pem::encode("PRIVATE KEY", key.expose().serialized_der());
        Identity::new(vec![leaf.der().clone()], SecretBytes::new(key_pem.into_bytes()))
    }

    /// The authority's certificate as PEM: what clients are given as `--ca FILE`.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// SHA-256 of the authority's certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

fn generate_key() -> Result<Secret<KeyPair>, CertificateError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map(Secret::new).map_err(|error| crypto(&error))
}

/// What authority and leaf share: validity, and the key identifiers strict clients ask for
/// (Python's VERIFY_X509_STRICT refuses a chain without them).
fn params(now_unix: Duration, validity: Duration) -> Result<CertificateParams, CertificateError> {
    if now_unix > LATEST {
        return Err(CertificateError::Time);
    }
    let epoch = date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.not_before = epoch + now_unix.saturating_sub(BACKDATE);
    params.not_after = epoch + now_unix + validity;
    params.use_authority_key_identifier_extension = true;
    params.distinguished_name = rcgen::DistinguishedName::new();
    Ok(params)
}

fn alternative_name(name: &str) -> Result<SanType, CertificateError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let refused = || CertificateError::Name(name.to_owned());
    DnsName::try_from(name.strip_prefix("*.").unwrap_or(name)).map_err(|_| refused())?;
    // A trailing dot is lawful in DNS and never in a certificate (RFC 5280 §4.2.1.6).
    if name.ends_with('.') {
        return Err(refused());
    }
    Ok(SanType::DnsName(name.try_into().map_err(|_| refused())?))
}

fn crypto(error: &rcgen::Error) -> CertificateError {
    CertificateError::Crypto(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_760_000_000);

    #[test]
    fn what_can_not_be_certified_is_refused() {
        let authority = Authority::generate("Test", NOW).unwrap();
        for name in ["", "a b", "pve1.", "*.", "*", "a..b", "[::1]", "pve1:8006", "é.example"] {
            let refused = authority.issue(&["pve1", name], NOW);
            assert!(matches!(refused, Err(CertificateError::Name(_))), "{name:?}");
        }
        assert!(matches!(authority.issue(&[], NOW), Err(CertificateError::Name(_))));
        let many = vec!["pve1"; NAMES_MAX + 1];
        assert!(matches!(authority.issue(&many, NOW), Err(CertificateError::TooLarge { .. })));
        for name in ["", "a\nb", &"x".repeat(65)] {
            let refused = Authority::generate(name, NOW);
            assert!(matches!(refused, Err(CertificateError::CommonName(_))), "{name:?}");
        }
    }

    #[test]
    fn any_clock_gives_a_certificate_or_an_error() {
        for seconds in [0, 1, 2_524_607_999, 2_524_608_000, LATEST.as_secs()] {
            let now = Duration::from_secs(seconds);
            Authority::generate("Test", now).unwrap().issue(&["pve1"], now).unwrap();
        }
        for now in [LATEST + Duration::from_secs(1), Duration::MAX] {
            assert!(matches!(Authority::generate("Test", now), Err(CertificateError::Time)));
        }
    }

    #[test]
    fn long_names_and_addresses_are_possible() {
        let authority = Authority::generate(&"x".repeat(64), NOW).unwrap();
        let long = format!("{0}.{0}.{0}", "x".repeat(60));
        authority.issue(&[&long, "*.example.org", "192.0.2.1", "2001:db8::1"], NOW).unwrap();
    }
}
