//! The cells of this machine, as its table of processes shows them.

use std::collections::BTreeMap;
use std::fs;

use serde::Serialize;

use crate::launch;

/// Ticks of the kernel's clock in a second (USER_HZ), on every Linux of this architecture.
const TICKS: u64 = 100;
/// Bytes of a page.
const PAGE: u64 = 4096;

/// One cell that runs, or a slot that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Running {
    /// Its name in records of denials.
    pub cell: String,
    /// Process id of its supervisor.
    pub supervisor: u32,
    /// Process id of the command, seen from outside.
    pub pid: u32,
    /// User of the command.
    pub uid: u32,
    /// The command's name.
    pub command: String,
    /// Seconds since the command was started.
    pub seconds: u64,
    /// Bytes of memory the command holds.
    pub memory: u64,
}

/// The cells whose processes this user may look at.
#[must_use]
pub fn list() -> Vec<Running> {
    let mut processes = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_string_lossy().parse::<u32>();
        if let Some((pid, process)) = pid.ok().and_then(|pid| Some((pid, Process::read(pid)?))) {
            processes.insert(pid, process);
        }
    }
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let uptime = uptime.split('.').next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let mut cells: Vec<Running> =
        processes.keys().filter_map(|pid| command(*pid, &processes, uptime)).collect();
    cells.sort_by_key(|cell| cell.supervisor);
    cells
}

struct Process {
    name: String,
    parent: u32,
    started: u64,
    memory: u64,
}

impl Process {
    /// From stat (proc_pid_stat(5)).
    fn read(pid: u32) -> Option<Self> {
        parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }
}

fn parse(stat: &str) -> Option<Process> {
    let (before, after) = stat.rsplit_once(") ")?;
    let name = before.split_once(" (")?.1.to_owned();
    let fields: Vec<&str> = after.split(' ').collect();
    let number = |at: usize| fields.get(at)?.trim().parse::<u64>().ok();
    let parent = u32::try_from(number(1)?).ok()?;
    Some(Process { name, parent, started: number(19)?, memory: number(21)? * PAGE })
}

/// The command of a cell: process 2 of a namespace whose process 1 is the launcher's.
fn command(pid: u32, processes: &BTreeMap<u32, Process>, uptime: u64) -> Option<Running> {
    let own = processes.get(&pid)?;
    let first = processes.get(&own.parent).filter(|first| first.name == launch::NAME)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let within = field("NSpid:")?.split_whitespace().last()?;
    if within != "2" {
        return None;
    }
    // Supervisor, keeper, process 1, command.
    let supervisor = processes.get(&first.parent)?.parent;
    Some(Running {
        cell: format!("cell-{supervisor}"),
        supervisor,
        pid,
        uid: field("Uid:")?.split_whitespace().next()?.parse().ok()?,
        command: own.name.clone(),
        seconds: uptime.saturating_sub(own.started / TICKS),
        memory: own.memory,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "7 (a) (b) S 5 7 7 0 -1 4 1 0 0 0 1 1 0 0 20 0 1 0 900 8192 3 18446744 1 1\n";
        let process = parse(stat).unwrap();
        assert_eq!((process.name.as_str(), process.parent), ("a) (b", 5));
        assert_eq!((process.started, process.memory), (900, 3 * PAGE));
        assert!(parse("").is_none() && parse("7 (x) S 5").is_none());
    }
}
