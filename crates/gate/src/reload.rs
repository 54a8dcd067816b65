//! What a new configuration changes while connections are open, and what waits for a restart.

use thiserror::Error;
use tls::{CertificateError, Fingerprint};

use crate::config::Config;
use crate::live::Live;
use crate::policy::{PolicyError, Proposed};
use crate::running::Running;

/// When a change of a key is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InForce {
    /// From the next connection and request on.
    AtOnce,
    /// From the next request on, and taken back unless it is confirmed.
    OnTrial,
    /// When the gate is started anew.
    AfterRestart,
}

use InForce::{AfterRestart, AtOnce, OnTrial};

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
    (AtOnce, "answers and pages", &["csp", "hsts_seconds", "sessions.origins"]),
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
    (
        OnTrial,
        "a rule may lock out whoever wrote it",
        &[
            "policy.default",
            "policy.profiles",
            "policy.rule",
            "policy.profile",
            "policy.tfa",
            "policy.step_up",
            "policy.schema",
            "policy.release",
            "policy.user_cfg",
            "policy.allow_execute",
        ],
    ),
    (
        AfterRestart,
        "bound and started once",
        &[
            "listen",
            "workers",
            "state",
            "store.directory",
            "store.user",
            "store.password",
            "store.fingerprint",
            "store.ca",
            "store.prefix",
            "store.grace_seconds",
            "access_log",
            "metrics_listen",
            "compression",
            "share_polls",
            "user",
            "allow_degraded",
            "api.broker",
            "api.node",
            "plugins",
        ],
    ),
    (
        AfterRestart,
        "connections to Proxmox VE are kept by it",
        &[
            "upstream",
            "upstream_fingerprint",
            "upstream_ca",
            "upstream_fallback",
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
            "sessions.tickets",
            "sessions.ticket_key",
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
            "login.broker",
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
        let when = match when {
            AtOnce => "at once",
            OnTrial => "on trial",
            AfterRestart => "restart",
        };
        format!("| {when} | {why} | `{}` |\n", keys.join("`, `"))
    };
    RELOAD.iter().map(row).collect()
}

/// What is in force after a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// The certificate that is shown.
    pub certificate: Fingerprint,
    /// The change of the policy, where there is one: on trial until it is confirmed.
    pub policy: Option<Proposed>,
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
    /// The policy can not be put on trial.
    #[error("{0}; the former configuration stays in force")]
    Policy(#[from] PolicyError),
}

impl Running {
    /// Puts into force what of `config` can be without a restart (see [`RELOAD`]), all of it or
    /// nothing; a change of the policy on trial. Connections stay; each request of theirs is judged
    /// by the new addresses, origins and rules, tunnels go on. What needs a restart is not looked
    /// at. Blocks until the policy is written down.
    ///
    /// # Errors
    /// [`ReloadError`]; the former configuration stays in force.
    pub fn reload(&self, config: &Config) -> Result<Reloaded, ReloadError> {
        let shared = &self.shared;
        let now = shared.clock.unix_secs();
        let identity = &config.identity;
        let valid = identity.validity().is_none_or(|validity| validity.holds(now));
        let former = shared.live.newest();
        if !valid && identity.fingerprint() != former.identity.fingerprint() {
            return Err(ReloadError::NotValid(identity.fingerprint()));
        }
        let next = Live::new(config)?.keep_sessions(&former);
        // The last step that can fail.
        let policy = self.propose_policy(config.policy.clone())?;
        shared.live.update(|_| Ok::<_, ReloadError>(Some(next)))?;
        shared
            .logins
            .set_proxies([config.proxy_protocol_from.clone(), config.trusted_proxies.clone()]);
        let shown = shared.live.newest().identity.clone();
        shared.metrics.certificate(shown.validity());
        shared.metrics.warnings(config.warnings.len());
        Ok(Reloaded { certificate: shown.fingerprint(), policy })
    }
}

#[cfg(test)]
mod keys;
#[cfg(test)]
mod tests;
