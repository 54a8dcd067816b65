//! Changes of volumes: resize, move, unlink, and making a template of them.

use pve_schema::Verb;
use serde_json::json;

use super::placement::Placement;
use super::{Call, Row, power, unlocked};
use crate::failure::{Failure, Outcome, Success};
use crate::seed::GuestKind;
use crate::state::disk::{self, Drive};
use crate::state::{Guest, Options, What};

pub(in crate::api) const ROWS: &[Row] = &[
    (Verb::Put, "/nodes/{node}/qemu/{vmid}/resize", resize),
    (Verb::Post, "/nodes/{node}/qemu/{vmid}/move_disk", relocate),
    (Verb::Put, "/nodes/{node}/qemu/{vmid}/unlink", unlink),
    (Verb::Post, "/nodes/{node}/qemu/{vmid}/template", template),
    (Verb::Put, "/nodes/{node}/lxc/{vmid}/resize", resize),
    (Verb::Post, "/nodes/{node}/lxc/{vmid}/move_volume", relocate),
    (Verb::Post, "/nodes/{node}/lxc/{vmid}/template", template),
];

/// A virtual machine's task finds out what is wrong; for a container the call does.
fn resize(call: &mut Call<'_>) -> Outcome {
    let guest = call.guest()?.clone();
    let (key, size) = (call.required("disk"), call.required("size"));
    let checked = call
        .unmodified(&guest.digest())
        .map_err(|failure| failure.message().trim_end().to_owned())
        .and_then(
            |()| if power::skip_lock(call).unwrap_or(false) { Ok(()) } else { unlocked(&guest) },
        )
        .and_then(|()| resized(&guest, &key, &size));
    let (set, exit) = match checked {
        Ok(drive) => (Options::from([(key, json!(drive.print()))]), Ok(())),
        Err(text) if guest.kind == GuestKind::Lxc => return Err(Failure::die(text)),
        Err(text) => (Options::new(), Err(text)),
    };
    let what = What::Options { set, delete: Vec::new() };
    Ok(call.guest_task(guest.vmid, ("resize", 1), None, what, exit))
}

fn resized(guest: &Guest, key: &str, size: &str) -> Result<Drive, String> {
    let Some(text) = guest.option(key) else {
        return Err(format!("disk '{key}' does not exist"));
    };
    let mut drive = Drive::parse(text);
    if drive.is_cdrom() {
        return Err("you can't resize a cdrom".to_owned());
    }
    if guest.is_template() {
        return Err("can't resize a disk of a template".to_owned());
    }
    let old = drive.bytes();
    let asked = disk::bytes(size.trim_start_matches('+')).unwrap_or(0);
    let new = if size.starts_with('+') { old.saturating_add(asked) } else { asked };
    if new < old {
        let text = match guest.kind {
            GuestKind::Qemu => "shrinking disks is not supported",
            GuestKind::Lxc => "unable to shrink disk size",
        };
        return Err(text.to_owned());
    }
    drive.options.insert("size".to_owned(), disk::size_text(new));
    Ok(drive)
}

/// `move_disk` and `move_volume` to another storage. The old volume stays as an unused one
/// unless `delete` is given.
fn relocate(call: &mut Call<'_>) -> Outcome {
    let guest = call.guest()?.clone();
    let is_lxc = guest.kind == GuestKind::Lxc;
    let key = call.required(if is_lxc { "volume" } else { "disk" });
    call.unmodified(&guest.digest())?;
    unlocked(&guest).map_err(Failure::die)?;
    let Some(text) = guest.option(&key) else {
        let noun = if is_lxc { "volume" } else { "disk" };
        return Err(Failure::die(format!("{noun} '{key}' does not exist")));
    };
    let Some(storage) = call.text("storage") else {
        let text = "moving to another guest is not modelled: 'storage' is needed";
        return Err(Failure::parameter("storage", text));
    };
    call.needs(&format!("/storage/{storage}"), "Datastore.AllocateSpace")?;
    let Some(target) = call.state.storages.get(&storage) else {
        return Err(Failure::die(format!("storage '{storage}' does not exist")));
    };
    let mut drive = Drive::parse(text);
    if drive.volume().is_some_and(|(old, _)| old == storage) {
        let text = "you can't move to the same storage with same format";
        return Err(Failure::die(text));
    }
    let format = call.text("format").unwrap_or_else(|| "raw".to_owned());
    let placement = Placement::new(call.state, guest.vmid, guest.kind, None);
    let old = std::mem::replace(&mut drive.file, placement.next(target, &format));
    let mut set = Options::from([(key, json!(drive.print()))]);
    if !call.flag("delete") {
        let taken = guest.config();
        let free = (0..256).map(|at| format!("unused{at}")).find(|key| !taken.contains_key(key));
        set.extend(free.map(|key| (key, json!(old))));
    }
    let name = if is_lxc { "move_volume" } else { "qmmove" };
    let what = What::Options { set, delete: Vec::new() };
    Ok(call.guest_task(guest.vmid, (name, 5), None, what, Ok(())))
}

fn unlink(call: &mut Call<'_>) -> Outcome {
    let guest = call.guest()?;
    let vmid = guest.vmid;
    unlocked(guest).map_err(Failure::die)?;
    let (keys, force) = (call.list("idlist"), call.flag("force"));
    if let Some(guest) = call.state.guests.get_mut(&vmid) {
        guest.edit(|config| {
            for key in keys {
                if force || key.starts_with("unused") {
                    config.remove(&key);
                } else {
                    disk::forget(config, &key);
                }
            }
        });
    }
    Ok(Success::default())
}

fn template(call: &mut Call<'_>) -> Outcome {
    let guest = call.guest()?.clone();
    let (noun, is_lxc) = (guest.noun(), guest.kind == GuestKind::Lxc);
    unlocked(&guest).map_err(Failure::die)?;
    let refusal = if !guest.snapshots.is_empty() {
        Some(format!("unable to create template, because {noun} contains snapshots"))
    } else if guest.is_template() {
        Some("you can't convert a template to a template".to_owned())
    } else if guest.is_running() {
        Some(match guest.kind {
            GuestKind::Qemu => "you can't convert a VM to template if VM is running".to_owned(),
            GuestKind::Lxc => "you can't convert a CT to template if the CT is running".to_owned(),
        })
    } else {
        None
    };
    if let Some(text) = refusal {
        return Err(Failure::die(text));
    }
    let volumes = disk::volumes(guest.config())
        .filter(|(_, drive)| !drive.is_cdrom())
        .map(|(key, mut drive)| {
            drive.file = base_name(&drive.file);
            (key.to_owned(), json!(drive.print()))
        })
        .collect();
    let name = if is_lxc { "vztemplate" } else { "qmtemplate" };
    let answer = call.guest_task(guest.vmid, (name, 1), None, What::Template { volumes }, Ok(()));
    Ok(if is_lxc { Success::default() } else { answer })
}

/// The volume as the base of linked clones: `vm-100-disk-0` becomes `base-100-disk-0`.
fn base_name(file: &str) -> String {
    let (front, name) = match file.rfind(['/', ':']) {
        Some(at) => file.split_at(at + 1),
        None => ("", file),
    };
    for (plain, base) in [("vm-", "base-"), ("subvol-", "basevol-")] {
        if let Some(rest) = name.strip_prefix(plain) {
            return format!("{front}{base}{rest}");
        }
    }
    file.to_owned()
}
