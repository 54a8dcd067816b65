//! Declared cells: started, listed, stopped.
//!
//! A request names a cell; what it runs stands in the configuration, and what it may do in the
//! policy file named there. The one program that is started is `proxward cell run`, with fixed
//! words; or `systemctl`, for cells that are units. A cell outlives the broker: what runs is noted in a file each, with the time at which
//! the kernel started the process, so that a number given anew is never taken for it.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use broker_api::{Code, Refusal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use secrets::private_file;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use telemetry::Clock;

use super::files::failed;
use crate::config::{CellSettings, Settings};
use crate::limits::{CELL_LOG, CELL_SETTLE, CELL_STOP, CELL_TICK};

/// All a launcher finds in its environment.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("LANG", "C.UTF-8"),
];

/// Largest note about a cell.
const NOTE: usize = 4096;

/// The declared cells.
pub(crate) struct Cells {
    launcher: PathBuf,
    systemctl: PathBuf,
    declared: BTreeMap<String, CellSettings>,
    folder: PathBuf,
    clock: Clock,
    /// Those started by this process, which has to take notice of their end.
    children: Mutex<HashMap<String, Child>>,
}

/// What is noted about a running cell.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Note {
    pid: i32,
    /// Of `/proc/PID/stat`, in the kernel's ticks.
    started: u64,
    since_ms: u64,
    lease_until_ms: Option<u64>,
}

/// Whether notes are there, for who starts the worker.
pub(crate) fn noted(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.path().extension().is_some_and(|end| end == "json"))
}

impl Cells {
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        let folder = settings.state.join("cells");
        private_file::create_dir(&folder).map_err(|error| error.to_string())?;
        Ok(Self {
            launcher: settings.cell_launcher.clone(),
            systemctl: settings.systemctl.clone(),
            declared: settings.cells.clone(),
            folder,
            clock: Clock::system(),
            children: Mutex::default(),
        })
    }

    pub(super) fn wakes(&self) -> Option<Duration> {
        (!self.children().is_empty() || noted(&self.folder)).then_some(CELL_TICK)
    }

    /// Takes notice of ends, ends what was not confirmed, keeps logs short.
    pub(super) fn tick(&self) {
        self.reap();
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
        self.reap();
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
        let (launcher, arguments) = match &cell.unit {
            Some(unit) => (&self.systemctl, vec!["start".to_owned(), unit.clone()]),
            None => (&self.launcher, arguments(cell)),
        };
        if self.note(name).is_some() {
            return Ok(json!({"changed": false, "cell": self.row(name)}));
        }
        if plan {
            return Ok(json!({"changed": true, "launcher": launcher, "arguments": arguments}));
        }
        let lease = params.get("lease_ms").and_then(Value::as_u64);
        let lease_until_ms = lease.map(|lease| self.now_ms().saturating_add(lease));
        if cell.unit.is_some() {
            self.systemctl(&arguments)?;
            // Only what systemd does not know is kept.
            self.keep(name, &Note { pid: 0, started: 0, since_ms: self.now_ms(), lease_until_ms })?;
            return Ok(json!({"changed": true, "cell": self.row(name)}));
        }
        let log = self.file(name, "log");
        let output = File::options().create(true).append(true).open(&log).map_err(failed)?;
        output.set_len(0).map_err(failed)?;
        let mut command = Command::new(&self.launcher);
        command
            .args(&arguments)
            .env_clear()
            .envs(ENVIRONMENT.iter().copied())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(failed)?)
            .stderr(output)
            .process_group(0);
        let mut child = command
            .spawn()
            .map_err(|error| failed(format!("{}: {error}", self.launcher.display())))?;
        if let Some(code) = ends_at_once(&mut child).map_err(failed)? {
            let text = format!("the cell ended at once ({code}): {}", last_words(&log));
            return Err(Refusal::new(Code::Unavailable, text));
        }
        let pid = i32::try_from(child.id()).unwrap_or_default();
        let started = started(pid).ok_or_else(|| failed("the cell has ended"))?;
        let note = Note { pid, started, since_ms: self.now_ms(), lease_until_ms };
        self.children().insert(name.to_owned(), child);
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

    /// Asks the cell's supervisor to end it, which has the policy's grace for it; then ends the
    /// group. Without its supervisor a cell ends.
    fn end(&self, name: &str, note: &Note) -> Result<(), Refusal> {
        if let Some(unit) = self.unit(name) {
            self.systemctl(&["stop".to_owned(), unit.to_owned()])?;
        } else if let Some(process) = process(note) {
            let _ = pidfd_send_signal(&process, Signal::TERM);
            let asked = ended_within(&process, CELL_STOP);
            // What it left behind, too.
            if let Some(leader) = Pid::from_raw(note.pid) {
                let _ = kill_process_group(leader, Signal::KILL);
            }
            if !asked && !ended_within(&process, CELL_STOP) {
                return Err(Refusal::new(Code::HandlerTimeout, "the cell does not end"));
            }
        }
        self.reap();
        std::fs::remove_file(self.file(name, "json")).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(failed(error)),
        })
    }

    fn row(&self, name: &str) -> Value {
        match self.note(name) {
            Some(note) => json!({
                "name": name, "state": "running", "pid": note.pid, "started": note.started,
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
                pid,
                started: started(pid)?,
                since_ms: kept.as_ref().map_or(0, |kept| kept.since_ms),
                lease_until_ms: kept.and_then(|kept| kept.lease_until_ms),
            });
        }
        let note = self.kept(name)?;
        if process(&note).is_some_and(|process| !ended_within(&process, Duration::ZERO)) {
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

    fn reap(&self) {
        self.children().retain(|_, child| matches!(child.try_wait(), Ok(None)));
    }

    fn children(&self) -> MutexGuard<'_, HashMap<String, Child>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.unix().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The launcher's fixed words.
fn arguments(cell: &CellSettings) -> Vec<String> {
    let mut words = vec!["cell".to_owned(), "run".to_owned(), "--policy".to_owned()];
    words.push(cell.policy.display().to_string());
    if let Some(dir) = &cell.dir {
        words.extend(["--dir".to_owned(), dir.display().to_string()]);
    }
    words.push("--".to_owned());
    words.extend(cell.command.iter().cloned());
    words
}

/// Waits a moment: a policy that does not hold, or a layer that is missing, shows at once.
fn ends_at_once(child: &mut Child) -> std::io::Result<Option<std::process::ExitStatus>> {
    const STEP: Duration = Duration::from_millis(10);
    let until = Instant::now() + CELL_SETTLE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        sleep(STEP);
    }
}

/// The end of what it wrote, as one line.
fn last_words(log: &Path) -> String {
    const MOST: u64 = 1024;
    let mut text = String::new();
    let read = rustix::fs::open(log, OFlags::RDONLY | OFlags::CLOEXEC, rustix::fs::Mode::empty());
    if let Ok(fd) = read {
        let _ = File::from(fd).take(MOST).read_to_string(&mut text);
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The noted process, if its number is still its own.
fn process(note: &Note) -> Option<OwnedFd> {
    let process = pidfd_open(Pid::from_raw(note.pid)?, PidfdFlags::empty()).ok()?;
    // Looked at after it was opened: the descriptor and the time are then of the same process.
    (started(note.pid)? == note.started).then_some(process)
}

/// When the kernel started the process (`/proc/PID/stat`, field 22), in ticks since its start.
pub(crate) fn started(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets and may hold blanks and brackets.
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

fn ended_within(process: &OwnedFd, time: Duration) -> bool {
    let mut fds = [PollFd::new(process, PollFlags::IN)];
    let time = Timespec::try_from(time).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
    rustix::io::retry_on_intr(|| poll(&mut fds, Some(&time))).is_ok_and(|ready| ready > 0)
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
        Cells::new(&settings).unwrap()
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
            sleep(Duration::from_millis(10));
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
        let note = Note { pid: own, started: 1, since_ms: 0, lease_until_ms: None };
        cells.keep("web", &note).unwrap();
        assert!(process(&note).is_none());
        assert_eq!(ask(&cells, "cell.stop", json!({})).unwrap()["changed"], false);
    }
}
