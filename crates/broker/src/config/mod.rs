//! The section `[broker]`: as written ([`Settings`]), and checked ([`Config`]).

mod limits;
pub(crate) mod pulse;
mod reload;
mod yaml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use limits::Limits;
pub use pulse::{PulseError, PulseImport, import_pulse};
pub(crate) use reload::after_restart;
#[cfg(fuzzing)]
pub(crate) use yaml::parse as parse_yaml;

use crate::limits as bounds;
use crate::policy::{Policy, PolicyError, RuleSettings};
use process::Accounts;

/// The account that the process with the sockets runs as.
pub const USER: &str = "proxward-broker";

/// Its number on hosts without that account: used by nobody on a stock Debian or PVE.
pub const FALLBACK_ID: u32 = 61_870;

/// `[broker]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The account that the process with the sockets runs as.
    pub user: String,
    /// Where everybody may connect; who is served, the rules say.
    pub socket: PathBuf,
    /// Further sockets, each for those who can reach its file: a mount is then a grant.
    pub sockets: BTreeMap<String, PathBuf>,
    /// The rules. Without any, root of the host may do everything and others nothing.
    pub allow: Vec<RuleSettings>,
    /// How much, how often, how long.
    pub limits: Limits,
    /// The audit log.
    pub audit: AuditSettings,
    /// Where metrics are served: `127.0.0.1:9127`, or the path of a socket. Nowhere when empty.
    pub metrics: String,
    /// Metrics under pulse-sensor-proxy's names too.
    pub pulse_metrics: bool,
    /// What this program keeps.
    pub state: PathBuf,
    /// Directories that `file.*` may use, by name.
    pub roots: BTreeMap<String, RootSettings>,
    /// What `command.run` may run, by name.
    pub commands: BTreeMap<String, CommandSettings>,
    /// What `cell.start` may start, by name.
    pub cells: BTreeMap<String, CellSettings>,
    /// The program that starts cells, by its whole path.
    pub cell_launcher: PathBuf,
    /// The program that starts units, by its whole path.
    pub systemctl: PathBuf,
    /// Other nodes.
    pub nodes: NodeSettings,
    /// Layers that the kernel may lack: `landlock`, `seccomp`, `pidfd`. A weaker mode.
    pub allow_degraded: Vec<Layer>,
}

/// `[broker.audit]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditSettings {
    /// The log. Its directory belongs to the account above.
    pub file: PathBuf,
    /// The key of its chain, made at the first start. Root's.
    pub key_file: PathBuf,
    /// The last record, written by the process that has no sockets: shows a cut tail. Root's.
    pub head_file: PathBuf,
}

/// `[broker.roots.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootSettings {
    /// The directory. Nothing above it is reached, by `..` or by links.
    pub path: PathBuf,
    /// Whether files may be changed.
    #[serde(default)]
    pub write: bool,
}

/// `[broker.commands.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandSettings {
    /// The program by its whole path, and its words.
    pub argv: Vec<String>,
    /// Most bytes of its output.
    #[serde(default = "command_output")]
    pub output_bytes: usize,
    /// Longest time.
    #[serde(default = "command_time")]
    pub time_ms: u64,
}

/// `[broker.cells.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellSettings {
    /// The unit that is the cell, such as `proxward-cell@web.service`; then nothing else stands
    /// here, and systemd starts it.
    #[serde(default)]
    pub unit: Option<String>,
    /// The policy file of `proxward cell run`.
    #[serde(default)]
    pub policy: PathBuf,
    /// The cell's directory, when the policy does not name it.
    #[serde(default)]
    pub dir: Option<PathBuf>,
    /// The program and its words.
    #[serde(default)]
    pub command: Vec<String>,
}

/// `[broker.nodes]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeSettings {
    /// Names, addresses and networks that may be reached. Without any, the cluster's members.
    pub allow: Vec<String>,
    /// What holds without a list and without a cluster.
    pub mode: NodeMode,
    /// The account on nodes.
    pub user: String,
    /// The port of their sshd.
    pub port: u16,
    /// Where PVE keeps each node's host keys: `NODE/ssh_known_hosts` below it.
    pub known_hosts: PathBuf,
    /// Host keys of other nodes.
    pub extra_known_hosts: Option<PathBuf>,
    /// Where the broker's public key is put for the nodes: `/etc/pve/priv/authorized_keys`, which
    /// every member of a cluster has. Without it the line is printed only.
    pub authorized_keys: Option<PathBuf>,
    /// Most bytes of a node's answer.
    pub output_bytes: usize,
}

/// What holds for nodes without a list and without a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeMode {
    /// Only this node.
    Strict,
    /// Any node whose host key is known.
    Permissive,
}

/// What the kernel has to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layer {
    /// Files and ports, by the kernel's Landlock.
    Landlock,
    /// System calls.
    Seccomp,
    /// Descriptors of peers' processes: without them a peer is known by a number that may be given
    /// anew.
    Pidfd,
}

/// The settings with everything that had to be looked up.
#[derive(Clone, Debug)]
pub struct Config {
    /// As written.
    pub settings: Settings,
    /// The rules.
    pub policy: Policy,
    /// User and group of the process with the sockets.
    pub ids: (u32, u32),
    /// The line that nodes have to know, when there is a key.
    pub public_key: Option<String>,
}

/// Why settings were refused, with the key.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The rules.
    #[error("broker.allow: {0}")]
    Policy(#[from] PolicyError),
    /// Anything else.
    #[error("{key}: {what}")]
    Value {
        /// The key with its section.
        key: String,
        /// What is wrong, with the remedy.
        what: String,
    },
}

impl ConfigError {
    /// The key at fault, to ask where it was set.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Policy(_) => "broker.allow",
            Self::Value { key, .. } => key,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            user: USER.to_owned(),
            socket: broker_api::SOCKET.into(),
            sockets: BTreeMap::new(),
            allow: Vec::new(),
            limits: Limits::default(),
            audit: AuditSettings::default(),
            metrics: String::new(),
            pulse_metrics: false,
            state: "/var/lib/proxward-broker".into(),
            roots: BTreeMap::new(),
            commands: BTreeMap::new(),
            cells: BTreeMap::new(),
            cell_launcher: "/usr/bin/proxward".into(),
            systemctl: "/usr/bin/systemctl".into(),
            nodes: NodeSettings::default(),
            allow_degraded: Vec::new(),
        }
    }
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self {
            file: "/var/log/proxward-broker/audit.jsonl".into(),
            key_file: "/var/lib/proxward-broker/audit.key".into(),
            head_file: "/var/lib/proxward-broker/audit.head".into(),
        }
    }
}

impl Default for NodeSettings {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            mode: NodeMode::Strict,
            user: "root".to_owned(),
            port: 22,
            known_hosts: "/etc/pve/nodes".into(),
            extra_known_hosts: None,
            authorized_keys: None,
            output_bytes: bounds::SSH_OUTPUT,
        }
    }
}

fn command_output() -> usize {
    bounds::COMMAND_OUTPUT.0
}

fn command_time() -> u64 {
    u64::try_from(bounds::COMMAND_TIME.0.as_millis()).unwrap_or(u64::MAX)
}

impl Settings {
    /// Checks everything; `root` is `/` on a real host.
    ///
    /// # Errors
    /// [`ConfigError`]: the first thing wrong.
    pub fn check(self, root: &Path) -> Result<Config, ConfigError> {
        let accounts = Accounts::read(root);
        let policy = if self.allow.is_empty() {
            Policy::root_only()
        } else {
            Policy::check(&self.allow, &accounts)?
        };
        let value = |key: &str, what| ConfigError::Value { key: key.to_owned(), what };
        let wrong = |key: &str, what: String| Err(value(key, what));
        if self.allow.len() > bounds::RULES {
            return wrong("broker.allow", format!("at most {} rules", bounds::RULES));
        }
        if self.sockets.len() >= bounds::SOCKETS {
            return wrong("broker.sockets", format!("at most {}", bounds::SOCKETS - 1));
        }
        if let Some(name) = self.sockets.keys().find(|name| *name == "default" || !is_name(name)) {
            return wrong("broker.sockets", format!("{name:?}: {NAME}, and not `default`"));
        }
        let paths = [
            ("broker.socket", &self.socket),
            ("broker.audit.file", &self.audit.file),
            ("broker.audit.key_file", &self.audit.key_file),
            ("broker.audit.head_file", &self.audit.head_file),
            ("broker.state", &self.state),
            ("broker.cell_launcher", &self.cell_launcher),
            ("broker.systemctl", &self.systemctl),
            ("broker.nodes.known_hosts", &self.nodes.known_hosts),
        ];
        let more = self.sockets.values().map(|path| ("broker.sockets", path));
        let keys = self.nodes.authorized_keys.iter();
        let more = more.chain(keys.map(|path| ("broker.nodes.authorized_keys", path)));
        let roots = self.roots.values().map(|root| ("broker.roots", &root.path));
        for (key, path) in paths.into_iter().chain(more).chain(roots) {
            if !path.is_absolute() {
                return wrong(key, format!("{}: write the whole path", path.display()));
            }
        }
        if let Some(name) = self.roots.keys().chain(self.commands.keys()).find(|n| !is_name(n)) {
            return wrong("broker.roots", format!("{name:?}: {NAME}"));
        }
        for (name, command) in &self.commands {
            check_command(command)
                .map_err(|what| value("broker.commands", format!("{name}: {what}")))?;
        }
        check_cells(&self.cells).map_err(|what| value("broker.cells", what))?;
        self.limits.check()?;
        crate::remote::check_allow(&self.nodes.allow)
            .map_err(|what| value("broker.nodes.allow", what))?;
        let ids = accounts.ids(&self.user).unwrap_or((FALLBACK_ID, FALLBACK_ID));
        if ids.0 == 0 {
            return wrong("broker.user", "root: name an account without rights".to_owned());
        }
        Ok(Config { settings: self, policy, ids, public_key: None })
    }

    /// Whether a layer of confinement may be missing.
    #[must_use]
    pub fn degraded(&self, layer: Layer) -> bool {
        self.allow_degraded.contains(&layer)
    }
}

const NAME: &str = "a name has 1 to 32 of a-z 0-9 _ -";

fn is_name(name: &str) -> bool {
    let byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
    (1..=32).contains(&name.len()) && name.bytes().all(byte)
}

fn check_command(command: &CommandSettings) -> Result<(), String> {
    let (output, time) = (bounds::COMMAND_OUTPUT.1, bounds::COMMAND_TIME.1.as_millis());
    match command.argv.first() {
        Some(program) if Path::new(program).is_absolute() => {}
        _ => return Err("argv: begin with the program's whole path".to_owned()),
    }
    if command.argv.len() > 64 || command.argv.iter().any(|word| word.contains('\0')) {
        return Err("argv: at most 64 words without null characters".to_owned());
    }
    if !(1..=output).contains(&command.output_bytes) {
        return Err(format!("output_bytes: from 1 to {output}"));
    }
    if command.time_ms == 0 || u128::from(command.time_ms) > time {
        return Err(format!("time_ms: from 1 to {time}"));
    }
    Ok(())
}

fn check_cells(cells: &BTreeMap<String, CellSettings>) -> Result<(), String> {
    if cells.len() > bounds::CELLS {
        return Err(format!("at most {}", bounds::CELLS));
    }
    for (name, cell) in cells {
        if !is_name(name) {
            return Err(format!("{name:?}: {NAME}"));
        }
        if let Some(unit) = &cell.unit {
            let byte = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
            let plain = unit.len() <= 255 && !unit.starts_with('-') && unit.bytes().all(byte);
            if !plain || !unit.ends_with(".service") {
                return Err(format!("{name}: unit: write NAME.service"));
            }
            if cell.dir.is_some() || !cell.command.is_empty() || cell.policy != Path::new("") {
                return Err(format!("{name}: the unit says what runs; leave the rest out"));
            }
            continue;
        }
        if !cell.policy.is_absolute() || cell.dir.as_ref().is_some_and(|dir| !dir.is_absolute()) {
            return Err(format!("{name}: write the whole path of policy and dir"));
        }
        let sound = |word: &String| !word.contains('\0');
        if !(1..=64).contains(&cell.command.len()) || !cell.command.iter().all(sound) {
            return Err(format!("{name}: command: 1 to 64 words without null characters"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(toml: &str) -> Result<Config, String> {
        let layers = settings::Layers::new(&["broker"]).text("proxward.toml", toml);
        let document = layers.load().map_err(|error| error.to_string())?;
        let settings: Settings = document.section("broker").map_err(|error| error.to_string())?;
        settings.check(Path::new("/nonexistent")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_misspelt_word_is_refused_with_file_and_line() {
        for (toml, place, what) in [
            ("[broker]\n\nsokcet = 'x'", "proxward.toml:3:", "did you mean"),
            (
                "[[broker.allow]]\npeer = ['uid:1']\nmay = ['read', 'wirte']",
                "proxward.toml:3:",
                "did you mean write?",
            ),
            (
                "[[broker.allow]]\npeer = ['uid:x']\nmay = ['read']",
                "proxward.toml:2:",
                "expected uid:N",
            ),
            (
                "[[broker.allow]]\npeer = ['uid:1']\nmay = ['read']\non = ['nodes/a']",
                "proxward.toml:4:",
                "expected local",
            ),
            (
                "[[broker.allow]]\npeer = ['uid:1']\nmya = ['read']",
                "proxward.toml:3:",
                "did you mean may?",
            ),
            ("[broker.limits]\nburst = 'many'", "proxward.toml:2:", "expected"),
            ("[broker.nodes]\nmode = 'lax'", "proxward.toml:2:", "strict"),
        ] {
            let error = checked(toml).unwrap_err();
            assert!(error.contains(place) && error.contains(what), "{toml}: {error}");
        }
    }

    #[test]
    fn values_are_checked() {
        for (toml, what) in [
            ("[broker]\nsocket = 'a'", "broker.socket"),
            ("[broker.sockets]\ndefault = '/a'", "broker.sockets"),
            ("[broker.sockets]\nA = '/a'", "broker.sockets"),
            ("[broker.commands.x]\nargv = ['true']", "whole path"),
            ("[broker.commands.x]\nargv = ['/bin/true']\ntime_ms = 0", "time_ms"),
            ("[broker.roots.x]\npath = 'etc'", "broker.roots"),
            ("[broker.cells.x]\npolicy = 'x.toml'\ncommand = ['node']", "whole path"),
            ("[broker.cells.x]\npolicy = '/x.toml'\ncommand = []", "1 to 64 words"),
            ("[broker.cells.x]\nunit = '-x.service'", "NAME.service"),
            ("[broker.cells.x]\nunit = 'x.service'\ncommand = ['a']", "leave the rest out"),
            ("[broker.limits]\nburst = 0", "broker.limits.burst"),
            ("[broker.nodes]\nallow = ['10.0.0.0/33']", "broker.nodes.allow"),
            (
                "[[broker.allow]]\npeer = ['user:nobody-here']\nmay = ['read']",
                "not known on this host",
            ),
            (
                "[[broker.allow]]\npeer = ['container:101']\nmay = ['admin']",
                "root of the host alone",
            ),
        ] {
            let error = checked(toml).unwrap_err();
            assert!(error.contains(what), "{toml}: {error}");
        }
        let config = checked("").unwrap();
        assert_eq!((config.ids, config.policy.len()), ((FALLBACK_ID, FALLBACK_ID), 1));
    }

    #[test]
    fn settings_survive_the_way_to_another_process() {
        let config = checked("[[broker.allow]]\npeer=['uid:1','unit:a.service']\nmay=['read','file.write']\non=['*']\n[broker.roots.x]\npath='/x'").unwrap();
        let text = serde_json::to_string(&config.settings).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), config.settings);
    }
}
