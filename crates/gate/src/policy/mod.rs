//! What an administrator forbids although Proxmox VE would allow it: `[gate.policy]`.
//!
//! A call of the API is judged by its method, its path as Proxmox VE routes it, who asks, from
//! where and when, and by parameters of path, query and body. Profiles come first, then the
//! rules, the first that is about the call decides, then the default. Nothing here grants
//! anything: what is allowed is passed on, and Proxmox VE judges it.
//!
//! What can not be known counts against the caller: a denial takes it for fitting, a permission
//! does not. Where a rule looked at parameters, Proxmox VE gets those that were judged, written
//! anew, and no others.
//!
//! With `schema`, calls and parameters that Proxmox VE's schema does not know are refused in
//! its own words, or reported.
//!
//! The pages and files of the web interface are not judged: they hold nothing of the cluster.
//! Without rules, a request costs one load of a number.

mod accounts;
mod active;
mod demand;
mod explain;
mod glob;
mod pattern;
mod profile;
mod rule;
mod rules;
mod schema;
mod settings;
mod times;
mod values;

pub use active::{PolicyError, Proposed};
pub use explain::{Asked as PolicyQuestion, Verdict as PolicyVerdict};
pub use rule::Effect as PolicyEffect;
pub use rules::PolicyRules;
pub use settings::{PolicySettings, RuleSettings, SchemaMode};

pub(crate) use active::{InForce, NotConfirmed, Policy, Proof, Seen};
pub(crate) use pattern::Segments;
pub(crate) use rule::{Factors, Given, Question, Who};
pub(crate) use rules::Decision;
pub(crate) use schema::{Answer, check as check_schema};

#[cfg(fuzzing)]
pub(crate) mod fuzzing;
