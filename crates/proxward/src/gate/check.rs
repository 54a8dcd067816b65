//! `proxward gate check`: whether the gate in force is the one that was meant.

use std::path::Path;

use ::gate::control::Request;
use ::gate::{Config, Settings, probe};
use serde_json::{Value, json};
use telemetry::Clock;

use crate::cli::{Format, RunningGate};
use crate::exit::{Exit, Stop};
use crate::output::result;
use crate::{config, gate::bans::ask};

mod certificate;

/// pveproxy's defaults and the cluster's secrets, on a node.
const DEFAULTS: &str = "/etc/default/pveproxy";
const PRIVATE: &str = "/etc/pve/priv";
/// Where services that keep the time say that it is right.
const TIME: [&str; 2] = ["/run/systemd/timesync/synchronized", "/run/chrony/chronyd.pid"];
/// Most bytes of a file that is looked into.
const FILE_BYTES: u64 = 1024 * 1024;
/// 2026-01-01: a clock before that has never been set.
const NOT_BEFORE: u64 = 1_767_225_600;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    /// It will not be right for long.
    Warn,
    Fail,
    /// There is nothing to look at here.
    NotApplicable,
    Unknown,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::NotApplicable => "not_applicable",
            Self::Unknown => "unknown",
        }
    }
}

struct Finding {
    id: &'static str,
    verdict: Verdict,
    text: String,
}

fn finding(id: &'static str, verdict: Verdict, text: impl Into<String>) -> Finding {
    Finding { id, verdict, text: text.into() }
}

/// Looks at everything; exit code 1 when something is not as it should be.
pub(crate) fn run(arguments: &RunningGate) -> Result<(), Stop> {
    let status = ask(arguments, &Request::Status);
    let mut findings = vec![match &status {
        Ok(status) => {
            let shown = |key: &str| status.get(key).map(Value::to_string).unwrap_or_default();
            let text = format!("answers as pid {} on {}", shown("pid"), shown("listen"));
            finding("running", Verdict::Ok, text)
        }
        Err(error) => finding("running", Verdict::Fail, error.to_string()),
    }];
    if let Ok(status) = &status {
        findings.extend(standing(status));
        findings.extend(certificate::running(status, Clock::system().unix_secs()));
    }
    findings.extend(configured(arguments, status.is_ok()));
    findings.extend([listen_ip(Path::new(DEFAULTS)), private(Path::new(PRIVATE)), clock()]);
    show(arguments.format, status.as_ref().ok(), &findings);
    let failed = findings.iter().filter(|one| one.verdict == Verdict::Fail).count();
    match failed {
        0 => Ok(()),
        _ => Err(Stop::say(Exit::No, format!("{failed} of {} checks failed", findings.len()))),
    }
}

fn show(format: Format, status: Option<&Value>, findings: &[Finding]) {
    let row = |one: &Finding| json!({"id": one.id, "status": one.verdict.word(), "text": one.text});
    match format {
        Format::Json => {
            let checks: Vec<Value> = findings.iter().map(row).collect();
            result(&json!({"gate": status, "checks": checks}).to_string());
        }
        Format::Text => {
            for one in findings {
                result(&format!("{:14}  {:13}  {}", one.verdict.word(), one.id, one.text));
            }
        }
    }
}

/// What the running gate says of itself, and what the kernel says of each of its threads.
fn standing(status: &Value) -> Vec<Finding> {
    let uid = status.get("uid").and_then(Value::as_u64);
    let mut findings = vec![match uid {
        Some(0) => finding("user", Verdict::Fail, "the gate is root; see gate.allow_degraded"),
        Some(uid) => finding("user", Verdict::Ok, format!("uid {uid}")),
        None => finding("user", Verdict::Unknown, "the gate does not say"),
    }];
    let layers = status.get("layers").and_then(Value::as_object);
    for id in ["capabilities", "landlock", "seccomp"] {
        let state = layers.and_then(|layers| layers.get(id)).and_then(Value::as_str);
        let state = state.unwrap_or("the gate does not say");
        let verdict = if state == "in force" { Verdict::Ok } else { Verdict::Fail };
        findings.push(finding(id, verdict, state));
    }
    findings.push(tickets(status.get("tickets").unwrap_or(&Value::Null)));
    let pid = status.get("pid").and_then(Value::as_u64).unwrap_or(0);
    findings.push(threads(Path::new(&format!("/proc/{pid}/task"))));
    findings
}

/// Who verifies the tickets that clients bring themselves.
fn tickets(status: &Value) -> Finding {
    let text = |key: &str| status.get(key).and_then(Value::as_str);
    match text("verified_by") {
        Some("gate") => {
            let keys = status.get("keys").and_then(Value::as_u64).unwrap_or(0);
            finding("tickets", Verdict::Ok, format!("verified here, keys in use: {keys}"))
        }
        Some(_) => {
            let why = text("why").unwrap_or_default();
            let what = format!("left to Proxmox VE: {why}");
            finding("tickets", Verdict::NotApplicable, what)
        }
        None => finding("tickets", Verdict::Unknown, "the gate does not say"),
    }
}

/// Lines of `/proc/PID/task/TID/status` that a confined thread has.
const CONFINED: [&str; 5] = [
    "CapPrm:\t0000000000000000",
    "CapEff:\t0000000000000000",
    "CapInh:\t0000000000000000",
    "NoNewPrivs:\t1",
    "Seccomp:\t2",
];

fn threads(tasks: &Path) -> Finding {
    let Ok(entries) = std::fs::read_dir(tasks) else {
        return finding("threads", Verdict::Unknown, "another host or namespace than this one's");
    };
    let mut count = 0;
    for entry in entries.flatten() {
        let text = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let missing = CONFINED.iter().find(|line| !text.lines().any(|one| one == **line));
        if let Some(missing) = missing {
            let thread = entry.file_name().to_string_lossy().into_owned();
            let text =
                format!("thread {thread} is not confined: no {}", missing.replace('\t', " "));
            return finding("threads", Verdict::Fail, text);
        }
        count += 1;
    }
    finding("threads", Verdict::Ok, format!("all {count} are confined, by the kernel's word"))
}

/// What the configuration names: upstream, words for less, and the certificate of a gate that does
/// not run.
fn configured(arguments: &RunningGate, runs: bool) -> Vec<Finding> {
    let document = match config::layers(arguments.config.as_deref()).load() {
        Ok(document) => document,
        Err(error) => return vec![finding("configuration", Verdict::Fail, error.to_string())],
    };
    let settings: Settings = document.section("gate").unwrap_or_default();
    if settings == Settings::default() {
        let text = "no section [gate]: started with flags";
        return vec![finding("configuration", Verdict::NotApplicable, text)];
    }
    let words = &settings.allow_degraded;
    let degraded = match words.is_empty() {
        true => finding("degraded", Verdict::Ok, "nothing may be missing"),
        false => {
            let text = format!("gate.allow_degraded has {}", words.join(", "));
            finding("degraded", Verdict::Fail, text)
        }
    };
    match config::gate(&document) {
        // The certificate is read and its key compared with it.
        Ok(config) => {
            let mut findings = vec![degraded, upstream(&config)];
            if !runs {
                findings.push(certificate::configured(&config, Clock::system().unix_secs()));
            }
            findings
        }
        Err(error) => vec![degraded, finding("configuration", Verdict::Fail, error.to_string())],
    }
}

fn upstream(config: &Config) -> Finding {
    let shown = config.destination.to_string();
    match probe(&config.destination) {
        Ok(()) => finding("upstream", Verdict::Ok, format!("{shown} shows what is expected")),
        Err(error) => finding("upstream", Verdict::Fail, format!("{shown}: {error}")),
    }
}

/// Beside the gate, pveproxy must listen on loopback alone.
fn listen_ip(defaults: &Path) -> Finding {
    use std::io::Read as _;
    let mut text = String::new();
    let read = std::fs::File::open(defaults)
        .and_then(|file| file.take(FILE_BYTES).read_to_string(&mut text));
    if read.is_err() {
        let text = format!("no {}: pveproxy is not on this host", defaults.display());
        return finding("listen_ip", Verdict::NotApplicable, text);
    }
    let mut values = text.lines().filter_map(|line| line.trim().strip_prefix("LISTEN_IP="));
    match values.next_back().map(|value| value.trim_matches(['"', '\''])) {
        Some(value @ ("127.0.0.1" | "::1")) => finding("listen_ip", Verdict::Ok, value),
        Some(value) => {
            let text = format!("pveproxy listens on {value:?} too; proxward gate install");
            finding("listen_ip", Verdict::Fail, text)
        }
        None => {
            let text = "pveproxy listens on every address too; proxward gate install";
            finding("listen_ip", Verdict::Fail, text)
        }
    }
}

/// The cluster's secrets are root's alone.
fn private(directory: &Path) -> Finding {
    use std::os::unix::fs::MetadataExt as _;
    let shown = directory.display();
    match std::fs::metadata(directory) {
        Ok(meta) if meta.mode() & 0o077 == 0 && meta.uid() == 0 => {
            finding("private", Verdict::Ok, format!("{shown} is out of the gate's reach"))
        }
        Ok(_) => finding("private", Verdict::Fail, format!("{shown} is open to others than root")),
        Err(_) => finding("private", Verdict::NotApplicable, format!("no {shown}")),
    }
}

/// Tickets end by the clock.
fn clock() -> Finding {
    let now = Clock::system().unix_secs();
    if now < NOT_BEFORE {
        return finding("clock", Verdict::Fail, "it has never been set");
    }
    match TIME.iter().find(|path| Path::new(path).exists()) {
        Some(_) => finding("clock", Verdict::Ok, "a service keeps it right"),
        None => finding("clock", Verdict::Unknown, "no service that keeps it right was found"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pveproxy_listens_on() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pveproxy");
        let verdict = |text: &str| {
            std::fs::write(&file, text).unwrap();
            listen_ip(&file).verdict
        };
        assert_eq!(listen_ip(Path::new("/nonexistent")).verdict, Verdict::NotApplicable);
        assert_eq!(verdict("ALLOW_FROM=\"10.0.0.0/8\"\n"), Verdict::Fail);
        assert_eq!(verdict("# LISTEN_IP=127.0.0.1\n"), Verdict::Fail);
        assert_eq!(verdict("LISTEN_IP=0.0.0.0\nLISTEN_IP=\"127.0.0.1\"\n"), Verdict::Ok);
    }

    #[test]
    fn the_kernels_word_counts_for_each_thread() {
        let dir = tempfile::tempdir().unwrap();
        let task = dir.path().join("7");
        std::fs::create_dir(&task).unwrap();
        std::fs::write(task.join("status"), CONFINED.join("\n")).unwrap();
        assert_eq!(threads(dir.path()).verdict, Verdict::Ok);
        std::fs::write(
            task.join("status"),
            CONFINED.join("\n").replace("Seccomp:\t2", "Seccomp:\t0"),
        )
        .unwrap();
        assert!(threads(dir.path()).text.contains("thread 7"));
        assert_eq!(threads(&dir.path().join("none")).verdict, Verdict::Unknown);
    }
}
