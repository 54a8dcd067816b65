//! Codes shown to the gate itself: for calls that need more than a login made hours ago.
//!
//! The operator enrols a user on the machine, and the user's app gets the secret from what is
//! printed there. A code is good once, for the session that shows it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pve_access::otp::base32;
use secrets::SecretBytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use state::{Entry, StoreError};

use super::sealed::Sealed;
use super::totp::{SECRET, verify};
use crate::limits::{STEP_UP_MINUTES, STEP_UP_SESSIONS, STEP_UP_USERS};
use crate::session::Id;

/// Before the name of a user, in the table.
const KEY: &str = "totp:";

/// Before the id of a session that has shown a code, in hex.
const SHOWN: &str = "shown:";

/// Who is enrolled, and which sessions have shown a code.
#[derive(Default)]
pub(crate) struct StepUps {
    users: Mutex<HashMap<String, Record>>,
    /// Session to when it was, in seconds since 1970.
    shown: Mutex<HashMap<Id, u64>>,
    sealed: Option<Arc<Sealed>>,
}

/// A user's secret, as it is stored, sealed.
#[derive(Clone, Serialize, Deserialize)]
struct Record {
    user: String,
    secret: Vec<u8>,
    /// The time of the last code that was used.
    used: Option<u64>,
}

/// What came of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Good,
    /// Or it was used before.
    Wrong,
    /// The user has no secret here.
    NotEnrolled,
}

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrolError {
    #[error("a user is written name@realm")]
    Name,
    #[error("{0} is enrolled; remove that first")]
    Exists(String),
    #[error("{0} is not enrolled")]
    Unknown(String),
    #[error("more than {STEP_UP_USERS} users; remove some")]
    Many,
    #[error("the gate has no state directory to keep secrets in")]
    NoState,
    #[error("no random bytes: {0}")]
    Random(#[from] std::io::Error),
    #[error(transparent)]
    State(#[from] StoreError),
}

impl StepUps {
    pub(crate) fn new(sealed: Option<Arc<Sealed>>, stored: &[Entry]) -> Self {
        let mut users = HashMap::new();
        for bytes in sealed.iter().flat_map(|sealed| sealed.open(stored, KEY)) {
            if let Ok(record) = serde_json::from_slice::<Record>(bytes.expose()) {
                users.insert(record.user.clone(), record);
            }
        }
        let step_ups = Self { users: Mutex::new(users), shown: Mutex::default(), sealed };
        stored.iter().for_each(|entry| step_ups.told(entry));
        step_ups
    }

    /// A user, or a session that has shown a code, as it is stored.
    pub(crate) fn told(&self, entry: &Entry) {
        let Some(sealed) = &self.sealed else { return };
        if let Some(bytes) = sealed.open_one(entry, KEY) {
            if let Ok(record) = serde_json::from_slice::<Record>(bytes.expose()) {
                lock(&self.users).insert(record.user.clone(), record);
            }
        } else if let Some(bytes) = sealed.open_one(entry, SHOWN)
            && let Ok((session, at)) = serde_json::from_slice::<([u8; 32], u64)>(bytes.expose())
        {
            self.note(Id(session), at);
        }
    }

    /// A user's secret was removed.
    pub(crate) fn told_gone(&self, key: &[u8]) {
        let user = std::str::from_utf8(key).ok().and_then(|key| key.strip_prefix(KEY));
        if let Some(user) = user {
            lock(&self.users).remove(user);
        }
    }

    /// All that there are.
    pub(crate) fn told_all(&self, entries: &[Entry]) {
        let there = |user: &str| {
            entries
                .iter()
                .any(|entry| entry.key.strip_prefix(KEY.as_bytes()) == Some(user.as_bytes()))
        };
        lock(&self.users).retain(|user, _| there(user));
        entries.iter().for_each(|entry| self.told(entry));
    }

    /// When a session has shown a code.
    pub(crate) fn of(&self, session: Id) -> Option<u64> {
        lock(&self.shown).get(&session).copied()
    }

    /// Judges a code. A good one is written down as used before this returns.
    pub(crate) async fn show(
        &self,
        user: &str,
        session: Id,
        code: &str,
        now: u64,
    ) -> Result<Shown, StoreError> {
        let record = {
            let mut users = lock(&self.users);
            let Some(record) = users.get_mut(user) else { return Ok(Shown::NotEnrolled) };
            let Some(at) = verify(&record.secret, code, now, record.used) else {
                return Ok(Shown::Wrong);
            };
            // Before the lock is given back: nobody else gets in with the same code meanwhile.
            record.used = Some(at);
            record.clone()
        };
        // One commit: a code that is used up has been shown, at every gate.
        let ends = Duration::from_secs(now.saturating_add(STEP_UP_MINUTES * 60));
        let text: String = session.0.iter().map(|byte| format!("{byte:02x}")).collect();
        let by = serde_json::to_vec(&(session.0, now)).unwrap_or_default();
        let used = serde_json::to_vec(&record).unwrap_or_default();
        if let Some(sealed) = &self.sealed {
            let user = (format!("{KEY}{}", record.user), used, Duration::MAX);
            sealed.put_all(vec![user, (format!("{SHOWN}{text}"), by, ends)]).await?;
        }
        self.note(session, now);
        Ok(Shown::Good)
    }

    /// Notes that a session has shown a code.
    fn note(&self, session: Id, now: u64) {
        let mut shown = lock(&self.shown);
        if shown.len() >= STEP_UP_SESSIONS {
            shown.retain(|_, at| now.saturating_sub(*at) < STEP_UP_MINUTES * 60);
        }
        // Without room nothing is noted: the call stays refused.
        if shown.len() < STEP_UP_SESSIONS || shown.contains_key(&session) {
            shown.insert(session, now);
        }
    }

    /// Enrols a user; what is returned is for the user's app, shown this once.
    pub(crate) async fn enrol(&self, user: &str) -> Result<String, EnrolError> {
        if user.parse::<identity::UserId>().is_err() {
            return Err(EnrolError::Name);
        }
        {
            let users = lock(&self.users);
            if users.contains_key(user) {
                return Err(EnrolError::Exists(user.to_owned()));
            }
            if users.len() >= STEP_UP_USERS {
                return Err(EnrolError::Many);
            }
        }
        if self.sealed.is_none() {
            return Err(EnrolError::NoState);
        }
        let secret = random()?;
        let record = Record { user: user.to_owned(), secret: secret.expose().clone(), used: None };
        self.keep(&record).await?;
        lock(&self.users).insert(user.to_owned(), record);
        let label: String = user.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
        let text = base32(secret.expose());
        Ok(format!("otpauth://totp/proxward:{label}?secret={text}&issuer=proxward"))
    }

    /// Forgets a user's secret, durably.
    pub(crate) async fn remove(&self, user: &str) -> Result<(), EnrolError> {
        if lock(&self.users).remove(user).is_none() {
            return Err(EnrolError::Unknown(user.to_owned()));
        }
        let sealed = self.sealed.as_ref().ok_or(EnrolError::NoState)?;
        Ok(sealed.remove(format!("{KEY}{user}")).await?)
    }

    /// Who is enrolled.
    pub(crate) fn list(&self) -> Value {
        let mut users: Vec<_> = lock(&self.users).keys().cloned().collect();
        users.sort();
        json!({ "users": users })
    }

    async fn keep(&self, record: &Record) -> Result<(), StoreError> {
        let Some(sealed) = &self.sealed else { return Ok(()) };
        let bytes = serde_json::to_vec(record).unwrap_or_default();
        sealed.put(format!("{KEY}{}", record.user), bytes).await
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "@.-_".contains(c)
}

fn random() -> std::io::Result<SecretBytes> {
    let digits = [secrets::random::hex()?, secrets::random::hex()?];
    let digits: String = digits.iter().map(|half| half.expose().as_str()).collect();
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..SECRET * 2).step_by(2).map(byte).collect();
    bytes.map(SecretBytes::new).ok_or_else(|| std::io::Error::other("no digits"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
