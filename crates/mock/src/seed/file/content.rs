//! What no call of the API puts in: files that were uploaded before, and tasks of the past.

use std::time::Duration;

use super::apply::{Done, Refusal, node};
use super::{TaskStep, VolumeStep};
use crate::shared::Shared;
use crate::state::{Effect, Spawn, State, TaskKind, Volume, VolumeKind};

pub(super) fn volume(shared: &Shared, state: &mut State, step: VolumeStep) -> Done<()> {
    let VolumeStep { storage, node: on, name, size, notes, protected, age } = step;
    let Some(known) = state.storages.get(&storage) else {
        return Err(Refusal::parameter("storage", format!("storage '{storage}' does not exist")));
    };
    let kind = match known.path {
        Some(_) => VolumeKind::in_directory(&name),
        None => VolumeKind::in_blocks(&name),
    };
    let kind = kind.ok_or_else(|| {
        Refusal::parameter("volume", format!("'{name}' is no name of a volume in {storage}"))
    })?;
    // Disks of containers stand in block storages under the same names.
    let contents = if kind.content == "images" { ["images", "rootdir"] } else { [kind.content; 2] };
    if !known.content.split(',').any(|one| contents.contains(&one)) {
        let text = format!("storage '{storage}' does not support '{}' content", kind.content);
        return Err(Refusal::parameter("volume", text));
    }
    if kind.content != "backup" && (notes.is_some() || protected) {
        return Err(Refusal::of("only backups can have notes and be protected"));
    }
    let shared_storage = known.shared;
    let node = node(state, on.as_deref())?;
    let owner = if shared_storage { String::new() } else { node };
    let key = (storage, owner, name);
    if state.volumes.at(&key).is_some() {
        let (storage, _, name) = key;
        return Err(Refusal::parameter("volume", format!("a second volume {storage}:{name}")));
    }
    let (storage, owner, name) = key;
    let since = shared.clock.unix().saturating_sub(age);
    let volume = Volume { notes, protected, ..Volume::new(kind, size, since) };
    if state.volumes.insert(&storage, &owner, name, volume) {
        return Ok(());
    }
    Err(Refusal::parameter("storage", format!("storage '{storage}': No space left on device")))
}

pub(super) fn task(shared: &Shared, state: &mut State, step: TaskStep) -> Done<()> {
    let TaskStep { node: on, kind, id, user, exit, age, takes, log } = step;
    let node = node(state, on.as_deref())?;
    if !state.accounts.exists(user.split('!').next().unwrap_or_default()) {
        return Err(Refusal::parameter("user", format!("no such user ('{user}')")));
    }
    let started = shared.clock.unix().saturating_sub(age);
    // Ids stand between colons in the UPID.
    if id.contains(|c: char| c.is_whitespace() || matches!(c, ':' | '/')) {
        return Err(Refusal::parameter("id", "an id without blanks, colons and slashes is needed"));
    }
    let kind = TaskKind { name: kind, takes };
    let exit = exit.map_err(|text| text.replace(char::is_control, " "));
    let spawn = Spawn { node: &node, kind, id: &id, user: &user, effect: Effect::Nothing, exit };
    let upid = state.tasks.spawn(started, 1.0, spawn);
    state.tasks.explain(&upid, log);
    // What has ended before the mock began is no news of its cluster log.
    let ended = started.saturating_add(takes) <= shared.clock.unix();
    if ended {
        state.tasks.ended(Duration::MAX.min(shared.clock.unix()));
    }
    state.tasks.take_events();
    Ok(())
}
