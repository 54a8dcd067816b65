//! Other nodes over the system's ssh: fixed words, keys known before, caps that end the remote.
//!
//! The name is judged and resolved here, in the process that has no rights; the connection goes
//! to the address that was judged, under the alias whose host key PVE keeps for the node
//! (`/etc/pve/nodes/NODE/ssh_known_hosts`, as `PVE::SSHInfo` does). ssh itself reads hashed,
//! revoked and certificate entries; an entry is never added.

use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};

use broker_api::{Code, Refusal};
use process::{RunError, Spec};
use serde_json::{Map, Value, json};

use super::sensors::read_output;
use crate::config::{NodeSettings, Settings};
use crate::limits::{KNOWN_HOSTS, SSH_TIME};
use crate::remote::{Cluster, NodeName, judge, keys};

const SSH: &str = "/usr/bin/ssh";

/// Options of every call, with the reason of each.
const OPTIONS: &[(&str, &str)] = &[
    ("BatchMode=yes", "no questions"),
    // Post-quantum stays with nodes that have ML-KEM (OpenSSH 9.9).
    ("KexAlgorithms=-sntrup761*", "sixty milliseconds of CPU a call, for a reading of sensors"),
    ("StrictHostKeyChecking=yes", "an unknown key is refused, never added"),
    ("GlobalKnownHostsFile=/dev/null", "the named files alone decide"),
    ("UpdateHostKeys=no", "a node does not add keys of its own"),
    ("CheckHostIP=no", "the alias decides, not the address"),
    ("IdentitiesOnly=yes", "the broker's keys alone are offered"),
    ("IdentityAgent=none", "nobody else's agent"),
    ("PreferredAuthentications=publickey", "no passwords"),
    ("ClearAllForwardings=yes", "nothing is forwarded"),
    ("ForwardAgent=no", "nothing is forwarded"),
    ("PermitLocalCommand=no", "nothing is run here"),
    ("ProxyCommand=none", "nothing is run here"),
    ("RequestTTY=no", "no terminal"),
    ("ControlMaster=no", "no socket left behind"),
    ("ConnectTimeout=5", "a dead node does not hold up"),
    ("ConnectionAttempts=1", "a dead node does not hold up"),
    ("ServerAliveInterval=5", "a node that hangs is noticed"),
    ("ServerAliveCountMax=2", "a node that hangs is noticed"),
    ("LogLevel=ERROR", "only what says why"),
];

/// Calls to nodes.
pub(crate) struct Ssh {
    nodes: NodeSettings,
    keys: PathBuf,
}

impl Ssh {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { nodes: settings.nodes.clone(), keys: settings.state.join("ssh") }
    }

    pub(super) fn handle(&self, verb: &str, params: &Map<String, Value>) -> Result<Value, Refusal> {
        let text = |name: &str| params.get(name).and_then(Value::as_str).unwrap_or_default();
        let node = NodeName::parse(text("node"));
        let cluster = params.get("cluster").cloned().map(serde_json::from_value::<Cluster>);
        let (Some(node), Some(Ok(cluster)), "sensors.read") = (node, cluster, verb) else {
            return Err(super::handler::not_mine());
        };
        let member = cluster.members.iter().flatten().find(|member| member.is(&node));
        let addresses = match (member.and_then(|member| member.address), &node) {
            (Some(address), _) => vec![address],
            (None, NodeName::Address(address)) => vec![*address],
            (None, NodeName::Name(name)) => resolve(name, self.nodes.port),
        };
        judge(&self.nodes, &cluster, &node, &addresses)?;
        let address = addresses.first().ok_or_else(|| {
            Refusal::new(Code::RemoteFailed, format!("resolve node {}: no address", node.text()))
        })?;
        let alias = member.map_or_else(|| node.text(), |member| member.name.clone());
        let format = if text("format") == "model" { "model" } else { "lm-sensors" };
        self.call(&alias, *address, format)
    }

    fn call(&self, alias: &str, address: IpAddr, format: &str) -> Result<Value, Refusal> {
        let known = self.known_hosts(alias)?;
        let identities = keys::identities(&self.keys);
        if identities.is_empty() {
            let text = "the broker has no ssh key; `proxward broker call keys.ensure` makes one";
            return Err(Refusal::new(Code::Unavailable, text));
        }
        let arguments = words(&self.nodes, alias, address, &known, &identities, format);
        let done = process::run(&Spec {
            program: Path::new(SSH),
            arguments: &arguments,
            environment: &[("LANG", "C"), ("HOME", "/nonexistent")],
            output_bytes: self.nodes.output_bytes,
            time: SSH_TIME,
        });
        match done {
            Ok(done) if done.status.success() => reading(&done.stdout),
            Ok(done) => Err(why(alias, &done.stderr)),
            Err(RunError::TooLarge { limit, .. }) => {
                Err(Refusal::new(Code::OutputTooLarge, format!("{limit} bytes")))
            }
            Err(RunError::TimedOut { .. }) => {
                Err(Refusal::new(Code::HandlerTimeout, format!("{alias} did not answer in time")))
            }
            Err(error) => Err(Refusal::new(Code::Unavailable, error.to_string())),
        }
    }

    /// The files that hold the node's host keys. One without any is not connected to.
    fn known_hosts(&self, alias: &str) -> Result<Vec<PathBuf>, Refusal> {
        let own = self.nodes.known_hosts.join(alias).join("ssh_known_hosts");
        let files: Vec<PathBuf> = [Some(own), self.nodes.extra_known_hosts.clone()]
            .into_iter()
            .flatten()
            .filter(|path| std::fs::read(path).is_ok_and(|text| known_hosts(&text, alias)))
            .collect();
        if files.is_empty() {
            let text = format!(
                "no host key is known for {alias}; PVE keeps it in {}/{alias}/ssh_known_hosts",
                self.nodes.known_hosts.display()
            );
            return Err(Refusal::new(Code::TargetRefused, text).because("host_key_unknown"));
        }
        Ok(files)
    }
}

/// Addresses of a name, by the system's own resolver. Those of the other family than the first
/// are judged too.
fn resolve(name: &str, port: u16) -> Vec<IpAddr> {
    let found = (name, port).to_socket_addrs();
    let mut addresses: Vec<IpAddr> = found.into_iter().flatten().map(|one| one.ip()).collect();
    addresses.dedup();
    addresses
}

fn words(
    nodes: &NodeSettings,
    alias: &str,
    address: IpAddr,
    known: &[PathBuf],
    identities: &[PathBuf],
    format: &str,
) -> Vec<String> {
    let quoted = |path: &PathBuf| format!("\"{}\"", path.display());
    let known: Vec<String> = known.iter().map(quoted).collect();
    let mut words = vec!["-F".to_owned(), "/dev/null".to_owned(), "-T".to_owned()];
    let fixed = OPTIONS.iter().map(|(option, _)| (*option).to_owned());
    let own = [format!("UserKnownHostsFile={}", known.join(" ")), format!("HostKeyAlias={alias}")];
    for option in fixed.chain(own) {
        words.extend(["-o".to_owned(), option]);
    }
    for identity in identities {
        words.extend(["-i".to_owned(), identity.display().to_string()]);
    }
    words.extend(["-p".to_owned(), nodes.port.to_string(), "-l".to_owned(), nodes.user.clone()]);
    // An address, then words of ours: nothing of the request is among them.
    words.extend(["--".to_owned(), address.to_string(), format!("sensors.read {format}")]);
    words
}

/// Whether a `known_hosts` file may hold a key for this alias (sshd(8)): a clear name, a pattern,
/// or a hashed one, which ssh compares. Lines that are revocations alone do not count.
pub(crate) fn known_hosts(text: &[u8], alias: &str) -> bool {
    if text.len() > KNOWN_HOSTS.0 {
        return false;
    }
    let text = String::from_utf8_lossy(text);
    text.lines().take(KNOWN_HOSTS.1).any(|line| {
        let mut fields = line.split_ascii_whitespace();
        let mut first = fields.next().unwrap_or_default();
        if first == "@cert-authority" {
            first = fields.next().unwrap_or_default();
        }
        let whole = fields.next().is_some() && fields.next().is_some();
        let sound = whole && !first.starts_with(['#', '@']);
        sound && (first.starts_with("|1|") || first.split(',').any(|name| matches(name, alias)))
    })
}

/// `*` and `?` of a pattern. A negated one is ssh's to judge.
fn matches(pattern: &str, alias: &str) -> bool {
    if pattern.starts_with('!') {
        return false;
    }
    if pattern.contains(['*', '?']) {
        return true;
    }
    pattern.eq_ignore_ascii_case(alias)
}

/// What a node answered: this program's own JSON, or what `sensors -j` prints.
fn reading(stdout: &[u8]) -> Result<Value, Refusal> {
    let text = String::from_utf8_lossy(stdout);
    let value = read_output(&text).ok_or_else(|| {
        Refusal::new(Code::RemoteFailed, "the node's answer is no reading of sensors")
    })?;
    let ours = value.get("sensors").is_some() || value.get("chips").is_some();
    Ok(if ours { value } else { json!({"sensors": value}) })
}

/// What ssh complained about, and whose turn it is.
fn why(alias: &str, stderr: &[u8]) -> Refusal {
    let text = String::from_utf8_lossy(stderr);
    let has = |part: &str| text.contains(part);
    let changed = has("IDENTIFICATION HAS CHANGED") || has("REVOKED HOST KEY");
    if changed {
        let text = format!(
            "{alias} shows another host key than the one known: refused; compare it on the node, \
             then `pvecm updatecerts`"
        );
        return Refusal::new(Code::HostKeyChanged, text).because("host_key_changed");
    }
    if has("Host key verification failed") || has("host key is known for") {
        let text = format!("no host key of {alias} is known that it shows");
        return Refusal::new(Code::TargetRefused, text).because("host_key_unknown");
    }
    let text = if has("Permission denied") {
        format!("{alias} does not accept the broker's key; keys.ensure prints the line it needs")
    } else {
        let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no answer");
        let line: String = line.chars().filter(|c| !c.is_control()).take(200).collect();
        format!("{alias}: {}", secrets::mask::text(&line))
    };
    Refusal::new(Code::RemoteFailed, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_of_a_request_becomes_a_word_but_the_judged_address() {
        let nodes = NodeSettings::default();
        let (known, keys) = (["/k/a b".into()], ["/s/id".into()]);
        let words = words(&nodes, "pve2", "10.0.0.2".parse().unwrap(), &known, &keys, "model");
        let tail: Vec<&str> = words.iter().rev().take(3).rev().map(String::as_str).collect();
        assert_eq!(tail, ["--", "10.0.0.2", "sensors.read model"]);
        assert!(words.contains(&"UserKnownHostsFile=\"/k/a b\"".to_owned()));
        assert!(words.contains(&"HostKeyAlias=pve2".to_owned()));
        assert_eq!(words[..2], ["-F", "/dev/null"]);
    }

    #[test]
    fn files_that_know_a_node() {
        for (text, expected) in [
            ("pve2 ssh-ed25519 AAAA", true),
            ("PVE2,10.0.0.2 ssh-rsa AAAA c", true),
            ("|1|salt=|hash= ssh-ed25519 AAAA", true),
            ("@cert-authority *.example ssh-ed25519 AAAA", true),
            ("@revoked pve2 ssh-ed25519 AAAA", false),
            ("# pve2 ssh-ed25519 AAAA", false),
            ("pve2", false),
            ("pve22 ssh-ed25519 AAAA", false),
            ("", false),
        ] {
            assert_eq!(known_hosts(text.as_bytes(), "pve2"), expected, "{text}");
        }
    }

    #[test]
    fn complaints_of_ssh_become_codes() {
        for (text, code) in [
            ("@@@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @@@", Code::HostKeyChanged),
            ("@ WARNING: REVOKED HOST KEY DETECTED! @", Code::HostKeyChanged),
            (
                "No ED25519 host key is known for pve2\nHost key verification failed.",
                Code::TargetRefused,
            ),
            ("root@10.0.0.2: Permission denied (publickey).", Code::RemoteFailed),
            ("ssh: connect to host 10.0.0.2 port 22: Connection refused", Code::RemoteFailed),
        ] {
            assert_eq!(why("pve2", text.as_bytes()).code, code, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged(bytes: Vec<u8>) {
            let _ = known_hosts(&bytes, "pve2");
            let _ = why("pve2", &bytes);
            let _ = reading(&bytes);
        }
    }
}
