//! The section `[gate.sessions]`.

use std::path::PathBuf;

use serde::Deserialize;

use crate::origin;

/// Longest time a session may last or lie idle: 30 days.
const LONGEST: u64 = 30 * 24 * 3600;

/// Most sessions an operator may allow. Each takes about 2 KiB.
const MOST: usize = 1_000_000;

/// Most extra origins.
const ORIGINS: usize = 32;

/// `[gate.sessions]` as it is written; what is absent keeps the default of [`SessionConfig`].
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct SessionSettings {
    /// See [`SessionConfig::enabled`].
    pub enabled: Option<bool>,
    /// See [`SessionConfig::idle`].
    pub idle_seconds: Option<u64>,
    /// See [`SessionConfig::lifetime`].
    pub lifetime_seconds: Option<u64>,
    /// See [`SessionConfig::per_user`].
    pub per_user: Option<usize>,
    /// See [`SessionConfig::per_address`].
    pub per_address: Option<usize>,
    /// See [`SessionConfig::total`].
    pub total: Option<usize>,
    /// `allow` or `refuse`. See [`SessionConfig::foreign_tickets`].
    pub foreign_tickets: Option<Policy>,
    /// `allow` or `refuse`. See [`SessionConfig::api_tokens`].
    pub api_tokens: Option<Policy>,
    /// `verify` or `upstream`. See [`SessionConfig::tickets`].
    pub tickets: Option<TicketVerification>,
    /// See [`SessionConfig::ticket_key`].
    pub ticket_key: Option<PathBuf>,
    /// `pass` or `refuse`. See [`SessionConfig::pass_unknown_console_tickets`].
    pub unknown_console_tickets: Option<ConsolePolicy>,
    /// See [`SessionConfig::origins`].
    pub origins: Vec<String>,
    /// See [`SessionConfig::key`].
    pub key: Option<PathBuf>,
    /// See [`SessionConfig::version_file`].
    pub version_file: Option<PathBuf>,
}

/// Whether a credential that did not come from the gate is taken.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Passed on; Proxmox VE judges it.
    Allow,
    /// Refused, whoever it is for.
    Refuse,
}

/// Who finds out whether a ticket is genuine that a client got elsewhere.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum TicketVerification {
    /// The gate, with the cluster's public key, and then Proxmox VE.
    Verify,
    /// Proxmox VE alone.
    Upstream,
}

/// What becomes of a console ticket that the gate has not seen handed out.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ConsolePolicy {
    /// Passed on; Proxmox VE judges it.
    Pass,
    /// Refused.
    Refuse,
}

/// How the gate keeps sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// Whether logins become sessions. Otherwise clients get Proxmox VE's own tickets.
    pub enabled: bool,
    /// Seconds without a request after which a session ends.
    pub idle: u64,
    /// Seconds after which it ends however busy. A ticket that nobody renews ends it after two
    /// hours in any case: Proxmox VE takes none that is older.
    pub lifetime: u64,
    /// Sessions of one user; one more ends the one that was used least lately.
    pub per_user: usize,
    /// Sessions opened from one address (IPv6: one /64), likewise.
    pub per_address: usize,
    /// Sessions in all, likewise.
    pub total: usize,
    /// Whether tickets are taken that a client got elsewhere.
    pub foreign_tickets: Policy,
    /// Whether API tokens are taken.
    pub api_tokens: Policy,
    /// Who verifies such tickets. None: the gate, where Proxmox VE is on this machine and the key
    /// can be read, else Proxmox VE.
    pub tickets: Option<TicketVerification>,
    /// File with the public key that tickets are verified with; beside it, as `.old`, the one
    /// before. Default `/etc/pve/authkey.pub`.
    pub ticket_key: PathBuf,
    /// Whether console tickets that the gate has not seen handed out are passed on.
    pub pass_unknown_console_tickets: bool,
    /// Origins besides the gate's own, `https://HOST[:PORT]`, whose pages may change something.
    pub origins: Vec<String>,
    /// File with the key that seals stored sessions. Default: `session.key` in the state
    /// directory, made when absent.
    pub key: Option<PathBuf>,
    /// File with the counters of the cluster file system, read once a second: a change of
    /// `user.cfg` drops the permissions that are remembered. Default `/etc/pve/.version`.
    pub version_file: PathBuf,
}

/// When sessions end, in seconds.
#[derive(Clone, Copy)]
pub(super) struct Lifetimes {
    pub(super) idle: u64,
    pub(super) absolute: u64,
}

/// How many there may be.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) per_user: usize,
    pub(super) per_address: usize,
    pub(super) total: usize,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            idle: 2 * 3600,
            lifetime: 24 * 3600,
            per_user: 100,
            per_address: 200,
            total: 10_000,
            foreign_tickets: Policy::Allow,
            api_tokens: Policy::Allow,
            tickets: None,
            ticket_key: PathBuf::from("/etc/pve/authkey.pub"),
            pass_unknown_console_tickets: false,
            origins: Vec::new(),
            key: None,
            version_file: PathBuf::from("/etc/pve/.version"),
        }
    }
}

impl SessionConfig {
    pub(super) fn lifetimes(&self) -> Lifetimes {
        Lifetimes { idle: self.idle, absolute: self.lifetime }
    }

    pub(super) fn bounds(&self) -> Bounds {
        Bounds { per_user: self.per_user, per_address: self.per_address, total: self.total }
    }
}

impl SessionSettings {
    /// Checks every value; the error is the key below `gate.sessions` and what is wrong.
    pub(crate) fn check(&self) -> Result<SessionConfig, (&'static str, String)> {
        let mut config = SessionConfig::default();
        config.enabled = self.enabled.unwrap_or(config.enabled);
        let times = [
            ("idle_seconds", self.idle_seconds, &mut config.idle),
            ("lifetime_seconds", self.lifetime_seconds, &mut config.lifetime),
        ];
        for (key, given, value) in times {
            if let Some(seconds) = given {
                if !(60..=LONGEST).contains(&seconds) {
                    return Err((key, format!("{seconds}; write seconds from 60 to {LONGEST}")));
                }
                *value = seconds;
            }
        }
        let counts = [
            ("per_user", self.per_user, &mut config.per_user),
            ("per_address", self.per_address, &mut config.per_address),
            ("total", self.total, &mut config.total),
        ];
        for (key, given, value) in counts {
            if let Some(count) = given {
                if !(1..=MOST).contains(&count) {
                    return Err((key, format!("{count}; write a number from 1 to {MOST}")));
                }
                *value = count;
            }
        }
        config.foreign_tickets = self.foreign_tickets.unwrap_or(config.foreign_tickets);
        config.api_tokens = self.api_tokens.unwrap_or(config.api_tokens);
        config.tickets = self.tickets;
        if let Some(path) = &self.ticket_key {
            config.ticket_key.clone_from(path);
        }
        config.pass_unknown_console_tickets =
            self.unknown_console_tickets == Some(ConsolePolicy::Pass);
        if self.origins.len() > ORIGINS {
            return Err(("origins", format!("more than {ORIGINS}; name the ones you use")));
        }
        let origins = self.origins.iter().map(|origin| origin::parse(origin));
        config.origins = origins.collect::<Result<_, _>>().map_err(|what| ("origins", what))?;
        config.key.clone_from(&self.key);
        if let Some(path) = &self.version_file {
            config.version_file.clone_from(path);
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_keeps_its_default() {
        assert_eq!(SessionSettings::default().check(), Ok(SessionConfig::default()));
    }

    #[test]
    fn values_are_taken() {
        let text = r#"{"enabled":false,"idle_seconds":60,"lifetime_seconds":61,"per_user":1,
            "per_address":2,"total":3,"foreign_tickets":"refuse","api_tokens":"refuse",
            "tickets":"verify","ticket_key":"/t","unknown_console_tickets":"pass","origins":["https://a:1"],"key":"/k","version_file":"/v"}"#;
        let settings: SessionSettings = serde_json::from_str(text).unwrap();
        let config = settings.check().unwrap();
        let expected = SessionConfig {
            enabled: false,
            idle: 60,
            lifetime: 61,
            per_user: 1,
            per_address: 2,
            total: 3,
            foreign_tickets: Policy::Refuse,
            api_tokens: Policy::Refuse,
            tickets: Some(TicketVerification::Verify),
            ticket_key: "/t".into(),
            pass_unknown_console_tickets: true,
            origins: vec!["https://a:1".into()],
            key: Some("/k".into()),
            version_file: "/v".into(),
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn every_fault_names_its_key() {
        for (key, text) in [
            ("idle_seconds", r#"{"idle_seconds":59}"#),
            ("lifetime_seconds", r#"{"lifetime_seconds":9999999}"#),
            ("per_user", r#"{"per_user":0}"#),
            ("per_address", r#"{"per_address":0}"#),
            ("total", r#"{"total":1000001}"#),
            ("origins", r#"{"origins":["*"]}"#),
        ] {
            let settings: SessionSettings = serde_json::from_str(text).unwrap();
            assert_eq!(settings.check().unwrap_err().0, key);
        }
        for unknown in [r#"{"enable":true}"#, r#"{"foreign_tickets":"maybe"}"#] {
            assert!(serde_json::from_str::<SessionSettings>(unknown).is_err());
        }
    }
}
