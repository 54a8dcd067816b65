//! Grammars of Proxmox VE files and values, parsed and written without loss.
//!
//! Every module is one grammar: a plain model of what the file says, a parser that is as
//! tolerant as the Perl code that owns the file, and a writer whose bytes equal those of the
//! owner. Tolerance matters as much as strictness here: a line that PVE ignores must not give
//! rights in ours, and a line that PVE accepts must not be missed by the audit, so each parser
//! follows the owner's quirks and reports what it skipped as data.
//!
//! The crate reads no file and knows no release: what depends on the installed release (names
//! of privileges and predefined roles) is passed in.

mod limits;
mod perl;
pub mod proxy_defaults;
pub mod user_cfg;

pub use limits::{MAX_GRANTS, MAX_PROXY_DEFAULTS_BYTES, MAX_USER_CFG_BYTES, MAX_WARNINGS};
