//! The gate, started as root: who it is afterwards, what it can still do, and what it can not.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use telemetry::Clock;
use tls::Authority;

use crate::front::Front;
use crate::home::Home;
use crate::program::{self, PATIENCE, Running, finish, until};

/// Lines of `/proc/PID/status` of each thread (proc_pid_status(5)).
fn status(pid: u32, task: &str, key: &str) -> Result<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{task}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    Ok(line.context("a line of status")?.trim_start_matches(':').trim().replace('\t', " "))
}

fn is_root() -> bool {
    let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !root {
        program::skip("the gate drops root's rights only when it is started with them");
    }
    root
}

#[test]
fn every_thread_is_another_user_without_rights_and_the_state_is_its_own() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let home = Home::new()?;
    let mut front = Front::start(&home, "")?;
    for restart in [false, true] {
        if restart {
            ensure!(front.end_gate("TERM")?.code == Some(0));
            front.start_gate(&home)?;
        }
        let pid = front.gate_pid()?;
        let mut threads = 0;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let task = task?.file_name().into_string().unwrap_or_default();
            let of = |key| status(pid, &task, key);
            let uid = of("Uid")?;
            let ids: BTreeSet<&str> = uid.split(' ').collect();
            ensure!(ids.len() == 1 && !ids.contains("0"), "{task}: Uid {uid}");
            let gid = of("Gid")?;
            let ids: BTreeSet<&str> = gid.split(' ').collect();
            ensure!(ids.len() == 1 && !ids.contains("0"), "{task}: Gid {gid}");
            ensure!(of("Groups")?.split_whitespace().count() <= 1, "{task}: {}", of("Groups")?);
            for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                ensure!(of(set)? == "0000000000000000", "{task}: {set} {}", of(set)?);
            }
            ensure!(of("NoNewPrivs")? == "1" && of("Seccomp")? == "2", "{task}");
            threads += 1;
        }
        ensure!(threads >= 4, "only {threads} threads");
        // The kernel gives what belongs to a process that can not be traced to root.
        ensure!(fs::metadata(format!("/proc/{pid}/environ"))?.uid() == 0, "it can be traced");
        let uid: u32 =
            status(pid, &pid.to_string(), "Uid")?.split(' ').next().context("a uid")?.parse()?;
        for entry in fs::read_dir(&front.state)? {
            let entry = entry?;
            ensure!(entry.metadata()?.uid() == uid, "{}", entry.path().display());
        }
        let own = fs::metadata(&front.state)?;
        ensure!(own.uid() == uid && own.permissions().mode() & 0o7777 == 0o700);
    }
    front.end()
}

#[test]
fn logs_are_rotated_and_lead_nowhere_else() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let home = Home::new()?;
    // Outside of what the gate may write, for whoever has the right to: what keeps the gate from
    // it is the confinement alone.
    let outside = tempfile::tempdir()?;
    fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o777))?;
    let elsewhere = outside.path().join("file");
    fs::write(&elsewhere, "")?;
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o666))?;
    let logs = home.scratch("logs");
    fs::create_dir(&logs)?;
    fs::set_permissions(&logs, fs::Permissions::from_mode(0o777))?;
    let log = logs.join("auth.log");
    let mut front = Front::start(&home, &format!("failure_log = \"{}\"", log.display()))?;
    let fail = || {
        let reply = front.from("192.0.2.7", "/api2/json/access/ticket");
        reply.field("username", "root@pam").field("password", "wrong").send(&home)
    };
    let grows = |path: &Path| {
        until(PATIENCE, || fs::metadata(path).ok().filter(|file| file.len() > 0)).is_some()
    };
    fail()?;
    ensure!(grows(&log), "no line");
    fs::rename(&log, logs.join("auth.log.1"))?;
    fail()?;
    ensure!(grows(&log), "no new file after a rotation");
    fs::remove_file(&log)?;
    symlink(&elsewhere, &log)?;
    fail()?;
    fs::remove_file(&log)?;
    // After a line that is written, the one before has been tried.
    fail()?;
    ensure!(grows(&log), "no line after the link is gone");
    ensure!(fs::metadata(&elsewhere)?.len() == 0, "the gate wrote where it must not");
    front.end_gate("TERM")?;
    Ok(())
}

/// No row of the table of system calls is dead: the gate is watched at its work.
#[test]
fn every_row_of_system_calls_is_used() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let home = Home::new()?;
    let trace = home.scratch("trace");
    let manager = UnixDatagram::bind(home.scratch("notify"))?;
    let mut front = Front::start_traced(&home, &trace)?;
    for _ in 0..2 {
        front.from("192.0.2.7", "/api2/json/version").send(&home)?;
        let reply = front.from("192.0.2.7", "/api2/json/access/ticket");
        reply.field("username", "root@pam").field("password", "wrong").send(&home)?;
    }
    front.bans(&home, &["list"])?.success()?;
    manager.set_read_timeout(Some(PATIENCE))?;
    let mut word = [0; 4096];
    while !word.starts_with(b"WATCHDOG=1") {
        manager.recv(&mut word)?;
    }
    // The last it does is to hand its place over.
    front.take_over(&home)?.wait(PATIENCE)?;
    let text = fs::read_to_string(&trace)?;
    let begin = text.rfind("seccomp(SECCOMP_SET_MODE_FILTER").context("no filter in the trace")?;
    let after = text.get(begin..).unwrap_or_default().lines().skip(1);
    let lines: Vec<&str> =
        after.filter_map(|line| line.split_once(' ').map(|l| l.1.trim())).collect();
    let name = |line: &&str| {
        let line = line.strip_prefix("<... ").unwrap_or(line);
        line.split(['(', ' ']).next().map(|name| format!("SYS_{name}"))
    };
    let used: BTreeSet<String> = lines.iter().filter_map(name).collect();
    let whys: BTreeSet<&str> = gate::call_rows().map(|row| row.why).collect();
    let dead = whys.into_iter().filter(|why| {
        let rows = gate::call_rows().filter(|row| row.why == *why);
        !rows.flat_map(|row| row.calls).any(|(name, _)| used.contains(*name))
    });
    let dead: Vec<&str> = dead.collect();
    ensure!(dead.is_empty(), "never used: {dead:?}\nused: {used:?}");
    let refused: Vec<_> = lines.iter().filter(|line| line.contains("= -1 EPERM")).collect();
    ensure!(refused.is_empty(), "refused: {refused:?}");
    Ok(())
}

#[test]
fn status_names_user_and_layers() -> Result<()> {
    let home = Home::new()?;
    let front = Front::start(&home, "")?;
    let mut command = home.proxward(&["gate", "check", "--format", "json", "--state"])?;
    command.arg(&front.state);
    let answer: Value = serde_json::from_str(&finish(&mut command, "")?.stdout)?;
    ensure!(answer["gate"]["layers"]["seccomp"] == "in force", "{answer}");
    ensure!(answer["gate"]["pid"] == front.gate_pid()?, "{answer}");
    front.end()
}

/// Who starts without rights is confined all the same, in a state directory made just then.
#[test]
fn started_as_somebody_else_it_confines_itself_too() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    const NOBODY: u32 = 65_534;
    let home = Home::new()?;
    let place = home.scratch("place");
    fs::create_dir(&place)?;
    let unix = Clock::system().unix();
    let identity = Authority::generate("e2e", unix)?.issue(&["127.0.0.1"], unix)?;
    let (cert, key) = (place.join("gate.pem"), place.join("gate.key"));
    identity.write(&cert, &key)?;
    for path in [&place, &cert, &key] {
        chown(path, Some(NOBODY), Some(NOBODY))?;
    }
    let mut command = home.command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program::proxward()?);
    command.args(["gate", "--listen", "127.0.0.1:0", "--upstream", "http://127.0.0.1:1"]);
    command.arg("--cert").arg(cert).arg("--key").arg(key).arg("--state").arg(place.join("state"));
    let mut gate = Running::start(command.current_dir("/"))?;
    gate.until("the gate's ready line", |gate| {
        gate.stderr().contains("gate: ready on").then_some(())
    })?;
    let pid = gate.pid();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.file_name().into_string().unwrap_or_default();
        for (key, value) in [("NoNewPrivs", "1"), ("Seccomp", "2"), ("CapEff", "0000000000000000")]
        {
            ensure!(status(pid, &task, key)? == value, "{task}: {key}");
        }
    }
    gate.signal("TERM")?;
    gate.wait(PATIENCE)?.success()?;
    Ok(())
}

/// A word that is none is refused before anything is given up.
#[test]
fn only_layers_that_there_are_may_be_missing() -> Result<()> {
    let home = Home::new()?;
    let config = home.private("gate.toml", "[gate]\nallow_degraded = [\"everything\"]\n")?;
    let mut command = home.proxward(&["gate", "--listen", "127.0.0.1:0", "--config"])?;
    command.arg(config);
    let ended = Running::start(&mut command)?.wait(PATIENCE)?;
    ensure!(ended.code == Some(2), "{ended}");
    Ok(())
}
