//! What a server offers: versions, suites, key exchange.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion, version};

use crate::ciphers::{self, SuitesError};
use crate::provider::GROUPS;

/// Versions, suites and key exchange of a server. The default is all there is: TLS 1.2 and 1.3,
/// authenticated encryption with ephemeral keys, the post-quantum hybrid first.
#[derive(Clone)]
pub struct Policy {
    tls12: Vec<SupportedCipherSuite>,
    tls13: Vec<SupportedCipherSuite>,
    groups: Vec<&'static dyn SupportedKxGroup>,
    /// Whether the server's order of suites counts rather than the client's. Default: no; all are
    /// as good, and a client without AES in hardware knows what is fast for it.
    pub server_order: bool,
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// A name that is no group for key exchange here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no key exchange here; there are X25519MLKEM768, X25519, secp256r1, secp384r1")]
pub struct UnknownGroup(String);

impl Default for Policy {
    fn default() -> Self {
        let [tls12, tls13] = ciphers::all();
        Self { tls12, tls13, groups: GROUPS.to_vec(), server_order: false }
    }
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let groups: Vec<_> = self.groups.iter().map(|group| group.name()).collect();
        let suites: Vec<_> = self.suites().map(SupportedCipherSuite::suite).collect();
        f.debug_struct("Policy").field("suites", &suites).field("groups", &groups).finish()
    }
}

impl Policy {
    /// Offers these versions only, both ends included. Nothing is left when they are exchanged.
    pub fn keep_versions(&mut self, least: Version, most: Version) {
        for (version, suites) in
            [(Version::Tls12, &mut self.tls12), (Version::Tls13, &mut self.tls13)]
        {
            if !(least..=most).contains(&version) {
                suites.clear();
            }
        }
    }

    /// Chooses suites of TLS 1.2 by a list in OpenSSL's grammar. Returns the words that select
    /// nothing here.
    ///
    /// # Errors
    /// No suite is left.
    pub fn set_tls12(&mut self, list: &str) -> Result<Vec<String>, SuitesError> {
        let unknown;
        (self.tls12, unknown) = ciphers::tls12(list)?;
        Ok(unknown)
    }

    /// Chooses suites of TLS 1.3 by their names, colons between. Returns the names there are not.
    ///
    /// # Errors
    /// No suite is left.
    pub fn set_tls13(&mut self, list: &str) -> Result<Vec<String>, SuitesError> {
        let unknown;
        (self.tls13, unknown) = ciphers::tls13(list)?;
        Ok(unknown)
    }

    /// Chooses the key exchange, the preferred first.
    ///
    /// # Errors
    /// A name there is not.
    pub fn set_groups<S: AsRef<str>>(&mut self, names: &[S]) -> Result<(), UnknownGroup> {
        let named = |name: &str| {
            let same = |group: &&&dyn SupportedKxGroup| {
                group.name().as_str().is_some_and(|known| known.eq_ignore_ascii_case(name))
            };
            GROUPS.iter().find(same).copied().ok_or_else(|| UnknownGroup(name.to_owned()))
        };
        self.groups = names.iter().map(|name| named(name.as_ref())).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Whether the post-quantum hybrid is offered: it exists in TLS 1.3 only.
    #[must_use]
    pub fn is_post_quantum(&self) -> bool {
        let hybrid = kx_group::X25519MLKEM768.name();
        !self.tls13.is_empty() && self.groups.iter().any(|group| group.name() == hybrid)
    }

    pub(crate) fn provider(&self) -> Arc<CryptoProvider> {
        let cipher_suites = self.suites().copied().collect();
        let kx_groups = self.groups.clone();
        Arc::new(CryptoProvider { cipher_suites, kx_groups, ..aws_lc_rs::default_provider() })
    }

    pub(crate) fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let versions = [(&version::TLS13, &self.tls13), (&version::TLS12, &self.tls12)];
        let offered = versions.into_iter().filter(|(_, suites)| !suites.is_empty());
        offered.map(|(version, _)| version).collect()
    }

    fn suites(&self) -> impl Iterator<Item = &SupportedCipherSuite> {
        self.tls13.iter().chain(&self.tls12)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_offers_everything() {
        let policy = Policy::default();
        assert_eq!((policy.versions().len(), policy.suites().count()), (2, 9));
        assert!(policy.is_post_quantum());
        let theirs = aws_lc_rs::default_provider().cipher_suites;
        assert_eq!(policy.provider().cipher_suites, theirs);
    }

    #[test]
    fn versions_are_kept_or_not() {
        let mut policy = Policy::default();
        policy.keep_versions(Version::Tls13, Version::Tls13);
        assert_eq!((policy.versions().len(), policy.suites().count()), (1, 3));
        let mut policy = Policy::default();
        policy.keep_versions(Version::Tls12, Version::Tls12);
        assert!(policy.versions().len() == 1 && !policy.is_post_quantum());
        policy.keep_versions(Version::Tls13, Version::Tls12);
        assert!(policy.versions().is_empty());
    }

    #[test]
    fn groups_by_name() {
        let mut policy = Policy::default();
        policy.set_groups(&["x25519", "SECP384R1"]).unwrap();
        assert!(policy.groups.len() == 2 && !policy.is_post_quantum());
        assert!(policy.set_groups(&["ffdhe2048"]).unwrap_err().to_string().contains("ffdhe2048"));
    }
}
