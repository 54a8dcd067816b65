//! The section `[gate.tls]`, and which certificate is shown.

use std::path::{Path, PathBuf};

use netpolicy::AddressSet;
use secrets::private_file::Readers;
use serde::Deserialize;
use tls::{Policy, Version};

use super::{Config, ConfigError, ConfigWarning, Settings};
use crate::certificates::{ClientFiles, TlsFiles, TlsLoaded};

/// Where a node has its certificates.
const NODE: &str = "/etc/pve/local";

/// `[gate.tls]` as it is written; what is absent keeps the default.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    /// Oldest version: `1.2` or `1.3`. Default: 1.2.
    pub min: Option<TlsVersion>,
    /// Newest version, likewise. Default: 1.3.
    pub max: Option<TlsVersion>,
    /// Suites of TLS 1.2, in OpenSSL's grammar. Default: all.
    pub ciphers: Option<String>,
    /// Suites of TLS 1.3, colons between. Default: all.
    pub ciphersuites: Option<String>,
    /// Key exchange, the preferred first: `X25519MLKEM768`, `X25519`, `secp256r1`, `secp384r1`.
    /// Default: these.
    pub groups: Option<Vec<String>>,
    /// Whether the gate's order of suites counts rather than the client's. Default: no.
    pub server_order: Option<bool>,
    /// PEM file of the authorities that sign certificates of clients. Default: none is asked for.
    pub client_ca: Option<PathBuf>,
    /// `required` or `optional`. Default: required.
    pub client_auth: Option<ClientAuthMode>,
    /// File with revocation lists, PEM or DER.
    pub client_crl: Option<PathBuf>,
    /// Addresses of which no certificate is asked: networks, ranges, commas between.
    pub client_exempt: Option<String>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    Tls13,
}

/// What becomes of a client without a certificate.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuthMode {
    /// It is refused.
    Required,
    /// It is served.
    Optional,
}

/// Where the certificate comes from.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum CertificateFrom {
    /// `cert` and `key`.
    Files,
    /// The node's directory.
    Pve,
}

impl From<TlsVersion> for Version {
    fn from(version: TlsVersion) -> Self {
        match version {
            TlsVersion::Tls12 => Self::Tls12,
            TlsVersion::Tls13 => Self::Tls13,
        }
    }
}

impl Settings {
    /// The files of TLS and what they hold.
    pub(super) fn tls_files(&self) -> Result<(TlsFiles, TlsLoaded), ConfigError> {
        let files = self.certificate_files()?.with_clients(self.client_files()?);
        let at_fault = |error: crate::certificates::TlsFilesError| {
            let key = match (&error, &self.cert) {
                (crate::certificates::TlsFilesError::Clients { .. }, _) => "tls.client_ca",
                (_, Some(_)) => "cert",
                _ => "certificate",
            };
            ConfigError::new(key, &error)
        };
        let loaded = files.load().map_err(at_fault)?;
        Ok((files, loaded))
    }

    fn certificate_files(&self) -> Result<TlsFiles, ConfigError> {
        // A node's own keys are readable for www-data, which is how pveproxy gets at them.
        let readers = match self.key_readable_by_others {
            Some(true) => Readers::Anyone,
            _ => Readers::Group,
        };
        let directory = self.certificate_directory.as_deref().unwrap_or(Path::new(NODE));
        let from = self.certificate.unwrap_or_else(|| match self.cert.is_none() {
            true if directory.is_dir() => CertificateFrom::Pve,
            _ => CertificateFrom::Files,
        });
        let missing = |key| Err(ConfigError::new(key, "not set; name the PEM file"));
        match (from, &self.cert, &self.key) {
            (CertificateFrom::Pve, None, key) => {
                Ok(TlsFiles::node(directory, key.as_deref(), readers))
            }
            (CertificateFrom::Pve, Some(_), _) => {
                let what = "set beside certificate = \"pve\"; remove one of them";
                Err(ConfigError::new("cert", what))
            }
            (CertificateFrom::Files, Some(cert), Some(key)) => {
                Ok(TlsFiles::pair(cert, key, readers))
            }
            (CertificateFrom::Files, None, _) => missing("cert"),
            (CertificateFrom::Files, _, None) => missing("key"),
        }
    }

    fn client_files(&self) -> Result<Option<ClientFiles>, ConfigError> {
        let tls = &self.tls;
        let Some(authorities) = tls.client_ca.clone() else {
            let alone = [
                ("tls.client_auth", tls.client_auth.is_some()),
                ("tls.client_crl", tls.client_crl.is_some()),
                ("tls.client_exempt", tls.client_exempt.is_some()),
            ];
            return match alone.iter().find(|(_, set)| *set) {
                Some((key, _)) => {
                    Err(ConfigError::new(key, "has no effect without tls.client_ca; set that"))
                }
                None => Ok(None),
            };
        };
        let required = tls.client_auth != Some(ClientAuthMode::Optional);
        Ok(Some(ClientFiles { authorities, revocations: tls.client_crl.clone(), required }))
    }

    /// What is offered, and who need not show a certificate.
    pub(super) fn tls_rules(&self, config: &mut Config) -> Result<(), ConfigError> {
        let TlsSettings { min, max, ciphers, ciphersuites, groups, .. } = &self.tls;
        let mut policy = Policy::default();
        policy.server_order = self.tls.server_order.unwrap_or(policy.server_order);
        let mut unknown = Vec::new();
        if let Some(list) = ciphers {
            let found = policy.set_tls12(list);
            let found = found.map_err(|error| ConfigError::new("tls.ciphers", &error))?;
            unknown.push(("tls.ciphers", found));
        }
        if let Some(list) = ciphersuites {
            let found = policy.set_tls13(list);
            let found = found.map_err(|error| ConfigError::new("tls.ciphersuites", &error))?;
            unknown.push(("tls.ciphersuites", found));
        }
        if let Some(names) = groups {
            if names.is_empty() {
                return Err(ConfigError::new("tls.groups", "empty; leave it out, or name some"));
            }
            policy.set_groups(names).map_err(|error| ConfigError::new("tls.groups", &error))?;
        }
        let least = min.map_or(Version::Tls12, Version::from);
        let most = max.map_or(Version::Tls13, Version::from);
        if least > most {
            let what = "newer than tls.max, so that no version is left; correct one of them";
            return Err(ConfigError::new("tls.min", what));
        }
        policy.keep_versions(least, most);
        for (key, names) in unknown.into_iter().filter(|(_, names)| !names.is_empty()) {
            let what = format!("not offered here and left out: {}", names.join(", "));
            config.warnings.push(ConfigWarning::new(key, &what));
        }
        if !policy.is_post_quantum() {
            let key = if most == Version::Tls12 { "tls.max" } else { "tls.groups" };
            let what = "no post-quantum key exchange: what is recorded today can be read once \
                there is a quantum computer";
            config.warnings.push(ConfigWarning::new(key, what));
        }
        config.tls = policy;
        if let Some(text) = &self.tls.client_exempt {
            config.client_exempt = AddressSet::strict(text)
                .map_err(|error| ConfigError::new("tls.client_exempt", &error))?;
        }
        Ok(())
    }
}
