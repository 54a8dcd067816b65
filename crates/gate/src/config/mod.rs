//! The section `[gate]`: as it is written, and as it is meant.

mod addresses;
mod confinement;
mod limits;
mod tls;
mod traffic;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::tls::{ClientAuth, Identity, Pins, Policy, Trust};
use http::HeaderName;
use netpolicy::AddressSet;
use serde::Deserialize;
use telemetry::access::AccessLog;
use thiserror::Error;

pub use self::limits::LimitSettings;
pub(crate) use self::tls::pinned_or_signed;
pub use self::tls::{CertificateFrom, ClientAuthMode, TlsSettings, TlsVersion};
pub use self::traffic::{FallbackSettings, Traffic};
use crate::addresses::{AddressPolicy, AddressRules};
use crate::api::{ApiConfig, ApiSettings};
use crate::certificates::{TlsFiles, TlsLoaded};
use crate::confine::{Layer, Standing, USER};
use crate::destination::Destination;
use crate::limits::{CERTIFICATES_EVERY, Limits, WORKERS};
use crate::login::{LoginRules, LoginSettings};
use crate::pages::ContentPolicy;
use crate::plugins::{self, Plugin, PluginSettings};
use crate::policy::{PolicyRules, PolicySettings};
use crate::session::{Sealer, SessionConfig, SessionSettings, TicketVerification};
use crate::shared_store::{StoreConfig, StoreSettings, is_address};

/// Before a port in `listen`: on every address of this host.
const AUTO: &str = "auto:";

/// Longest time for which browsers may be told to insist on https: two years.
const HSTS: u64 = 2 * 366 * 24 * 3600;

/// `[gate]` as it is written: every value text or number, nothing checked but the types.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// `ADDRESS:PORT` to listen on, at least one; `auto:PORT` is every address of this host that
    /// is not loopback, following changes.
    pub listen: Vec<String>,
    /// `https://HOST[:PORT]` of pveproxy, or `http://` on a loopback address.
    pub upstream: String,
    /// SHA-256 of the certificate upstream shows; `shown`: the one that the gate itself shows, and
    /// whatever it shows later, as pveproxy of the same node does.
    pub upstream_fingerprint: Option<String>,
    /// PEM file of the authority that signed upstream's certificate.
    pub upstream_ca: Option<PathBuf>,
    /// `127.0.0.1:85`: pvedaemon, for the calls that log somebody in.
    pub daemon: Option<String>,
    /// PEM file of the gate's certificate, chain included.
    pub cert: Option<PathBuf>,
    /// PEM file of its private key; nobody but the owner and the group may read it. Without `cert`:
    /// that of the node's `pveproxy-ssl.pem`.
    pub key: Option<PathBuf>,
    /// `pve`: the certificate of the node, as pveproxy chooses it; `files`: `cert` and `key`.
    /// Default: `pve` where `cert` is not set and the node's directory is there.
    pub certificate: Option<CertificateFrom>,
    /// The node's directory. Default: `/etc/pve/local`.
    pub certificate_directory: Option<PathBuf>,
    /// What pages may load: `stock`, `report-only`, `off`, or a Content-Security-Policy in which
    /// `{host}` stands for the host of the request. Default: `stock`.
    pub csp: Option<String>,
    /// Seconds for which browsers insist on https, 0 for none. Default: a year.
    pub hsts_seconds: Option<u64>,
    /// Versions, suites, key exchange, certificates of clients.
    pub tls: TlsSettings,
    /// Whether everybody may read the key: for keys of tests alone. Default: no.
    pub key_readable_by_others: Option<bool>,
    /// Addresses that send a PROXY header: networks, ranges, commas between. From these it is
    /// required.
    pub proxy_protocol_from: Option<String>,
    /// Addresses of proxies whose X-Forwarded-For is believed: networks, ranges, commas between.
    pub trusted_proxies: Option<String>,
    /// The header that is believed of them instead: each proxy appends the address it was
    /// connected from, or writes that alone. Default: `X-Forwarded-For`.
    pub real_ip_header: Option<String>,
    /// Addresses that may use the gate: networks, ranges, `all`, commas between.
    pub allow_from: Option<String>,
    /// Addresses that may not.
    pub deny_from: Option<String>,
    /// What becomes of addresses in both lists or in none: `allow` or `deny`. Default: `allow`.
    pub address_policy: Option<AddressPolicy>,
    /// A copy of `/etc/default/pveproxy` whose settings fill what is not set here.
    pub pveproxy_defaults: Option<PathBuf>,
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
    /// Directory for what outlasts a restart: made when it does not exist, 0700. Or the server
    /// that several gates share: `rediss://HOST[:PORT][/N]`, on this machine `redis://127.0.0.1`
    /// or `redis+unix:///PATH`.
    pub state: Option<PathBuf>,
    /// How to use that server.
    pub store: StoreSettings,
    /// What failed logins cost.
    pub login: LoginSettings,
    /// Where else Proxmox VE is, each with its own certificate. Default: nowhere.
    pub upstream_fallback: Vec<FallbackSettings>,
    /// Whether answers are compressed. Default: yes.
    pub compression: Option<bool>,
    /// Whether one answer serves all browsers that poll the same. Default: yes.
    pub share_polls: Option<bool>,
    /// `127.0.0.1:9108` or the path of a unix socket: where metrics are read. Default: nowhere.
    pub metrics_listen: Option<String>,
    /// What is forbidden although Proxmox VE would allow it.
    pub policy: PolicySettings,
    /// Account to become when started as root. Default: [`USER`](crate::USER).
    pub user: Option<String>,
    /// Layers of the gate's own confinement that it may run without: `user`, `capabilities`,
    /// `landlock`, `seccomp`. Default: none.
    pub allow_degraded: Vec<String>,
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
    /// Ports on every address of this host but loopback, for
    /// [`Listeners::following`](crate::Listeners::following).
    pub follow: Vec<u16>,
    /// How often [`Running::heartbeat`](crate::Running::heartbeat) is looked at, if ever.
    pub watchdog: Option<Duration>,
    /// Where Proxmox VE is.
    pub destination: Destination,
    /// pvedaemon, for the calls that log somebody in: its log then has their true address. None:
    /// they go where all others go.
    pub daemon: Option<Destination>,
    /// The certificate shown to clients.
    pub identity: Identity,
    /// Whose certificates clients may or must show; nobody's by default.
    pub clients: Option<ClientAuth>,
    /// Addresses of which none is asked.
    pub client_exempt: AddressSet,
    /// Where certificate and authorities come from, to be looked at again; they stay as they are
    /// by default.
    pub(crate) tls_files: Option<TlsFiles>,
    /// The one of them with the certificate.
    pub(crate) tls_file: Option<PathBuf>,
    /// What upstream is expected to show, where that is what the gate shows.
    pub(crate) pins: Option<Pins>,
    /// What those files held.
    pub(crate) tls_digest: Option<[u8; 32]>,
    /// What pages may load.
    pub content_policy: ContentPolicy,
    /// Seconds for which browsers insist on https, 0 for none, None for a year.
    pub hsts_seconds: Option<u64>,
    /// How often they are looked at.
    pub certificates_every: Duration,
    /// Versions, suites and key exchange.
    pub tls: Policy,
    /// Who sends PROXY headers; nobody by default.
    pub proxy_protocol_from: AddressSet,
    /// Whose X-Forwarded-For is believed; nobody's by default.
    pub trusted_proxies: AddressSet,
    /// The header that is believed of them.
    pub real_ip_header: HeaderName,
    /// Which addresses may use the gate; all by default.
    pub addresses: AddressRules,
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
    /// The server that has sessions, bans, tokens and counts instead, for several gates.
    pub(crate) store: Option<StoreConfig>,
    /// What failed logins cost.
    pub login: LoginRules,
    /// What is in force and may not be what was meant.
    pub warnings: Vec<ConfigWarning>,
    /// What is done with answers and with what is counted.
    pub traffic: Traffic,
    /// What is forbidden although Proxmox VE would allow it; nothing by default.
    pub policy: PolicyRules,
    /// Account to become when started as root.
    pub user: String,
    /// Layers of confinement that may be missing.
    pub allow_degraded: Vec<Layer>,
    /// Directories and files that may be read after [`confine`](crate::confine()) beside those
    /// that other keys name: where the certificates lie, the files of a reload.
    pub readable: Vec<PathBuf>,
    /// The key of stored sessions, where it was read before the gate became another user.
    pub(crate) sealer: Option<Sealer>,
    /// What [`confine`](crate::confine()) has come to.
    pub(crate) standing: Standing,
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

/// A value that is taken, with something the operator should know about it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{key}: {what}")]
pub struct ConfigWarning {
    key: String,
    what: String,
}

impl ConfigWarning {
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
    /// The files to verify tickets of clients with, unless Proxmox VE alone is to do that. The key
    /// of this machine is believed to be that of a Proxmox VE on it; of another one, the
    /// configuration has to say so.
    pub(crate) fn ticket_key(&self) -> Result<&Path, &'static str> {
        match self.sessions.tickets {
            Some(TicketVerification::Verify) => Ok(&self.sessions.ticket_key),
            Some(TicketVerification::Upstream) => Err("gate.sessions.tickets is \"upstream\""),
            None if self.destination.is_local() => Ok(&self.sessions.ticket_key),
            None => Err("gate.upstream is another machine and gate.sessions.tickets is not set"),
        }
    }

    /// A gate on `listen` in front of `destination` with every default: HTTP/2 offered, one
    /// worker for each core, no PROXY protocol. No access log.
    #[must_use]
    pub fn new(listen: Vec<SocketAddr>, destination: Destination, identity: Identity) -> Self {
        Self {
            listen,
            follow: Vec::new(),
            watchdog: None,
            destination,
            daemon: None,
            identity,
            clients: None,
            client_exempt: AddressSet::default(),
            tls_files: None,
            tls_file: None,
            pins: None,
            tls_digest: None,
            content_policy: ContentPolicy::default(),
            hsts_seconds: None,
            certificates_every: CERTIFICATES_EVERY,
            tls: Policy::default(),
            proxy_protocol_from: AddressSet::default(),
            trusted_proxies: AddressSet::default(),
            real_ip_header: addresses::x_forwarded_for(),
            addresses: AddressRules::default(),
            http2: true,
            access_log: AccessLogTo::Off,
            workers: cores(),
            sessions: SessionConfig::default(),
            limits: Limits::default(),
            state: None,
            store: None,
            login: LoginRules::default(),
            warnings: Vec::new(),
            traffic: Traffic::default(),
            policy: PolicyRules::default(),
            user: USER.to_owned(),
            allow_degraded: Vec::new(),
            readable: Vec::new(),
            sealer: None,
            standing: Standing::default(),
            api: None,
            plugins: BTreeMap::new(),
        }
    }

    /// Keeps sessions, bans, tokens and counts on the server with this address, for several gates;
    /// `state` is the directory for the rest, `sessions.key` the file with the key of all gates.
    ///
    /// # Errors
    /// The address is none, or would carry secrets in clear text over a network.
    pub fn share(&mut self, address: &str, settings: &StoreSettings) -> Result<(), ConfigError> {
        self.store = Some(settings.check(address)?);
        Ok(())
    }

    /// Shows what these files held, and what they hold later.
    pub fn follow_files(&mut self, files: TlsFiles, loaded: TlsLoaded) {
        self.tls_files = Some(files);
        (self.identity, self.clients) = (loaded.identity, loaded.clients);
        (self.tls_file, self.tls_digest) = (Some(loaded.file), loaded.digest);
    }
}

impl Settings {
    /// Checks every value and reads the files they name.
    ///
    /// # Errors
    /// The first value at fault.
    pub fn check(&self) -> Result<Config, ConfigError> {
        let (auto, fixed): (Vec<_>, Vec<_>) =
            self.listen.iter().partition(|text| text.starts_with(AUTO));
        let listen = fixed.into_iter().map(|text| listen(text)).collect::<Result<Vec<_>, _>>()?;
        let follow = auto.into_iter().map(|text| follow(text)).collect::<Result<Vec<_>, _>>()?;
        if self.listen.is_empty() {
            let what = "no address; write [\"192.0.2.10:8006\"]";
            return Err(ConfigError::new("listen", &what));
        }
        if self.upstream.is_empty() {
            let what = "not set; write \"https://127.0.0.1:8006\"";
            return Err(ConfigError::new("upstream", &what));
        }
        // Upstream before the certificate, unless that is what upstream has to show, too.
        let shown = self.pins_what_is_shown().then(|| self.tls_files()).transpose()?;
        let trust = self.trust(shown.as_ref().map(|(_, loaded)| &loaded.identity))?;
        let destination = Destination::new(&self.upstream, trust.as_ref())
            .map_err(|error| ConfigError::new("upstream", &error))?;
        let (files, loaded) = shown.map_or_else(|| self.tls_files(), Ok)?;
        let mut config = Config::new(listen, destination, loaded.identity.clone());
        config.follow_files(files, loaded);
        if let Some(Trust::Follow(pins)) = &trust {
            config.pins = Some(pins.clone());
        }
        self.tls_rules(&mut config)?;
        config.follow = follow;
        let daemon = self.daemon.as_deref().map(Destination::daemon).transpose();
        config.daemon = daemon.map_err(|error| ConfigError::new("daemon", &error))?;
        self.addresses(&mut config)?;
        self.pages(&mut config)?;
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
        self.keeping(&mut config)?;
        config.login = self.login.check()?;
        config.api = self.api.check()?;
        config.plugins = plugins::check(&self.plugins)?;
        config.traffic = self.traffic(trust.as_ref())?;
        if !config.sessions.enabled && !self.policy.tfa.is_empty() {
            let what =
                "only sessions know whether a login passed a second factor; set sessions.enabled";
            return Err(ConfigError::new("policy.tfa", what));
        }
        let kept = config.sessions.enabled && config.state.is_some();
        if !kept && !self.policy.step_up.is_empty() {
            let what = "codes are shown for sessions and kept in the state; set state, and sessions.enabled";
            return Err(ConfigError::new("policy.step_up", what));
        }
        config.policy = self
            .policy
            .check()
            .map_err(|(key, what)| ConfigError::new(&format!("policy.{key}"), &what))?;
        self.confinement(&mut config)?;
        Ok(config)
    }

    fn pages(&self, config: &mut Config) -> Result<(), ConfigError> {
        if let Some(text) = &self.csp {
            config.content_policy =
                ContentPolicy::parse(text).map_err(|what| ConfigError::new("csp", &what))?;
        }
        if self.hsts_seconds.is_some_and(|seconds| seconds > HSTS) {
            let what = format!("more than two years; write seconds from 0 to {HSTS}");
            return Err(ConfigError::new("hsts_seconds", &what));
        }
        config.hsts_seconds = self.hsts_seconds;
        Ok(())
    }

    /// Where the gate's own files lie: `state`, or beside a server `store.directory`.
    #[must_use]
    pub fn directory(&self) -> Option<PathBuf> {
        let state = self.state.as_ref()?;
        Some(if is_address(state) { self.store.directory() } else { state.clone() })
    }

    /// What outlasts a restart: in a directory, or for several gates on a server.
    fn keeping(&self, config: &mut Config) -> Result<(), ConfigError> {
        let address = self.state.as_deref().filter(|state| is_address(state));
        if address.is_none() && !self.store.is_empty() {
            let what = "is for a server that several gates share; name that in state, or remove it";
            return Err(ConfigError::new("store", what));
        }
        if self.state.as_ref().is_some_and(|state| state.as_os_str().is_empty()) {
            return Err(ConfigError::new("state", "empty; name a directory, or leave it out"));
        }
        config.state = self.directory();
        let Some(address) = address else { return Ok(()) };
        config.share(&address.to_string_lossy(), &self.store)?;
        if config.sessions.key.is_none() {
            let what = "not set; gates that share a store have one key: make it once with \
                        `openssl rand -hex 32`, and put the same file (0600) on each";
            return Err(ConfigError::new("sessions.key", what));
        }
        Ok(())
    }
}

fn listen(text: &str) -> Result<SocketAddr, ConfigError> {
    let numbered = interface_by_number(text);
    numbered.as_deref().unwrap_or(text).parse().map_err(|_| {
        let what = format!("{text:?} is no address; write 192.0.2.10:8006 or [2001:db8::1]:8006");
        ConfigError::new("listen", &what)
    })
}

fn follow(text: &str) -> Result<u16, ConfigError> {
    let port = text.strip_prefix(AUTO).and_then(|port| port.parse().ok()).filter(|port| *port > 0);
    port.ok_or_else(|| {
        ConfigError::new("listen", &format!("{text:?} has no port; write auto:8006"))
    })
}

/// `[fe80::1%vmbr0]:8006` with the interface's number in the place of its name, where it has one.
fn interface_by_number(text: &str) -> Option<String> {
    let (address, rest) = text.split_once('%')?;
    let (name, port) = rest.split_once(']')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !name.bytes().all(plain) || name.starts_with('.') {
        return None;
    }
    let number = std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).ok()?;
    Some(format!("{address}%{}]{port}", number.trim()))
}

fn cores() -> NonZeroUsize {
    let most = NonZeroUsize::new(WORKERS).unwrap_or(NonZeroUsize::MIN);
    std::thread::available_parallelism().map_or(NonZeroUsize::MIN, |cores| cores.min(most))
}

#[cfg(test)]
mod tests;
