//! The policy in force, and how it changes without locking anybody out.
//!
//! Workers keep a copy and look at a number to see whether it is still the one; changes happen
//! under a short lock. A change is in force at once and on trial: it is taken back after a
//! minute unless somebody has shown that they still get through. What is on trial is written
//! down before it is in force, so that a restart goes back to what was confirmed.

use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;
use state::{Change, Entry, StoreError, Table, Writer};
use tracing::{info, warn};

use super::accounts::Accounts;
use super::rules::PolicyRules;
use super::settings::PolicySettings;
use crate::audit::{Act, By};
use crate::limits::POLICY_CONFIRM;
use crate::login::Journal;

/// Key of the policy that was confirmed last, in [`Table::Pending`].
const CONFIRMED: &[u8] = b"policy.confirmed";

/// Key of the hash of the policy that was on trial last.
const TRIED: &[u8] = b"policy.tried";

/// No change is on trial.
const NEVER: u64 = u64::MAX;

/// The rules and the accounts they speak of.
#[derive(Clone, Debug, Default)]
pub(crate) struct InForce {
    pub(crate) rules: Arc<PolicyRules>,
    pub(crate) accounts: Arc<Accounts>,
}

/// The gate's policy.
pub(crate) struct Policy {
    /// Grows with every change.
    generation: AtomicU64,
    /// When what is on trial is taken back, in milliseconds of the monotonic clock.
    until: AtomicU64,
    held: Mutex<Held>,
    keeper: Option<Arc<Writer>>,
    /// Where changes are recorded.
    journal: Option<Arc<Journal>>,
}

struct Held {
    current: Arc<InForce>,
    trial: Option<Trial>,
}

/// A change that waits to be confirmed.
struct Trial {
    id: String,
    /// On the monotonic clock.
    since: Duration,
    until: Duration,
    before: Arc<InForce>,
    seen: Option<Seen>,
}

/// Somebody whom the rules on trial have let through, and whom Proxmox VE has answered.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) user: String,
    pub(crate) client: IpAddr,
}

/// A change that is in force, and is taken back unless it is confirmed in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// For `proxward gate confirm`.
    pub id: String,
    /// How long there is for that.
    pub within: Duration,
}

/// Who says that a change is good.
pub(crate) enum Proof {
    /// A caller with rights, over a connection accepted at this time of the monotonic clock.
    Connection(Duration),
    /// The machine's operator: believed when somebody was seen to get through.
    Operator,
}

/// Why a policy can not be put in force.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The rules ask for groups or roles, and the file with them can not be read.
    #[error(
        "gate.policy: rules name groups or roles, and {path} can not be read: {cause}; let the gate's user read it, or name another file with user_cfg"
    )]
    Accounts {
        /// The file.
        path: String,
        /// Why.
        cause: String,
    },
    /// It could not be written down, so it is not in force.
    #[error("gate.policy: the change can not be stored, so it is not in force: {0}")]
    State(#[from] StoreError),
    /// The kernel gives no random bytes.
    #[error("gate.policy: no random bytes for the name of a change: {0}")]
    Random(#[from] std::io::Error),
}

/// Why a change was not confirmed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotConfirmed {
    #[error("no change of the policy waits under this id; it was confirmed, or taken back")]
    Unknown,
    #[error(
        "this connection is older than the change, so it proves nothing; confirm over a new one"
    )]
    OldConnection,
    #[error(
        "nobody was seen to get through the new rules yet; log in, or make a call with a session, over a new connection, then confirm"
    )]
    NobodySeen,
    #[error("the confirmation can not be stored, so the change stays on trial: {0}")]
    State(#[from] StoreError),
}

impl Policy {
    /// The configured rules, on trial where others were confirmed before; or those, where the
    /// configured ones were on trial already when the gate was stopped.
    pub(crate) fn begin(
        configured: PolicyRules,
        stored: &[Entry],
        (keeper, journal): (Option<&Arc<Writer>>, Option<&Arc<Journal>>),
        now: Duration,
    ) -> Result<Self, PolicyError> {
        let value = |key: &[u8]| stored.iter().find(|entry| entry.key == key);
        let confirmed = value(CONFIRMED).and_then(|entry| read_rules(&entry.value));
        let tried = value(TRIED).is_some_and(|entry| entry.value == mark(&configured));
        let known = confirmed.is_some();
        let same = confirmed.as_ref().is_none_or(|rules| rules.settings == configured.settings);
        let first = confirmed.filter(|_| !same);
        let begin = |rules| {
            Ok::<_, PolicyError>(Self {
                generation: AtomicU64::new(1),
                until: AtomicU64::new(NEVER),
                held: Mutex::new(Held { current: Arc::new(InForce::read(rules)?), trial: None }),
                keeper: keeper.cloned(),
                journal: journal.cloned(),
            })
        };
        let Some(before) = first else {
            let policy = begin(configured)?;
            if !known {
                let change = put(CONFIRMED, to_bytes(&policy.current().rules));
                policy.keep(vec![change])?;
            }
            return Ok(policy);
        };
        let policy = begin(before)?;
        if tried {
            warn!(
                "the configured policy was not confirmed when it was tried: the one before stays in force; reload to try it again"
            );
        } else {
            policy.propose(configured, now)?;
        }
        Ok(policy)
    }

    /// Puts rules in force, on trial. None where they are the ones in force. What was on trial
    /// before is given up; what was confirmed stays what a failed trial goes back to.
    ///
    /// Blocks until the trial is written down.
    pub(crate) fn propose(
        &self,
        rules: PolicyRules,
        now: Duration,
    ) -> Result<Option<Proposed>, PolicyError> {
        if self.current().rules.settings == rules.settings {
            return Ok(None);
        }
        let confirmed = {
            let held = self.lock();
            let before = held.trial.as_ref().map(|trial| &trial.before);
            Arc::clone(before.unwrap_or(&held.current))
        };
        if confirmed.rules.settings == rules.settings {
            self.take_back(now, true);
            return Ok(None);
        }
        let mut id = secrets::random::hex()?.expose().clone();
        id.truncate(8);
        let next = Arc::new(InForce::read(rules)?);
        self.keep(vec![put(TRIED, mark(&next.rules))])?;
        let until = now.saturating_add(POLICY_CONFIRM);
        let mut held = self.lock();
        held.current = next;
        let trial = Trial { id: id.clone(), since: now, until, before: confirmed, seen: None };
        held.trial = Some(trial);
        self.until.store(milliseconds(until), Ordering::Release);
        self.generation.fetch_add(1, Ordering::AcqRel);
        drop(held);
        self.record(Act::PolicyProposed, &id);
        warn!(
            id,
            "a change of the policy is on trial: it is taken back in 60 s unless `proxward gate confirm {id}` is run"
        );
        Ok(Some(Proposed { id, within: POLICY_CONFIRM }))
    }

    /// Which policy it is: another number, another policy. Takes back what was not confirmed
    /// in time.
    pub(crate) fn generation(&self, now: Duration) -> u64 {
        if milliseconds(now) >= self.until.load(Ordering::Acquire) {
            self.take_back(now, false);
        }
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn current(&self) -> Arc<InForce> {
        Arc::clone(&self.lock().current)
    }

    /// Notes that somebody has got through, over a connection accepted at this time.
    pub(crate) fn saw(&self, accepted: Duration, seen: impl FnOnce() -> Option<Seen>) {
        if self.until.load(Ordering::Relaxed) == NEVER {
            return;
        }
        if let Some(trial) = &mut self.lock().trial
            && accepted > trial.since
            && trial.seen.is_none()
        {
            trial.seen = seen();
        }
    }

    /// Ends the trial: the change stays, also after a restart.
    pub(crate) async fn confirm(
        &self,
        id: &str,
        proof: &Proof,
        now: Duration,
    ) -> Result<Option<Seen>, NotConfirmed> {
        self.generation(now);
        let (seen, until, rules) = {
            let held = self.lock();
            let trial = held.trial.as_ref().filter(|trial| trial.id == id);
            let trial = trial.ok_or(NotConfirmed::Unknown)?;
            match proof {
                Proof::Connection(accepted) if *accepted <= trial.since => {
                    return Err(NotConfirmed::OldConnection);
                }
                Proof::Operator if trial.seen.is_none() => return Err(NotConfirmed::NobodySeen),
                _ => {}
            }
            // Not taken back while it is being written.
            self.until.store(NEVER, Ordering::Release);
            (trial.seen.clone(), trial.until, to_bytes(&held.current.rules))
        };
        if let Some(keeper) = &self.keeper {
            let changes = vec![put(CONFIRMED, rules), delete(TRIED)];
            if let Err(error) = keeper.durable(changes).await {
                self.until.store(milliseconds(until), Ordering::Release);
                return Err(error.into());
            }
        }
        let mut held = self.lock();
        if held.trial.as_ref().is_some_and(|trial| trial.id == id) {
            held.trial = None;
        }
        info!(id, "the change of the policy is confirmed");
        Ok(seen)
    }

    /// What is on trial: its id, the seconds left, and who got through.
    pub(crate) fn status(&self, now: Duration) -> serde_json::Value {
        self.generation(now);
        let held = self.lock();
        let trial = held.trial.as_ref().map(|trial| {
            serde_json::json!({
                "id": trial.id,
                "seconds": trial.until.saturating_sub(now).as_secs(),
                "seen": trial.seen,
            })
        });
        serde_json::json!({ "restricts": !held.current.rules.is_empty(), "on_trial": trial })
    }

    /// Reads groups and roles anew, if any rule asks for them. What can not be read leaves what
    /// was read before in force.
    pub(crate) fn reread(&self) {
        let (current, before) = {
            let held = self.lock();
            let before = held.trial.as_ref().map(|trial| Arc::clone(&trial.before));
            (Arc::clone(&held.current), before)
        };
        let current_now = reread(&current);
        let before_now = before.as_ref().and_then(|before| Some((before, reread(before)?)));
        let mut held = self.lock();
        // A change of the rules meanwhile has read them too.
        if let Some(now) = current_now
            && Arc::ptr_eq(&held.current, &current)
        {
            held.current = now;
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        if let Some((before, now)) = before_now
            && let Some(trial) = &mut held.trial
            && Arc::ptr_eq(&trial.before, before)
        {
            trial.before = now;
        }
    }

    fn take_back(&self, now: Duration, early: bool) {
        let mut held = self.lock();
        let due = held.trial.as_ref().is_some_and(|trial| early || now >= trial.until);
        if !due {
            return;
        }
        let Some(trial) = held.trial.take() else { return };
        held.current = trial.before;
        self.until.store(NEVER, Ordering::Release);
        self.generation.fetch_add(1, Ordering::AcqRel);
        drop(held);
        self.record(Act::PolicyTakenBack, &trial.id);
        warn!(id = trial.id, "a change of the policy was not confirmed and is taken back");
    }

    fn keep(&self, changes: Vec<Change>) -> Result<(), PolicyError> {
        match &self.keeper {
            Some(keeper) => Ok(keeper.durable_blocking(changes)?),
            None => Ok(()),
        }
    }

    fn record(&self, act: Act, id: &str) {
        self.journal.iter().for_each(|journal| journal.audit(|| act.event(id, By::Gate)));
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InForce {
    /// The rules with the groups and roles they ask for.
    pub(crate) fn read(rules: PolicyRules) -> Result<Self, PolicyError> {
        let accounts = match rules.user_cfg() {
            Some(path) => read_accounts(&path)?,
            None => Accounts::default(),
        };
        Ok(Self { rules: Arc::new(rules), accounts: Arc::new(accounts) })
    }
}

fn read_accounts(path: &Path) -> Result<Accounts, PolicyError> {
    Accounts::read(path).map_err(|error| PolicyError::Accounts {
        path: path.display().to_string(),
        cause: error.to_string(),
    })
}

/// The same rules with other accounts; None where nothing has changed or can be read.
fn reread(of: &InForce) -> Option<Arc<InForce>> {
    let path = of.rules.user_cfg()?;
    match Accounts::read(&path) {
        Ok(accounts) if accounts == *of.accounts => None,
        Ok(accounts) => {
            info!(path = %path.display(), "groups and roles read anew");
            let rules = Arc::clone(&of.rules);
            Some(Arc::new(InForce { rules, accounts: Arc::new(accounts) }))
        }
        Err(error) => {
            warn!(path = %path.display(), %error, "groups and roles stay as they were read last");
            None
        }
    }
}

/// What was confirmed; None where this program can not read it any more.
fn read_rules(bytes: &[u8]) -> Option<PolicyRules> {
    let settings: PolicySettings = serde_json::from_slice(bytes).ok()?;
    settings.check().ok()
}

fn to_bytes(rules: &PolicyRules) -> Vec<u8> {
    serde_json::to_vec(&rules.settings).unwrap_or_default()
}

fn mark(rules: &PolicyRules) -> Vec<u8> {
    digest(&SHA256, &to_bytes(rules)).as_ref().to_vec()
}

fn put(key: &[u8], value: Vec<u8>) -> Change {
    let entry = Entry { key: key.to_vec(), value, expires: Duration::MAX };
    Change::Put { table: Table::Pending, entry }
}

fn delete(key: &[u8]) -> Change {
    Change::Delete { table: Table::Pending, key: key.to_vec() }
}

/// At most what is before [`NEVER`].
fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(NEVER).min(NEVER - 1)
}

#[cfg(test)]
mod tests;
