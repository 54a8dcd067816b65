//! The section `[gate.policy]` as it is written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::rule::Effect;

/// `[gate.policy]` as it is written. Absent, nothing is restricted and nothing costs anything.
///
/// What Proxmox VE forbids stays forbidden: everything here only takes away.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct PolicySettings {
    /// What becomes of a call that no rule is about: `allow` or `deny`. Default `allow`. Calls
    /// that log somebody in are denied by a rule only, never by this.
    pub default: Option<Effect>,
    /// Profiles for everybody: `read-only`, `no-shell`, `no-delete`.
    pub profiles: Vec<String>,
    /// Rules in their order; the first that is about a call decides.
    pub rule: Vec<RuleSettings>,
    /// Profiles for some: `profiles` and who.
    pub profile: Vec<RuleSettings>,
    /// Who needs a second factor although Proxmox VE asks for none.
    pub tfa: Vec<RuleSettings>,
    /// Which calls need a code of the second factor that was shown to the gate a short while ago.
    pub step_up: Vec<RuleSettings>,
    /// `off`, `report` (log what the schema does not know) or `enforce` (refuse it). Default `off`.
    pub schema: Option<SchemaMode>,
    /// Release whose schema ships with the program: 9 or 8. Default 9.
    pub release: Option<u8>,
    /// Groups and roles are read from here. Default `/etc/pve/user.cfg`.
    pub user_cfg: Option<PathBuf>,
    /// Whether `POST /nodes/{node}/execute` is allowed while there are rules. It runs other calls
    /// that no rule sees. Default: no.
    pub allow_execute: Option<bool>,
}

/// What is done about what the schema does not know.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum SchemaMode {
    /// Nothing; the schema is not looked at.
    Off,
    /// A line in the log.
    Report,
    /// Refused in the words of Proxmox VE.
    Enforce,
}

/// One entry of a list: whom and what it is about. All that is given has to hold; of the
/// alternatives in a list, one.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct RuleSettings {
    /// A name for log, answers and `gate explain`: letters, digits, `.`, `_`, `-`, blanks.
    pub name: Option<String>,
    /// `deny` or `allow`; in `rule` only.
    pub effect: Option<Effect>,
    /// In `profile` only.
    pub profiles: Vec<String>,
    /// In `step_up` only: for how long a code is good. Default 10.
    pub within_minutes: Option<u64>,
    /// `GET`, `POST`, `PUT`, `DELETE`.
    pub methods: Vec<String>,
    /// Path below the format, decoded: `/nodes/*/qemu/{vmid}/**`.
    pub path: Option<String>,
    /// Parameters by name, of path, query and body: `{ vmid = "100-199,300", node = "pve1" }`.
    pub params: BTreeMap<String, String>,
    /// `name@realm`, with `*` for any run of characters. Their API tokens are meant too.
    pub users: Vec<String>,
    /// Groups of `user.cfg`.
    pub groups: Vec<String>,
    /// Roles that somebody has anywhere in the access list, by himself or by a group.
    pub roles: Vec<String>,
    /// `name@realm!token`, with `*`. Only callers with such a token are meant.
    pub tokens: Vec<String>,
    /// Networks, ranges and addresses of clients.
    pub networks: Vec<String>,
    /// Spans: `mon-fri 08:00-18:00`, UTC unless `+01:00` follows.
    pub times: Vec<String>,
    /// Not these users.
    pub except_users: Vec<String>,
    /// Not members of these groups.
    pub except_groups: Vec<String>,
    /// Not clients in these networks.
    pub except_networks: Vec<String>,
}
