//! Tickets, CSRF and API tokens, roles and the evaluation of the access control list.
//!
//! PVE stays the authority for identity and rights on a real node. This crate states the same
//! rules a second time, for what has to answer without one: the mock, the audit, questions of
//! the kind "what if", and the checks the gate makes before it bothers PVE. It is judged
//! against tickets of a genuine server and against verdicts computed with upstream's code, so a
//! surprising rule here is a surprising rule there.
//!
//! - [`ticket`], [`csrf`] and [`token`] answer whether a credential is genuine and fresh; they
//!   know nothing of accounts.
//! - [`otp`] computes codes of second factors.
//! - [`Access`] answers who may do what: it holds a parsed `user.cfg` and the predefined
//!   [`roles`] of a [`Release`]. An [`Explanation`] says why, and [`judge`] answers records of
//!   questions in JSON.
//!
//! The crate does no I/O and reads no clock.

mod acl;
pub mod csrf;
pub mod judge;
mod keys;
mod lenient_base64;
pub mod limits;
pub mod otp;
mod privileges;
mod release;
pub mod roles;
mod rotation;
mod subject;
pub mod ticket;
pub mod token;

pub use acl::{Access, AccountError, Basis, Capabilities, Entry, Explanation, Rights, Standing};
pub use keys::{KeyError, KeyId, Keyring, SigningKey, TicketKeys, VerifyKey};
pub use privileges::{Permissions, Privilege, Privileges, UnknownPrivilege};
pub use pve_formats::user_cfg::{self, UserConfig};
pub use release::Release;
pub use rotation::{ClusterKeys, DatedKey};
pub use subject::{NotASubject, Subject};
