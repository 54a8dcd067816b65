//! The section `[gate]`: as it is written, and as it is meant.

mod limits;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use netpolicy::AddressSet;
use secrets::private_file::Readers;
use serde::Deserialize;
use telemetry::access::AccessLog;
use thiserror::Error;
use tls::{Identity, Trust};

pub use self::limits::LimitSettings;
use crate::api::{ApiConfig, ApiSettings};
use crate::destination::Destination;
use crate::limits::{Limits, WORKERS};
use crate::login::{LoginRules, LoginSettings};
use crate::plugins::{self, Plugin, PluginSettings};
use crate::session::{SessionConfig, SessionSettings};

/// Bytes of `upstream_ca` at most.
const CA_BYTES: u64 = 1024 * 1024;

/// `[gate]` as it is written: every value text or number, nothing checked but the types.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// `ADDRESS:PORT` to listen on, at least one.
    pub listen: Vec<String>,
    /// `https://HOST[:PORT]` of pveproxy, or `http://` on a loopback address.
    pub upstream: String,
    /// SHA-256 of the certificate upstream shows.
    pub upstream_fingerprint: Option<String>,
    /// PEM file of the authority that signed upstream's certificate.
    pub upstream_ca: Option<PathBuf>,
    /// `127.0.0.1:85`: pvedaemon, for the calls that log somebody in.
    pub daemon: Option<String>,
    /// PEM file of the gate's certificate, chain included.
    pub cert: Option<PathBuf>,
    /// PEM file of its private key; nobody but the owner and the group may read it.
    pub key: Option<PathBuf>,
    /// Whether everybody may read the key: for keys of tests alone. Default: no.
    pub key_readable_by_others: Option<bool>,
    /// Addresses that send a PROXY header: networks, ranges, commas between. From these it is
    /// required.
    pub proxy_protocol_from: Option<String>,
    /// Addresses of proxies whose X-Forwarded-For is believed: networks, ranges, commas between.
    pub trusted_proxies: Option<String>,
    /// Whether HTTP/2 is offered. Default: yes.
    pub http2: Option<bool>,
    /// Where a line for each request goes: `stderr`, `off`, or a file. Default: `stderr`.
    pub access_log: Option<String>,
    /// Worker threads. Default: one for each core.
    pub workers: Option<usize>,
    /// Sessions and credentials.
    pub sessions: SessionSettings,
    /// Bounds.
    pub limits: LimitSettings,
    /// Directory for what outlasts a restart: made when it does not exist, 0700.
    pub state: Option<PathBuf>,
    /// What failed logins cost.
    pub login: LoginSettings,
    /// The broker's verbs for callers.
    pub api: ApiSettings,
    /// Programs whose pages stand below `/proxward/plugins/NAME/`.
    pub plugins: BTreeMap<String, PluginSettings>,
}

/// What the gate is to do: every value checked, every file read.
#[derive(Debug)]
pub struct Config {
    /// Where to listen, for [`Listeners::bind`](crate::Listeners::bind).
    pub listen: Vec<SocketAddr>,
    /// Where Proxmox VE is.
    pub destination: Destination,
    /// pvedaemon, for the calls that log somebody in: its log then has their true address. None:
    /// they go where all others go.
    pub daemon: Option<Destination>,
    /// The certificate shown to clients.
    pub identity: Identity,
    /// Who sends PROXY headers; nobody by default.
    pub proxy_protocol_from: AddressSet,
    /// Whose X-Forwarded-For is believed; nobody's by default.
    pub trusted_proxies: AddressSet,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
    /// Where a line for each request goes.
    pub access_log: AccessLogTo,
    /// Worker threads, at most [`WORKERS`].
    pub workers: NonZeroUsize,
    /// Sessions and credentials.
    pub sessions: SessionConfig,
    /// Bounds.
    pub limits: Limits,
    /// Directory for what outlasts a restart. None: memory, no control socket and no audit log.
    pub state: Option<PathBuf>,
    /// What failed logins cost.
    pub login: LoginRules,
    /// The broker's verbs for callers. None: there are none.
    pub api: Option<ApiConfig>,
    /// Programs whose pages stand below `/proxward/plugins/NAME/`.
    pub plugins: BTreeMap<String, Plugin>,
}

/// Where the access log goes; see [`telemetry::access`] for its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogTo {
    /// Nowhere.
    Off,
    /// To stderr, where the process's other log goes.
    Stderr,
    /// To this file, made anew when a tool has moved it.
    File(PathBuf),
}

impl AccessLogTo {
    pub(crate) fn open(&self) -> io::Result<Option<AccessLog>> {
        match self {
            Self::Off => Ok(None),
            Self::Stderr => AccessLog::stderr().map(Some),
            Self::File(path) => AccessLog::file(path).map(Some),
        }
    }
}

/// A refused value: the key, what is wrong with it, and what to write instead.
#[derive(Debug, Error)]
#[error("{key}: {what}")]
pub struct ConfigError {
    key: String,
    what: String,
}

impl ConfigError {
    /// The full key, `gate.listen`: for the place it was set at.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn new(key: &str, what: &(impl ToString + ?Sized)) -> Self {
        Self { key: format!("gate.{key}"), what: what.to_string() }
    }
}

impl Config {
    /// A gate on `listen` in front of `destination` with every default: HTTP/2 offered, one
    /// worker for each core, no PROXY protocol. No access log.
    #[must_use]
    pub fn new(listen: Vec<SocketAddr>, destination: Destination, identity: Identity) -> Self {
        Self {
            listen,
            destination,
            daemon: None,
            identity,
            proxy_protocol_from: AddressSet::default(),
            trusted_proxies: AddressSet::default(),
            http2: true,
            access_log: AccessLogTo::Off,
            workers: cores(),
            sessions: SessionConfig::default(),
            limits: Limits::default(),
            state: None,
            login: LoginRules::default(),
            api: None,
            plugins: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Checks every value and reads the files they name.
    ///
    /// # Errors
    /// The first value at fault.
    pub fn check(&self) -> Result<Config, ConfigError> {
        let listen = self.listen.iter().map(|text| listen(text)).collect::<Result<Vec<_>, _>>()?;
        if listen.is_empty() {
            let what = "no address; write [\"192.0.2.10:8006\"]";
            return Err(ConfigError::new("listen", &what));
        }
        if self.upstream.is_empty() {
            let what = "not set; write \"https://127.0.0.1:8006\"";
            return Err(ConfigError::new("upstream", &what));
        }
        let trust = self.trust()?;
        let destination = Destination::new(&self.upstream, trust.as_ref())
            .map_err(|error| ConfigError::new("upstream", &error))?;
        let mut config = Config::new(listen, destination, self.identity()?);
        let daemon = self.daemon.as_deref().map(Destination::daemon).transpose();
        config.daemon = daemon.map_err(|error| ConfigError::new("daemon", &error))?;
        if let Some(text) = &self.proxy_protocol_from {
            config.proxy_protocol_from = AddressSet::strict(text)
                .map_err(|error| ConfigError::new("proxy_protocol_from", &error))?;
        }
        if let Some(text) = &self.trusted_proxies {
            config.trusted_proxies = AddressSet::strict(text)
                .map_err(|error| ConfigError::new("trusted_proxies", &error))?;
        }
        config.http2 = self.http2.unwrap_or(config.http2);
        config.access_log = match self.access_log.as_deref() {
            None | Some("stderr") => AccessLogTo::Stderr,
            Some("off") => AccessLogTo::Off,
            Some(path) if path.starts_with('/') => AccessLogTo::File(path.into()),
            Some(other) => {
                let what = format!("{other:?}; write \"stderr\", \"off\" or an absolute path");
                return Err(ConfigError::new("access_log", &what));
            }
        };
        if let Some(workers) = self.workers {
            config.workers = NonZeroUsize::new(workers)
                .filter(|workers| workers.get() <= WORKERS)
                .ok_or_else(|| {
                    let what =
                        format!("{workers}; write a number from 1 to {WORKERS}, or leave it out");
                    ConfigError::new("workers", &what)
                })?;
        }
        config.sessions = self
            .sessions
            .check()
            .map_err(|(key, what)| ConfigError::new(&format!("sessions.{key}"), &what))?;
        self.limits.apply(&mut config.limits)?;
        config.state = self.state_directory()?;
        config.login = self.login.check()?;
        config.api = self.api.check()?;
        config.plugins = plugins::check(&self.plugins)?;
        Ok(config)
    }

    /// One host keeps its state in a directory. A shared store is refused in words, so that
    /// nobody believes several gates to share their bans.
    fn state_directory(&self) -> Result<Option<PathBuf>, ConfigError> {
        let Some(path) = &self.state else {
            return Ok(None);
        };
        let text = path.to_string_lossy();
        if text.contains("://") {
            let what = format!(
                "{text:?}: a store shared by several gates is not there yet; name a directory"
            );
            return Err(ConfigError::new("state", &what));
        }
        if text.is_empty() {
            return Err(ConfigError::new("state", "empty; name a directory, or leave it out"));
        }
        Ok(Some(path.clone()))
    }

    fn trust(&self) -> Result<Option<Trust>, ConfigError> {
        match (&self.upstream_fingerprint, &self.upstream_ca) {
            (Some(_), Some(_)) => Err(ConfigError::new(
                "upstream_ca",
                "set beside upstream_fingerprint; a pin needs no authority, remove one of them",
            )),
            (Some(text), None) => {
                let pin = text.parse();
                pin.map(|pin| Some(Trust::Pin(pin)))
                    .map_err(|error| ConfigError::new("upstream_fingerprint", &error))
            }
            (None, Some(path)) => {
                let at_fault = |error: String| {
                    ConfigError::new("upstream_ca", &format!("{}: {error}", path.display()))
                };
                let length =
                    std::fs::metadata(path).map_err(|error| at_fault(error.to_string()))?;
                if length.len() > CA_BYTES {
                    return Err(at_fault(format!(
                        "larger than {CA_BYTES} bytes; name one authority"
                    )));
                }
                let pem = std::fs::read(path).map_err(|error| at_fault(error.to_string()))?;
                Ok(Some(Trust::Authority(pem)))
            }
            (None, None) => Ok(None),
        }
    }

    fn identity(&self) -> Result<Identity, ConfigError> {
        let missing = |key| {
            let what = "not set; name the PEM file";
            ConfigError::new(key, &what)
        };
        let cert = self.cert.as_ref().ok_or_else(|| missing("cert"))?;
        let key = self.key.as_ref().ok_or_else(|| missing("key"))?;
        // A node's own keys are readable for www-data, which is how pveproxy gets at them.
        let readers = match self.key_readable_by_others {
            Some(true) => Readers::Anyone,
            _ => Readers::Group,
        };
        Identity::load_for(cert, key, readers).map_err(|error| ConfigError::new("cert", &error))
    }
}

fn listen(text: &str) -> Result<SocketAddr, ConfigError> {
    text.parse().map_err(|_| {
        let what = format!("{text:?} is no address; write 192.0.2.10:8006 or [2001:db8::1]:8006");
        ConfigError::new("listen", &what)
    })
}

fn cores() -> NonZeroUsize {
    let most = NonZeroUsize::new(WORKERS).unwrap_or(NonZeroUsize::MIN);
    std::thread::available_parallelism().map_or(NonZeroUsize::MIN, |cores| cores.min(most))
}

#[cfg(test)]
mod tests;
