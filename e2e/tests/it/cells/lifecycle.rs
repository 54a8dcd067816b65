//! Beginnings and ends: nothing is left, whoever is killed and whenever.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::range::{Range, left_of, modes};
use crate::program::{PATIENCE, Running, finish, until};

/// Processes whose parent, or whose parent's parent, is this one, by `/proc`.
pub(super) fn descendants(of: u32) -> Vec<u32> {
    let mut all: Vec<(u32, u32)> = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        let mut fields = fields.split(' ');
        let (state, parent) = (fields.next(), fields.next().and_then(|one| one.parse().ok()));
        if let (Some("R" | "S" | "D" | "T"), Some(parent)) = (state, parent) {
            all.push((pid, parent));
        }
    }
    let mut found = vec![of];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(all.iter().filter(|(_, one)| *one == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found.split_off(1)
}

pub(super) fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with(['Z', 'X']))
}

/// Supervisor, launcher, process 1, command: each is killed in turn.
#[test]
fn nothing_is_left_when_any_part_is_killed() -> Result<()> {
    let range = Range::new()?;
    for mode in modes()? {
        for victim in 0..4 {
            let command = ["sh", "-c", "echo up; while :; do read x < /dev/zero; done"];
            let mut running = Running::start(&mut range.cell(mode, &[], &command)?)?;
            running.until("it is up", |it| it.stdout().contains("up").then_some(()))?;
            let parts = descendants(running.pid());
            ensure!(parts.len() == 3, "{mode}: {parts:?}");
            let pid = running.pid();
            let target = if victim == 0 { pid } else { parts[victim - 1] };
            finish(range.home.command("sh").args(["-c", &format!("kill -9 {target}")]), "")?
                .success()?;
            let gone = until(Duration::from_secs(20), || {
                parts.iter().all(|part| !alive(*part)).then_some(())
            });
            ensure!(gone.is_some(), "{mode}: killed part {victim}: {:?}", descendants(pid));
            if victim != 0 {
                running.wait(PATIENCE)?;
            }
            if victim != 1 {
                ensure!(left_of(pid).is_empty(), "{mode}: part {victim}: {:?}", left_of(pid));
            }
        }
    }
    // What a killed launcher left, the next cell removes.
    if modes()?.contains(&"privileged") {
        range.run("privileged", &[], &["true"])?.success()?;
    }
    Ok(())
}

#[test]
fn a_reader_that_stops_does_not_stop_the_supervisor() -> Result<()> {
    let range = Range::new()?;
    let dir = range.dir.display().to_string();
    for mode in modes()? {
        let program = crate::program::proxward()?;
        let flood = format!(
            "{{ {} cell run --mode {mode} --dir {dir} --timeout 500ms -- sh -c 'while :; do echo \
             0123456789012345678901234567890123456789; done'; echo $? >&2; }} | sleep 9",
            program.display()
        );
        let mut running = Running::start(range.home.command("sh").args(["-c", &flood]))?;
        running.until("the supervisor ends", |it| it.stderr().contains("124").then_some(()))?;
    }
    Ok(())
}

#[test]
fn cells_have_users_of_their_own() -> Result<()> {
    let range = Range::new()?;
    if !modes()?.contains(&"privileged") {
        return Ok(());
    }
    let show = "read a < /proc/self/stat; while read k v; do [ $k = Uid: ] && echo uid $v; done < \
        /proc/self/status; read wait";
    let mut users = Vec::new();
    let mut running = Vec::new();
    for _ in 0..4 {
        let mut cell = Running::start(&mut range.cell("privileged", &[], &["sh", "-c", show])?)?;
        let line = cell.until("its user", |it| {
            it.stdout().lines().find(|line| line.starts_with("uid ")).map(str::to_owned)
        })?;
        users.push(line.split_whitespace().nth(1).context("a user id")?.to_owned());
        running.push(cell);
    }
    users.sort();
    users.dedup();
    ensure!(users.len() == 4, "{users:?}");
    ensure!(users.iter().all(|user| user.parse::<u32>().is_ok_and(|uid| uid >= 1_900_000_000)));
    Ok(())
}

#[test]
fn a_signal_to_the_supervisor_ends_the_cell_in_order() -> Result<()> {
    let range = Range::new()?;
    for mode in modes()? {
        let command = [
            "sh",
            "-c",
            "trap 'echo asked; exit 5' TERM; echo up; while :; do read x < /dev/zero; done",
        ];
        let mut running = Running::start(&mut range.cell(mode, &[], &command)?)?;
        running.until("it is up", |it| it.stdout().contains("up").then_some(()))?;
        running.signal("TERM")?;
        let ended = running.wait(PATIENCE)?;
        ensure!(ended.code == Some(137) || ended.code == Some(5), "{mode}: {ended}");
    }
    Ok(())
}

/// Steps after which the launcher can be told to end.
const STEPS: [&str; 8] = [
    "memory-limit",
    "namespaces",
    "loopback",
    "mounts",
    "limits",
    "privileges",
    "landlock",
    "seccomp",
];

/// Mounts and links that this process sees: what a cell makes lies in namespaces of its own, so
/// there is never one more.
fn surroundings() -> Result<(usize, usize)> {
    let lines = |path: &str| Ok::<_, anyhow::Error>(std::fs::read_to_string(path)?.lines().count());
    Ok((lines("/proc/self/mountinfo")?, lines("/proc/net/dev")?))
}

/// Nothing of the cell of this supervisor is there: no process, no group, nothing in its scratch.
/// Groups whose keeper was killed go with the next start.
fn nothing_of(range: &Range, mode: &str, pid: u32, parts: &[u32], when: &str) -> Result<()> {
    let gone =
        until(Duration::from_secs(20), || parts.iter().all(|one| !alive(*one)).then_some(()));
    ensure!(gone.is_some(), "{mode}, {when}: processes live");
    range.run(mode, &[], &["true"])?.success()?;
    ensure!(left_of(pid).is_empty(), "{mode}, {when}: {:?}", left_of(pid));
    let scratch = std::fs::read_dir(range.dir.join("scratch"))?.next();
    ensure!(scratch.is_none(), "{mode}, {when}: scratch");
    Ok(())
}

/// Whichever part of the launcher is killed when a step is done: the cell is not built, that is
/// said, and nothing is left.
#[test]
fn nothing_is_left_when_the_launcher_is_killed_at_any_step() -> Result<()> {
    let range = Range::new()?;
    let before = surroundings()?;
    for mode in modes()? {
        for step in STEPS {
            let cell = ["sh", "-c", "echo ran"];
            let mut running =
                Running::start(&mut range.cell(mode, &["--stop-after", step], &cell)?)?;
            running.say("")?;
            let pid = running.pid();
            let ended = running.wait(PATIENCE)?;
            ensure!(!ended.stdout.contains("ran"), "{mode}, {step}: {ended}");
            ensure!(ended.code != Some(0), "{mode}, {step}: {ended}");
            nothing_of(&range, mode, pid, &[], step)?;
        }
    }
    ensure!(surroundings()? == before, "a mount or a link is left");
    Ok(())
}

/// The supervisor is killed at many moments of the building.
#[test]
fn nothing_is_left_when_the_supervisor_is_killed_at_any_moment() -> Result<()> {
    let range = Range::new()?;
    let before = surroundings()?;
    for mode in modes()? {
        for wait in 0..20 {
            let command = ["sh", "-c", "while :; do read x < /dev/zero; done"];
            let running = Running::start(&mut range.cell(mode, &[], &command)?)?;
            std::thread::sleep(Duration::from_millis(wait * 2));
            let (pid, parts) = (running.pid(), descendants(running.pid()));
            running.signal("KILL")?;
            running.wait(PATIENCE)?;
            nothing_of(&range, mode, pid, &parts, &format!("after {} ms", wait * 2))?;
        }
    }
    ensure!(surroundings()? == before, "a mount or a link is left");
    Ok(())
}

/// A disk without room: for the mount point, for what the command says, for what is recorded.
#[test]
fn a_full_disk_is_named_or_does_not_matter() -> Result<()> {
    let range = Range::new()?;
    for mode in modes()? {
        let mut cell =
            range.cell(mode, &["--audit", "/dev/full"], &["sh", "-c", "echo $((6*7))"])?;
        let ended = finish(&mut cell, "")?.success()?;
        ensure!(ended.stdout == "42\n", "{mode}: {ended}");
        let dir = range.dir.display().to_string();
        let program = crate::program::proxward()?;
        let full =
            format!("{} cell run --mode {mode} --dir {dir} -- sh -c 'echo x'", program.display());
        finish(range.home.command("sh").args(["-c", &format!("{full} > /dev/full")]), "")?;
        if mode == "privileged" {
            let script = format!("mount -t tmpfs -o size=4k,nr_inodes=1 none {dir} && exec {full}");
            let words = ["--mount", "--", "sh", "-c", &script];
            let ended = finish(range.home.command("unshare").args(words), "")?;
            let named = ended.stderr.contains("layer scratch");
            ensure!(ended.code == Some(125) && named, "{mode}: {ended}");
        }
    }
    Ok(())
}

#[test]
fn many_cells_start_at_once() -> Result<()> {
    let range = Range::new()?;
    for mode in modes()? {
        let mut running = Vec::new();
        for _ in 0..200 {
            running.push(Running::start(&mut range.cell(
                mode,
                &[],
                &["sh", "-c", "echo $((6*7))"],
            )?)?);
        }
        for cell in running {
            let pid = cell.pid();
            let ended = cell.wait(PATIENCE)?.success()?;
            ensure!(ended.stdout == "42\n", "{mode}: {ended}");
            ensure!(left_of(pid).is_empty(), "{mode}");
        }
    }
    Ok(())
}

#[test]
fn what_can_not_be_built_is_said_by_layer() -> Result<()> {
    let range = Range::new()?;
    let ended = range.run("auto", &[], &["no-such-program"])?;
    ensure!(ended.code == Some(125) && ended.stderr.contains("layer plan"), "{ended}");
    let ended = range.run("auto", &["--allow-degraded", "seccomp"], &["true"])?;
    ensure!(ended.code == Some(2) && ended.stderr.contains("can not be left out"), "{ended}");
    Ok(())
}
