//! What this machine offers for cells, by layer.

use serde::Serialize;

use crate::layer::Layer;
use crate::plan::{Hierarchies, Hierarchy};
use crate::sys;
use crate::sys::process::Side;

/// What was found about one layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The layer.
    pub layer: Layer,
    /// Is what it needs there?
    pub there: bool,
    /// What was found, or what is missing and how to get it.
    pub detail: String,
}

/// Whether this process is root's, so that it can build privileged cells.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Looks at what cells need and what may be missing. Changes nothing. Whether a cell can really be
/// built is told by building one.
#[must_use]
pub fn doctor() -> Vec<Finding> {
    let hierarchies = Hierarchies::read();
    let mut findings = vec![
        group(&hierarchies, Layer::MemoryLimit, "memory"),
        group(&hierarchies, Layer::ProcessLimit, "pids"),
        group(&hierarchies, Layer::CpuLimit, "cpu"),
        user_namespaces(),
        id_map(),
        landlock(),
        seccomp(),
    ];
    findings.sort_by_key(|finding| finding.layer);
    findings
}

fn group(hierarchies: &Hierarchies, layer: Layer, controller: &str) -> Finding {
    let (there, detail) = match hierarchies.with(controller) {
        Some(Hierarchy::V1(path)) => (true, format!("version 1, {}", path.display())),
        Some(Hierarchy::V2(path)) => (true, format!("version 2, {}", path.display())),
        None => (
            false,
            format!(
                "no control group with '{controller}' to make groups in; unprivileged cells \
                are watched instead, privileged ones need --allow-degraded {layer}"
            ),
        ),
    };
    Finding { layer, there, detail }
}

fn user_namespaces() -> Finding {
    let made = match sys::process::clone(libc::CLONE_NEWUSER) {
        Ok(Side::Child) => sys::process::end(0),
        Ok(Side::Parent(pid, _)) => {
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
            Ok(())
        }
        Err(error) => Err(error),
    };
    let detail = match made {
        Ok(()) => "user namespaces can be made".to_owned(),
        Err(error) => format!(
            "no user namespace: {error}; unprivileged cells need user.max_user_namespaces and, on \
             Ubuntu, kernel.apparmor_restrict_unprivileged_userns=0"
        ),
    };
    Finding { layer: Layer::Namespaces, there: made.is_ok(), detail }
}

fn id_map() -> Finding {
    if !rustix::process::geteuid().is_root() {
        let detail = "only privileged cells need it".to_owned();
        return Finding { layer: Layer::IdMap, there: true, detail };
    }
    let detail = match sys::process::id_map((0, 0), crate::limits::FIRST_UID) {
        Ok(_) => "mappings can be made; whether a directory's file system takes them shows there",
        Err(_) => "no mapping can be made; Linux 5.12 has it",
    };
    Finding { layer: Layer::IdMap, there: !detail.starts_with("no "), detail: detail.to_owned() }
}

fn landlock() -> Finding {
    let abi = sys::landlock::abi();
    let detail = match abi {
        0 => "none; boot with landlock in lsm=, Linux 5.13".to_owned(),
        1..=5 => format!("ABI {abi}, without scopes for signals and sockets (Linux 6.12)"),
        _ => format!("ABI {abi}"),
    };
    Finding { layer: Layer::Landlock, there: abi > 0, detail }
}

fn seccomp() -> Finding {
    let actions = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail");
    let actions = actions.unwrap_or_default();
    let has = |action: &str| actions.split_whitespace().any(|one| one == action);
    let there = has("kill_process") && has("errno") && has("user_notif");
    let detail =
        if there { "filters, and calls handed to a supervisor" } else { "Linux 5.9 has it" };
    Finding { layer: Layer::Seccomp, there, detail: detail.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finding_says_what_was_found() {
        let findings = doctor();
        assert!(findings.len() >= 7);
        assert!(findings.iter().all(|finding| !finding.detail.is_empty()));
        assert!(findings.is_sorted_by_key(|finding| finding.layer));
    }
}
