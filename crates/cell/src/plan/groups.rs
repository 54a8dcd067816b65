//! Control groups: which hierarchy of this machine really owns which controller?

use std::fs;
use std::path::{Path, PathBuf};

use crate::blueprint::Group;
use crate::policy::Limits;

/// Beginning of the name of a cell's group; the supervisor's process id and a count follow.
pub(crate) const GROUP_PREFIX: &str = "proxward-cell-";
/// The period over which processor time is shared out, µs: the kernel's own default.
const CPU_PERIOD: u64 = 100_000;

/// A place where groups can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hierarchy {
    /// One version 1 hierarchy for this controller.
    V1(PathBuf),
    /// The version 2 tree.
    V2(PathBuf),
}

/// The hierarchies of this machine, read once.
#[derive(Debug)]
pub(crate) struct Hierarchies {
    mounts: String,
    own: String,
}

impl Hierarchies {
    pub(crate) fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self { mounts: text("/proc/self/mountinfo"), own: text("/proc/self/cgroup") }
    }

    /// Where groups with this controller (`memory`, `pids`, `cpu`) are made, if this process may.
    pub(crate) fn with(&self, controller: &str) -> Option<Hierarchy> {
        find(controller, &self.mounts, &self.own).filter(|found| match found {
            Hierarchy::V1(path) => is_writable(path),
            Hierarchy::V2(path) => {
                let offers = fs::read_to_string(path.join("cgroup.controllers"));
                let offers = offers.unwrap_or_default();
                offers.split_whitespace().any(|one| one == controller) && is_writable(path)
            }
        })
    }
}

fn is_writable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}

/// The same over the texts of mountinfo and cgroup (proc(5), cgroups(7)).
fn find(controller: &str, mounts: &str, own: &str) -> Option<Hierarchy> {
    let mut second = None;
    for line in mounts.lines() {
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let mut before = before.split(' ').skip(3);
        let (Some(root), Some(point)) = (before.next(), before.next()) else { continue };
        let mut after = after.split(' ');
        let (kind, options) = (after.next().unwrap_or(""), after.nth(1).unwrap_or(""));
        if kind == "cgroup" && options.split(',').any(|option| option == controller) {
            let path = own_path(own, |names| names.split(',').any(|name| name == controller))?;
            return Some(Hierarchy::V1(below(point, root, path)));
        }
        if kind == "cgroup2" && second.is_none() {
            second = Some(Hierarchy::V2(PathBuf::from(point)));
        }
    }
    second
}

fn own_path(own: &str, is_it: impl Fn(&str) -> bool) -> Option<&str> {
    own.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (names, path) = rest.split_once(':')?;
        is_it(names).then_some(path)
    })
}

fn below(point: &str, root: &str, path: &str) -> PathBuf {
    let path = path.strip_prefix(root).unwrap_or(path);
    Path::new(point).join(path.trim_start_matches('/'))
}

/// The groups for these limits, and the controllers for which there is no place.
pub(crate) fn groups(
    hierarchies: &Hierarchies,
    limits: &Limits,
    count: u64,
) -> (Vec<Group>, Vec<&'static str>) {
    let name = format!("{GROUP_PREFIX}{}-{count}", std::process::id());
    let mut groups: Vec<Group> = Vec::new();
    let mut missing = Vec::new();
    let wanted = ["memory", "pids", "cpu"];
    for controller in wanted.iter().filter(|one| **one != "cpu" || limits.cpus.is_some()) {
        let (path, second) = match hierarchies.with(controller) {
            None => {
                missing.push(*controller);
                continue;
            }
            Some(Hierarchy::V1(path)) => (path.join(&name), false),
            Some(Hierarchy::V2(path)) => (second_place(&path).join(&name), true),
        };
        let path = path.display().to_string();
        let (settings, out_of_memory) = settings(controller, second, limits);
        match groups.iter_mut().find(|group| group.path == path) {
            Some(group) => {
                group.settings.extend(settings);
                group.out_of_memory = group.out_of_memory.take().or(out_of_memory);
            }
            None => groups.push(Group { path, settings, out_of_memory }),
        }
    }
    (groups, missing)
}

/// In the version 2 tree a group with limits can not stand beside processes: cells have a branch.
fn second_place(root: &Path) -> PathBuf {
    let branch = root.join("proxward-cells");
    let controllers = "+memory +pids +cpu";
    let _ = fs::create_dir(&branch);
    for group in [root, &branch] {
        for one in controllers.split(' ') {
            let _ = fs::write(group.join("cgroup.subtree_control"), one);
        }
    }
    branch
}

fn settings(
    controller: &str,
    second: bool,
    limits: &Limits,
) -> (Vec<(String, String)>, Option<String>) {
    let set = |name: &str, value: String| (name.to_owned(), value);
    let memory = limits.memory.0.to_string();
    let quota = limits.cpus.map_or(0.0, |cpus| cpus * 100_000.0);
    let quota = format!("{:.0}", quota.max(1000.0));
    match (controller, second) {
        ("memory", false) => (
            vec![
                set("memory.limit_in_bytes", memory.clone()),
                set("memory.memsw.limit_in_bytes?", memory),
            ],
            Some("memory.oom_control".to_owned()),
        ),
        ("memory", true) => (
            vec![
                set("memory.max", memory),
                set("memory.swap.max?", "0".to_owned()),
                set("memory.oom.group?", "1".to_owned()),
            ],
            Some("memory.events".to_owned()),
        ),
        // Process 1 of the cell counts too.
        ("pids", _) => (vec![set("pids.max", (limits.pids + 1).to_string())], None),
        (_, false) => (
            vec![set("cpu.cfs_period_us", CPU_PERIOD.to_string()), set("cpu.cfs_quota_us", quota)],
            None,
        ),
        (_, true) => (vec![set("cpu.max", format!("{quota} {CPU_PERIOD}"))], None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "30 20 0:26 / /sys/fs/cgroup rw - tmpfs cgroup rw\n\
        31 30 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
        32 30 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
        33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
    const OWN: &str = "4:memory:/a/b\n1:cpu,cpuacct:/\n0::/x\n";

    #[test]
    fn a_controller_is_where_its_own_hierarchy_is() {
        let v1 = |path: &str| Some(Hierarchy::V1(PathBuf::from(path)));
        assert_eq!(find("memory", HYBRID, OWN), v1("/sys/fs/cgroup/memory/a/b"));
        assert_eq!(find("cpu", HYBRID, OWN), v1("/sys/fs/cgroup/cpu"));
        let v2 = Some(Hierarchy::V2(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(find("pids", HYBRID, OWN), v2);
        assert_eq!(find("pids", "", ""), None);
    }

    #[test]
    fn a_container_sees_its_group_below_the_mounted_one() {
        let mounts = "31 30 0:27 /lxc/7 /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";
        let own = "8:pids:/lxc/7/session\n";
        let expected = Some(Hierarchy::V1(PathBuf::from("/sys/fs/cgroup/pids/session")));
        assert_eq!(find("pids", mounts, own), expected);
    }
}
