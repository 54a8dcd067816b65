//! RSA keys of the cluster (`/etc/pve/priv/authkey.key`, `/etc/pve/authkey.pub`).

use std::fmt;
use std::ops::{Deref, Range};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{self, KeyPair as _, ParsedPublicKey, RsaParameters, RsaPssSaltLength};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrets::SecretBytes;

use crate::limits::{MAX_PEM_BYTES, MAX_VERIFY_KEYS};

/// The schemes a ticket may be signed with, most likely first. Crypt::OpenSSL::RSA decides for
/// PVE: up to 0.36 (PVE 8 and 9) PKCS#1 v1.5 with SHA-1; its later versions PSS with SHA-256,
/// for which OpenSSL knows two customary salt lengths. PKCS#1 v1.5 with SHA-256 is our own.
static SCHEMES: [RsaParameters; 4] = [
    signature::RSA_PKCS1_2048_8192_SHA256,
    signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
    signature::RSA_PSS_2048_8192_SHA256,
    signature::RSA_PSS_2048_8192_SHA256.with_pss_salt_length(RsaPssSaltLength::Max),
];

const PEM_LABELS: [&str; 2] = ["PUBLIC KEY", "RSA PUBLIC KEY"];

/// A private RSA key of at least 2048 bits that issues tickets.
pub struct SigningKey(KeyPair);

/// A public RSA key that verifies tickets.
#[derive(Clone)]
pub struct VerifyKey {
    der: Vec<u8>,
    id: KeyId,
    schemes: Vec<ParsedPublicKey>,
}

/// What names a public key: SHA-256 of its DER form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyId([u8; 32]);

/// Keys that tickets are verified with.
pub trait TicketKeys {
    /// The keys that a ticket may be signed with, likeliest first, each with the ages that a
    /// ticket of it has at `now` (seconds since 1970): how long ago it was in use, exclusive at
    /// both ends.
    fn candidates(&self, now: u64) -> impl Iterator<Item = (&VerifyKey, Range<i64>)>;
}

/// The key that issues, and all keys whose tickets are accepted: its own first, then older ones.
#[derive(Debug)]
pub struct Keyring {
    signing: SigningKey,
    verifying: Vec<VerifyKey>,
}

/// A key can not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The random generator or the library failed.
    #[error("could not generate an RSA key")]
    Generate,
    /// Not an RSA key of 2048 to 8192 bits in PKCS#8 form.
    #[error("not a private RSA key of 2048 to 8192 bits in PKCS#8 (DER) form")]
    Private,
    /// Not such a key in PEM form.
    #[error("not a public RSA key of 2048 to 8192 bits in PEM form (BEGIN PUBLIC KEY)")]
    Public,
    /// The library refused to encode or to sign.
    #[error("the RSA key could not be used")]
    Use,
    /// More keys than [`MAX_VERIFY_KEYS`].
    #[error("more than {MAX_VERIFY_KEYS} keys to verify tickets with; drop the oldest")]
    TooMany,
}

impl SigningKey {
    /// A new key of 2048 bits, PVE's size. Takes tens of milliseconds or more.
    pub fn generate() -> Result<Self, KeyError> {
        KeyPair::generate(KeySize::Rsa2048).map(Self).map_err(|_| KeyError::Generate)
    }

    /// Reads PKCS#8 in DER form.
    pub fn from_pkcs8(der: &SecretBytes) -> Result<Self, KeyError> {
        KeyPair::from_pkcs8(der.expose()).map(Self).map_err(|_| KeyError::Private)
    }

    /// Writes PKCS#8 in DER form.
    pub fn to_pkcs8(&self) -> Result<SecretBytes, KeyError> {
        let der: Pkcs8V1Der<'_> = self.0.as_der().map_err(|_| KeyError::Use)?;
        Ok(SecretBytes::new(der.as_ref().to_vec()))
    }

    /// The public half.
    pub fn verify_key(&self) -> Result<VerifyKey, KeyError> {
        let der: PublicKeyX509Der<'_> = self.0.public_key().as_der().map_err(|_| KeyError::Use)?;
        VerifyKey::from_der(der.as_ref())
    }

    /// Signs with PKCS#1 v1.5 and SHA-256.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut out = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut out)
            .map_err(|_| KeyError::Use)?;
        Ok(out)
    }
}

impl VerifyKey {
    /// Reads the PEM text of `/etc/pve/authkey.pub`.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        if text.len() > MAX_PEM_BYTES {
            return Err(KeyError::Public);
        }
        let body = PEM_LABELS.iter().find_map(|label| pem_body(text, label));
        let body: String = body.ok_or(KeyError::Public)?.split_ascii_whitespace().collect();
        Self::from_der(&STANDARD.decode(body).map_err(|_| KeyError::Public)?)
    }

    /// The key as PEM text, for a file that PVE's own code can read.
    pub fn to_pem(&self) -> String {
        let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
        for (at, symbol) in STANDARD.encode(&self.der).chars().enumerate() {
            if at > 0 && at % 64 == 0 {
                pem.push('\n');
            }
            pem.push(symbol);
        }
        pem.push_str("\n-----END PUBLIC KEY-----\n");
        pem
    }

    /// What names it.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Whether any accepted scheme verifies.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.schemes.iter().any(|key| key.verify_sig(message, signature).is_ok())
    }

    fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let schemes: Result<_, _> =
            SCHEMES.iter().map(|scheme| ParsedPublicKey::new(scheme, der)).collect();
        let schemes = schemes.map_err(|_| KeyError::Public)?;
        let id = digest(&SHA256, der).as_ref().try_into().map_err(|_| KeyError::Public)?;
        Ok(Self { der: der.to_vec(), id: KeyId(id), schemes })
    }
}

impl Keyring {
    /// A ring that issues with `signing` and accepts it and the `older` keys, in this order.
    pub fn new(signing: SigningKey, older: Vec<VerifyKey>) -> Result<Self, KeyError> {
        let mut verifying = vec![signing.verify_key()?];
        verifying.extend(older);
        if verifying.len() > MAX_VERIFY_KEYS {
            return Err(KeyError::TooMany);
        }
        Ok(Self { signing, verifying })
    }

    /// The key that issues.
    pub fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// The keys whose tickets are accepted.
    pub fn verifying(&self) -> &[VerifyKey] {
        &self.verifying
    }
}

/// Whatever holds keys.
impl<P: Deref<Target: TicketKeys>> TicketKeys for P {
    fn candidates(&self, now: u64) -> impl Iterator<Item = (&VerifyKey, Range<i64>)> {
        (**self).candidates(now)
    }
}

/// Its keys never change, and nothing is known of when they were in use.
impl TicketKeys for Keyring {
    fn candidates(&self, _: u64) -> impl Iterator<Item = (&VerifyKey, Range<i64>)> {
        self.verifying.iter().map(|key| (key, i64::MIN..i64::MAX))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(RSA-{})", self.0.public_modulus_len() * 8)
    }
}

impl fmt::Debug for VerifyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyKey(RSA)")
    }
}

fn pem_body<'t>(text: &'t str, label: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    rest.split_once(&format!("-----END {label}-----")).map(|(body, _)| body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_survives_its_file_forms() {
        let key = SigningKey::generate().unwrap();
        let public = VerifyKey::from_pem(&key.verify_key().unwrap().to_pem()).unwrap();
        let copy = SigningKey::from_pkcs8(&key.to_pkcs8().unwrap()).unwrap();
        let signature = copy.sign(b"text").unwrap();
        assert!(public.verifies(b"text", &signature));
        assert!(!public.verifies(b"texts", &signature));
        assert_eq!(format!("{key:?} {public:?}"), "SigningKey(RSA-2048) VerifyKey(RSA)");
    }

    #[test]
    fn both_salt_lengths_of_pss_verify() {
        static LONG: signature::RsaSignatureEncoding =
            signature::RSA_PSS_SHA256.with_pss_salt_length(RsaPssSaltLength::Max);
        let key = SigningKey::generate().unwrap();
        let public = key.verify_key().unwrap();
        for scheme in [&signature::RSA_PSS_SHA256, &LONG] {
            let mut out = vec![0; key.0.public_modulus_len()];
            key.0.sign(scheme, &SystemRandom::new(), b"text", &mut out).unwrap();
            assert!(public.verifies(b"text", &out));
        }
    }

    #[test]
    fn a_ring_has_a_limit() {
        let older = |n| vec![SigningKey::generate().unwrap().verify_key().unwrap(); n];
        let ring = |n| Keyring::new(SigningKey::generate().unwrap(), older(n));
        assert_eq!(ring(MAX_VERIFY_KEYS - 1).unwrap().verifying().len(), MAX_VERIFY_KEYS);
        assert_eq!(ring(MAX_VERIFY_KEYS).unwrap_err(), KeyError::TooMany);
    }

    proptest! {
        #[test]
        fn any_pem_is_taken(body in any::<String>(), label in any::<bool>()) {
            let label = if label { "PUBLIC KEY" } else { "RSA PUBLIC KEY" };
            let pem = format!("-----BEGIN {label}-----{body}-----END {label}-----");
            prop_assert_eq!(VerifyKey::from_pem(&pem).unwrap_err(), KeyError::Public);
        }
    }
}
