//! The API of Proxmox VE as data: methods, parameters, validation with the messages of the genuine server.
//!
//! The mock answers requests from it, the gate refuses malformed ones with it, the CLI completes
//! and explains from it; so all three agree with what a PVE node would say. The committed facts
//! (`generated/*.facts`) are reduced from PVE's own API document and carry no prose; a full
//! document from the user's own node is loaded with [`Schema::from_apidoc`].
//!
//! Loading splits lines and builds the path tree; the JSON of a method is decoded on first use.
//! Rules and texts follow `PVE::JSONSchema` and `PVE::RESTHandler` (pve-common 8/9), expressed
//! anew. Where PVE depends on Perl (numbers as text, `$` before a final newline, patterns that
//! are not grouped), the same holds here, because clients see the difference.

mod apidoc;
mod check;
mod formats;
mod limits;
mod lookup;
mod method;
mod named_strings;
mod pattern;
mod permission;
mod property;
mod property_string;
mod schema;
mod typetext;
mod value;

pub use check::{Errors, Params};
pub use formats::{Format, FormatRule, check_format};
pub use limits::{MAX_DOCUMENT_BYTES, MAX_NODES, MAX_PATTERN_BYTES, MAX_PATTERNS, index_limit};
pub use lookup::PathMatch;
pub use method::{Method, Verb};
pub use pattern::Pattern;
pub use permission::Permission;
pub use property::{Additional, Bound, Kind, Link, Object, Property};
pub use property_string::{Fields, PropertyString};
pub use schema::{Schema, SchemaError};
pub use value::parse_boolean;
