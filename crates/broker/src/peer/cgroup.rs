//! Where a process runs, by the path of its control group.
//!
//! PVE puts a container's processes below `/lxc/VMID/ns` and the program that watches over it
//! into `/lxc.monitor/VMID`; upstream LXC says `lxc.payload.NAME`; Docker and podman have scopes
//! or directories with the container's 64 digits. Only root of the host can make such directories
//! at these places, and no process can leave its own by itself.

use std::sync::Arc;

/// Where a process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the host, in no unit that counts: a shell, or a service of a user.
    Host,
    /// On the host, in this unit of the system.
    Unit(Arc<str>),
    /// In a container: `101`, `docker/0f3a…`, `lxc/NAME`.
    Container(Arc<str>),
    /// In a cell of this program.
    Cell(Arc<str>),
    /// In a user namespace of its own, in no container that is known.
    Foreign,
}

/// Reads `/proc/PID/cgroup`: the unified hierarchy's line, else systemd's. `None` when it has
/// neither, or is not such a file.
pub(crate) fn place(text: &str) -> Option<Place> {
    let path = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
    let systemd = text.lines().find_map(|line| line.split_once(":name=systemd:").map(|(_, p)| p));
    match (path("0::"), systemd) {
        // With both (a hybrid host), the unified one may be empty: systemd's says more.
        (Some("/") | None, Some(path)) | (Some(path), _) => of_path(path),
        (None, None) => None,
    }
}

fn of_path(path: &str) -> Option<Place> {
    // `/../x` is what the kernel shows for a process outside of the reader's own namespace of
    // control groups: nothing can be told about it.
    let parts: Vec<&str> = path.strip_prefix('/')?.split('/').filter(|p| !p.is_empty()).collect();
    if parts.contains(&"..") {
        return None;
    }
    let container = |id: String| Some(Place::Container(id.into()));
    match parts.as_slice() {
        ["lxc", id, ..] if is_vmid(id) => return container((*id).to_owned()),
        ["lxc", name, ..] => return container(format!("lxc/{name}")),
        _ => {}
    }
    for part in &parts {
        if let Some(name) = part.strip_prefix("lxc.payload.") {
            return container(if is_vmid(name) { name.to_owned() } else { format!("lxc/{name}") });
        }
        if let Some(name) = part.strip_prefix("proxward-cell-") {
            let name = name.strip_suffix(".scope").unwrap_or(name);
            return Some(Place::Cell(name.into()));
        }
        if let Some(found) = engine_container(part) {
            return container(found);
        }
    }
    let unit = parts.iter().rev().find(|part| part.ends_with(".service"));
    Some(match (parts.first(), unit) {
        // Units below user.slice are made by users: they prove nothing.
        (Some(&"system.slice"), Some(unit)) => Place::Unit((*unit).into()),
        _ => Place::Host,
    })
}

/// `docker-ID.scope`, `libpod-ID.scope`, `cri-containerd-ID.scope`, or `ID` alone.
fn engine_container(part: &str) -> Option<String> {
    const DIGITS: usize = 64;
    let bare = part.strip_suffix(".scope").unwrap_or(part);
    let (engine, id) = bare.rsplit_once('-').unwrap_or(("container", bare));
    let is_id = id.len() == DIGITS && id.bytes().all(|b| b.is_ascii_hexdigit());
    is_id.then(|| format!("{engine}/{id}"))
}

fn is_vmid(text: &str) -> bool {
    (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn places_by_their_paths() {
        let id = "0123456789abcdef".repeat(4);
        let docker = format!("0::/system.slice/docker-{id}.scope\n");
        let plain = format!("0::/docker/{id}/init\n");
        let container = |id: &str| Some(Place::Container(id.into()));
        for (text, expected) in [
            ("0::/lxc/101/ns/system.slice/pulse.service\n", container("101")),
            ("0::/lxc/101/ns/init.scope\n", container("101")),
            ("0::/lxc/web/ns\n", container("lxc/web")),
            ("0::/lxc.payload.102/init.scope\n", container("102")),
            ("0::/lxc.monitor/101\n", Some(Place::Host)),
            (docker.as_str(), container(&format!("docker/{id}"))),
            (plain.as_str(), container(&format!("container/{id}"))),
            ("0::/system.slice/pulse.service\n", Some(Place::Unit("pulse.service".into()))),
            (
                "0::/system.slice/system-a.slice/a@1.service/x\n",
                Some(Place::Unit("a@1.service".into())),
            ),
            ("0::/user.slice/user-1000.slice/user@1000.service/x.service\n", Some(Place::Host)),
            ("0::/user.slice/user-0.slice/session-1.scope\n", Some(Place::Host)),
            ("0::/system.slice/proxward-cell-web.scope\n", Some(Place::Cell("web".into()))),
            ("0::/\n", Some(Place::Host)),
            ("9:name=systemd:/lxc/103/ns\n0::/\n", container("103")),
            ("9:name=systemd:/system.slice/a.service\n", Some(Place::Unit("a.service".into()))),
            ("0::/../other\n", None),
            ("4:memory:/x\n", None),
            ("", None),
        ] {
            assert_eq!(place(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_below_lxc_is_the_host(rest in "[a-z0-9./-]{0,40}") {
            let found = place(&format!("0::/lxc/104/{rest}\n"));
            prop_assert!(matches!(found, Some(Place::Container(_)) | None));
        }

        #[test]
        fn any_text_is_judged(text in "(0::|[0-9]:name=systemd:)?/?[a-z.0-9/\n-]{0,60}") {
            let _ = place(&text);
        }
    }
}
