//! Control groups: made before the cell, removed after it, with those that nobody removed.

use std::fs;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use super::step::{At as _, Failure, optional};
use crate::blueprint::{Blueprint, Group};
use crate::layer::Layer;
use crate::plan::GROUP_PREFIX;

/// Tries to remove a group whose last process is just going.
const REMOVALS: u32 = 200;

/// The groups of one cell. Dropping them removes them.
#[derive(Debug, Default)]
pub(super) struct Groups {
    made: Vec<PathBuf>,
    counters: Vec<PathBuf>,
}

impl Groups {
    /// Makes the groups and sets their limits. Returns the files that a member writes itself into,
    /// opened now, because later nobody could.
    pub(super) fn make(
        &mut self,
        blueprint: &Blueprint,
        control: BorrowedFd<'_>,
    ) -> Result<Vec<fs::File>, Failure> {
        let mut members = Vec::new();
        for group in &blueprint.groups {
            optional(blueprint, control, self.one(group, &mut members))?;
        }
        Ok(members)
    }

    fn one(&mut self, group: &Group, members: &mut Vec<fs::File>) -> Result<(), Failure> {
        let path = PathBuf::from(&group.path);
        let layer = layer_of(group);
        fs::create_dir(&path).at(layer, format_args!("make {}", group.path))?;
        self.made.push(path.clone());
        for (name, value) in &group.settings {
            let (name, needed) = name.strip_suffix('?').map_or((&**name, true), |n| (n, false));
            let written = fs::write(path.join(name), value);
            if needed {
                written.at(layer, format_args!("write {}/{name}", group.path))?;
            }
        }
        if let Some(counter) = &group.out_of_memory {
            self.counters.push(path.join(counter));
        }
        // Moving one thread that is the caller itself takes no lock of the whole machine, which
        // costs a wait of ten milliseconds; only version 1 has a file for it.
        let file = if path.join("tasks").exists() { "tasks" } else { "cgroup.procs" };
        let opened = fs::OpenOptions::new().write(true).open(path.join(file));
        members.push(opened.at(layer, format_args!("open {}/{file}", group.path))?);
        Ok(())
    }

    /// Kills for want of memory so far.
    pub(super) fn out_of_memory(&self) -> u64 {
        let count = |path: &PathBuf| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
            kills.and_then(|kills| kills.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        self.counters.iter().map(count).sum()
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for path in &self.made {
            for _ in 0..REMOVALS {
                match fs::remove_dir(path) {
                    Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                        std::thread::sleep(std::time::Duration::from_millis(5));
                    }
                    _ => break,
                }
            }
            path.parent().into_iter().for_each(sweep);
        }
    }
}

/// Removes groups of supervisors that are gone, whose keeper was ended before it could.
fn sweep(place: &Path) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(GROUP_PREFIX).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// The layer a group serves, by what is set in it.
fn layer_of(group: &Group) -> Layer {
    let sets = |prefix: &str| group.settings.iter().any(|(name, _)| name.starts_with(prefix));
    if sets("memory.") {
        Layer::MemoryLimit
    } else if sets("pids.") {
        Layer::ProcessLimit
    } else {
        Layer::CpuLimit
    }
}
