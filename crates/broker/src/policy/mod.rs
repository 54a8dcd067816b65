//! Who may ask for what: rules of peers, verbs and targets. What no rule gives is refused.
//!
//! A rule without its own targets is about this host. Nothing is implied: not for root's group,
//! not for the broker's own user. Rules for users and groups match processes of the host only,
//! because root of a privileged container has the same number as root of the host.

mod pattern;
mod rule;

pub use pattern::{Inner, PatternError, PeerPattern};
pub use rule::{Selector, TargetPattern};

use broker_api::{Group, Verb};
use serde::{Deserialize, Serialize};

use crate::peer::Peer;
use process::Accounts;

/// One rule as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSettings {
    /// Who: all of these have to hold.
    pub peer: Vec<PeerPattern>,
    /// What: groups and verbs.
    pub may: Vec<Selector>,
    /// On what.
    #[serde(default = "local")]
    pub on: Vec<TargetPattern>,
}

/// A checked policy.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    peer: Vec<PeerPattern>,
    may: Vec<Selector>,
    on: Vec<TargetPattern>,
}

/// What the policy says about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Given by this rule, counted from 0.
    Allowed(usize),
    /// The peer is known, the verb is not given to it.
    VerbRefused,
    /// The peer has the verb on other targets.
    TargetRefused,
    /// No rule is about this peer.
    Stranger,
}

/// Why a policy was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// An account that this host does not have.
    #[error("rule {rule}: {what} {name} is not known on this host; create it or remove the rule")]
    Account {
        /// Counted from 1.
        rule: usize,
        /// `user` or `group`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Admin verbs for what is not a process of the host.
    #[error(
        "rule {0}: admin verbs are for root of the host alone; write peer = [\"uid:0\", …] or leave {1} out"
    )]
    Admin(usize, String),
    /// A rule that gives nothing or is about nobody.
    #[error("rule {0}: peer, may and on each need at least one element")]
    Empty(usize),
}

fn local() -> Vec<TargetPattern> {
    vec![TargetPattern::local()]
}

impl Policy {
    /// Checks rules; names of accounts become numbers.
    ///
    /// # Errors
    /// [`PolicyError`]: the first thing wrong.
    pub fn check(rules: &[RuleSettings], accounts: &Accounts) -> Result<Self, PolicyError> {
        let checked = rules.iter().enumerate().map(|(at, rule)| check_rule(at + 1, rule, accounts));
        Ok(Self { rules: checked.collect::<Result<_, _>>()? })
    }

    /// Root of the host may do everything, others nothing: what holds without any rule.
    #[must_use]
    pub fn root_only() -> Self {
        let may = Group::ALL.map(Selector::Group).to_vec();
        let rule = Rule { peer: vec![PeerPattern::Uid(0)], may, on: vec![TargetPattern::All] };
        Self { rules: vec![rule] }
    }

    /// Whether any rule is about this peer.
    #[must_use]
    pub fn knows(&self, peer: &Peer) -> bool {
        self.rules.iter().any(|rule| rule.is_about(peer))
    }

    /// What holds for this request.
    #[must_use]
    pub fn decide(&self, peer: &Peer, verb: &Verb, target: &str) -> Decision {
        let mut nearest = Decision::Stranger;
        for (at, rule) in self.rules.iter().enumerate().filter(|(_, rule)| rule.is_about(peer)) {
            let given = rule.may.iter().any(|selector| selector.covers(verb));
            // The second lock on what a rule can not give (see [`PolicyError::Admin`]).
            let withheld = verb.group == Group::Admin && !(peer.is_host() && peer.uid == 0);
            if !given || withheld {
                if nearest == Decision::Stranger {
                    nearest = Decision::VerbRefused;
                }
            } else if rule.on.iter().any(|pattern| pattern.covers(target)) {
                return Decision::Allowed(at);
            } else {
                nearest = Decision::TargetRefused;
            }
        }
        nearest
    }

    /// The verbs this peer has on any target, with the targets, as `broker.status` tells them.
    pub fn grants(&self, peer: &Peer) -> impl Iterator<Item = (&'static Verb, Vec<String>)> {
        broker_api::VERBS.iter().filter_map(|verb| {
            if verb.group == Group::Admin && !(peer.is_host() && peer.uid == 0) {
                return None;
            }
            let rules = self.rules.iter().filter(|rule| rule.is_about(peer));
            let giving = rules.filter(|rule| rule.may.iter().any(|one| one.covers(verb)));
            let targets: Vec<String> =
                giving.flat_map(|rule| rule.on.iter().map(ToString::to_string)).collect();
            (!targets.is_empty()).then_some((verb, targets))
        })
    }

    /// Rules.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl Rule {
    fn is_about(&self, peer: &Peer) -> bool {
        self.peer.iter().all(|pattern| pattern.matches(peer))
    }
}

fn check_rule(
    number: usize,
    rule: &RuleSettings,
    accounts: &Accounts,
) -> Result<Rule, PolicyError> {
    if rule.peer.is_empty() || rule.may.is_empty() || rule.on.is_empty() {
        return Err(PolicyError::Empty(number));
    }
    let resolve = |pattern: &PeerPattern| {
        pattern.resolve(accounts).map_err(|(what, name)| PolicyError::Account {
            rule: number,
            what,
            name,
        })
    };
    let peer: Vec<PeerPattern> = rule.peer.iter().map(resolve).collect::<Result<_, _>>()?;
    let admin = rule.may.iter().find(|selector| selector.group() == Group::Admin);
    if let Some(admin) = admin
        && !peer.contains(&PeerPattern::Uid(0))
    {
        return Err(PolicyError::Admin(number, admin.to_string()));
    }
    Ok(Rule { peer, may: rule.may.clone(), on: rule.on.clone() })
}

#[cfg(test)]
mod tests;
