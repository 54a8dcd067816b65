//! Files below declared roots: read, replaced after a snapshot, put back.
//!
//! A path is opened by the kernel with `RESOLVE_BENEATH` and without links, so neither `..` nor a
//! link leads out, also not one that is exchanged meanwhile. A write goes to a new file that takes
//! the old one's place in one step. With a lease the snapshot comes back by itself unless the
//! write is confirmed: a configuration that locks its author out does not stay.

mod notify;
mod snapshot;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use broker_api::limits::FILE_CONTENT;
use broker_api::{Code, Refusal};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid, fchmod, fchown, fstat,
    fsync, openat2, renameat, unlinkat,
};
use rustix::io::Errno;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use telemetry::Clock;

use crate::config::{RootSettings, Settings};
use crate::remote::keys;
use crate::worker::Done;
pub(crate) use snapshot::pending;
use snapshot::{Snapshot, Snapshots};

/// The declared roots, and what this program keeps.
pub(crate) struct Files {
    roots: BTreeMap<String, RootSettings>,
    snapshots: Snapshots,
    state: PathBuf,
    authorized_keys: Option<PathBuf>,
    clock: Clock,
}

/// A file as it is.
pub(super) struct Content {
    pub(super) text: String,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Files {
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        let clock = Clock::system();
        let snapshots = Snapshots::open(&settings.state.join("snapshots"))?;
        Ok(Self {
            roots: settings.roots.clone(),
            snapshots,
            state: settings.state.clone(),
            authorized_keys: settings.nodes.authorized_keys.clone(),
            clock,
        })
    }

    pub(super) fn handle(&self, verb: &str, params: &Map<String, Value>) -> Result<Value, Refusal> {
        match verb {
            "file.read" => self.read(params),
            "file.write" => self.write(params),
            "file.restore" => self.restore(params),
            "file.confirm" => self.confirm(params),
            "keys.ensure" => self.keys(is_plan(params), keys::ensure),
            "keys.rotate" => self.keys(is_plan(params), |folder, plan| {
                keys::rotate(folder, text(params, "step"), plan)
            }),
            "cleanup.request" => self.cleanup(params),
            "files.leases" => Ok(json!({"pending": self.snapshots.leases().len()})),
            _ => Err(super::handler::not_mine()),
        }
    }

    /// A change of the broker's keys, then of the file by which nodes know them: at no moment is
    /// the key in use missing there.
    fn keys(
        &self,
        plan: bool,
        change: impl FnOnce(&Path, bool) -> Result<Value, Refusal>,
    ) -> Result<Value, Refusal> {
        let folder = self.state.join("ssh");
        let mut own = keys::own(&folder);
        let mut result = change(&folder, plan)?;
        if let (Some(members), Some(key)) = (result.as_object_mut(), keys::public(&folder)) {
            members.insert("public_key".to_owned(), json!(key));
        }
        let Some(path) = &self.authorized_keys else { return Ok(result) };
        if !plan {
            own.extend(keys::own(&folder));
            self.authorize(path, &own, &folder)?;
        }
        if let Some(members) = result.as_object_mut() {
            members.insert("authorized_keys_file".to_owned(), json!(path));
        }
        Ok(result)
    }

    fn authorize(&self, path: &Path, own: &[String], folder: &Path) -> Result<(), Refusal> {
        let (Some(root), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str()))
        else {
            return Err(failed("broker.nodes.authorized_keys: not the path of a file"));
        };
        let before = read(root, name)?;
        let none = Content { text: String::new(), mode: 0o600, uid: 0, gid: 0 };
        let before = before.unwrap_or(none);
        let text = keys::authorized(&before.text, own, folder);
        if text == before.text {
            return Ok(());
        }
        // As it was, for whoever has to put it back by hand.
        let copy = folder.join("authorized_keys.before");
        secrets::private_file::write(&copy, before.text.as_bytes()).map_err(failed)?;
        replace(root, name, &Content { text, ..before })
    }

    /// When the nearest lease ends.
    pub(super) fn wakes(&self) -> Option<Duration> {
        let first = self.snapshots.leases().into_iter().filter_map(|s| s.lease_until_ms).min()?;
        Some(Duration::from_millis(first.saturating_sub(self.now_ms())))
    }

    /// Puts back what was not confirmed in time.
    pub(super) fn tick(&self) {
        let now = self.now_ms();
        for snapshot in self.snapshots.leases() {
            if snapshot.lease_until_ms.is_some_and(|until| until <= now) {
                let done =
                    self.put_back(&snapshot).and_then(|()| self.snapshots.release(&snapshot));
                match done {
                    Ok(()) => tracing::warn!(
                        root = snapshot.root,
                        path = snapshot.path,
                        "not confirmed in time: put back"
                    ),
                    Err(error) => {
                        tracing::error!(
                            error = error.message,
                            path = snapshot.path,
                            "can not be put back"
                        );
                        // Tried once: a root that is gone must not keep the worker busy.
                        let _ = self.snapshots.release(&snapshot);
                    }
                }
            }
        }
    }

    fn read(&self, params: &Map<String, Value>) -> Result<Value, Refusal> {
        let root = self.root(params, false)?;
        let path = text(params, "path");
        let content = read(&root.path, path)?.ok_or_else(|| not_found(path))?;
        Ok(json!({
            "content": content.text, "sha256": sha256(&content.text),
            "mode": format!("{:04o}", content.mode), "uid": content.uid, "gid": content.gid,
        }))
    }

    /// A descriptor that tells of changes of the file's directory, where its filesystem does.
    pub(super) fn notify(&self, params: &Map<String, Value>) -> Result<Done, Refusal> {
        let root = self.root(params, false)?;
        let path = text(params, "path");
        let (folder, name) = parent(&root.path, path)?;
        let descriptor = notify::watch(&folder).map_err(|errno| refused(path, errno))?;
        Ok(Done { value: json!({"name": name}), descriptor })
    }

    fn write(&self, params: &Map<String, Value>) -> Result<Value, Refusal> {
        let root = self.root(params, true)?;
        let (path, content) = (text(params, "path"), text(params, "content"));
        let before = read(&root.path, path)?;
        let old = before.as_ref().map_or_else(|| "absent".to_owned(), |old| sha256(&old.text));
        let expected = params.get("expect_sha256").and_then(Value::as_str);
        if expected.is_some_and(|expected| expected != old) {
            let text = format!("the file has changed since: it is {old} now");
            return Err(Refusal::new(Code::Conflict, text));
        }
        let changed = before.as_ref().is_none_or(|old| old.text != content);
        let result = json!({"changed": changed, "before": old, "sha256": sha256(content)});
        if !changed {
            return Ok(result);
        }
        self.no_trial(params, None)?;
        if is_plan(params) {
            return Ok(result);
        }
        let snapshot = self.keep(params, before)?;
        let after = Content {
            text: content.to_owned(),
            mode: snapshot.mode,
            uid: snapshot.uid,
            gid: snapshot.gid,
        };
        replace(&root.path, path, &after)?;
        Ok(with_snapshot(result, &snapshot, params))
    }

    fn restore(&self, params: &Map<String, Value>) -> Result<Value, Refusal> {
        let root = self.root(params, true)?;
        let snapshot = self.snapshot(params)?;
        if snapshot.path != text(params, "path") {
            return Err(Refusal::new(Code::Conflict, "the snapshot is of another file"));
        }
        self.no_trial(params, Some(&snapshot.id))?;
        let sha256 = snapshot.content.as_deref().map(sha256);
        let result = json!({"restored": snapshot.path, "sha256": sha256});
        if is_plan(params) {
            return Ok(result);
        }
        let undo = self.keep(params, read(&root.path, &snapshot.path)?)?;
        self.put_back(&snapshot)?;
        self.snapshots.release(&snapshot)?;
        Ok(with_snapshot(result, &undo, params))
    }

    /// Refuses a file that is on trial by another change: when that trial ended, what was there
    /// before it would replace this change unseen.
    fn no_trial(&self, params: &Map<String, Value>, but: Option<&str>) -> Result<(), Refusal> {
        let (root, path) = (text(params, "root"), text(params, "path"));
        // One spelling for each file, or its trial is not found.
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(refused(path, Errno::INVAL));
        }
        let leases = self.snapshots.leases();
        let trial = leases.iter().find(|s| s.root == root && s.path == path);
        match trial.filter(|trial| but != Some(trial.id.as_str())) {
            None => Ok(()),
            Some(trial) => {
                let text = format!(
                    "{path} is on trial: confirm or restore snapshot {} before another change",
                    trial.id
                );
                Err(Refusal::new(Code::Conflict, text))
            }
        }
    }

    /// Keeps what is there before a change; with a lease in the request it comes back by itself.
    fn keep(
        &self,
        params: &Map<String, Value>,
        before: Option<Content>,
    ) -> Result<Snapshot, Refusal> {
        let lease = params.get("lease_ms").and_then(Value::as_u64);
        let snapshot = Snapshot {
            id: snapshot::fresh_id().map_err(failed)?,
            root: text(params, "root").to_owned(),
            path: text(params, "path").to_owned(),
            mode: before.as_ref().map_or(0o644, |old| old.mode),
            uid: before.as_ref().map_or(0, |old| old.uid),
            gid: before.as_ref().map_or(0, |old| old.gid),
            content: before.map(|old| old.text),
            lease_until_ms: lease.map(|lease| self.now_ms().saturating_add(lease)),
        };
        self.snapshots.keep(&snapshot)?;
        Ok(snapshot)
    }

    fn confirm(&self, params: &Map<String, Value>) -> Result<Value, Refusal> {
        self.root(params, true)?;
        let snapshot = self.snapshot(params)?;
        self.snapshots.release(&snapshot)?;
        Ok(json!({"confirmed": snapshot.path}))
    }

    fn put_back(&self, snapshot: &Snapshot) -> Result<(), Refusal> {
        let root = self.roots.get(&snapshot.root).filter(|root| root.write);
        let root =
            root.ok_or_else(|| Refusal::new(Code::NotFound, "the root is not declared any more"))?;
        match &snapshot.content {
            Some(content) => {
                let content = Content {
                    text: content.clone(),
                    mode: snapshot.mode,
                    uid: snapshot.uid,
                    gid: snapshot.gid,
                };
                replace(&root.path, &snapshot.path, &content)
            }
            None => remove(&root.path, &snapshot.path),
        }
    }

    fn snapshot(&self, params: &Map<String, Value>) -> Result<Snapshot, Refusal> {
        let found = self.snapshots.find(text(params, "root"), text(params, "snapshot"));
        found.ok_or_else(|| Refusal::new(Code::NotFound, "no such snapshot below this root"))
    }

    fn root(&self, params: &Map<String, Value>, write: bool) -> Result<&RootSettings, Refusal> {
        let root = self.roots.get(text(params, "root")).ok_or_else(|| {
            Refusal::new(Code::NotFound, "no root of this name is declared in broker.roots")
        })?;
        if write && !root.write {
            let text = "this root is for reading; broker.roots.NAME.write = true changes that";
            return Err(Refusal::new(Code::Forbidden, text));
        }
        Ok(root)
    }

    /// As the original: a file that the clean-up unit waits for.
    fn cleanup(&self, params: &Map<String, Value>) -> Result<Value, Refusal> {
        const NAME: &str = "cleanup-request.json";
        let folder = self.state.join("snapshots");
        let request = json!({
            "host": params.get("host"), "reason": params.get("reason"),
            "requested_at": telemetry::Rfc3339(self.clock.unix()).to_string(),
        });
        if is_plan(params) {
            let waits = read(&folder, NAME)?.is_some();
            let file = folder.join(NAME);
            return Ok(json!({
                "queued": false, "file": file, "replaces_one": waits, "request": request,
            }));
        }
        let content = Content { text: format!("{request}\n"), mode: 0o600, uid: 0, gid: 0 };
        replace(&folder, NAME, &content)?;
        Ok(json!({"queued": true}))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.unix().as_millis()).unwrap_or(u64::MAX)
    }
}

fn text<'p>(params: &'p Map<String, Value>, name: &str) -> &'p str {
    params.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn is_plan(params: &Map<String, Value>) -> bool {
    params.get("plan").and_then(Value::as_bool) == Some(true)
}

/// The answer to a change, with the name under which it can be undone.
fn with_snapshot(mut result: Value, undo: &Snapshot, params: &Map<String, Value>) -> Value {
    if let Some(members) = result.as_object_mut() {
        members.insert("snapshot".to_owned(), json!(undo.id));
        let lease = params.get("lease_ms").cloned();
        members.extend(lease.map(|lease| ("lease_ms".to_owned(), lease)));
    }
    result
}

fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn failed(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::Unavailable, error.to_string())
}

fn not_found(path: &str) -> Refusal {
    Refusal::new(Code::NotFound, format!("{path}: no such file below this root"))
}

fn open(root: &Path, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let base = rustix::fs::openat(
        CWD,
        root,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(base, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// Refusals of the kernel in words that say whose fault it is.
fn refused(path: &str, errno: Errno) -> Refusal {
    match errno {
        Errno::NOENT => not_found(path),
        Errno::XDEV | Errno::LOOP => {
            Refusal::new(Code::Forbidden, "the path leads out of the root, or over a link")
        }
        Errno::NOTDIR | Errno::ISDIR | Errno::INVAL | Errno::NAMETOOLONG => {
            Refusal::new(Code::InvalidParameter, format!("{path}: not the path of a file"))
        }
        other => failed(format!("{path}: {}", std::io::Error::from(other))),
    }
}

/// A regular file of text; `None` when there is none.
pub(super) fn read(root: &Path, path: &str) -> Result<Option<Content>, Refusal> {
    // Looked at before it is opened: opening alone makes a device do something (a watchdog starts,
    // a tape rewinds), and whoever fills a container's root may have put one there.
    let place = match open(root, path, OFlags::PATH) {
        Ok(place) => place,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(refused(path, errno)),
    };
    let stat: Stat = fstat(&place).map_err(|errno| refused(path, errno))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Refusal::new(Code::InvalidParameter, format!("{path}: not a regular file")));
    }
    // The same file, whatever the path leads to by now.
    let fd = rustix::fs::open(
        format!("/proc/self/fd/{}", place.as_raw_fd()),
        OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|errno| refused(path, errno))?;
    let limit = u64::try_from(FILE_CONTENT).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    File::from(fd).take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > FILE_CONTENT {
        return Err(Refusal::new(Code::OutputTooLarge, format!("{FILE_CONTENT} bytes")));
    }
    let text =
        String::from_utf8(bytes).map_err(|_| failed(format!("{path}: not text in UTF-8")))?;
    // Without setuid: what is written next is not the program that was trusted with it.
    Ok(Some(Content { text, mode: stat.st_mode & 0o777, uid: stat.st_uid, gid: stat.st_gid }))
}

/// The directory of a file, and its name in there.
fn parent<'p>(root: &Path, path: &'p str) -> Result<(OwnedFd, &'p str), Refusal> {
    let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
    if matches!(name, "" | "." | "..") {
        return Err(refused(path, Errno::INVAL));
    }
    let folder = if folder.is_empty() { "." } else { folder };
    let fd = open(root, folder, OFlags::RDONLY | OFlags::DIRECTORY);
    fd.map(|fd| (fd, name)).map_err(|errno| refused(path, errno))
}

/// Writes a new file and puts it in the place of the old one.
pub(super) fn replace(root: &Path, path: &str, content: &Content) -> Result<(), Refusal> {
    let (folder, name) = parent(root, path)?;
    let fail = |errno: Errno| refused(path, errno);
    let new = format!(".{name}.{}", snapshot::fresh_id().map_err(failed)?);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(&folder, &new, flags, Mode::RUSR | Mode::WUSR).map_err(fail)?;
    let written = (|| {
        let mut file = File::from(fd);
        file.write_all(content.text.as_bytes()).map_err(failed)?;
        let (uid, gid) = (Uid::from_raw(content.uid), Gid::from_raw(content.gid));
        if rustix::process::geteuid().is_root() {
            fchown(&file, Some(uid), Some(gid)).map_err(fail)?;
        }
        fchmod(&file, Mode::from_raw_mode(content.mode)).map_err(fail)?;
        fsync(&file).map_err(fail)?;
        renameat(&folder, &new, &folder, name).map_err(fail)?;
        fsync(&folder).map_err(fail)
    })();
    if written.is_err() {
        let _ = unlinkat(&folder, &new, AtFlags::empty());
    }
    written
}

fn remove(root: &Path, path: &str) -> Result<(), Refusal> {
    let (folder, name) = parent(root, path)?;
    match unlinkat(&folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => fsync(&folder).map_err(|errno| refused(path, errno)),
        Err(errno) => Err(refused(path, errno)),
    }
}

#[cfg(test)]
mod tests;
