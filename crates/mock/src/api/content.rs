//! `/nodes/{node}/storage/{storage}/content` and `upload`.

use std::time::Duration;

use pve_schema::Verb;
use serde_json::{Value, json};

use super::{Call, Row};
use crate::failure::{Failure, Outcome, Success};
use crate::object::{set, set_some};
use crate::seed::GuestKind;
use crate::state::{Effect, Spawn, Spooled, Storage, TaskKind, Volume, VolumeKind, disk};

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/nodes/{node}/storage/{storage}/content", list),
    (Verb::Post, "/nodes/{node}/storage/{storage}/content", allocate),
    (Verb::Get, "/nodes/{node}/storage/{storage}/content/{volume}", attributes),
    (Verb::Put, "/nodes/{node}/storage/{storage}/content/{volume}", set_attributes),
    (Verb::Delete, "/nodes/{node}/storage/{storage}/content/{volume}", delete),
    (Verb::Post, "/nodes/{node}/storage/{storage}/upload", upload),
];

const COPY: TaskKind = TaskKind { name: "imgcopy", takes: Duration::from_secs(1) };
const DELETE: TaskKind = TaskKind { name: "imgdel", takes: Duration::from_secs(1) };

/// Content types of uploads: directory, endings of names, and the text when none fits.
const UPLOADS: [(&str, &[&str], &str); 3] = [
    ("iso", &[".iso", ".img"], "wrong file extension"),
    ("vztmpl", &[".tar.gz", ".tar.xz", ".tar.zst", ".tar.bz2"], "wrong file extension"),
    ("import", &[".ova", ".qcow2", ".raw", ".vmdk"], "invalid filename or wrong extension"),
];

/// Where a call looks: a storage, and the node that its contents belong to.
pub(super) struct Place {
    pub(super) storage: String,
    /// The node of the path.
    node: String,
    /// Empty when all nodes see the same.
    pub(super) owner: String,
    directory: Option<String>,
}

impl Place {
    pub(super) fn of(call: &Call<'_>, storage: &str) -> Result<Self, Failure> {
        let node = call.node()?.name.clone();
        let known = find(call, storage)?;
        let owner = if known.shared { String::new() } else { node.clone() };
        Ok(Self { storage: storage.to_owned(), node, owner, directory: known.path.clone() })
    }

    /// What the name of a volume tells here.
    pub(super) fn kind(&self, name: &str) -> Result<VolumeKind, Failure> {
        let (kind, what) = match self.directory {
            Some(_) => (VolumeKind::in_directory(name), "directory"),
            None => (VolumeKind::in_blocks(name), "lvm"),
        };
        kind.ok_or_else(|| Failure::die(format!("unable to parse {what} volume name '{name}'")))
    }

    pub(super) fn path(&self, name: &str) -> String {
        let below = match name.split_once('/') {
            Some(("iso", file)) => format!("template/iso/{file}"),
            Some(("vztmpl", file)) => format!("template/cache/{file}"),
            Some(("backup", file)) => format!("dump/{file}"),
            Some((vmid, file)) if vmid.bytes().all(|byte| byte.is_ascii_digit()) => {
                format!("images/{vmid}/{file}")
            }
            _ => name.to_owned(),
        };
        match &self.directory {
            Some(directory) => format!("{directory}/{below}"),
            None => format!("/dev/{}/{name}", self.storage),
        }
    }
}

fn find<'c>(call: &'c Call<'_>, storage: &str) -> Result<&'c Storage, Failure> {
    let found = call.state.storages.get(storage);
    found.ok_or_else(|| Failure::die(format!("storage '{storage}' does not exist")))
}

fn list(call: &mut Call<'_>) -> Outcome {
    let now = call.now();
    let place = Place::of(call, &call.required("storage"))?;
    let supported: Vec<String> =
        find(call, &place.storage)?.content.split(',').map(str::to_owned).collect();
    let (content, vmid) = (call.text("content"), call.number("vmid"));
    let mut entries: Vec<(String, Volume)> = guests_volumes(call, &place);
    let others = call.state.volumes.list(&place.storage, &place.owner);
    let others = others.filter(|(_, volume)| volume.since <= now);
    entries.extend(others.map(|(name, volume)| (name.to_owned(), volume.clone())));
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    // Allocated by hand and then given to a guest: one volume, not two.
    entries.dedup_by(|(one, _), (other, _)| one == other);
    let wanted = entries.iter().filter(|(_, volume)| {
        let kind = &volume.kind;
        supported.iter().any(|one| one == kind.content)
            && content.as_ref().is_none_or(|content| content == kind.content)
            && vmid.is_none_or(|vmid| kind.vmid.map(u64::from) == Some(vmid))
            && check_access(call, &place, kind).is_ok()
    });
    let volid = |name: &str| format!("{}:{name}", place.storage);
    let entries: Vec<Value> = wanted.map(|(name, one)| one.entry(&volid(name))).collect();
    Ok(Value::Array(entries).into())
}

/// The volumes that guests' configurations name.
fn guests_volumes(call: &Call<'_>, place: &Place) -> Vec<(String, Volume)> {
    let mut found = Vec::new();
    for guest in call.state.guests.values() {
        if !place.owner.is_empty() && guest.node != place.owner {
            continue;
        }
        for (_, drive) in disk::volumes(guest.config()) {
            let Some((_, name)) = drive.volume().filter(|(id, _)| *id == place.storage) else {
                continue;
            };
            let Ok(mut kind) = place.kind(name) else { continue };
            if kind.content == "images" && guest.kind == GuestKind::Lxc {
                kind.content = "rootdir";
            }
            found.push((name.to_owned(), Volume::new(kind, drive.bytes(), Duration::ZERO)));
        }
    }
    found
}

/// One volume, wherever it is kept.
fn look_up(call: &mut Call<'_>, place: &Place, name: &str) -> Option<Volume> {
    let now = call.now();
    let key = (place.storage.clone(), place.owner.clone(), name.to_owned());
    // Not `find`, which counts as a change.
    let kept = call.state.volumes.at(&key);
    if let Some(volume) = kept.filter(|volume| volume.since <= now) {
        return Some(volume.clone());
    }
    guests_volumes(call, place).into_iter().find(|(known, _)| known == name).map(|(_, one)| one)
}

/// `PVE::Storage::check_volume_access`, for a caller that is not the owner's own task.
fn check_access(call: &Call<'_>, place: &Place, kind: &VolumeKind) -> Result<(), Failure> {
    let path = format!("/storage/{}", place.storage);
    if call.may(&path, &["Datastore.Allocate"]) {
        return Ok(());
    }
    let needs = |path: &str, privileges: &[&str]| {
        let missing = || Failure::permission(&format!("{path}, {}", privileges.join("|")));
        if call.may(path, privileges) { Ok(()) } else { Err(missing()) }
    };
    match (kind.content, kind.vmid) {
        ("iso" | "vztmpl" | "import", _) => {
            needs(&path, &["Datastore.AllocateSpace", "Datastore.Audit"])
        }
        ("backup", Some(vmid)) => {
            needs(&path, &["Datastore.AllocateSpace"])?;
            needs(&format!("/vms/{vmid}"), &["VM.Backup"])
        }
        ("images" | "rootdir", Some(vmid)) => {
            needs(&path, &["Datastore.Audit"])?;
            needs(&format!("/vms/{vmid}"), &["VM.Config.Disk"])
        }
        _ => Err(Failure::die(format!("missing privileges to access {}", place.storage))),
    }
}

/// Storage and name of the path's volume, which may be a whole volume id.
fn addressed(call: &Call<'_>) -> Result<(Place, String), Failure> {
    let (storage, volume) = (call.required("storage"), call.required("volume"));
    let Some((given, name)) = volume.split_once(':') else {
        return Ok((Place::of(call, &storage)?, volume));
    };
    if given != storage {
        let text = format!("storage ID mismatch ({given} != {storage})\n");
        return Err(Failure::parameter("volume", &text));
    }
    Ok((Place::of(call, given)?, name.to_owned()))
}

fn attributes(call: &mut Call<'_>) -> Outcome {
    let (place, name) = addressed(call)?;
    let kind = place.kind(&name)?;
    check_access(call, &place, &kind)?;
    let volume = look_up(call, &place, &name).ok_or_else(|| {
        Failure::die(format!("volume_size_info on '{}:{name}' failed", place.storage))
    })?;
    let mut entry = json!({
        "path": place.path(&name),
        "size": volume.size,
        "used": volume.size,
        "format": volume.kind.format,
    });
    set_some(&mut entry, "notes", volume.notes);
    if kind.content == "backup" {
        set(&mut entry, "protected", u8::from(volume.protected));
    }
    Ok(entry.into())
}

fn set_attributes(call: &mut Call<'_>) -> Outcome {
    let (place, name) = addressed(call)?;
    let kind = place.kind(&name)?;
    check_access(call, &place, &kind)?;
    let notes = call.parameters.contains_key("notes").then(|| call.required("notes"));
    let protected = call.parameters.contains_key("protected").then(|| call.flag("protected"));
    if kind.content != "backup" && notes.is_some() {
        return Err(Failure::die("only backups can have notes"));
    }
    if kind.content != "backup" && protected.is_some() {
        return Err(Failure::die("only backups can be protected"));
    }
    let path = place.path(&name);
    let found = call.state.volumes.find(&place.storage, &place.owner, &name);
    let volume = found
        .ok_or_else(|| Failure::die(format!("can't open '{path}' - No such file or directory")))?;
    if let Some(notes) = notes {
        volume.notes = Some(notes).filter(|notes| !notes.is_empty());
    }
    volume.protected = protected.unwrap_or(volume.protected);
    Ok(Success::default())
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let (place, name) = addressed(call)?;
    let kind = place.kind(&name)?;
    let path = format!("/storage/{}", place.storage);
    let needs = |path: &str, privilege: &str| {
        let missing = || Failure::permission(&format!("{path}, {privilege}"));
        if call.may(path, &[privilege]) { Ok(()) } else { Err(missing()) }
    };
    match kind.vmid.filter(|_| kind.content == "backup") {
        Some(vmid) => {
            needs(&path, "Datastore.AllocateSpace")?;
            needs(&format!("/vms/{vmid}"), "VM.Backup")?;
        }
        None => needs(&path, "Datastore.Allocate")?,
    }
    let now = call.now();
    let exit = match call.state.volumes.find(&place.storage, &place.owner, &name) {
        Some(volume) if volume.protected => {
            Err(format!("cannot remove protected volume '{name}' on '{}'", place.storage))
        }
        Some(volume) if volume.since <= now => Ok(()),
        _ => Err(match look_up(call, &place, &name) {
            // The genuine node takes the disk away under the guest; the mock keeps both whole.
            Some(_) => format!("volume '{}:{name}' is in use by a guest", place.storage),
            None => format!("unable to remove '{}' - No such file or directory", place.path(&name)),
        }),
    };
    if exit.is_ok() {
        call.state.volumes.remove(&place.storage, &place.owner, &name);
    }
    let lines = vec![format!("Removed volume '{}:{name}'", place.storage)];
    let lines = if exit.is_ok() { lines } else { Vec::new() };
    let owner = kind.vmid.map(|vmid| format!("{vmid}@")).unwrap_or_default();
    let waits = call.number("delay").map(Duration::from_secs);
    let within = waits.is_some_and(|delay| DELETE.takes.mul_f64(call.shared.time_scale()) <= delay);
    let failed = exit.clone().err();
    let upid = spawn(call, &place, DELETE, &format!("{owner}{}", place.storage), exit, lines);
    match failed {
        Some(text) if within => Err(Failure::die(text)),
        None if within => Ok(Success::default()),
        _ => Ok(json!(upid).into()),
    }
}

fn allocate(call: &mut Call<'_>) -> Outcome {
    let place = Place::of(call, &call.required("storage"))?;
    let (name, vmid) = (call.required("filename"), call.required("vmid"));
    let size = bytes(&call.required("size"));
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    let ending = ending.filter(|ending| ["raw", "qcow2", "vmdk"].contains(ending));
    if let (Some(ending), Some(format)) = (ending, call.text("format"))
        && ending != format
    {
        let text = format!("different storage formats ({format} != {ending})");
        return Err(Failure::parameter("format", &text));
    }
    let owned = ["vm", "base", "subvol", "basevol"]
        .iter()
        .any(|prefix| name.starts_with(&format!("{prefix}-{vmid}-")));
    let name = match (&place.directory, ending) {
        (Some(_), Some(_)) if owned => format!("{vmid}/{name}"),
        (Some(_), _) => {
            return Err(Failure::die(format!("unable to parse volume filename '{name}'")));
        }
        (None, _) if owned => name,
        (None, _) => {
            return Err(Failure::die(format!("illegal name '{name}' - should be 'vm-{vmid}-*'")));
        }
    };
    let kind = place.kind(&name)?;
    if look_up(call, &place, &name).is_some() {
        let path = place.path(&name);
        return Err(Failure::die(format!("disk image '{path}' already exists")));
    }
    let volume = Volume::new(kind, size, call.now());
    keep(call, &place, name.clone(), volume)?;
    Ok(json!(format!("{}:{name}", place.storage)).into())
}

fn upload(call: &mut Call<'_>) -> Outcome {
    let Some(temporary) = call.text("tmpfilename") else {
        return Err(Failure::die("missing temporary file name"));
    };
    let Some(spooled) = call.state.volumes.spool.get(&temporary).cloned() else {
        return Err(Failure::die(format!("temporary file '{temporary}' does not exist")));
    };
    let content = call.required("content");
    let (place, file) = new_file(call, &content)?;
    let name = format!("{content}/{file}");
    let exit = checked(call, &spooled);
    let mut lines = vec![format!("starting file import from: {temporary}")];
    if exit.is_ok() {
        let path = place.path(&name);
        let ends = call.now() + COPY.takes.mul_f64(call.shared.time_scale());
        let volume = Volume::new(place.kind(&name)?, spooled.size, ends);
        keep(call, &place, name, volume)?;
        lines.extend([
            format!("target node: {}", place.node),
            format!("target file: {path}"),
            format!("file size is: {}", spooled.size),
            format!("command: cp -- {temporary} {path}"),
            "finished file import successfully".to_owned(),
        ]);
    }
    Ok(json!(spawn(call, &place, COPY, "", exit, lines)).into())
}

/// Where a new file of the content goes, and its name as it is kept.
pub(super) fn new_file(call: &Call<'_>, content: &str) -> Result<(Place, String), Failure> {
    let file_based = find(call, &call.required("storage"))?;
    if file_based.path.is_none() {
        return Err(Failure::die(format!("can't upload to storage type '{}'", file_based.kind)));
    }
    let file = normal_name(&call.required("filename"));
    let row = UPLOADS.iter().find(|(known, ..)| *known == content);
    let Some((_, endings, complaint)) = row else {
        let text = format!("upload content type '{content}' not allowed");
        return Err(Failure::parameter("content", &text));
    };
    let lower = file.to_ascii_lowercase();
    if !endings.iter().any(|end| lower.len() > end.len() && lower.ends_with(end)) {
        return Err(Failure::parameter("filename", complaint));
    }
    Ok((place_for(call, content)?, file))
}

/// The storage of the call, when it takes that content.
pub(super) fn place_for(call: &Call<'_>, content: &str) -> Result<Place, Failure> {
    let storage = call.required("storage");
    if !find(call, &storage)?.content.split(',').any(|one| one == content) {
        let text = format!("storage '{storage}' does not support '{content}' content");
        return Err(Failure::die(text));
    }
    Place::of(call, &storage)
}

/// Whether the file has the checksum that the form promised.
fn checked(call: &Call<'_>, spooled: &Spooled) -> Result<(), String> {
    let (Some(wanted), Some(got)) = (call.text("checksum"), &spooled.digest) else {
        return Ok(());
    };
    if wanted.eq_ignore_ascii_case(got) {
        return Ok(());
    }
    Err(format!("checksum mismatch: got '{got}' != expect '{wanted}'"))
}

/// The last component, with `_` for whatever is not plain (`normalize_content_filename`).
fn normal_name(given: &str) -> String {
    let last = given.trim_end_matches('\n').rsplit(['/', '\\']).next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    last.chars().map(|c| if plain(c) { c } else { '_' }).collect()
}

pub(super) fn keep(
    call: &mut Call<'_>,
    place: &Place,
    name: String,
    volume: Volume,
) -> Result<(), Failure> {
    if call.state.volumes.insert(&place.storage, &place.owner, name, volume) {
        return Ok(());
    }
    Err(Failure::die(format!("storage '{}': No space left on device", place.storage)))
}

pub(super) fn spawn(
    call: &mut Call<'_>,
    place: &Place,
    kind: TaskKind,
    id: &str,
    exit: Result<(), String>,
    lines: Vec<String>,
) -> String {
    let (now, user) = (call.now(), call.caller.id().to_owned());
    let spawn = Spawn { node: &place.node, kind, id, user: &user, effect: Effect::Nothing, exit };
    let upid = call.state.tasks.spawn(now, call.shared.time_scale(), spawn);
    call.state.tasks.explain(&upid, lines);
    upid
}

/// `4096` (KiB), `32M` or `1G`, as the schema has checked it.
fn bytes(text: &str) -> u64 {
    let (digits, shift) = match text.strip_suffix(['M', 'G']) {
        Some(digits) if text.ends_with('G') => (digits, 30),
        Some(digits) => (digits, 20),
        None => (text, 10),
    };
    digits.parse::<u64>().ok().and_then(|value| value.checked_mul(1 << shift)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_lose_their_directories_and_odd_characters() {
        for (given, wanted) in [
            ("../../evil.iso", "evil.iso"),
            ("C:\\temp\\a b.iso", "a_b.iso"),
            ("ünï.iso", "_n_.iso"),
            ("a.iso\n", "a.iso"),
            ("dir/", ""),
        ] {
            assert_eq!(normal_name(given), wanted, "{given}");
        }
    }

    #[test]
    fn sizes_count_in_kibibytes() {
        assert_eq!([bytes("4"), bytes("4M"), bytes("4G")], [4 << 10, 4 << 20, 4 << 30]);
        assert_eq!(bytes("99999999999999999999G"), u64::MAX);
    }

    proptest! {
        #[test]
        fn no_name_leaves_its_directory(given in "\\PC{0,40}") {
            let name = normal_name(&given);
            prop_assert!(!name.contains(['/', '\\', ' ']));
        }
    }
}
