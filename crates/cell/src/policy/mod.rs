//! What a cell may do: read from TOML, from flags, or from a named profile.

mod destination;
mod quantity;
mod toml_file;

pub use destination::{Destination, DestinationError, Listen, Restriction, Whom};
pub use quantity::{Bytes, QuantityError, Span};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::layer::Layer;

/// What one cell may do. Everything that is not said is not allowed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// The profile it started from.
    pub profile: Profile,
    /// The one directory, `/cell` inside.
    pub dir: Option<PathBuf>,
    /// May the command not write there?
    pub read_only: bool,
    /// Further files and directories outside that the command may read, at the same path.
    pub read: Vec<PathBuf>,
    /// Where the command may connect to, beside its own loopback.
    pub connect: Vec<Destination>,
    /// Instead of `connect`: everywhere but here.
    pub restrict: Option<Restriction>,
    /// Native add-ons that may be loaded. All others are refused.
    pub addons: Vec<Addon>,
    /// Programs that the command may start, in the profile `build` only.
    pub programs: Vec<PathBuf>,
    /// Ports it may listen on that are reachable from outside.
    pub publish: Vec<Listen>,
    /// Environment beside the five fixed variables.
    pub env: BTreeMap<String, String>,
    /// Bounds.
    pub limits: Limits,
    /// Layers that may be missing on this machine.
    #[serde(deserialize_with = "toml_file::optional_layers")]
    pub allow_degraded: Vec<Layer>,
    /// May the command see its own part of /proc? Without it Node.js can not tell its memory.
    pub proc: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            profile: Profile::Tenant,
            dir: None,
            read_only: false,
            read: Vec::new(),
            connect: Vec::new(),
            restrict: None,
            addons: Vec::new(),
            programs: Vec::new(),
            publish: Vec::new(),
            env: BTreeMap::new(),
            limits: Limits::default(),
            allow_degraded: Vec::new(),
            proc: true,
        }
    }
}

/// A native add-on (`.node`) that somebody has looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addon {
    /// Where it is: below the directory when it is relative.
    pub path: PathBuf,
    /// SHA-256 of its bytes, 64 hexadecimal digits. With other bytes no cell is built.
    pub sha256: String,
}

/// A named kind of cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Code of somebody else: no other program, compiled code of a JIT allowed.
    #[default]
    Tenant,
    /// The same without a JIT: no memory becomes executable. No WebAssembly, so no `fetch`.
    TenantJitless,
    /// A plugin: as `tenant`, and it listens on a socket that it is handed.
    Plugin,
    /// A build: may start the programs it was given, has no network.
    Build,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Tenant, Self::TenantJitless, Self::Plugin, Self::Build];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::TenantJitless => "tenant-jitless",
            Self::Plugin => "plugin",
            Self::Build => "build",
        }
    }

    /// The policy it stands for, as long as nothing else is said.
    #[must_use]
    pub fn policy(self) -> Policy {
        let limits = match self {
            Self::Build => Limits { pids: 512, memory: Bytes(2 << 30), ..Limits::default() },
            _ => Limits::default(),
        };
        Policy { profile: self, limits, ..Policy::default() }
    }
}

/// Bounds of a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory, scratch space included. Over it the cell ends with 137.
    pub memory: Bytes,
    /// Processors' worth of time, such as 0.5; none is no bound.
    pub cpus: Option<f64>,
    /// Processes and threads.
    pub pids: u32,
    /// Wall time. At its end the command is asked to end (SIGTERM).
    pub timeout: Option<Span>,
    /// How long it has then, until it is ended.
    pub grace: Span,
    /// Size of /cell/scratch.
    pub scratch: Bytes,
    /// Most files there.
    pub scratch_inodes: u64,
    /// Open files.
    pub open_files: u32,
    /// Largest file it may write.
    pub file_size: Option<Bytes>,
    /// Lines of output a second, over a second's burst; what is more is dropped and counted.
    pub log_lines: u32,
    /// Bytes of output a second, over a second's burst.
    pub log_bytes: Bytes,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: Bytes(512 << 20),
            cpus: None,
            pids: 128,
            timeout: None,
            grace: Span(Duration::from_secs(2)),
            scratch: Bytes(64 << 20),
            scratch_inodes: 4096,
            open_files: 512,
            file_size: None,
            log_lines: 20_000,
            log_bytes: Bytes(16 << 20),
        }
    }
}

/// Why a policy can not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Not TOML, an unknown key, a wrong type. The text names line and key.
    #[error("{0}")]
    Text(String),
    /// A value that can not be used.
    #[error("{key}: {what}")]
    Value {
        /// Its key.
        key: &'static str,
        /// What is wrong, and what to write.
        what: String,
    },
}

impl Policy {
    /// What no type says: bounds that exclude each other, sizes too small to start anything.
    ///
    /// # Errors
    ///
    /// The first value that can not be used.
    pub fn check(&self) -> Result<(), PolicyError> {
        let wrong = |key, what: &str| Err(PolicyError::Value { key, what: what.to_owned() });
        let limits = &self.limits;
        if !self.connect.is_empty() && self.restrict.is_some() {
            return wrong("connect", "give either a list of allowed or of restricted destinations");
        }
        if self.profile == Profile::Build && (!self.connect.is_empty() || self.restrict.is_some()) {
            return wrong("connect", "the profile 'build' has no network");
        }
        if self.profile != Profile::Build && !self.programs.is_empty() {
            return wrong("programs", "only the profile 'build' may start programs");
        }
        let is_hash = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if self.addons.iter().any(|addon| !is_hash(&addon.sha256)) {
            return wrong("addons", "sha256 has 64 hexadecimal digits; sha256sum prints them");
        }
        if limits.memory.0 < 4 << 20 {
            return wrong("limits.memory", "less than 4M starts no program");
        }
        if limits.cpus.is_some_and(|cpus| !(0.01..=1024.0).contains(&cpus)) {
            return wrong("limits.cpus", "expected a number from 0.01 to 1024");
        }
        if !(1..=32_768).contains(&limits.pids) {
            return wrong("limits.pids", "expected a number from 1 to 32768");
        }
        if !(128..=65_536).contains(&limits.open_files) {
            return wrong("limits.open_files", "expected a number from 128 to 65536");
        }
        if limits.scratch.0 < 4096 {
            return wrong("limits.scratch", "expected at least 4K");
        }
        if limits.scratch_inodes < 2 {
            return wrong("limits.scratch_inodes", "expected at least 2");
        }
        let bad = |name: &String| {
            name.is_empty() || name.contains(['=', '\0']) || name.starts_with("LD_")
        };
        if self.env.iter().any(|(name, value)| bad(name) || value.contains('\0')) {
            return wrong("env", "a name is empty, holds '=', or is the loader's own (LD_…)");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_usable_and_has_its_own_name() {
        for profile in Profile::ALL {
            assert_eq!(profile.policy().check(), Ok(()));
            assert_eq!(serde_json::to_value(profile).unwrap(), profile.name());
        }
    }

    #[test]
    fn what_can_not_be_used_is_refused_by_key() {
        type Change = fn(&mut Policy);
        let cases: [(&str, Change); 6] = [
            ("limits.memory", |policy| policy.limits.memory = Bytes(1)),
            ("limits.cpus", |policy| policy.limits.cpus = Some(f64::NAN)),
            ("limits.pids", |policy| policy.limits.pids = 0),
            ("limits.open_files", |policy| policy.limits.open_files = 3),
            ("env", |policy| drop(policy.env.insert("LD_PRELOAD".into(), "x".into()))),
            ("connect", |policy| {
                policy.connect = vec!["192.0.2.1:443".parse().unwrap()];
                policy.restrict = Some(Restriction::default());
            }),
        ];
        for (expected, change) in cases {
            let mut policy = Policy::default();
            change(&mut policy);
            let Err(PolicyError::Value { key, .. }) = policy.check() else { panic!("{expected}") };
            assert_eq!(key, expected);
        }
    }
}
