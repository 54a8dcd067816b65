//! What open interfaces ask for again and again.

/// What the answer of a call depends on, beside its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The permissions of the caller.
    Permissions,
    /// The caller.
    Caller,
}

/// Every call whose answer is shared, `*` for any segment, with the reason for what it depends on.
/// A call that is not here is asked for each time.
pub(crate) const POLLED: [(&[&str], By, &str); 9] = [
    (&["cluster", "resources"], By::Permissions, "each row is shown by a privilege at its path"),
    (&["cluster", "status"], By::Permissions, "Sys.Audit at /, then the same for everybody"),
    (&["cluster", "ha", "status", "current"], By::Permissions, "Sys.Audit at /, then the same"),
    (&["nodes"], By::Permissions, "what a row holds depends on Sys.Audit at its node"),
    (&["nodes", "*", "status"], By::Permissions, "Sys.Audit at the node, then the same"),
    (&["nodes", "*", "qemu"], By::Permissions, "each row is shown by VM.Audit"),
    (&["nodes", "*", "lxc"], By::Permissions, "each row is shown by VM.Audit"),
    (&["cluster", "tasks"], By::Caller, "a user sees tasks of their own without any privilege"),
    (&["nodes", "*", "tasks"], By::Caller, "a user sees tasks of their own without any privilege"),
];

/// What the answer to a GET of this path below `/api2/json` depends on; None when it is not shared.
pub(crate) fn polled(below: &str) -> Option<By> {
    let matches = |pattern: &[&str]| {
        let mut segments = below.split('/').filter(|segment| !segment.is_empty());
        let same = pattern
            .iter()
            .all(|part| segments.next().is_some_and(|segment| *part == "*" || *part == segment));
        same && segments.next().is_none()
    };
    POLLED.iter().find(|(pattern, ..)| matches(pattern)).map(|(_, by, _)| *by)
}

#[cfg(test)]
mod tests {
    use super::{By, POLLED, polled};

    #[test]
    fn the_guide_lists_them() {
        let guide = include_str!("../../../../docs/guides/operate.md");
        for (pattern, by, reason) in POLLED {
            let shared = match by {
                By::Permissions => "sessions with the same permissions",
                By::Caller => "windows of the same session",
            };
            let row = format!("| `/{}` | {shared} | {reason} |", pattern.join("/"));
            assert!(guide.contains(&row), "{row}");
        }
    }

    #[test]
    fn whole_paths_alone() {
        assert_eq!(polled("/cluster/resources"), Some(By::Permissions));
        assert_eq!(polled("//cluster/resources/"), Some(By::Permissions));
        assert_eq!(polled("/nodes/a/tasks"), Some(By::Caller));
        for path in ["/", "/cluster", "/cluster/resources/x", "/nodes/a", "/nodes/a/tasks/x/log"] {
            assert_eq!(polled(path), None, "{path}");
        }
        for (pattern, by, _) in POLLED {
            assert_eq!(polled(&pattern.join("/")), Some(by), "{pattern:?}");
        }
    }
}
