//! The policy in force. Workers keep a copy and look at a number to see whether it is still the
//! one; changes happen under a short lock.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::{info, warn};

use super::accounts::Accounts;
use super::rules::PolicyRules;

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
    current: Mutex<Arc<InForce>>,
}

/// The rules ask for groups or roles, and the file with them can not be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "gate.policy: rules name groups or roles, and {path} can not be read: {cause}; let the gate's user read it, or name another file with user_cfg"
)]
pub struct UnknownAccounts {
    path: String,
    cause: String,
}

impl Policy {
    pub(crate) fn new(rules: PolicyRules) -> Result<Self, UnknownAccounts> {
        let in_force = InForce::new(Arc::new(rules))?;
        Ok(Self { generation: AtomicU64::new(1), current: Mutex::new(Arc::new(in_force)) })
    }

    /// Which policy it is: another number, another policy.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn current(&self) -> Arc<InForce> {
        Arc::clone(&self.lock())
    }

    /// Reads groups and roles anew, if any rule asks for them. What can not be read leaves what
    /// was read before in force.
    pub(crate) fn reread(&self) {
        let current = self.current();
        let Some(path) = current.rules.user_cfg() else { return };
        match Accounts::read(&path) {
            Ok(accounts) if accounts == *current.accounts => {}
            Ok(accounts) => {
                info!(path = %path.display(), "groups and roles read anew");
                let mut now = self.lock();
                // A change of the rules meanwhile has read them too.
                if Arc::ptr_eq(&now.rules, &current.rules) {
                    let rules = Arc::clone(&current.rules);
                    *now = Arc::new(InForce { rules, accounts: Arc::new(accounts) });
                    self.generation.fetch_add(1, Ordering::AcqRel);
                }
            }
            Err(error) => {
                warn!(path = %path.display(), %error, "groups and roles stay as they were read last");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Arc<InForce>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InForce {
    pub(crate) fn new(rules: Arc<PolicyRules>) -> Result<Self, UnknownAccounts> {
        let accounts = match rules.user_cfg() {
            Some(path) => read(&path)?,
            None => Accounts::default(),
        };
        Ok(Self { rules, accounts: Arc::new(accounts) })
    }
}

fn read(path: &Path) -> Result<Accounts, UnknownAccounts> {
    Accounts::read(path).map_err(|error| UnknownAccounts {
        path: path.display().to_string(),
        cause: error.to_string(),
    })
}
