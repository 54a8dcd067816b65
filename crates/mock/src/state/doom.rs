//! Calls whose tasks are made to fail: the task is there, and nothing has changed.

use pve_access::user_cfg::UserConfig;

use super::{Firewall, Guests, Objects, State, Tracked, Volumes};

/// What a call may have changed before its task has ended.
#[derive(Debug)]
pub(crate) struct Before {
    guests: Guests,
    volumes: Volumes,
    objects: Objects,
    firewalls: Tracked<String, Firewall>,
    accounts: UserConfig,
    spawned: u64,
}

impl State {
    /// From now on tasks fail with this text. The cluster is copied, which costs milliseconds with
    /// thousands of guests and is paid by such calls alone.
    pub(crate) fn doom_tasks(&mut self, exit: String) -> Before {
        self.tasks.doom(Some(exit));
        Before {
            guests: self.guests.clone(),
            volumes: self.volumes.clone(),
            objects: self.objects.clone(),
            firewalls: self.firewalls.clone(),
            accounts: self.accounts.config().clone(),
            spawned: self.tasks.spawned(),
        }
    }

    /// Ends that, and takes back what a call has changed that left a task.
    pub(crate) fn spare_tasks(&mut self, before: Before) {
        self.tasks.doom(None);
        if self.tasks.spawned() == before.spawned {
            return;
        }
        self.guests = before.guests;
        self.volumes = before.volumes;
        self.objects = before.objects;
        self.firewalls = before.firewalls;
        self.accounts.restore(before.accounts);
    }
}
