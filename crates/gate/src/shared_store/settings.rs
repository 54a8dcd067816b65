//! `gate.state` as the address of a server, and `[gate.store]`: as it is written, and as it is
//! meant.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ::tls::{Connector, Trust};
use netpolicy::Host;
use secrets::SecretString;
use secrets::private_file::{self, FileError};
use serde::Deserialize;
use state::{Dial, RedisOptions, Wire};

use crate::config::{ConfigError, pinned_or_signed};
use crate::destination::{Destination, host_port, is_loopback};
use crate::limits::{STORE_GRACE, STORE_PASSWORD, STORE_PREFIX};

/// The server's port where none is written.
const PORT: u16 = 6379;

/// Where the gate's own files lie where `gate.store.directory` does not say.
const DIRECTORY: &str = "/var/lib/proxward/gate";

/// Schemes, and whether they are encrypted; the socket of this machine is apart.
const SCHEMES: [(&str, bool); 2] = [("redis://", false), ("rediss://", true)];
const SOCKET: &str = "redis+unix://";

/// `[gate.store]` as it is written: how to use the server that `gate.state` names.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSettings {
    /// Directory for what is this gate's alone: control socket, audit log, the policy that was
    /// confirmed. Default: `/var/lib/proxward/gate`.
    pub directory: Option<PathBuf>,
    /// Account on the server. Default: its `default`.
    pub user: Option<String>,
    /// File with that one's password, readable for nobody else.
    pub password: Option<PathBuf>,
    /// SHA-256 of the certificate that the server shows, for `rediss://`.
    pub fingerprint: Option<String>,
    /// PEM file of the authority that signed it, instead.
    pub ca: Option<PathBuf>,
    /// Begins every key; gates that share one share everything. Default: `proxward`.
    pub prefix: Option<String>,
    /// Seconds for which sessions go on while the server is not heard. Default: 15.
    pub grace_seconds: Option<u64>,
}

/// A server for several gates.
#[derive(Debug)]
pub(crate) struct StoreConfig {
    /// As errors call it.
    pub(crate) name: String,
    pub(crate) destination: Destination,
    /// How long sessions go on while nothing is heard.
    pub(crate) grace: Duration,
    database: u32,
    user: Option<String>,
    password_file: Option<PathBuf>,
    password: Option<SecretString>,
    prefix: String,
}

impl StoreSettings {
    /// Where the gate's own files lie beside a server.
    pub(crate) fn directory(&self) -> PathBuf {
        self.directory.clone().unwrap_or_else(|| DIRECTORY.into())
    }

    /// Whether anything is set.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks the address in `gate.state` with everything beside it.
    pub(crate) fn check(&self, url: &str) -> Result<StoreConfig, ConfigError> {
        let (destination, database) = self.destination(url)?;
        let prefix = self.prefix.clone().unwrap_or_else(|| "proxward".to_owned());
        let known = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if prefix.is_empty() || prefix.len() > STORE_PREFIX || !prefix.chars().all(known) {
            let what = format!("write 1 to {STORE_PREFIX} letters, digits, . _ -");
            return Err(ConfigError::new("store.prefix", &what));
        }
        if self.user.is_some() && self.password.is_none() {
            return Err(ConfigError::new("store.user", "has no password; set store.password"));
        }
        let grace = self.grace_seconds.unwrap_or(STORE_GRACE.0);
        if !(STORE_GRACE.1..=STORE_GRACE.2).contains(&grace) {
            let what =
                format!("{grace}; write seconds from {} to {}", STORE_GRACE.1, STORE_GRACE.2);
            return Err(ConfigError::new("store.grace_seconds", &what));
        }
        Ok(StoreConfig {
            name: url.to_owned(),
            destination,
            grace: Duration::from_secs(grace),
            database,
            user: self.user.clone(),
            password_file: self.password.clone(),
            password: None,
            prefix,
        })
    }

    fn destination(&self, url: &str) -> Result<(Destination, u32), ConfigError> {
        let wrong = |what: &str| ConfigError::new("state", what);
        // Not said again: what stands before an @ may be a password.
        if url.contains('@') {
            return Err(wrong(
                "an address with a user or password in it would be seen by everybody; write it \
                 without, and set store.user and store.password (a file)",
            ));
        }
        let trust = pinned_or_signed(
            (self.fingerprint.as_deref(), "store.fingerprint"),
            (self.ca.as_deref(), "store.ca"),
        )?;
        if let Some(rest) = url.strip_prefix(SOCKET) {
            let (path, database) = rest.split_once("?db=").unwrap_or((rest, "0"));
            let database = number(database).filter(|_| path.starts_with('/'));
            let database = database
                .ok_or_else(|| wrong("write redis+unix:///run/redis/redis.sock or …?db=N"))?;
            if trust.is_some() {
                return Err(wrong("a socket has no certificate; remove fingerprint and ca"));
            }
            return Ok((Destination::unix(path.into()), database));
        }
        let found = SCHEMES
            .iter()
            .find_map(|(scheme, encrypted)| Some((url.strip_prefix(scheme)?, *encrypted)));
        let shape = || {
            wrong(
                "write rediss://HOST[:PORT][/N], redis://127.0.0.1[:PORT][/N] or redis+unix:///PATH",
            )
        };
        let (rest, encrypted) = found.ok_or_else(shape)?;
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let database = if database.is_empty() { Some(0) } else { number(database) };
        let (host, port) = host_port(authority, PORT).ok_or_else(shape)?;
        let host: Host = host.parse().map_err(|error| ConfigError::new("state", &error))?;
        let connector = match trust {
            Some(trust) if encrypted => Some(connector(&trust)?),
            None if !encrypted && is_loopback(&host) => None,
            None if !encrypted => {
                return Err(wrong(
                    "clear text is for loopback addresses only; write rediss:// and set \
                     store.fingerprint or store.ca",
                ));
            }
            None => {
                return Err(wrong("no certificate to expect; set store.fingerprint or store.ca"));
            }
            Some(_) => {
                return Err(wrong("redis:// has no certificate; remove fingerprint and ca"));
            }
        };
        Ok((Destination::store(host, port, connector), database.ok_or_else(shape)?))
    }
}

impl StoreConfig {
    /// Reads the password, unless that is done: later, the gate may be a user who may not.
    pub(crate) fn read_password(&mut self) -> Result<(), FileError> {
        if let (None, Some(path)) = (&self.password, &self.password_file) {
            let bytes = private_file::read(path, STORE_PASSWORD)?;
            let text = String::from_utf8_lossy(bytes.expose().trim_ascii_end());
            self.password = Some(SecretString::from(&*text));
        }
        Ok(())
    }

    pub(super) fn options(&self) -> RedisOptions {
        let destination = self.destination.clone();
        let dial: Dial = Box::new(move || {
            let destination = destination.clone();
            Box::pin(async move {
                destination.connect().await.map(|socket| Box::new(socket) as Box<dyn Wire>)
            })
        });
        RedisOptions {
            name: self.name.clone(),
            dial,
            user: self.user.clone(),
            password: self.password.as_ref().map(|text| SecretString::from(&**text.expose())),
            database: self.database,
            prefix: self.prefix.clone(),
        }
    }
}

/// Whether a value of `gate.state` is the address of a server. Nothing but such has `://` in it.
pub(crate) fn is_address(state: &Path) -> bool {
    state.to_string_lossy().contains("://")
}

fn connector(trust: &Trust) -> Result<Connector, ConfigError> {
    Connector::new(trust).map_err(|error| ConfigError::new("store.ca", &error))
}

fn number(digits: &str) -> Option<u32> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, pinned: bool) -> Result<StoreConfig, ConfigError> {
        let fingerprint = pinned.then(|| "ab".repeat(32));
        StoreSettings { fingerprint, ..StoreSettings::default() }.check(url)
    }

    #[test]
    fn addresses_of_three_kinds() {
        for (url, pinned, database) in [
            ("redis://127.0.0.1", false, 0),
            ("redis://localhost:6380/3", false, 3),
            ("redis://[::1]:6380/", false, 0),
            ("rediss://valkey.example", true, 0),
            ("rediss://192.0.2.1:6390/15", true, 15),
            ("redis+unix:///run/redis/redis.sock", false, 0),
            ("redis+unix:///run/redis/redis.sock?db=2", false, 2),
        ] {
            assert_eq!(check(url, pinned).unwrap().database, database, "{url}");
        }
    }

    #[test]
    fn clear_text_over_a_network_and_secrets_in_it_are_refused() {
        for (url, pinned) in [
            ("redis://192.0.2.1", false),
            ("redis://valkey.example", false),
            ("rediss://valkey.example", false),
            ("redis://127.0.0.1", true),
            ("redis+unix:///s", true),
            ("redis+unix://relative", false),
            ("redis://127.0.0.1/x", false),
            ("redis://127.0.0.1/+1", false),
            ("redis://127.0.0.1:0", false),
            ("http://127.0.0.1", false),
            ("redis://", false),
        ] {
            assert_eq!(check(url, pinned).unwrap_err().key(), "gate.state", "{url}");
        }
        let error = check("redis://u:s3cret@127.0.0.1", false).unwrap_err().to_string();
        assert!(error.contains("store.password") && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn every_fault_names_its_key() {
        let good = StoreSettings::default();
        for (key, settings) in [
            ("gate.store.prefix", StoreSettings { prefix: Some("a:b".into()), ..good.clone() }),
            ("gate.store.prefix", StoreSettings { prefix: Some(String::new()), ..good.clone() }),
            ("gate.store.user", StoreSettings { user: Some("u".into()), ..good.clone() }),
            ("gate.store.grace_seconds", StoreSettings { grace_seconds: Some(0), ..good }),
        ] {
            assert_eq!(settings.check("redis://127.0.0.1").unwrap_err().key(), key);
        }
    }
}
