//! pulse-sensor-proxy's configuration as ours: never more than it says.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::yaml::{self, Yaml};
use super::{NodeMode, Settings};
use crate::policy::{PeerPattern, RuleSettings, Selector, TargetPattern};
use broker_api::Group;

/// Where the original listens.
pub(crate) const PULSE_SOCKET: &str = "/run/pulse-sensor-proxy/pulse-sensor-proxy.sock";

/// What every variable begins with.
const PREFIX: &str = "PULSE_SENSOR_PROXY_";

/// Imported settings, and what is different.
#[derive(Clone, Debug, PartialEq)]
pub struct PulseImport {
    /// As `[broker]` would be written.
    pub settings: Settings,
    /// What was left out or understood more narrowly, one line each.
    pub warnings: Vec<String>,
}

/// Why a configuration was not imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PulseError {
    place: String,
    what: String,
}

impl fmt::Display for PulseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

impl std::error::Error for PulseError {}

/// Reads the original's file and environment. Unknown keys, capabilities and values are refused,
/// where the original ignored them.
///
/// # Errors
/// [`PulseError`] with file and line, or the variable's name.
pub fn import_pulse(
    path: &Path,
    text: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<PulseImport, PulseError> {
    let at = |line: usize| format!("{}:{line}", path.display());
    let file = yaml::parse(text)
        .map_err(|fault| PulseError { place: at(fault.line), what: fault.what.to_owned() })?;
    let Yaml::Map(members) = file else {
        return Err(PulseError { place: at(1), what: "expected KEY: VALUE lines".to_owned() });
    };
    let mut import = Import::new();
    for (key, (line, value)) in members {
        import.key(&key, &value, &at(line))?;
    }
    for (name, value) in environment {
        if let Some(key) = name.strip_prefix(PREFIX) {
            import.variable(key, &value, &name)?;
        }
    }
    Ok(import.finish())
}

struct Import {
    settings: Settings,
    warnings: Vec<String>,
    /// By user: the capabilities given. A user in the newer list has only those.
    peers: BTreeMap<u32, Vec<Group>>,
    legacy_uids: Vec<u32>,
    legacy_gids: Vec<u32>,
    idmapped: bool,
    idmap_users: Vec<String>,
    interval_ms: u64,
    burst: u64,
}

type Done = Result<(), PulseError>;

/// Keys that need nothing here, with the reason.
const LEFT_OUT: [(&str, &str); 9] = [
    ("allowed_source_subnets", "from= on nodes is written by `proxward broker keys`"),
    ("log_level", "use --log"),
    ("require_proxmox_hostkeys", "host keys of nodes always have to be known"),
    ("pulse_control_plane", "lists are not fetched over the network; use broker.nodes.allow"),
    ("http_enabled", "HTTPS is the gate's, not the broker's"),
    ("http_listen_addr", "HTTPS is the gate's, not the broker's"),
    ("http_tls_cert", "HTTPS is the gate's, not the broker's"),
    ("http_tls_key", "HTTPS is the gate's, not the broker's"),
    ("http_auth_token", "HTTPS is the gate's, not the broker's"),
];

impl Import {
    fn new() -> Self {
        let mut settings =
            Settings { pulse_metrics: true, socket: PULSE_SOCKET.into(), ..Settings::default() };
        settings.metrics = "127.0.0.1:9127".to_owned();
        settings.nodes.mode = NodeMode::Permissive;
        Self {
            settings,
            warnings: Vec::new(),
            peers: BTreeMap::new(),
            legacy_uids: Vec::new(),
            legacy_gids: Vec::new(),
            idmapped: true,
            idmap_users: vec!["root".to_owned()],
            interval_ms: 500,
            burst: 10,
        }
    }

    fn key(&mut self, key: &str, value: &Yaml, place: &str) -> Done {
        let limits = &mut self.settings.limits;
        match key {
            "allowed_peers" => return self.allowed_peers(value, place),
            "allowed_peer_uids" => self.legacy_uids.extend(numbers(value, place)?),
            "allowed_peer_gids" => self.legacy_gids.extend(numbers(value, place)?),
            "allow_idmapped_root" => self.idmapped = truth(value, place)?,
            "allowed_idmap_users" => self.idmap_users = texts(value, place)?,
            "allowed_nodes" => self.settings.nodes.allow.extend(texts(value, place)?),
            "allowed_nodes_file" => {
                let file = text(value, place)?;
                self.warnings
                    .push(format!("{place}: {file} is not read; put its nodes into allowed_nodes"));
                // Without the list, everything would be allowed that the list refuses.
                self.settings.nodes.mode = NodeMode::Strict;
            }
            "strict_node_validation" => {
                if truth(value, place)? {
                    self.settings.nodes.mode = NodeMode::Strict;
                }
            }
            "read_timeout" => {
                let time = duration(value, place)?.unwrap_or(5000);
                (limits.first_byte_ms, limits.request_ms) = (time, time);
            }
            "write_timeout" => limits.write_ms = duration(value, place)?.unwrap_or(10_000),
            "max_ssh_output_bytes" => {
                let bytes = number(value, place)?;
                self.settings.nodes.output_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            }
            "metrics_address" => {
                let place = text(value, place)?;
                self.settings.metrics = if place == "disabled" { String::new() } else { place };
            }
            "rate_limit" => return self.rate_limit(value, place),
            other => {
                let Some((_, why)) = LEFT_OUT.iter().find(|(key, _)| *key == other) else {
                    return Err(fault(place, &format!("unknown key {other}; remove it")));
                };
                self.warnings.push(format!("{place}: {other} has no effect: {why}"));
            }
        }
        Ok(())
    }

    fn variable(&mut self, key: &str, value: &str, name: &str) -> Done {
        const SAME: [(&str, &str); 12] = [
            ("METRICS_ADDR", "metrics_address"),
            ("LOG_LEVEL", "log_level"),
            ("ALLOWED_NODES", "allowed_nodes"),
            ("STRICT_NODE_VALIDATION", "strict_node_validation"),
            ("READ_TIMEOUT", "read_timeout"),
            ("WRITE_TIMEOUT", "write_timeout"),
            ("MAX_SSH_OUTPUT_BYTES", "max_ssh_output_bytes"),
            ("REQUIRE_PROXMOX_HOSTKEYS", "require_proxmox_hostkeys"),
            ("ALLOWED_PEER_UIDS", "allowed_peer_uids"),
            ("ALLOWED_PEER_GIDS", "allowed_peer_gids"),
            ("ALLOW_IDMAPPED_ROOT", "allow_idmapped_root"),
            ("ALLOWED_IDMAP_USERS", "allowed_idmap_users"),
        ];
        const LISTS: [&str; 4] =
            ["allowed_nodes", "allowed_peer_uids", "allowed_peer_gids", "allowed_idmap_users"];
        match key {
            "SOCKET" => self.settings.socket = value.into(),
            "AUDIT_LOG" => self.settings.audit.file = value.into(),
            "USER" => value.clone_into(&mut self.settings.user),
            "CONFIG" | "SUPPRESS_CONTAINER_WARNING" => {}
            "ALLOWED_SUBNETS" | "SSH_DIR" | "HTTP_ENABLED" | "HTTP_ADDR" | "HTTP_TLS_CERT"
            | "HTTP_TLS_KEY" | "HTTP_AUTH_TOKEN" => {
                self.warnings.push(format!("{name} has no effect"));
            }
            _ => {
                let Some((_, key)) = SAME.iter().find(|(variable, _)| *variable == key) else {
                    return Err(fault(name, "unknown variable; unset it"));
                };
                let word = |text: &str| Yaml::Text(text.trim().to_owned(), false);
                let value = if LISTS.contains(key) {
                    let items = value.split(',').filter(|item| !item.trim().is_empty());
                    Yaml::List(items.map(|item| (0, word(item))).collect())
                } else {
                    word(value)
                };
                return self.key(key, &value, name);
            }
        }
        Ok(())
    }

    fn allowed_peers(&mut self, value: &Yaml, place: &str) -> Done {
        let Yaml::List(items) = value else { return Err(fault(place, "expected a list")) };
        for (line, item) in items {
            let place = in_line(place, *line);
            let Yaml::Map(members) = item else { return Err(fault(&place, "expected uid: N")) };
            let mut uid = None;
            let mut groups = Vec::new();
            for (key, (line, value)) in members {
                let place = in_line(&place, *line);
                match key.as_str() {
                    "uid" => uid = Some(id(value, &place)?),
                    "capabilities" => groups = capabilities(value, &place)?,
                    _ => {
                        return Err(fault(
                            &place,
                            &format!("unknown key {key}; a peer has uid and capabilities"),
                        ));
                    }
                }
            }
            let uid = uid.ok_or_else(|| fault(&place, "a peer needs uid"))?;
            if groups.is_empty() {
                groups.push(Group::Read);
            }
            self.peers.entry(uid).or_default().extend(groups);
        }
        Ok(())
    }

    fn rate_limit(&mut self, value: &Yaml, place: &str) -> Done {
        let Yaml::Map(members) = value else { return Err(fault(place, "expected keys below")) };
        for (key, (line, value)) in members {
            let place = in_line(place, *line);
            match key.as_str() {
                "per_peer_interval_ms" => self.interval_ms = number(value, &place)?.max(1),
                "per_peer_burst" => self.burst = number(value, &place)?.max(1),
                _ => return Err(fault(&place, &format!("unknown key {key}"))),
            }
        }
        Ok(())
    }

    fn finish(mut self) -> PulseImport {
        let everywhere = || vec![TargetPattern::All];
        let rule = |peer: PeerPattern, groups: &[Group]| RuleSettings {
            peer: vec![peer],
            may: groups.iter().copied().map(Selector::Group).collect(),
            on: everywhere(),
        };
        let mut rules = vec![rule(PeerPattern::Uid(0), &Group::ALL)];
        for (uid, groups) in &self.peers {
            let mut groups = groups.clone();
            groups.sort_unstable();
            groups.dedup();
            if *uid == 0 {
                rules.clear();
            } else if groups.contains(&Group::Admin) {
                groups.retain(|group| *group != Group::Admin);
                self.warnings.push(format!(
                    "uid {uid}: admin is for root of the host alone and was left out"
                ));
            }
            // The original's write does nothing; ours changes the host.
            if *uid != 0 && groups.contains(&Group::Write) {
                groups.retain(|group| *group != Group::Write);
                self.warnings.push(format!(
                    "uid {uid}: write allowed nothing in the original and was left out"
                ));
            }
            if groups.is_empty() {
                groups.push(Group::Read);
            }
            rules.push(rule(PeerPattern::Uid(*uid), &groups));
        }
        let uids = self.legacy_uids.iter().filter(|uid| !self.peers.contains_key(uid));
        let legacy = uids
            .map(|uid| PeerPattern::Uid(*uid))
            .chain(self.legacy_gids.iter().map(|gid| PeerPattern::Gid(*gid)));
        for peer in legacy {
            self.warnings
                .push(format!("{peer}: the original gave everything; imported with read alone"));
            rules.push(rule(peer, &[Group::Read]));
        }
        if self.idmapped {
            for user in &self.idmap_users {
                let inner = crate::policy::Inner::Uid(0);
                rules.push(rule(PeerPattern::Range(user.clone(), inner), &[Group::Read]));
                rules.push(rule(PeerPattern::Container(None, inner), &[Group::Read]));
            }
            let text = "containers: root of each may read; name the containers (container:ID) to narrow it";
            self.warnings.push(text.to_owned());
        }
        rules.dedup();
        self.settings.allow = rules;
        let limits = &mut self.settings.limits;
        limits.burst = u32::try_from(self.burst).unwrap_or(u32::MAX);
        let interval = u32::try_from(self.interval_ms).unwrap_or(u32::MAX);
        limits.per_second = 1000.0 / f64::from(interval);
        PulseImport { settings: self.settings, warnings: self.warnings }
    }
}

fn fault(place: &str, what: &str) -> PulseError {
    PulseError { place: place.to_owned(), what: what.to_owned() }
}

/// The same file, another line.
fn in_line(place: &str, line: usize) -> String {
    place.rsplit_once(':').map_or_else(|| place.to_owned(), |(file, _)| format!("{file}:{line}"))
}

fn text(value: &Yaml, place: &str) -> Result<String, PulseError> {
    match value {
        Yaml::Text(text, _) => Ok(text.clone()),
        _ => Err(fault(place, "expected text")),
    }
}

fn texts(value: &Yaml, place: &str) -> Result<Vec<String>, PulseError> {
    match value {
        Yaml::Null => Ok(Vec::new()),
        Yaml::List(items) => {
            items.iter().map(|(line, item)| text(item, &in_line(place, *line))).collect()
        }
        _ => Err(fault(place, "expected a list")),
    }
}

fn numbers(value: &Yaml, place: &str) -> Result<Vec<u32>, PulseError> {
    match value {
        Yaml::Null => Ok(Vec::new()),
        Yaml::List(items) => {
            items.iter().map(|(line, item)| id(item, &in_line(place, *line))).collect()
        }
        _ => Err(fault(place, "expected a list of numbers")),
    }
}

fn number(value: &Yaml, place: &str) -> Result<u64, PulseError> {
    match value {
        Yaml::Text(text, false) => {
            text.parse().map_err(|_| fault(place, "expected a whole number"))
        }
        _ => Err(fault(place, "expected a whole number")),
    }
}

fn id(value: &Yaml, place: &str) -> Result<u32, PulseError> {
    u32::try_from(number(value, place)?)
        .map_err(|_| fault(place, "no user or group has this number"))
}

fn truth(value: &Yaml, place: &str) -> Result<bool, PulseError> {
    match value {
        Yaml::Text(text, false) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            _ => Err(fault(place, "expected true or false")),
        },
        _ => Err(fault(place, "expected true or false")),
    }
}

fn capabilities(value: &Yaml, place: &str) -> Result<Vec<Group>, PulseError> {
    let words = texts(value, place)?;
    let group = |word: &String| {
        let known = Group::ALL.into_iter().find(|group| group.name().eq_ignore_ascii_case(word));
        known.ok_or_else(|| {
            fault(place, &format!("unknown capability {word}; write read, write or admin"))
        })
    };
    words.iter().map(group).collect()
}

/// `5s`, `1m30s`, `500ms`, in milliseconds; `None` for zero and less, which means the default.
fn duration(value: &Yaml, place: &str) -> Result<Option<u64>, PulseError> {
    let text = text(value, place)?;
    let wrong = || fault(place, "expected a time such as 5s or 1m30s");
    if text == "0" || text.starts_with('-') {
        return Ok(None);
    }
    let mut rest = text.as_str();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, after) = rest.split_at_checked(digits).ok_or_else(wrong)?;
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, left) = after.split_at_checked(end).ok_or_else(wrong)?;
        let each: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        total = total.saturating_add(number.saturating_mul(each));
        rest = left;
    }
    Ok((total > 0).then_some(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(text: &str) -> Result<PulseImport, String> {
        import_pulse(Path::new("config.yaml"), text, []).map_err(|error| error.to_string())
    }

    fn groups(import: &PulseImport, peer: &PeerPattern) -> Vec<String> {
        let rules = import.settings.allow.iter().filter(|rule| rule.peer.contains(peer));
        rules.flat_map(|rule| rule.may.iter().map(ToString::to_string)).collect()
    }

    #[test]
    fn both_forms_of_peers_give_no_more_than_they_say() {
        let found = import("allowed_peers:\n  - uid: 998\n    capabilities: [read, admin, write]\n  - uid: 999\nallowed_peer_uids: [998, 5000]\nallowed_peer_gids: [0]\nallow_idmapped_root: false\n").unwrap();
        assert_eq!(groups(&found, &PeerPattern::Uid(998)), ["read"]);
        assert_eq!(groups(&found, &PeerPattern::Uid(999)), ["read"]);
        assert_eq!(groups(&found, &PeerPattern::Uid(5000)), ["read"]);
        assert_eq!(groups(&found, &PeerPattern::Gid(0)), ["read"]);
        assert_eq!(groups(&found, &PeerPattern::Uid(0)), ["read", "write", "admin"]);
        assert_eq!(found.warnings.len(), 4, "{:?}", found.warnings);
        assert!(found.settings.check(Path::new("/nonexistent")).is_ok());
        let root = import("allowed_peers:\n- uid: 0\n  capabilities: [read]\n").unwrap();
        assert_eq!(groups(&root, &PeerPattern::Uid(0)), ["read"], "what is said about root counts");
    }

    #[test]
    fn misspelt_words_are_refused_with_file_and_line() {
        for (text, place) in [
            (
                "allowed_peers:\n  - uid: 1\n    capabilities: [raed]",
                "config.yaml:3: unknown capability",
            ),
            ("allowed_peers:\n  - uid: 1\n    capabilites: [read]", "config.yaml:3: unknown key"),
            ("a: 1\n", "config.yaml:1: unknown key"),
            ("allowed_peers:\n  - gid: 1", "config.yaml:2: unknown key"),
            ("strict_node_validation: maybe", "config.yaml:1: expected true"),
            ("read_timeout: soon", "config.yaml:1: expected a time"),
            ("allowed_peer_uids: [x]", "config.yaml:1: expected a whole"),
            ("allowed_nodes: a\nallowed_nodes: b", "config.yaml:2: the same key"),
        ] {
            let error = import(text).unwrap_err();
            assert!(error.starts_with(place), "{text}: {error}");
        }
    }

    #[test]
    fn values_are_taken_over() {
        let found = import("read_timeout: 1m30s\nwrite_timeout: 0\nmax_ssh_output_bytes: 5\nmetrics_address: disabled\nallowed_nodes:\n  - pve1\n  - 10.0.0.0/8\nstrict_node_validation: true\nrate_limit:\n  per_peer_interval_ms: 100\n  per_peer_burst: 3\nhttp_enabled: true\n").unwrap();
        let Settings { limits, nodes, metrics, .. } = &found.settings;
        assert_eq!((limits.request_ms, limits.write_ms, limits.burst), (90_000, 10_000, 3));
        assert!((limits.per_second - 10.0).abs() < 1e-9);
        assert_eq!((nodes.allow.len(), nodes.mode, nodes.output_bytes), (2, NodeMode::Strict, 5));
        assert!(metrics.is_empty() && found.warnings.iter().any(|w| w.contains("http_enabled")));
        let variables = [("ALLOWED_PEER_UIDS", "7, 8"), ("SOCKET", "/tmp/x"), ("USER", "pulse")];
        let variables =
            variables.map(|(name, value)| (format!("{PREFIX}{name}"), value.to_owned()));
        let found = import_pulse(Path::new("c"), "", variables).unwrap();
        assert_eq!(groups(&found, &PeerPattern::Uid(8)), ["read"]);
        assert_eq!(
            (found.settings.socket.as_path(), found.settings.user.as_str()),
            (Path::new("/tmp/x"), "pulse")
        );
        let wrong = [(format!("{PREFIX}ALOWED_NODES"), "x".to_owned())];
        assert!(
            import_pulse(Path::new("c"), "", wrong)
                .unwrap_err()
                .to_string()
                .contains("unknown variable")
        );
    }
}
