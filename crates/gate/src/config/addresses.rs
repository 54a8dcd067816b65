//! Keys of `[gate]` that name addresses: who may come, and whose word is taken for who came.

use http::HeaderName;
use netpolicy::AddressSet;

use super::{Config, ConfigError, ConfigWarning, Settings};
use crate::addresses::AddressRules;

/// Headers in which a proxy's word would be the client's, or that mean something else here.
const NOT_FOR_ADDRESSES: [&str; 6] =
    ["authorization", "cookie", "forwarded", "host", "origin", "user-agent"];

impl Settings {
    pub(super) fn addresses(&self, config: &mut Config) -> Result<(), ConfigError> {
        let sets = [
            ("proxy_protocol_from", &self.proxy_protocol_from, &mut config.proxy_protocol_from),
            ("trusted_proxies", &self.trusted_proxies, &mut config.trusted_proxies),
            ("allow_from", &self.allow_from, &mut config.addresses.allow),
            ("deny_from", &self.deny_from, &mut config.addresses.deny),
        ];
        for (key, text, set) in sets {
            if let Some(text) = text {
                *set = AddressSet::strict(text).map_err(|error| ConfigError::new(key, &error))?;
            }
        }
        config.addresses.policy = self.address_policy.unwrap_or_default();
        if let Some(name) = &self.real_ip_header {
            config.real_ip_header = header(name)?;
        }
        config.warnings.extend(without_effect(&config.addresses));
        Ok(())
    }
}

fn header(text: &str) -> Result<HeaderName, ConfigError> {
    let refused = |why: &str| ConfigError::new("real_ip_header", &format!("{text:?} {why}"));
    let name: HeaderName =
        text.parse().map_err(|_| refused("is no header's name; write \"X-Forwarded-For\""))?;
    if NOT_FOR_ADDRESSES.contains(&name.as_str()) {
        return Err(refused("holds no list of addresses; write \"X-Forwarded-For\""));
    }
    Ok(name)
}

/// Stock's own trap: a list of those who may come shuts nobody out by itself.
fn without_effect(rules: &AddressRules) -> Option<ConfigWarning> {
    (!rules.allow.is_empty() && rules.admits_all()).then(|| {
        ConfigWarning::new(
            "allow_from",
            "shuts nobody out: others are admitted too, because policy is \"allow\"; \
             write policy = \"deny\"",
        )
    })
}

/// The default of [`Config::real_ip_header`].
pub(super) fn x_forwarded_for() -> HeaderName {
    HeaderName::from_static("x-forwarded-for")
}

#[cfg(test)]
mod tests {
    use super::super::tests::good;
    use super::*;
    use crate::addresses::AddressPolicy;

    #[test]
    fn lists_and_policy() {
        let directory = tempfile::tempdir().unwrap();
        let config = good(&directory).check().unwrap();
        assert!(config.addresses.admits_all() && config.warnings.is_empty());
        assert_eq!(config.real_ip_header, "x-forwarded-for");

        let mut settings = good(&directory);
        settings.allow_from = Some("192.0.2.0/24".into());
        settings.real_ip_header = Some("X-Real-IP".into());
        let config = settings.check().unwrap();
        assert_eq!(config.real_ip_header, "x-real-ip");
        let warned: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
        assert!(warned[0].starts_with("gate.allow_from: shuts nobody out"), "{warned:?}");

        settings.address_policy = Some(AddressPolicy::Deny);
        let config = settings.check().unwrap();
        assert!(config.addresses.admits("192.0.2.1".parse().unwrap()));
        assert!(!config.addresses.admits("198.51.100.1".parse().unwrap()));
        assert!(config.warnings.is_empty());
    }

    #[test]
    fn faults_name_their_key() {
        let directory = tempfile::tempdir().unwrap();
        let cases = [
            ("gate.allow_from", Settings { allow_from: Some("10".into()), ..good(&directory) }),
            ("gate.deny_from", Settings { deny_from: Some("host".into()), ..good(&directory) }),
            (
                "gate.real_ip_header",
                Settings { real_ip_header: Some("Forwarded".into()), ..good(&directory) },
            ),
            (
                "gate.real_ip_header",
                Settings { real_ip_header: Some("a b".into()), ..good(&directory) },
            ),
        ];
        for (key, settings) in cases {
            assert_eq!(settings.check().unwrap_err().key(), key);
        }
    }
}
