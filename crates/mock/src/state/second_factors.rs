//! Second factors of the accounts: what PVE keeps in `priv/tfa.cfg`, and the counters of failures
//! that it keeps beside it.
//!
//! The rules are those of proxmox-tfa 4 to 6. A code of a time-based entry is accepted in its step
//! and one step on both sides, once: it has to be newer than the last one that was accepted.
//! [`TOTP_FAILURES`] wrong codes in a row lock the time-based factor until a recovery key is used or
//! an administrator unlocks it; [`FACTOR_FAILURES`] failures of any factor in a row lock all of them
//! for [`FACTOR_LOCK`]. An attempt while locked is not counted. The challenge does not tell.

mod recovery;
mod totp;

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use super::kept_secret::Word;
use super::random_uuid;
use super::tracked::Tracked;
use crate::limits::{FACTOR_FAILURES, FACTOR_LOCK, TOTP_FAILURES};
use recovery::RecoveryKeys;
pub(crate) use totp::Totp;

/// The id of the only set of recovery keys a user can have.
const RECOVERY_ID: &str = "recovery";

/// All users that have factors, by id.
#[derive(Debug, Clone, Default)]
pub(crate) struct SecondFactors {
    pub(super) users: Tracked<String, Factors>,
}

/// What one user has.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Factors {
    totp: Vec<TotpEntry>,
    recovery: Option<RecoveryKeys>,
    totp_failures: u32,
    failures: u32,
    totp_locked: bool,
    locked_until: Option<u64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct TotpEntry {
    info: Entry,
    totp: Totp,
    /// The step of the last accepted code.
    last_step: Option<i64>,
}

/// One factor as the API lists it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// `totp` or `recovery`.
    #[serde(deserialize_with = "kind")]
    pub(crate) kind: Word,
    pub(crate) id: String,
    pub(crate) description: String,
    /// Seconds since 1970.
    pub(crate) created: u64,
    pub(crate) enable: bool,
}

fn kind<'de, D: Deserializer<'de>>(from: D) -> Result<&'static str, D::Error> {
    super::kept_secret::word_of(from, &["totp", "recovery"])
}

/// The answer to a challenge.
pub(crate) enum Response {
    Totp(String),
    Recovery(String),
    /// A security key's, which nobody has here.
    Key,
}

/// Why a change of factors failed; the texts are the genuine ones.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
pub(crate) enum FactorError {
    #[error("no such entry")]
    NoEntry,
    #[error("no such challenge")]
    NoFactors,
    #[error("user already has recovery keys")]
    HasRecovery,
    #[error("no randomness for recovery keys")]
    Randomness,
}

impl SecondFactors {
    /// The factors of a user who has some.
    pub(crate) fn of(&self, user: &str) -> Option<&Factors> {
        self.users.get(user)
    }

    pub(crate) fn users(&self) -> impl Iterator<Item = (&String, &Factors)> {
        self.users.iter()
    }

    /// Adds an entry and returns its id; the caller has seen one of its codes.
    pub(crate) fn add_totp(
        &mut self,
        user: &str,
        description: String,
        totp: Totp,
        now: u64,
    ) -> String {
        let id = random_uuid();
        let info = Entry { kind: "totp", id: id.clone(), description, created: now, enable: true };
        let factors = self.users.or_default(user.to_owned());
        factors.totp.push(TotpEntry { info, totp, last_step: None });
        id
    }

    /// Makes the recovery keys of a user and returns them.
    pub(crate) fn add_recovery(
        &mut self,
        user: &str,
        now: u64,
    ) -> Result<Vec<String>, FactorError> {
        let factors = self.users.or_default(user.to_owned());
        if factors.recovery.is_some() {
            return Err(FactorError::HasRecovery);
        }
        let (keys, texts) = RecoveryKeys::generate(now)?;
        factors.recovery = Some(keys);
        Ok(texts)
    }

    /// Changes what is given; the recovery keys have nothing to change.
    pub(crate) fn update(
        &mut self,
        user: &str,
        id: &str,
        description: Option<String>,
        enable: Option<bool>,
    ) -> Result<(), FactorError> {
        let factors = self.users.get_mut(user).ok_or(FactorError::NoEntry)?;
        let entry = factors.totp.iter_mut().find(|entry| entry.info.id == id);
        let info = &mut entry.ok_or(FactorError::NoEntry)?.info;
        info.description = description.unwrap_or_else(|| std::mem::take(&mut info.description));
        info.enable = enable.unwrap_or(info.enable);
        Ok(())
    }

    /// Removes one entry; tells whether the user has any left.
    pub(crate) fn remove(&mut self, user: &str, id: &str) -> Result<bool, FactorError> {
        let factors = self.users.get_mut(user).ok_or(FactorError::NoEntry)?;
        let before = factors.totp.len();
        factors.totp.retain(|entry| entry.info.id != id);
        let removed = if factors.totp.len() == before && id == RECOVERY_ID {
            factors.recovery.take().is_some()
        } else {
            factors.totp.len() < before
        };
        if !removed {
            return Err(FactorError::NoEntry);
        }
        let left = !factors.totp.is_empty() || factors.recovery.is_some();
        if !left {
            self.users.remove(user);
        }
        Ok(left)
    }

    /// Forgets a deleted user.
    pub(crate) fn remove_user(&mut self, user: &str) {
        self.users.remove(user);
    }

    /// Lifts every lock and forgets the failures; tells whether there was a lock.
    pub(crate) fn unlock(&mut self, user: &str) -> Result<bool, FactorError> {
        let factors = self.users.get_mut(user).ok_or(FactorError::NoFactors)?;
        let locked = factors.totp_locked || factors.locked_until.is_some();
        (factors.totp_locked, factors.locked_until) = (false, None);
        (factors.totp_failures, factors.failures) = (0, 0);
        Ok(locked)
    }

    /// Judges an answer at `now` (seconds since 1970) and counts it.
    pub(crate) fn verify(&mut self, user: &str, response: &Response, now: u64) -> bool {
        self.users.get_mut(user).is_some_and(|factors| factors.verify(response, now))
    }
}

impl Factors {
    /// All entries in the order of the genuine list.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> {
        let recovery = self.recovery.as_ref().map(|keys| Entry {
            kind: "recovery",
            id: RECOVERY_ID.to_owned(),
            description: String::new(),
            created: keys.created,
            enable: true,
        });
        recovery.into_iter().chain(self.totp.iter().map(|entry| entry.info.clone()))
    }

    pub(crate) fn is_totp_locked(&self) -> bool {
        self.totp_locked
    }

    /// Until when no factor is accepted, in seconds since 1970; `None` when that has passed.
    pub(crate) fn locked_until(&self, now: u64) -> Option<u64> {
        self.locked_until.filter(|until| now < *until)
    }

    /// The JSON of the challenge, member by member as serde writes it; none when every factor is
    /// disabled, which lets the user in without one.
    pub(crate) fn challenge(&self) -> Option<String> {
        let mut members = Vec::new();
        if self.totp.iter().any(|entry| entry.info.enable) {
            members.push("\"totp\":true".to_owned());
        }
        if let Some(keys) = &self.recovery {
            let numbers: Vec<String> = keys.available().iter().map(usize::to_string).collect();
            members.push(format!("\"recovery\":[{}]", numbers.join(",")));
        }
        (!members.is_empty()).then(|| format!("{{{}}}", members.join(",")))
    }

    fn verify(&mut self, response: &Response, now: u64) -> bool {
        if self.locked_until(now).is_some() {
            return false;
        }
        let accepted = match response {
            Response::Totp(_) if self.totp_locked => return false,
            Response::Totp(code) => self.verify_totp(code, now),
            Response::Recovery(key) => self.verify_recovery(key),
            Response::Key => false,
        };
        if accepted {
            self.failures = 0;
            return true;
        }
        self.failures = self.failures.saturating_add(1);
        if self.totp_failures >= TOTP_FAILURES {
            self.totp_locked = true;
        }
        if self.failures >= FACTOR_FAILURES {
            self.locked_until = Some(now.saturating_add(FACTOR_LOCK.as_secs()));
        }
        false
    }

    fn verify_totp(&mut self, code: &str, now: u64) -> bool {
        let enabled = self.totp.iter_mut().filter(|entry| entry.info.enable);
        let mut matching = enabled.filter_map(|entry| {
            let step = entry.totp.step_of(code, now)?;
            Some((entry, step))
        });
        if let Some((entry, step)) = matching.next()
            && entry.last_step.is_none_or(|last| step > last)
        {
            entry.last_step = Some(step);
            self.totp_failures = 0;
            return true;
        }
        self.totp_failures = self.totp_failures.saturating_add(1);
        false
    }

    fn verify_recovery(&mut self, key: &str) -> bool {
        let accepted = self.recovery.as_mut().is_some_and(|keys| keys.use_up(key));
        if accepted {
            (self.totp_locked, self.locked_until, self.totp_failures) = (false, None, 0);
        }
        accepted
    }
}

impl Response {
    /// `totp:CODE`, `recovery:KEY`, or a security key's JSON. Anything else is refused without
    /// being counted.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (kind, value) = text.split_once(':')?;
        match kind {
            "totp" => Some(Self::Totp(value.to_owned())),
            "recovery" => Some(Self::Recovery(value.to_owned())),
            "u2f" | "webauthn" => {
                serde_json::from_str::<serde_json::Value>(value).is_ok().then_some(Self::Key)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238 appendix B: the secret, a second, its code of six digits and that of the next step.
    const SECRET: &str = "otpauth://totp/a?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    const NOW: u64 = 1_111_111_109;
    const CODE: &str = "081804";
    const NEXT: &str = "050471";

    fn enrolled() -> (SecondFactors, String, Vec<String>) {
        let mut factors = SecondFactors::default();
        let totp = SECRET.parse().unwrap();
        let id = factors.add_totp("a@pve", "phone".to_owned(), totp, NOW);
        let keys = factors.add_recovery("a@pve", NOW).unwrap();
        (factors, id, keys)
    }

    fn totp(factors: &mut SecondFactors, code: &str, now: u64) -> bool {
        factors.verify("a@pve", &Response::Totp(code.to_owned()), now)
    }

    fn recovery(factors: &mut SecondFactors, key: &str, now: u64) -> bool {
        factors.verify("a@pve", &Response::Recovery(key.to_owned()), now)
    }

    #[test]
    fn a_code_is_good_once_and_an_older_one_is_not_after_it() {
        let (mut factors, ..) = enrolled();
        assert!(totp(&mut factors, NEXT, NOW));
        assert!(!totp(&mut factors, NEXT, NOW));
        assert!(!totp(&mut factors, CODE, NOW));
        assert!(!factors.verify("b@pve", &Response::Totp(NEXT.to_owned()), NOW));
    }

    #[test]
    fn challenges_are_written_as_the_genuine_ones() {
        let (mut factors, id, keys) = enrolled();
        let shown = |factors: &SecondFactors| factors.of("a@pve").and_then(Factors::challenge);
        let all = r#"{"totp":true,"recovery":[0,1,2,3,4,5,6,7,8,9]}"#;
        assert_eq!(shown(&factors).as_deref(), Some(all));
        assert!(keys.iter().all(|key| recovery(&mut factors, key, NOW)));
        assert_eq!(shown(&factors).as_deref(), Some(r#"{"totp":true,"recovery":[]}"#));
        factors.update("a@pve", &id, None, Some(false)).unwrap();
        assert_eq!(shown(&factors).as_deref(), Some(r#"{"recovery":[]}"#));
        factors.remove("a@pve", "recovery").unwrap();
        assert_eq!(shown(&factors), None);
    }

    #[test]
    fn eight_wrong_codes_lock_the_codes_until_a_recovery_key() {
        let (mut factors, _, keys) = enrolled();
        for _ in 0..7 {
            assert!(!totp(&mut factors, "000000", NOW));
        }
        assert!(!factors.of("a@pve").unwrap().is_totp_locked());
        assert!(!totp(&mut factors, "000000", NOW));
        assert!(factors.of("a@pve").unwrap().is_totp_locked());
        assert!(!totp(&mut factors, CODE, NOW));
        assert!(recovery(&mut factors, &keys[0], NOW));
        assert!(totp(&mut factors, CODE, NOW));
    }

    #[test]
    fn a_good_code_and_an_administrator_forget_the_failures() {
        let (mut factors, ..) = enrolled();
        for round in [CODE, NEXT] {
            for _ in 0..7 {
                assert!(!totp(&mut factors, "000000", NOW));
            }
            assert!(totp(&mut factors, round, NOW), "{round}");
        }
        assert_eq!(factors.unlock("a@pve"), Ok(false));
        for _ in 0..8 {
            assert!(!totp(&mut factors, "000000", NOW));
        }
        assert_eq!(factors.unlock("a@pve"), Ok(true));
        assert!(!factors.of("a@pve").unwrap().is_totp_locked());
        assert_eq!(factors.unlock("b@pve"), Err(FactorError::NoFactors));
    }

    #[test]
    fn a_hundred_failures_lock_every_factor_for_an_hour() {
        let (mut factors, _, keys) = enrolled();
        for _ in 0..100 {
            assert_eq!(factors.of("a@pve").unwrap().locked_until(NOW), None);
            assert!(!recovery(&mut factors, "x", NOW));
        }
        assert_eq!(factors.of("a@pve").unwrap().locked_until(NOW), Some(NOW + 3600));
        assert!(!recovery(&mut factors, &keys[0], NOW + 3599));
        assert!(!totp(&mut factors, CODE, NOW));
        assert_eq!(factors.of("a@pve").unwrap().locked_until(NOW + 3600), None);
        assert!(recovery(&mut factors, &keys[0], NOW + 3600));
    }

    #[test]
    fn a_disabled_entry_accepts_nothing() {
        let (mut factors, id, _) = enrolled();
        factors.update("a@pve", &id, Some("old".to_owned()), Some(false)).unwrap();
        assert!(!totp(&mut factors, CODE, NOW));
        let entry = factors.of("a@pve").unwrap().entries().last().unwrap();
        assert_eq!((entry.description.as_str(), entry.enable), ("old", false));
    }

    #[test]
    fn the_last_entry_takes_the_user_with_it() {
        let (mut factors, id, _) = enrolled();
        assert_eq!(factors.add_recovery("a@pve", NOW), Err(FactorError::HasRecovery));
        assert_eq!(factors.remove("a@pve", "other"), Err(FactorError::NoEntry));
        assert_eq!(factors.remove("a@pve", "recovery"), Ok(true));
        assert_eq!(factors.remove("a@pve", "recovery"), Err(FactorError::NoEntry));
        assert_eq!(factors.remove("a@pve", &id), Ok(false));
        assert!(factors.of("a@pve").is_none());
    }

    #[test]
    fn answers_without_a_known_kind_are_not_counted() {
        for text in ["296650", "", "yubico:x", "webauthn:x", "TOTP:1"] {
            assert!(Response::parse(text).is_none(), "{text}");
        }
        assert!(matches!(Response::parse("totp:"), Some(Response::Totp(code)) if code.is_empty()));
        assert!(matches!(Response::parse("webauthn:{}"), Some(Response::Key)));
    }
}
