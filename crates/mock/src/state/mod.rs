//! What the cluster holds, and how it changes.

mod access;
mod change;
mod cluster_log;
mod consoles;
pub(crate) mod disk;
mod doom;
pub(crate) mod firewall;
mod guest;
mod guests;
mod kept_secret;
mod node;
mod objects;
mod password;
pub(crate) mod record;
mod second_factors;
mod storage;
mod tasks;
mod tracked;
mod volume;

use std::time::Duration;

pub(crate) use access::{Accounts, random_uuid, sha1_hex};
pub(crate) use change::{Change, What};
pub(crate) use cluster_log::ClusterLog;
pub(crate) use consoles::{ConsoleKind, Consoles};
pub(crate) use firewall::Firewall;
pub(crate) use guest::{Guest, GuestRow, Options, Snapshot, name_key};
pub(crate) use guests::Guests;
pub(crate) use kept_secret::{KeptBytes, KeptText};
pub(crate) use node::{Node, NodeRow};
pub(crate) use objects::{Fields, Objects};
pub(crate) use second_factors::{Entry, FactorError, Factors, Response, SecondFactors, Totp};
pub(crate) use storage::Storage;
pub(crate) use tasks::{Effect, Spawn, Task, TaskKind, Tasks};
pub(crate) use tracked::Tracked;
pub(crate) use volume::{Spooled, Volume, VolumeKind, Volumes};

use crate::error::StartError;
use crate::seed::{Seed, Version};

/// Settings with the `version` of the virtual networks that the nodes have.
pub(crate) const NETWORK_VERSION: &str = "/nodes/sdn";

/// The whole cluster. One lock guards it; no handler waits while holding that.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) version: Version,
    pub(crate) cluster: Option<String>,
    /// The node that answers; the others answer through it.
    pub(crate) local: String,
    pub(crate) nodes: Tracked<String, Node>,
    pub(crate) guests: Guests,
    pub(crate) storages: Tracked<String, Storage>,
    pub(crate) volumes: Volumes,
    /// By scope: `cluster`, `node/<name>`, `guest/<vmid>`, `vnet/<name>`.
    pub(crate) firewalls: Tracked<String, Firewall>,
    /// What the mock keeps by the schema alone.
    pub(crate) objects: Objects,
    pub(crate) accounts: Accounts,
    pub(crate) second_factors: SecondFactors,
    pub(crate) tasks: Tasks,
    pub(crate) log: ClusterLog,
    pub(crate) consoles: Consoles,
    /// What a state file keeps for the server itself; empty without one.
    pub(crate) server: ServerSecrets,
}

/// Secrets of the server that outlive the process in a state file.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerSecrets {
    /// PKCS#8 of the key that signs tickets.
    pub(crate) ticket_key: Option<KeptBytes>,
    pub(crate) csrf: Option<KeptText>,
    /// Whether either is new.
    pub(crate) touched: bool,
}

impl State {
    /// Builds the cluster; `started` is the time since 1970, `fingerprint` that of the mock's
    /// certificate.
    pub(crate) fn new(
        seed: Seed,
        release: pve_access::Release,
        started: Duration,
        fingerprint: Option<&str>,
    ) -> Result<Self, StartError> {
        let local = seed.nodes.first().map(|node| node.name.clone()).ok_or(StartError::NoNode)?;
        let log_node = local.clone();
        let accounts = Accounts::new(&seed.user_cfg, release, seed.passwords, seed.tokens)?;
        let nodes = seed.nodes.into_iter().enumerate();
        let nodes =
            nodes.map(|(at, node)| (node.name.clone(), Node::new(node, at, started, fingerprint)));
        let guests = seed.guests.into_iter().map(|guest| Guest::new(guest, started));
        let storages = seed.storages.into_iter().map(|one| (one.id.clone(), Storage::new(one)));
        Ok(Self {
            version: seed.version,
            cluster: seed.cluster,
            local,
            nodes: nodes.collect(),
            guests: guests.collect(),
            storages: storages.collect(),
            volumes: Volumes::default(),
            firewalls: Tracked::default(),
            objects: Objects::default(),
            accounts,
            second_factors: SecondFactors::default(),
            tasks: Tasks::default(),
            log: ClusterLog::new(&log_node, started),
            consoles: Consoles::default(),
            server: ServerSecrets::default(),
        })
    }

    /// Applies the effects of tasks that have ended by `now`. Runs before every call, so that
    /// no answer shows a finished task beside an unchanged guest.
    pub(crate) fn settle(&mut self, now: Duration) {
        for (effect, at) in self.tasks.ended(now) {
            match effect {
                Effect::Nothing => {}
                Effect::Power { vmid, running } => {
                    if let Some(guest) = self.guests.get_mut(&vmid) {
                        guest.set_running(running, at);
                    }
                }
                Effect::Guests(changes) => {
                    changes.into_iter().for_each(|change| self.apply(change, at));
                }
                Effect::Network { version } => {
                    let reloaded = self.objects.settings_mut(NETWORK_VERSION);
                    reloaded.insert("version".to_owned(), version.into());
                }
            }
        }
        self.log_tasks();
    }

    /// Writes the starts and ends of tasks into the cluster log.
    fn log_tasks(&mut self) {
        for event in self.tasks.take_events() {
            self.log.add(event.at, &event.node, &event.user, event.pid, event.message);
        }
    }

    /// Becomes another cluster. What belongs to the process stays: its secrets, open consoles and
    /// uploads under way.
    pub(crate) fn replace_with(&mut self, next: Self) {
        let before = std::mem::replace(self, next);
        (self.consoles, self.server) = (before.consoles, before.server);
        self.volumes.spool = before.volumes.spool;
        // The other cluster may come from a file that does not hold them yet.
        self.server.touched = true;
        if before.guests.is_tracked() {
            self.track();
        }
    }

    /// The last time that something has happened.
    pub(crate) fn latest(&self) -> Duration {
        self.tasks.latest().max(self.log.latest())
    }

    /// The lowest free guest id from 100 on.
    pub(crate) fn next_id(&self) -> u32 {
        let mut free = 100;
        for &vmid in self.guests.range(100..).map(|(vmid, _)| vmid) {
            if vmid != free {
                break;
            }
            free += 1;
        }
        free
    }
}
