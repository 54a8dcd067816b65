//! The section `[gate.tls]`, and which certificate is shown.

use std::path::{Path, PathBuf};

use netpolicy::AddressSet;
use secrets::private_file::Readers;
use serde::Deserialize;
use tls::{Identity, Pins, Policy, Trust, Version};

use super::{Config, ConfigError, ConfigWarning, Settings};
use crate::certificates::{ClientFiles, TlsFiles, TlsFilesError, TlsLoaded};

/// In the place of a fingerprint.
const SHOWN: &str = "shown";

/// Bytes of `upstream_ca` at most.
const CA_BYTES: u64 = 1024 * 1024;

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
        let at_fault = |error: TlsFilesError| {
            let key = match (&error, &self.cert) {
                (TlsFilesError::Clients { .. }, _) => "tls.client_ca",
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

    /// Whether upstream has to show the certificate that the gate shows.
    pub(super) fn pins_what_is_shown(&self) -> bool {
        self.upstream_fingerprint.as_deref() == Some(SHOWN) && self.upstream_ca.is_none()
    }

    /// Who upstream has to be: `shown`, or what is configured.
    pub(super) fn trust(&self, shown: Option<&Identity>) -> Result<Option<Trust>, ConfigError> {
        if let Some(shown) = shown {
            return Ok(Some(Trust::Follow(Pins::new(shown.fingerprint()))));
        }
        pinned_or_signed(
            (self.upstream_fingerprint.as_deref(), "upstream_fingerprint"),
            (self.upstream_ca.as_deref(), "upstream_ca"),
        )
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

/// Which certificate to expect: the one with this fingerprint, or one that this authority signed.
/// Each with the key it was set by.
pub(crate) fn pinned_or_signed(
    (fingerprint, pin_key): (Option<&str>, &str),
    (authority, authority_key): (Option<&Path>, &str),
) -> Result<Option<Trust>, ConfigError> {
    match (fingerprint, authority) {
        (Some(_), Some(_)) => {
            let what =
                format!("set beside {pin_key}; a pin needs no authority, remove one of them");
            Err(ConfigError::new(authority_key, &what))
        }
        (Some(text), None) => {
            let pin = text.parse();
            pin.map(|pin| Some(Trust::Pin(pin))).map_err(|error| ConfigError::new(pin_key, &error))
        }
        (None, Some(path)) => {
            let at_fault = |error: String| {
                ConfigError::new(authority_key, &format!("{}: {error}", path.display()))
            };
            let length = std::fs::metadata(path).map_err(|error| at_fault(error.to_string()))?;
            if length.len() > CA_BYTES {
                return Err(at_fault(format!("larger than {CA_BYTES} bytes; name one authority")));
            }
            let pem = std::fs::read(path).map_err(|error| at_fault(error.to_string()))?;
            Ok(Some(Trust::Authority(pem)))
        }
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::good;
    use super::*;

    fn tls(directory: &tempfile::TempDir, tls: TlsSettings) -> Settings {
        Settings { tls, ..good(directory) }
    }

    fn warned(settings: &Settings) -> Vec<String> {
        let config = settings.check().unwrap();
        config.warnings.iter().map(|warning| warning.key().to_owned()).collect()
    }

    #[test]
    fn a_nodes_directory_is_the_default_where_it_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = good(&directory);
        let (cert, key) = (settings.cert.take().unwrap(), settings.key.take().unwrap());
        settings.certificate_directory = Some("/nonexistent".into());
        assert_eq!(settings.check().unwrap_err().key(), "gate.cert");
        settings.certificate_directory = Some(directory.path().to_owned());
        assert_eq!(settings.check().unwrap_err().key(), "gate.certificate");
        std::fs::rename(&cert, directory.path().join("pve-ssl.pem")).unwrap();
        std::fs::rename(&key, directory.path().join("pve-ssl.key")).unwrap();
        let config = settings.check().unwrap();
        let node = TlsFiles::node(directory.path(), None, Readers::Group);
        assert_eq!(config.tls_files, Some(node));
        // As TLS_KEY_FILE: the key of the custom certificate, which is not there.
        settings.key = Some("/secrets/key".into());
        settings.check().unwrap();
        settings.certificate = Some(CertificateFrom::Files);
        assert_eq!(settings.check().unwrap_err().key(), "gate.cert");
    }

    #[test]
    fn what_weakens_or_is_left_out_is_warned_of() {
        let directory = tempfile::tempdir().unwrap();
        assert!(warned(&good(&directory)).is_empty());
        let ciphers =
            |list: &str| TlsSettings { ciphers: Some(list.into()), ..TlsSettings::default() };
        assert!(warned(&tls(&directory, ciphers("HIGH:!aNULL"))).is_empty());
        assert_eq!(warned(&tls(&directory, ciphers("HIGH:AES128-SHA"))), ["gate.tls.ciphers"]);
        let max = TlsSettings { max: Some(TlsVersion::Tls12), ..TlsSettings::default() };
        assert_eq!(warned(&tls(&directory, max)), ["gate.tls.max"]);
        let groups = TlsSettings { groups: Some(vec!["X25519".into()]), ..TlsSettings::default() };
        assert_eq!(warned(&tls(&directory, groups)), ["gate.tls.groups"]);
    }

    #[test]
    fn faults_name_their_key() {
        let directory = tempfile::tempdir().unwrap();
        let settings = TlsSettings::default;
        let cases = [
            ("tls.ciphers", TlsSettings { ciphers: Some("RC4".into()), ..settings() }),
            ("tls.ciphersuites", TlsSettings { ciphersuites: Some("RC4".into()), ..settings() }),
            ("tls.groups", TlsSettings { groups: Some(vec![]), ..settings() }),
            ("tls.groups", TlsSettings { groups: Some(vec!["ffdhe2048".into()]), ..settings() }),
            (
                "tls.min",
                TlsSettings {
                    min: Some(TlsVersion::Tls13),
                    max: Some(TlsVersion::Tls12),
                    ..settings()
                },
            ),
            ("tls.client_ca", TlsSettings { client_ca: Some("/nonexistent".into()), ..settings() }),
            ("tls.client_crl", TlsSettings { client_crl: Some("/x".into()), ..settings() }),
            (
                "tls.client_auth",
                TlsSettings { client_auth: Some(ClientAuthMode::Optional), ..settings() },
            ),
            ("tls.client_exempt", TlsSettings { client_exempt: Some("::1".into()), ..settings() }),
        ];
        for (key, tls_settings) in cases {
            let error = tls(&directory, tls_settings).check().unwrap_err();
            assert_eq!(error.key(), format!("gate.{key}"), "{error}");
        }
    }
}
