//! `/etc/pve/user.cfg`: users, API tokens, groups, pools, custom roles and the access control
//! list.
//!
//! One record per line, fields separated by colons. The grammar is what
//! `PVE::AccessControl::parse_user_config` and `write_user_config` do; the names that depend on
//! the release (privileges, predefined roles) come in as a [`Vocabulary`]. Token secrets are not
//! here but in `priv/token.cfg`.

mod acl_path;
mod lines;
mod model;
mod names;
mod parse;
mod warning;
mod write;

pub use acl_path::{AclPath, is_assignable, normalize_path};
pub use lines::GrantLines;
pub use model::{Acl, Grants, Group, Keys, Pool, Token, User, UserConfig, Vocabulary};
pub use parse::{Parsed, TooLarge};
pub use warning::{Problem, Warning};
pub use write::WriteError;
