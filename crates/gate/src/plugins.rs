//! Plugins: programs of this machine whose pages and calls stand below `/proxward/plugins/NAME/`.
//!
//! A plugin never sees a credential. It is told who asks, in headers that the gate alone sets, and
//! asked only for callers who hold the privilege its section names. A development upstream is a
//! plugin that is being written: it serves what somebody is typing, so only Sys.Console on `/`
//! reaches it, from the same origin, until a moment that is written down. A build without the
//! feature `dev-server` has none at all.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use pve_access::Privilege;
use serde::Deserialize;
use telemetry::Rfc3339;

use crate::config::ConfigError;
use crate::destination::Destination;
use crate::limits::{DEVELOPMENT, PERMISSION_PATH, PLUGINS};

/// Who asks: `root@pam`, or `ci@pve!token`.
pub(crate) const USER: HeaderName = HeaderName::from_static("proxward-user");
/// The plugin's own name, so that one program can be several.
pub(crate) const PLUGIN: HeaderName = HeaderName::from_static("proxward-plugin");
/// The request's name in the gate's log.
pub(crate) const REQUEST: HeaderName = HeaderName::from_static("proxward-request");
/// In answers of a development upstream: until when there is one.
pub(crate) const UNTIL: HeaderName = HeaderName::from_static("proxward-development-until");

/// `[gate.plugins.NAME]` as it is written.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct PluginSettings {
    /// `unix:/run/…`, or `http://127.0.0.1:PORT`.
    pub upstream: String,
    /// What a caller needs, such as `Sys.Audit`.
    pub privilege: String,
    /// Where it needs it. Default: `/`.
    pub at: Option<String>,
    /// Whether it is being written: Sys.Console on `/` is needed then, whatever stands above.
    pub development: bool,
    /// Until when a development upstream is reached: `2026-07-01T12:00:00Z`, eight hours ahead of
    /// the gate's start at most.
    pub until: Option<String>,
}

/// A checked plugin.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// Where it is.
    pub destination: Destination,
    /// What a caller needs.
    pub privilege: Privilege,
    /// Where it needs it.
    pub at: String,
    /// Of a development upstream: its end, since 1970.
    pub until: Option<Duration>,
}

/// Checks the sections, by name.
pub(crate) fn check(
    settings: &BTreeMap<String, PluginSettings>,
) -> Result<BTreeMap<String, Plugin>, ConfigError> {
    if settings.len() > PLUGINS {
        return Err(ConfigError::new("plugins", &format!("at most {PLUGINS}")));
    }
    let one = |(name, settings): (&String, &PluginSettings)| {
        let plugin = settings
            .check()
            .map_err(|(key, what)| ConfigError::new(&format!("plugins.{name}.{key}"), &what))?;
        let byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=32).contains(&name.len()) || !name.bytes().all(byte) {
            let what = "a name has 1 to 32 of a-z 0-9 -";
            return Err(ConfigError::new(&format!("plugins.{name}"), what));
        }
        Ok((name.clone(), plugin))
    };
    settings.iter().map(one).collect()
}

/// Refuses development upstreams that would last too long; says which there are. Called at the
/// start, where there is a clock.
pub(crate) fn admit(plugins: &BTreeMap<String, Plugin>, unix: Duration) -> Result<(), ConfigError> {
    for (name, plugin) in plugins {
        let Some(until) = plugin.until else { continue };
        if until > unix + DEVELOPMENT {
            let what = format!(
                "{}: more than {} hours from now",
                Rfc3339(until),
                DEVELOPMENT.as_secs() / 3600
            );
            return Err(ConfigError::new(&format!("plugins.{name}.until"), &what));
        }
        let until = Rfc3339(until).to_string();
        tracing::warn!(plugin = name, until, "a development upstream is reached with Sys.Console");
    }
    Ok(())
}

impl PluginSettings {
    fn check(&self) -> Result<Plugin, (&'static str, String)> {
        let destination = match self.upstream.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Destination::unix(PathBuf::from(path)),
            Some(_) => return Err(("upstream", "write the whole path: unix:/run/…".to_owned())),
            None if self.upstream.starts_with("http://") => Destination::new(&self.upstream, None)
                .map_err(|error| ("upstream", error.to_string()))?,
            None => {
                let what = "write unix:/run/… or http://127.0.0.1:PORT".to_owned();
                return Err(("upstream", what));
            }
        };
        let unknown =
            || ("privilege", format!("{:?}; write one such as Sys.Audit", self.privilege));
        let privilege = Privilege::parse(&self.privilege).ok_or_else(unknown)?;
        let at = self.at.clone().unwrap_or_else(|| "/".to_owned());
        if !at.starts_with('/') || at.len() > PERMISSION_PATH {
            return Err(("at", format!("{at:?}; write a path such as /nodes/pve1")));
        }
        let plugin = Plugin { destination, privilege, at, until: None };
        match (self.development, &self.until) {
            (false, None) => Ok(plugin),
            (false, Some(_)) => {
                Err(("until", "is for development = true; remove one of them".to_owned()))
            }
            (true, _) if !cfg!(feature = "dev-server") => Err((
                "development",
                "this program was built without development upstreams".to_owned(),
            )),
            (true, None) => Err(("until", "not set; write 2026-07-01T12:00:00Z".to_owned())),
            (true, Some(text)) => {
                let until: Rfc3339 = text.parse().map_err(|error| ("until", format!("{error}")))?;
                let console = Privilege::parse("Sys.Console").ok_or_else(unknown)?;
                let at = "/".to_owned();
                Ok(Plugin { privilege: console, at, until: Some(until.0), ..plugin })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<Plugin, String> {
        let settings: PluginSettings = serde_json::from_str(text).map_err(|e| e.to_string())?;
        settings.check().map_err(|(key, what)| format!("{key}: {what}"))
    }

    #[test]
    fn what_is_not_meant_is_refused_with_its_key() {
        let good = r#"{"upstream":"unix:/run/p.sock","privilege":"Sys.Audit"}"#;
        assert_eq!(checked(good).unwrap().at, "/");
        for (text, part) in [
            (r#"{"upstream":"unix:p","privilege":"Sys.Audit"}"#, "upstream"),
            (r#"{"upstream":"http://192.0.2.1:80","privilege":"Sys.Audit"}"#, "upstream"),
            (r#"{"upstream":"https://127.0.0.1:80","privilege":"Sys.Audit"}"#, "upstream"),
            (r#"{"upstream":"unix:/p"}"#, "privilege"),
            (r#"{"upstream":"unix:/p","privilege":"Sys.audit"}"#, "privilege"),
            (r#"{"upstream":"unix:/p","privilege":"Sys.Audit","at":"vms"}"#, "at"),
            (
                r#"{"upstream":"unix:/p","privilege":"Sys.Audit","until":"2026-07-01T12:00:00Z"}"#,
                "until",
            ),
            (r#"{"upstream":"unix:/p","privilege":"Sys.Audit","develop":true}"#, "unknown field"),
        ] {
            let error = checked(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    #[cfg(feature = "dev-server")]
    fn a_development_upstream_needs_the_console_and_an_end_within_hours() {
        let text = r#"{"upstream":"http://127.0.0.1:5173","privilege":"Sys.Audit","at":"/vms","development":true,"until":"2026-07-01T12:00:00Z"}"#;
        let plugin = checked(text).unwrap();
        assert_eq!((plugin.privilege.name(), &*plugin.at), ("Sys.Console", "/"));
        let until = plugin.until.unwrap();
        let plugins = BTreeMap::from([("p".to_owned(), plugin)]);
        assert!(admit(&plugins, until - DEVELOPMENT).is_ok());
        let error = admit(&plugins, until - DEVELOPMENT - Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.key(), "gate.plugins.p.until");
        let endless = r#"{"upstream":"unix:/p","privilege":"Sys.Audit","development":true}"#;
        assert!(checked(endless).unwrap_err().contains("until"));
    }

    #[test]
    #[cfg(not(feature = "dev-server"))]
    fn a_build_without_them_refuses_development_upstreams() {
        let text = r#"{"upstream":"unix:/p","privilege":"Sys.Audit","development":true,"until":"2026-07-01T12:00:00Z"}"#;
        assert!(checked(text).unwrap_err().contains("built without"));
    }
}
