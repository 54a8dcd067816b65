//! What a new configuration changes while connections are open, and what waits for a restart.

use thiserror::Error;
use tls::{CertificateError, Fingerprint};

use crate::config::Config;
use crate::live::Live;
use crate::running::Running;

/// When a change of a key is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InForce {
    /// From the next connection and request on.
    AtOnce,
    /// When the gate is started anew.
    AfterRestart,
}

use InForce::{AfterRestart, AtOnce};

/// Every key of `[gate]`, in groups of one reason.
pub const RELOAD: &[(InForce, &str, &[&str])] = &[
    (
        AtOnce,
        "who may connect, and whose word is taken for it",
        &[
            "allow_from",
            "deny_from",
            "address_policy",
            "proxy_protocol_from",
            "trusted_proxies",
            "real_ip_header",
            "pveproxy_defaults",
        ],
    ),
    (
        AtOnce,
        "handshakes; where one differs, sessions of TLS begin anew",
        &[
            "cert",
            "key",
            "key_readable_by_others",
            "certificate",
            "certificate_directory",
            "http2",
            "tls.min",
            "tls.max",
            "tls.ciphers",
            "tls.ciphersuites",
            "tls.groups",
            "tls.server_order",
            "tls.client_ca",
            "tls.client_auth",
            "tls.client_crl",
            "tls.client_exempt",
        ],
    ),
    (AtOnce, "answers and pages", &["csp", "hsts_seconds", "compression", "sessions.origins"]),
    (
        AtOnce,
        "times that are read for each use",
        &[
            "limits.handshake_seconds",
            "limits.head_seconds",
            "limits.idle_seconds",
            "limits.body_idle_seconds",
            "limits.body_seconds",
            "limits.write_seconds",
            "limits.tunnel_idle_seconds",
            "limits.drain_seconds",
        ],
    ),
    (AfterRestart, "bound and started once", &["listen", "workers", "state", "access_log"]),
    (
        AfterRestart,
        "connections to Proxmox VE are kept by it",
        &[
            "upstream",
            "upstream_fingerprint",
            "upstream_ca",
            "daemon",
            "limits.upstream_connect_seconds",
            "limits.upstream_response_seconds",
            "limits.upstream_body_idle_seconds",
        ],
    ),
    (
        AfterRestart,
        "places are counted in tables made for it",
        &["limits.connections", "limits.connections_per_address", "limits.silent_per_address"],
    ),
    (
        AfterRestart,
        "the table of sessions is made for it",
        &[
            "sessions.enabled",
            "sessions.idle_seconds",
            "sessions.lifetime_seconds",
            "sessions.per_user",
            "sessions.per_address",
            "sessions.total",
            "sessions.foreign_tickets",
            "sessions.api_tokens",
            "sessions.unknown_console_tickets",
            "sessions.key",
            "sessions.version_file",
        ],
    ),
    (
        AfterRestart,
        "failures are counted by it",
        &[
            "login.window_seconds",
            "login.delay_seconds",
            "login.longest_delay_seconds",
            "login.lock_after",
            "login.first_lock_seconds",
            "login.longest_lock_seconds",
            "login.ban_after",
            "login.first_ban_seconds",
            "login.longest_ban_seconds",
            "login.forgive_after_seconds",
            "login.slow_after",
            "login.attempts_per_address",
            "login.waiting",
            "login.never_ban",
            "login.failure_log",
            "login.failure_syslog",
        ],
    ),
];

/// When a change of this key (`gate.listen`) is in force; `None` for a key there is not.
#[must_use]
pub fn in_force(key: &str) -> Option<InForce> {
    let key = key.strip_prefix("gate.")?;
    RELOAD.iter().find(|(_, _, keys)| keys.contains(&key)).map(|(when, ..)| *when)
}

/// [`RELOAD`] as the rows of a table in Markdown.
#[must_use]
pub fn reload_table() -> String {
    let row = |(when, why, keys): &(InForce, &str, &[&str])| {
        let when = if *when == AtOnce { "at once" } else { "restart" };
        format!("| {when} | {why} | `{}` |\n", keys.join("`, `"))
    };
    RELOAD.iter().map(row).collect()
}

/// What is in force after a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// The certificate that is shown.
    pub certificate: Fingerprint,
}

/// Why the former configuration stays.
#[derive(Debug, Error)]
pub enum ReloadError {
    /// The certificate, or what is asked of clients, can not be used.
    #[error("gate.certificate: {0}; the former stays in force")]
    Certificate(#[from] CertificateError),
    /// The new certificate is not valid now.
    #[error("gate.certificate: {0} has expired or is not valid yet; the former stays in force")]
    NotValid(Fingerprint),
}

impl Running {
    /// Puts into force what of `config` can be without a restart (see [`RELOAD`]), all of it or
    /// nothing. Connections stay; each request of theirs is judged by the new addresses and
    /// origins, tunnels go on. What needs a restart is not looked at.
    ///
    /// # Errors
    /// [`ReloadError`]; the former configuration stays in force.
    pub fn reload(&self, config: &Config) -> Result<Reloaded, ReloadError> {
        let shared = &self.shared;
        let now = shared.clock.unix_secs();
        shared.live.update(|live| {
            let identity = &config.identity;
            let valid = identity.validity().is_none_or(|validity| validity.holds(now));
            if !valid && identity.fingerprint() != live.identity.fingerprint() {
                return Err(ReloadError::NotValid(identity.fingerprint()));
            }
            Ok(Some(Live::new(config)?.keep_sessions(live)))
        })?;
        shared
            .logins
            .set_proxies([config.proxy_protocol_from.clone(), config.trusted_proxies.clone()]);
        // The policy's rules are proposed here: in force until they are confirmed or rolled back.
        let shown = shared.live.newest().identity.clone();
        shared.metrics.certificate(shown.validity());
        shared.metrics.warnings(config.warnings.len());
        Ok(Reloaded { certificate: shown.fingerprint() })
    }
}

#[cfg(test)]
mod keys;
#[cfg(test)]
mod tests;
