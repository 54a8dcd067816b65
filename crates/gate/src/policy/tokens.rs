//! Proxy tokens: a value that is good at this gate only, for some calls from some networks, in
//! place of an API token of Proxmox VE that never leaves the gate.
//!
//! A client sends `Authorization: PVEAPIToken=proxward@gate!NAME=VALUE`, which every stock client
//! can: it has the form of an API token. The value is shown once and kept as its hash; it has
//! 256 random bits, so that a plain hash can not be searched. What the token may do is what the
//! API token behind it may do, less what the policy and the proxy token take away.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use identity::TokenId;
use netpolicy::AddressSet;
use pve_schema::Verb;
use secrets::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use state::{Entry, StoreError};

use super::pattern::{Pattern, Segments};
use super::rule::{Effect, bit};
use super::sealed::Sealed;
use crate::credential::token_pair;
use crate::limits::{PROXY_TOKEN_NAME, PROXY_TOKEN_SOURCES, PROXY_TOKENS};
use crate::session::Id;
use crate::source::source_of;

/// What stands where an API token has its user. No realm of Proxmox VE may be called `gate`
/// where this is used.
pub(crate) const OWNER: &str = "proxward@gate!";

/// Before the name of one, in the table.
const KEY: &str = "token:";

/// All of them.
#[derive(Default)]
pub(crate) struct ProxyTokens {
    table: Mutex<HashMap<String, Arc<ProxyToken>>>,
    /// From where each was used since the start.
    used: Mutex<HashSet<(String, IpAddr)>>,
    sealed: Option<Arc<Sealed>>,
}

/// One, at work.
pub(crate) struct ProxyToken {
    record: Record,
    /// The line for upstream: `PVEAPIToken=USER@REALM!NAME=SECRET`.
    pub(crate) line: SecretString,
    networks: Option<AddressSet>,
    methods: u8,
    paths: Vec<Pattern>,
}

/// One, as it is stored, sealed.
#[derive(Clone, Serialize, Deserialize)]
struct Record {
    name: String,
    /// SHA-256 of the value.
    hash: [u8; 32],
    /// That of the value before, and until when it is good.
    before: Option<([u8; 32], u64)>,
    token: String,
    networks: Vec<String>,
    methods: Vec<String>,
    paths: Vec<String>,
    created: u64,
    expires: Option<u64>,
}

/// What a new one is to be.
pub(crate) struct Wanted {
    pub(crate) name: String,
    /// `USER@REALM!NAME=SECRET`.
    pub(crate) token: String,
    pub(crate) networks: Vec<String>,
    pub(crate) methods: Vec<String>,
    pub(crate) paths: Vec<String>,
    /// In seconds since 1970.
    pub(crate) expires: Option<u64>,
}

/// Why an order about tokens was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("{0}")]
    Wanted(String),
    #[error("there is a token of that name; revoke or rotate it")]
    Exists,
    #[error("no token of that name")]
    Unknown,
    #[error("more than {PROXY_TOKENS} tokens; revoke some")]
    Many,
    #[error("the gate has no state directory to keep tokens in")]
    NoState,
    #[error("no random bytes: {0}")]
    Random(#[from] std::io::Error),
    #[error(transparent)]
    State(#[from] StoreError),
}

impl ProxyTokens {
    pub(crate) fn new(sealed: Option<Arc<Sealed>>, stored: &[Entry]) -> Self {
        let mut table = HashMap::new();
        for bytes in sealed.iter().flat_map(|sealed| sealed.open(stored, KEY)) {
            let record = serde_json::from_slice(bytes.expose()).ok();
            if let Some(token) = record.and_then(|record| ProxyToken::new(record).ok()) {
                table.insert(token.record.name.clone(), Arc::new(token));
            }
        }
        Self { table: Mutex::new(table), used: Mutex::default(), sealed }
    }

    /// The token in force that `NAME=VALUE` stands for, for a client.
    pub(crate) fn find(&self, text: &str, client: IpAddr, now: u64) -> Option<Arc<ProxyToken>> {
        let (name, value) = text.split_once('=')?;
        let token = Arc::clone(self.table().get(name)?);
        (token.is_value(value, now) && token.is_in_force(client, now)).then_some(token)
    }

    /// Whether there is a token of this name, in force somewhere.
    pub(crate) fn keeps(&self, name: &str, now: u64) -> bool {
        let lasts = |token: &Arc<ProxyToken>| token.record.expires.is_none_or(|end| now < end);
        self.table().get(name).is_some_and(lasts)
    }

    /// Whether a token is used from this source for the first time, as far as is remembered.
    pub(crate) fn is_first_use(&self, token: &ProxyToken, client: IpAddr) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= PROXY_TOKEN_SOURCES {
            used.clear();
        }
        used.insert((token.record.name.clone(), source_of(client)))
    }

    /// Makes one and returns what the client is to send; it is shown this once.
    pub(crate) async fn create(&self, wanted: Wanted, now: u64) -> Result<String, TokenError> {
        let (value, hash) = value()?;
        let Wanted { name, token, networks, methods, paths, expires } = wanted;
        let record = Record {
            name,
            hash,
            before: None,
            token,
            networks,
            methods,
            paths,
            created: now,
            expires,
        };
        let token = ProxyToken::new(record).map_err(TokenError::Wanted)?;
        {
            let table = self.table();
            if table.contains_key(&token.record.name) {
                return Err(TokenError::Exists);
            }
            if table.len() >= PROXY_TOKENS {
                return Err(TokenError::Many);
            }
        }
        self.keep(token, &value).await
    }

    /// Gives one another value; the one before stays good until `until`.
    pub(crate) async fn rotate(&self, name: &str, until: u64) -> Result<String, TokenError> {
        let (value, hash) = value()?;
        let old = self.table().get(name).map(|token| token.record.clone());
        let old = old.ok_or(TokenError::Unknown)?;
        let record = Record { hash, before: Some((old.hash, until)), ..old };
        let token = ProxyToken::new(record).map_err(TokenError::Wanted)?;
        self.keep(token, &value).await
    }

    /// Ends one, at once and durably.
    pub(crate) async fn revoke(&self, name: &str) -> Result<(), TokenError> {
        if self.table().remove(name).is_none() {
            return Err(TokenError::Unknown);
        }
        let sealed = self.sealed.as_ref().ok_or(TokenError::NoState)?;
        Ok(sealed.remove(format!("{KEY}{name}")).await?)
    }

    /// All of them, without anything that could be used.
    pub(crate) fn list(&self) -> Value {
        let table = self.table();
        let mut tokens: Vec<_> = table.values().map(|token| token.record.shown()).collect();
        tokens.sort_by_key(|token| token["name"].as_str().map(str::to_owned));
        json!({ "tokens": tokens })
    }

    /// One as it is stored.
    pub(crate) fn told(&self, entry: &Entry) {
        let bytes = self.sealed.as_ref().and_then(|sealed| sealed.open_one(entry, KEY));
        let record = bytes.and_then(|bytes| serde_json::from_slice(bytes.expose()).ok());
        if let Some(token) = record.and_then(|record| ProxyToken::new(record).ok()) {
            self.table().insert(token.record.name.clone(), Arc::new(token));
        }
    }

    /// One was revoked.
    pub(crate) fn told_gone(&self, key: &[u8]) {
        if let Some(name) = name_of(key) {
            self.table().remove(name);
        }
    }

    /// All that there are.
    pub(crate) fn told_all(&self, entries: &[Entry]) {
        let there: Vec<&str> = entries.iter().filter_map(|entry| name_of(&entry.key)).collect();
        self.table().retain(|name, _| there.contains(&name.as_str()));
        entries.iter().for_each(|entry| self.told(entry));
    }

    /// Whether the token of this key in the store is one; None for what is no key of a token.
    pub(crate) fn knows(&self, key: &[u8]) -> Option<bool> {
        name_of(key).map(|name| self.table().contains_key(name))
    }

    /// Takes what has come back out of the store again.
    pub(crate) fn forget_later(&self, keys: impl IntoIterator<Item = Vec<u8>>) {
        if let Some(sealed) = &self.sealed {
            sealed.remove_later(keys);
        }
    }

    async fn keep(&self, token: ProxyToken, value: &SecretString) -> Result<String, TokenError> {
        let sealed = self.sealed.as_ref().ok_or(TokenError::NoState)?;
        let name = token.record.name.clone();
        let bytes = serde_json::to_vec(&token.record).unwrap_or_default();
        sealed.put(format!("{KEY}{name}"), bytes).await?;
        let shown = format!("{OWNER}{name}={}", value.expose());
        self.table().insert(name, Arc::new(token));
        Ok(shown)
    }

    fn table(&self) -> MutexGuard<'_, HashMap<String, Arc<ProxyToken>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProxyToken {
    /// The error says what of it makes no sense.
    fn new(record: Record) -> Result<Self, String> {
        let known = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let name = &record.name;
        if name.is_empty() || name.len() > PROXY_TOKEN_NAME || !name.chars().all(known) {
            return Err(format!("the name has 1 to {PROXY_TOKEN_NAME} letters, digits, . _ -"));
        }
        let (id, secret) = record.token.rsplit_once('=').unwrap_or_default();
        let visible = !secret.is_empty() && secret.bytes().all(|byte| byte.is_ascii_graphic());
        if id.parse::<TokenId>().is_err() || !visible || secret.contains(';') {
            return Err("the API token is written USER@REALM!NAME=SECRET".to_owned());
        }
        let networks = match record.networks.as_slice() {
            [] => None,
            list => Some(AddressSet::strict(&list.join(",")).map_err(|error| error.to_string())?),
        };
        let mut methods = 0;
        for word in &record.methods {
            let verb = Verb::from_http(word);
            methods |= bit(verb.ok_or_else(|| format!("{word:?} is no method of the API"))?);
        }
        let paths = record.paths.iter().map(|path| Pattern::parse(path));
        let paths = paths.collect::<Result<_, _>>()?;
        let line = token_pair(&record.token);
        Ok(Self { record, line, networks, methods, paths })
    }

    /// The API token behind it, without its secret.
    pub(crate) fn behind(&self) -> &str {
        self.record.token.rsplit_once('=').map_or("", |(id, _)| id)
    }

    /// As the operator has named it.
    pub(crate) fn plain_name(&self) -> &str {
        &self.record.name
    }

    /// As a client names it, without its value.
    pub(crate) fn name(&self) -> String {
        format!("{OWNER}{}", self.record.name)
    }

    /// Whether it is good for a call.
    pub(crate) fn permits(&self, method: Verb, path: &Segments<'_>) -> bool {
        (self.methods == 0 || self.methods & bit(method) != 0)
            && (self.paths.is_empty()
                || self.paths.iter().any(|pattern| pattern.matches(path, Effect::Allow)))
    }

    fn is_in_force(&self, client: IpAddr, now: u64) -> bool {
        self.record.expires.is_none_or(|expires| now < expires)
            && self.networks.as_ref().is_none_or(|networks| networks.contains(client))
    }

    fn is_value(&self, value: &str, now: u64) -> bool {
        let hash = Id::of(value.as_bytes()).0;
        let is = |other: &[u8; 32]| verify_slices_are_equal(&hash, other).is_ok();
        let before = self.record.before.as_ref().filter(|(_, until)| now < *until);
        is(&self.record.hash) || before.is_some_and(|(before, _)| is(before))
    }
}

impl Record {
    fn shown(&self) -> Value {
        json!({
            "name": self.name,
            "behind": self.token.rsplit_once('=').map(|(id, _)| id),
            "networks": self.networks,
            "methods": self.methods,
            "paths": self.paths,
            "created": self.created,
            "expires": self.expires,
            "previous_until": self.before.map(|(_, until)| until),
        })
    }
}

/// The name in the key of a token.
fn name_of(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key).ok()?.strip_prefix(KEY)
}

/// A new value and its hash.
fn value() -> Result<(SecretString, [u8; 32]), std::io::Error> {
    let halves = [secrets::random::hex()?, secrets::random::hex()?];
    let value: String = halves.iter().map(|half| half.expose().as_str()).collect();
    let hash = Id::of(value.as_bytes()).0;
    Ok((SecretString::new(value), hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(token: &str) -> Record {
        Record {
            name: "ci".into(),
            hash: Id::of(b"new").0,
            before: Some((Id::of(b"old").0, 100)),
            token: token.into(),
            networks: vec!["192.0.2.0/24".into()],
            methods: vec!["GET".into()],
            paths: vec!["/nodes/**".into()],
            created: 0,
            expires: Some(1000),
        }
    }

    #[test]
    fn a_token_is_good_within_its_limits() {
        let token = ProxyToken::new(record("a@pve!xy=secret")).unwrap();
        let inside = "192.0.2.9".parse().unwrap();
        assert!(token.is_value("new", 5000) && !token.is_value("other", 0));
        assert!(token.is_value("old", 99) && !token.is_value("old", 100));
        assert!(token.is_in_force(inside, 999) && !token.is_in_force(inside, 1000));
        assert!(!token.is_in_force("198.51.100.1".parse().unwrap(), 0));
        let nodes = Segments::of("/nodes/a").unwrap();
        assert!(token.permits(Verb::Get, &nodes) && !token.permits(Verb::Post, &nodes));
        assert!(!token.permits(Verb::Get, &Segments::of("/access").unwrap()));
        assert_eq!((token.behind(), token.name().as_str()), ("a@pve!xy", "proxward@gate!ci"));
        assert!(!token.record.shown().to_string().contains("secret"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in
            ["", "a@pve=x", "a@pve!xy=", "a@pve!xy=a b", "a@pve!xy=a;b", "a@pve!xy", "a@pve!x=s"]
        {
            assert!(ProxyToken::new(record(bad)).is_err(), "{bad}");
        }
        let good = record("a@pve!xy=s");
        for bad in [
            Record { name: "a b".into(), ..good.clone() },
            Record { networks: vec!["x".into()], ..good.clone() },
            Record { methods: vec!["get".into()], ..good.clone() },
            Record { paths: vec!["x".into()], ..good },
        ] {
            assert!(ProxyToken::new(bad).is_err());
        }
    }
}
