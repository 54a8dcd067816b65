//! The broker: least-privilege host operations on a unix socket.
//!
//! Three kinds of processes of one program:
//!
//! * the **supervisor** has root's rights, the settings and the worker's ends, and reads no byte
//!   of any peer;
//! * the **listener** (`serve`) has the sockets, the policy, the limits and the audit log, and no
//!   rights at all: own user, no capabilities, Landlock, seccomp without exec;
//! * a **worker** (`worker`) has the rights of its kind of work and none beside, gets packets
//!   from the listener alone, and is started when first needed.
//!
//! A request: socket, identity (`peer`), framing with deadlines (`serve::connection`), budget and
//! turn (`serve::admission`), policy (`policy`), work (`verbs`), record (`serve::audit`), answer.

mod config;
mod confine;
mod device_ioctl;
mod forced;
mod ipc;
mod limits;
mod peer;
mod policy;
mod pulse;
mod race;
mod remote;
mod role;
mod serve;
mod supervisor;
mod verbs;
mod worker;

#[cfg(fuzzing)]
pub mod fuzzing;

pub use config::{
    AuditSettings, CellSettings, CommandSettings, Config, ConfigError, FALLBACK_ID, Layer, Limits,
    NodeMode, NodeSettings, PulseError, PulseImport, RootSettings, Settings, USER, import_pulse,
};
pub use forced::forced_command;
pub use peer::{Peer, PeerKey, Place, Range};
pub use policy::{
    Decision, Inner, PatternError, PeerPattern, Policy, PolicyError, RuleSettings, Selector,
    TargetPattern,
};
pub use process::Accounts;
pub use role::{ROLE_FLAG, RoleError, run_role};
pub use supervisor::{Source, SuperviseError, supervise};
