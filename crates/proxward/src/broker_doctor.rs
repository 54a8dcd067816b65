//! Why the broker does not answer somebody, found out step by step.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use broker_api::{Client, Outcome, Request};
use serde_json::Value;

use crate::exit::{Exit, Stop};
use crate::output::result;

/// How long the broker may take to say who asks.
const WAIT: Duration = Duration::from_secs(10);

/// Each step is a line; the first that fails ends it, with the remedy.
pub(crate) fn doctor(socket: &Path) -> Result<(), Stop> {
    is_socket(socket)?;
    if let Some(why) = replaceable(socket.parent().unwrap_or(Path::new("/")))? {
        result(&format!("warning: {why}"));
    }
    let unreached = |error| Stop::new(Exit::Unreachable, error);
    let mut client = Client::connect(socket, WAIT).map_err(unreached)?;
    let answer = client.call(Request::new("broker.status"), |_| {}).map_err(unreached)?;
    match answer.outcome {
        Outcome::Done { result: status, .. } => {
            let text =
                |name: &str| status.get(name).and_then(Value::as_str).unwrap_or("?").to_owned();
            result(&format!(
                "the broker ({}) takes this process for {}",
                text("version"),
                text("peer")
            ));
            let grants = status.get("grants").and_then(Value::as_object);
            for (verb, targets) in grants.into_iter().flatten() {
                result(&format!("it may do {verb} on {targets}"));
            }
            let degraded = status.get("degraded").and_then(Value::as_array);
            if degraded.is_some_and(|layers| !layers.is_empty()) {
                result("warning: the broker is confined less than it could be (allow_degraded)");
            }
            let may = |verb: &str| grants.is_some_and(|grants| grants.contains_key(verb));
            if text("peer").starts_with("range:") {
                result(
                    "warning: this process is in a user namespace of no known container: a rule \
                     for a container does not match it; write peer = [\"range:ACCOUNT\"], or give \
                     the container a socket of its own",
                );
            }
            for verb in ["cluster.members", "sensors.read"].into_iter().filter(|verb| may(verb)) {
                let answer = client.call(Request::new(verb), |_| {}).map_err(unreached)?;
                match answer.outcome {
                    Outcome::Done { result: found, .. } => explain(verb, &found),
                    Outcome::Refused { message, .. } => {
                        result(&format!("warning: {verb}: {message}"));
                    }
                }
            }
            Ok(())
        }
        Outcome::Refused { message, .. } => {
            let text = format!("refused: {message}; add a rule to [[broker.allow]]");
            Err(Stop::say(Exit::Denied, text))
        }
    }
}

/// What users took for faults of the broker: members it does not know, keys that are missing,
/// hosts without sensors.
fn explain(verb: &str, found: &Value) {
    let list = |name: &str| found.get(name).and_then(Value::as_array).into_iter().flatten();
    let text = |value: &Value, name: &str| {
        value.get(name).and_then(Value::as_str).unwrap_or("?").to_owned()
    };
    if verb == "sensors.read" {
        let (chips, zones) = (list("chips").count(), list("zones").count());
        match found.get("reason").and_then(Value::as_str) {
            Some(reason) => result(&format!("no sensors: {reason}")),
            None => result(&format!("{chips} chips and {zones} thermal zones are read")),
        }
        return;
    }
    if found.get("stale") == Some(&Value::Bool(true)) {
        result("warning: the members are old ones: /etc/pve can not be read (is pmxcfs up?)");
    }
    let members: Vec<&Value> = list("members").collect();
    if members.is_empty() {
        result("this node is in no cluster: it alone is reached, by its own name");
    }
    for member in members.iter().filter(|member| member.get("local") != Some(&Value::Bool(true))) {
        let name = text(member, "name");
        let keys = Path::new("/etc/pve/nodes").join(&name).join("ssh_known_hosts");
        match keys.exists() {
            true => result(&format!("member {name}: its host keys are known")),
            false => result(&format!(
                "warning: member {name}: {} is not there or not readable for this user, so it is \
                 refused; `pvecm updatecerts` on that node makes it",
                keys.display()
            )),
        }
    }
}

/// Whether a directory with the socket is as a container should have it.
pub(crate) fn mount_check(directory: &Path) -> Result<(), Stop> {
    let sockets: Vec<PathBuf> = std::fs::read_dir(directory)
        .map_err(|error| Stop::say(Exit::No, format!("{}: {error}", directory.display())))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| is_socket(path).is_ok())
        .collect();
    let Some(socket) = sockets.first() else {
        let text = format!("{}: no socket in it; is the broker running?", directory.display());
        return Err(Stop::say(Exit::No, text));
    };
    if let Some(why) = replaceable(directory)? {
        return Err(Stop::say(Exit::No, why));
    }
    result(&format!("{}: there, and can not be replaced", socket.display()));
    Ok(())
}

fn is_socket(path: &Path) -> Result<(), Stop> {
    let no =
        |what: String| Err(Stop::say(Exit::Unreachable, format!("{}: {what}", path.display())));
    match std::fs::symlink_metadata(path) {
        Ok(there) if there.file_type().is_socket() => Ok(()),
        Ok(_) => no("not a socket".to_owned()),
        Err(error) => no(format!("{error}; does proxward-brokerd run?")),
    }
}

/// Who else could put a socket of their own there.
fn replaceable(directory: &Path) -> Result<Option<String>, Stop> {
    let shown = directory.display();
    let meta = std::fs::metadata(directory)
        .map_err(|error| Stop::say(Exit::No, format!("{shown}: {error}")))?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    if is_read_only(&mounts, directory) {
        return Ok(None);
    }
    if meta.mode() & 0o022 != 0 {
        return Ok(Some(format!("{shown}: others may write to it; chmod 755")));
    }
    let inside = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let container = std::env::var_os("container").is_some() || inside.contains("/lxc/");
    Ok(container.then(|| format!("{shown}: mounted writable; add ro to its lxc.mount.entry")))
}

/// Whether the mount that holds `path` is read-only (proc(5), mountinfo: the fifth field is the
/// place, the sixth its options). The longest place that holds it counts, of these the last.
fn is_read_only(mounts: &str, path: &Path) -> bool {
    let mount = |line: &str| {
        let mut fields = line.split(' ');
        let place = fields.nth(4)?.replace("\\040", " ");
        let options = fields.next()?;
        let read_only = options.split(',').any(|option| option == "ro");
        path.starts_with(&place).then_some((place.len(), read_only))
    };
    let found = mounts.lines().filter_map(mount).max_by_key(|(length, _)| *length);
    found.is_some_and(|(_, read_only)| read_only)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_that_holds_a_path_decides() {
        let mounts = "22 1 0:20 / / rw,relatime - ext4 /dev/a rw\n\
                      36 22 0:31 / /mnt/prox rw - tmpfs t rw\n\
                      37 22 0:31 /s /mnt/prox/s ro,nosuid - tmpfs t rw\n\
                      38 22 0:31 /s /mnt/a\\040b ro - tmpfs t rw\n";
        let read_only = |path: &str| is_read_only(mounts, Path::new(path));
        assert!(read_only("/mnt/prox/s") && read_only("/mnt/a b/c"));
        assert!(!read_only("/mnt/prox") && !read_only("/mnt/proxy/s") && !read_only("/"));
    }

    #[test]
    fn a_directory_that_others_may_write_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
        assert!(mount_check(dir.path()).is_err(), "no socket");
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
        std::fs::set_permissions(dir.path(), mode(0o777)).unwrap();
        assert!(replaceable(dir.path()).unwrap().unwrap().contains("chmod 755"));
    }
}
