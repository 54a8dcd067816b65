//! What tasks do to guests when they end.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::guest::{Options, Snapshot};
use super::{State, disk};

/// One change of one guest. A guest that is gone by then stays gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    pub(crate) vmid: u32,
    pub(crate) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// Created or cloned: the lock goes, and perhaps it starts.
    Finish {
        start: bool,
    },
    Destroy {
        purge: bool,
    },
    /// Started or stopped, when it is not so already.
    Run(bool),
    Reboot,
    Pause(bool),
    /// Suspend to disk: stopped, and locked until it is resumed.
    Hibernate,
    /// Resume from disk.
    Wake,
    Options {
        set: Options,
        delete: Vec<String>,
    },
    Template {
        volumes: Options,
    },
    Move {
        node: String,
    },
    Snapshot {
        name: String,
        description: Option<String>,
        vmstate: bool,
    },
    DeleteSnapshot {
        name: String,
    },
    Rollback {
        name: String,
        start: bool,
    },
}

impl State {
    pub(crate) fn apply(&mut self, change: Change, at: Duration) {
        let Change { vmid, what } = change;
        if let What::Destroy { purge } = what {
            return self.destroy(vmid, purge);
        }
        let Some(guest) = self.guests.get_mut(&vmid) else { return };
        match what {
            What::Destroy { .. } => {}
            What::Finish { start } => {
                guest.set_lock(None);
                if start {
                    guest.set_running(true, at);
                }
            }
            What::Run(running) => guest.set_running(running, at),
            What::Reboot => {
                guest.set_running(false, at);
                guest.set_running(true, at);
            }
            What::Pause(paused) => guest.paused = paused,
            What::Hibernate => {
                guest.set_running(false, at);
                guest.set_lock(Some("suspended"));
            }
            What::Wake => {
                guest.set_lock(None);
                guest.set_running(true, at);
            }
            What::Options { set, delete } => guest.edit(|config| {
                delete.iter().for_each(|key| disk::forget(config, key));
                config.extend(set);
            }),
            What::Template { volumes } => guest.edit(|config| {
                config.extend(volumes);
                config.insert("template".to_owned(), json!(1));
            }),
            What::Move { node } => {
                guest.set_lock(None);
                guest.node = node;
            }
            What::Snapshot { name, description, vmstate } => {
                guest.set_lock(None);
                let parent = guest.option("parent").map(str::to_owned);
                let config = guest.config().clone().into_iter().filter(is_of_snapshot).collect();
                let taken = at.as_secs();
                guest.edit(|config| config.insert("parent".to_owned(), json!(name)));
                let snapshot = Snapshot { config, description, parent, taken, vmstate };
                guest.snapshots.insert(name, snapshot);
            }
            What::DeleteSnapshot { name } => {
                guest.set_lock(None);
                delete_snapshot(guest, &name);
            }
            What::Rollback { name, start } => {
                guest.set_lock(None);
                roll_back(guest, &name);
                guest.set_running(false, at);
                if start {
                    guest.set_running(true, at);
                }
            }
        }
    }

    /// Removes a guest with its firewall and rights; with `purge` also from backup jobs,
    /// replication and high availability.
    fn destroy(&mut self, vmid: u32, purge: bool) {
        if self.guests.remove(&vmid).is_none() {
            return;
        }
        self.firewalls.remove(&super::firewall::guest_scope(vmid));
        self.accounts.forget_guest(vmid);
        if purge {
            self.objects.purge_guest(vmid);
        }
    }
}

fn is_of_snapshot((key, _): &(String, Value)) -> bool {
    !matches!(key.as_str(), "parent" | "lock" | "template") && !key.starts_with("unused")
}

/// Takes the snapshot out of the chain: its children get its parent.
fn delete_snapshot(guest: &mut super::Guest, name: &str) {
    let Some(removed) = guest.snapshots.remove(name) else { return };
    for other in guest.snapshots.values_mut() {
        if other.parent.as_deref() == Some(name) {
            other.parent.clone_from(&removed.parent);
        }
    }
    if guest.option("parent") == Some(name) {
        guest.edit(|config| match removed.parent {
            Some(parent) => config.insert("parent".to_owned(), json!(parent)),
            None => config.remove("parent"),
        });
    }
}

/// Volumes made since then stay as unused ones.
fn roll_back(guest: &mut super::Guest, name: &str) {
    let Some(snapshot) = guest.snapshots.get(name) else { return };
    let mut config = snapshot.config.clone();
    let known: Vec<String> = disk::volumes(&config).map(|(_, drive)| drive.file).collect();
    let newer: Vec<String> = disk::volumes(guest.config())
        .map(|(_, drive)| drive.file)
        .filter(|file| !known.contains(file))
        .collect();
    for (at, file) in newer.into_iter().enumerate() {
        config.insert(format!("unused{at}"), json!(file));
    }
    config.insert("parent".to_owned(), json!(name));
    guest.pending.clear();
    guest.pending_delete.clear();
    guest.edit(|current| *current = config);
}
