//! Declared cells: started, listed, stopped.
//!
//! A request names a cell; what it runs stands in the configuration, and what it may do in the
//! policy file named there. The one program that is started is `proxward cell run`, with fixed
//! words, by a process of its own ([`launcher`]); or `systemctl`, for cells that are units. A cell
//! outlives the broker: what runs is noted in a file each, with the time at which the kernel started
//! the process, so that a number given anew is never taken for it.

mod launcher;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use broker_api::{Code, Refusal};
use secrets::private_file;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use telemetry::Clock;

use super::files::failed;
use crate::config::{CellSettings, Settings};
use crate::ipc;
use crate::limits::{CELL_LOG, CELL_STOP, CELL_TICK};
use crate::role::{self, LAUNCHER};
pub(crate) use launcher::run as run_launcher;
use launcher::{Launcher, Process};

/// All a launcher finds in its environment.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("LANG", "C.UTF-8"),
];

/// Largest note about a cell.
const NOTE: usize = 4096;

/// The declared cells.
pub(crate) struct Cells {
    program: PathBuf,
    systemctl: PathBuf,
    declared: BTreeMap<String, CellSettings>,
    folder: PathBuf,
    clock: Clock,
    /// The process that starts those that are no units, when there are any.
    launcher: Option<Launcher>,
}

/// What is noted about a running cell.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Note {
    #[serde(flatten)]
    process: Process,
    since_ms: u64,
    lease_until_ms: Option<u64>,
}

/// Whether notes are there, for who starts the worker.
pub(crate) fn noted(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.path().extension().is_some_and(|end| end == "json"))
}

/// This program again, as what starts cells.
fn start_launcher(settings: &Settings) -> Result<Launcher, String> {
    let say = |error: &dyn std::fmt::Display| format!("cell launcher: {error}");
    let (channel, end) = ipc::pair().map_err(|error| say(&error))?;
    // It ends with the channel, and init waits for it: no child of this process is left to reap.
    role::start(LAUNCHER, end, None).map_err(|error| say(&error))?;
    Launcher::new(channel, settings).map_err(|error| say(&error))
}

impl Cells {
    /// Starts the process that starts cells, where any is no unit.
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        let launched = settings.cells.values().any(|cell| cell.unit.is_none());
        let launcher = if launched { Some(start_launcher(settings)?) } else { None };
        Self::with(settings, launcher)
    }

    fn with(settings: &Settings, launcher: Option<Launcher>) -> Result<Self, String> {
        let folder = settings.state.join("cells");
        private_file::create_dir(&folder).map_err(|error| error.to_string())?;
        Ok(Self {
            program: settings.cell_launcher.clone(),
            systemctl: settings.systemctl.clone(),
            declared: settings.cells.clone(),
            folder,
            clock: Clock::system(),
            launcher,
        })
    }

    pub(super) fn wakes(&self) -> Option<Duration> {
        noted(&self.folder).then_some(CELL_TICK)
    }

    /// Takes notice of ends, ends what was not confirmed, keeps logs short.
    pub(super) fn tick(&self) {
        for name in self.declared.keys() {
            // systemd keeps a unit's log, and is asked only when there is something to decide.
            if self.unit(name).is_some()
                && self.kept(name).is_none_or(|note| note.lease_until_ms.is_none())
            {
                continue;
            }
            let Some(note) = self.note(name) else { continue };
            if note.lease_until_ms.is_some_and(|until| until <= self.now_ms()) {
                tracing::warn!(cell = name, "not confirmed in time: stopped");
                if let Err(error) = self.end(name, &note) {
                    tracing::error!(cell = name, error = error.message, "can not be stopped");
                }
            }
            let log = self.file(name, "log");
            if log.metadata().is_ok_and(|meta| meta.len() > CELL_LOG) {
                // Opened for appending by the cell: what comes next stands at the beginning.
                let _ = File::options().write(true).open(&log).and_then(|file| file.set_len(0));
            }
        }
    }

    pub(super) fn handle(&self, verb: &str, params: &Map<String, Value>) -> Result<Value, Refusal> {
        if verb == "cell.list" {
            let rows: Vec<Value> = self.declared.keys().map(|name| self.row(name)).collect();
            return Ok(json!({"cells": rows}));
        }
        let name = params.get("name").and_then(Value::as_str).unwrap_or_default();
        let Some((name, cell)) = self.declared.get_key_value(name) else {
            let text = "no cell of this name is declared in broker.cells";
            return Err(Refusal::new(Code::NotFound, text));
        };
        let plan = params.get("plan").and_then(Value::as_bool) == Some(true);
        match verb {
            "cell.start" => self.start(name, cell, params, plan),
            "cell.stop" => self.stop(name, plan),
            "cell.confirm" => self.confirm(name),
            _ => Err(super::handler::not_mine()),
        }
    }

    fn start(
        &self,
        name: &str,
        cell: &CellSettings,
        params: &Map<String, Value>,
        plan: bool,
    ) -> Result<Value, Refusal> {
        let (program, arguments) = match &cell.unit {
            Some(unit) => (&self.systemctl, vec!["start".to_owned(), unit.clone()]),
            None => (&self.program, launcher::arguments(cell)),
        };
        if self.note(name).is_some() {
            return Ok(json!({"changed": false, "cell": self.row(name)}));
        }
        if plan {
            return Ok(json!({"changed": true, "launcher": program, "arguments": arguments}));
        }
        let lease = params.get("lease_ms").and_then(Value::as_u64);
        let lease_until_ms = lease.map(|lease| self.now_ms().saturating_add(lease));
        let process = if cell.unit.is_some() {
            self.systemctl(&arguments)?;
            // Only what systemd does not know is kept.
            Process { pid: 0, started: 0 }
        } else {
            self.launcher()?.start(name)?
        };
        let note = Note { process, since_ms: self.now_ms(), lease_until_ms };
        if let Err(error) = self.keep(name, &note) {
            // What is not noted would run on unseen after a restart.
            self.end(name, &note)?;
            return Err(error);
        }
        Ok(json!({"changed": true, "cell": self.row(name)}))
    }

    fn stop(&self, name: &str, plan: bool) -> Result<Value, Refusal> {
        let Some(note) = self.note(name) else {
            return Ok(json!({"changed": false, "cell": self.row(name)}));
        };
        if !plan {
            self.end(name, &note)?;
        }
        Ok(json!({"changed": true, "cell": self.row(name)}))
    }

    fn confirm(&self, name: &str) -> Result<Value, Refusal> {
        let note = self.note(name).filter(|note| note.lease_until_ms.is_some());
        let Some(note) = note else {
            return Err(Refusal::new(Code::NotFound, "this cell has no lease, or does not run"));
        };
        self.keep(name, &Note { lease_until_ms: None, ..note })?;
        Ok(json!({"confirmed": name}))
    }

    fn end(&self, name: &str, note: &Note) -> Result<(), Refusal> {
        match self.unit(name) {
            Some(unit) => self.systemctl(&["stop".to_owned(), unit.to_owned()]).map(|_| ())?,
            None => self.launcher()?.end(note.process)?,
        }
        std::fs::remove_file(self.file(name, "json")).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(failed(error)),
        })
    }

    fn launcher(&self) -> Result<&Launcher, Refusal> {
        self.launcher.as_ref().ok_or_else(|| failed("no cell is started here"))
    }

    fn row(&self, name: &str) -> Value {
        match self.note(name) {
            Some(note) => json!({
                "name": name, "state": "running", "pid": note.process.pid, "started": note.process.started,
                "since_ms": note.since_ms,
                "lease_until_ms": note.lease_until_ms,
            }),
            None => json!({"name": name, "state": "stopped"}),
        }
    }

    /// The note of a cell that runs. One that has ended by itself loses its note.
    fn note(&self, name: &str) -> Option<Note> {
        let file = self.file(name, "json");
        if let Some(unit) = self.unit(name) {
            let words = ["show", "--property=MainPID", "--value", unit].map(str::to_owned);
            let pid = self.systemctl(&words).ok()?.trim().parse().ok().filter(|pid| *pid > 0);
            let Some(pid) = pid else {
                let _ = std::fs::remove_file(file);
                return None;
            };
            let kept = self.kept(name);
            return Some(Note {
                process: Process { pid, started: started(pid)? },
                since_ms: kept.as_ref().map_or(0, |kept| kept.since_ms),
                lease_until_ms: kept.and_then(|kept| kept.lease_until_ms),
            });
        }
        let note = self.kept(name)?;
        if runs(note.process) {
            return Some(note);
        }
        let _ = std::fs::remove_file(file);
        None
    }

    /// The note as it was written.
    fn kept(&self, name: &str) -> Option<Note> {
        let bytes = private_file::read(&self.file(name, "json"), NOTE).ok()?;
        serde_json::from_slice(bytes.expose()).ok()
    }

    /// The unit that a cell is.
    fn unit(&self, name: &str) -> Option<&str> {
        self.declared.get(name)?.unit.as_deref()
    }

    fn systemctl(&self, words: &[String]) -> Result<String, Refusal> {
        let done = process::run(&process::Spec {
            program: &self.systemctl,
            arguments: words,
            environment: ENVIRONMENT,
            output_bytes: NOTE,
            time: CELL_STOP,
        });
        let done = done.map_err(failed)?;
        if done.status.success() {
            return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
        }
        let said =
            String::from_utf8_lossy(&done.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        Err(Refusal::new(Code::Unavailable, format!("systemctl: {said}")))
    }

    fn keep(&self, name: &str, note: &Note) -> Result<(), Refusal> {
        let text = serde_json::to_string(note).map_err(failed)?;
        private_file::write(&self.file(name, "json"), text.as_bytes()).map_err(failed)
    }

    fn file(&self, name: &str, end: &str) -> PathBuf {
        self.folder.join(format!("{name}.{end}"))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.unix().as_millis()).unwrap_or(u64::MAX)
    }
}

/// When the kernel started the process (`/proc/PID/stat`, field 22), in ticks since its start.
pub(crate) fn started(pid: i32) -> Option<u64> {
    state_of(&stat(pid)?).map(|(_, started)| started)
}

fn stat(pid: i32) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()
}

/// State and start of a process.
fn state_of(stat: &str) -> Option<(&str, u64)> {
    // The second field is the program's name in brackets and may hold blanks and brackets.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    Some((fields.next()?, fields.nth(18)?.parse().ok()?))
}

/// Whether it runs. One that has ended and was not waited for yet does not.
fn runs(process: Process) -> bool {
    let stat = stat(process.pid);
    let found = stat.as_deref().and_then(state_of);
    found.is_some_and(|(state, started)| started == process.started && !matches!(state, "Z" | "X"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A launcher that only stays, so that the notes can be tested without rights.
    fn cells(folder: &Path, script: &str) -> Cells {
        use std::os::unix::fs::PermissionsExt as _;
        let launcher = folder.join("launcher");
        std::fs::write(&launcher, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&launcher, std::fs::Permissions::from_mode(0o755)).unwrap();
        let cell = CellSettings {
            unit: None,
            policy: "/etc/proxward/cells/web.toml".into(),
            dir: None,
            command: vec!["node".to_owned()],
        };
        let settings = Settings {
            state: folder.to_owned(),
            cell_launcher: launcher,
            cells: BTreeMap::from([("web".to_owned(), cell)]),
            ..Settings::default()
        };
        // As a thread what is a process of its own otherwise.
        let (ours, theirs) = ipc::pair().unwrap();
        let link = Launcher::new(ours, &settings).unwrap();
        std::thread::spawn(move || {
            let theirs = ipc::Channel::new(theirs);
            let settings = ipc::Packet::from_bytes(&theirs.receive().unwrap().body).unwrap();
            launcher::serve(&theirs, &settings).unwrap();
        });
        Cells::with(&settings, Some(link)).unwrap()
    }

    fn ask(cells: &Cells, verb: &str, params: Value) -> Result<Value, Refusal> {
        let Value::Object(mut params) = params else { return Err(failed("an object")) };
        params.insert("name".to_owned(), json!("web"));
        cells.handle(verb, &params)
    }

    #[test]
    fn a_cell_outlives_who_started_it_and_its_whole_group_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let script = "sleep 600 & echo $! > \"${0%/*}/child\"; wait";
        let first = cells(folder.path(), script);
        let plan = ask(&first, "cell.start", json!({"plan": true})).unwrap();
        assert_eq!(plan["arguments"][3], "/etc/proxward/cells/web.toml");
        assert_eq!(ask(&first, "cell.list", json!({})).unwrap()["cells"][0]["state"], "stopped");
        let begun = ask(&first, "cell.start", json!({})).unwrap();
        assert_eq!((&begun["changed"], &begun["cell"]["state"]), (&json!(true), &json!("running")));
        let again = cells(folder.path(), script);
        let listed = ask(&again, "cell.list", json!({})).unwrap();
        assert_eq!(listed["cells"][0]["pid"], begun["cell"]["pid"], "noted over a restart");
        assert_eq!(ask(&again, "cell.start", json!({})).unwrap()["changed"], false);
        let child = std::fs::read_to_string(folder.path().join("child")).unwrap();
        // The shell dies of the signal and leaves its child: the group has to go with it.
        assert_eq!(ask(&first, "cell.stop", json!({})).unwrap()["cell"]["state"], "stopped");
        let gone = (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            Path::new("/proc").join(child.trim()).join("exe").read_link().is_err()
        });
        assert!(gone, "{child}");
        assert_eq!(ask(&again, "cell.stop", json!({})).unwrap()["changed"], false);
    }

    #[test]
    fn what_is_not_confirmed_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let cells = cells(folder.path(), "exec sleep 600");
        ask(&cells, "cell.start", json!({"lease_ms": 0})).unwrap();
        cells.tick();
        assert_eq!(ask(&cells, "cell.list", json!({})).unwrap()["cells"][0]["state"], "stopped");
        ask(&cells, "cell.start", json!({"lease_ms": 0})).unwrap();
        ask(&cells, "cell.confirm", json!({})).unwrap();
        cells.tick();
        assert_eq!(ask(&cells, "cell.list", json!({})).unwrap()["cells"][0]["state"], "running");
        ask(&cells, "cell.stop", json!({})).unwrap();
        assert_eq!(ask(&cells, "cell.confirm", json!({})).unwrap_err().code, Code::NotFound);
    }

    #[test]
    fn a_cell_that_can_not_be_built_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let cells = cells(folder.path(), "echo 'no user namespaces' >&2; exit 125");
        let refused = ask(&cells, "cell.start", json!({})).unwrap_err();
        assert!(refused.message.contains("no user namespaces"), "{}", refused.message);
        assert_eq!(ask(&cells, "cell.list", json!({})).unwrap()["cells"][0]["state"], "stopped");
    }

    #[test]
    fn a_cell_that_is_a_unit_is_systemds_to_start_and_stop() {
        let folder = tempfile::tempdir().unwrap();
        let mut cells = cells(folder.path(), "exit 1");
        let systemctl = folder.path().join("launcher");
        // Stands for systemd: a process for the unit while it is started.
        let script = "#!/bin/sh\nf=\"${0%/*}/unit\"\n[ \"$1\" = show ] || echo \"$@\" >> \"${0%/*}/said\"\n\
            case \"$1\" in start) echo $PPID > \"$f\";; stop) rm \"$f\";; show) cat \"$f\" || echo 0;; esac\n";
        std::fs::write(&systemctl, script).unwrap();
        cells.systemctl = systemctl;
        let web = cells.declared.get_mut("web").unwrap();
        *web = CellSettings {
            unit: Some("proxward-cell@web.service".to_owned()),
            policy: PathBuf::new(),
            dir: None,
            command: Vec::new(),
        };
        let state = |cells: &Cells| {
            let list = ask(cells, "cell.list", json!({})).unwrap();
            list["cells"][0]["state"].as_str().unwrap().to_owned()
        };
        assert_eq!(state(&cells), "stopped");
        ask(&cells, "cell.start", json!({"lease_ms": 0})).unwrap();
        assert_eq!(state(&cells), "running");
        cells.tick();
        assert_eq!(state(&cells), "stopped", "not confirmed");
        let said = std::fs::read_to_string(folder.path().join("said")).unwrap();
        assert_eq!(said, "start proxward-cell@web.service\nstop proxward-cell@web.service\n");
    }

    #[test]
    fn a_number_given_anew_is_not_the_cell() {
        let folder = tempfile::tempdir().unwrap();
        let cells = cells(folder.path(), "exec sleep 600");
        let own = i32::try_from(std::process::id()).unwrap();
        let process = Process { pid: own, started: 1 };
        let note = Note { process, since_ms: 0, lease_until_ms: None };
        cells.keep("web", &note).unwrap();
        assert!(!runs(process) && runs(Process { started: started(own).unwrap(), ..process }));
        cells.launcher().unwrap().end(process).unwrap();
        assert_eq!(ask(&cells, "cell.stop", json!({})).unwrap()["changed"], false);
    }
}
