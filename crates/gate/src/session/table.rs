//! The sessions in memory: found by id, counted by user and by address, never more than the
//! bounds. Where one is full, the session that was used least lately makes room.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use super::entry::Session;
use super::settings::Bounds;
use super::value::Id;
use crate::source::source_of;

/// See the module. No clock and no disk.
#[derive(Default)]
pub(super) struct Table {
    sessions: HashMap<Id, Arc<Session>, BuildHasherDefault<Digest>>,
    users: HashMap<String, Vec<Listed>>,
    addresses: HashMap<IpAddr, Vec<Listed>>,
}

/// A session in an index, and when it was used as far as the index knows. Sessions lie all over
/// memory: who looks for one of hundreds should not have to visit each.
struct Listed {
    used: u64,
    session: Arc<Session>,
}

/// The hash of an id: some of its bytes. Ids are SHA-256 of values that were drawn here, so nobody
/// can choose them to collide.
#[derive(Default)]
struct Digest(u64);

impl Hasher for Digest {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Table {
    pub(super) fn get(&self, id: &Id) -> Option<&Arc<Session>> {
        self.sessions.get(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.sessions.values()
    }

    /// Takes a session in. Returns those that made room for it.
    pub(super) fn insert(&mut self, session: Arc<Session>, bounds: &Bounds) -> Vec<Id> {
        let address = source_of(session.client);
        let full = [
            (self.users.get_mut(&session.user), bounds.per_user),
            (self.addresses.get_mut(&address), bounds.per_address),
        ];
        let mut out: Vec<Id> = Vec::new();
        for (sessions, most) in full {
            if let Some(sessions) = sessions.filter(|sessions| sessions.len() >= most) {
                out.extend(least_used(sessions));
            }
        }
        for id in &out {
            self.remove(id);
        }
        if self.sessions.len() >= bounds.total
            && let Some(id) = self.least_used()
        {
            self.remove(&id);
            out.push(id);
        }
        match self.users.get_mut(&session.user) {
            Some(sessions) => sessions.push(Listed::new(&session)),
            None => drop(self.users.insert(session.user.clone(), vec![Listed::new(&session)])),
        }
        self.addresses.entry(address).or_default().push(Listed::new(&session));
        self.sessions.insert(session.id, session);
        out
    }

    pub(super) fn remove(&mut self, id: &Id) -> Option<Arc<Session>> {
        let session = self.sessions.remove(id)?;
        forget(&mut self.users, &session.user, &session);
        forget(&mut self.addresses, &source_of(session.client), &session);
        Some(session)
    }

    fn least_used(&self) -> Option<Id> {
        self.sessions.values().min_by_key(|session| session.used()).map(|session| session.id)
    }

    /// Takes out what has ended by itself.
    pub(super) fn sweep(&mut self, ended: impl Fn(&Session) -> bool) -> Vec<Id> {
        let ended: Vec<Id> = self
            .sessions
            .values()
            .filter(|session| ended(session))
            .map(|session| session.id)
            .collect();
        for id in &ended {
            self.remove(id);
        }
        ended
    }
}

impl Listed {
    fn new(session: &Arc<Session>) -> Self {
        Self { used: session.used(), session: Arc::clone(session) }
    }
}

/// The least used. What the index knows is never too late, so whoever was not used since then is
/// it; the others are noted anew until there is one.
fn least_used(sessions: &mut [Listed]) -> Option<Id> {
    loop {
        let listed = sessions.iter_mut().min_by_key(|listed| listed.used)?;
        let used = listed.session.used();
        // A clock that was set back makes it earlier, which is no reason to look further.
        if used <= listed.used {
            return Some(listed.session.id);
        }
        listed.used = used;
    }
}

fn forget<K: Hash + Eq>(index: &mut HashMap<K, Vec<Listed>>, key: &K, session: &Arc<Session>) {
    let Some(sessions) = index.get_mut(key) else { return };
    // Nobody asks for their order.
    if let Some(at) = sessions.iter().position(|listed| Arc::ptr_eq(&listed.session, session)) {
        sessions.swap_remove(at);
    }
    if sessions.is_empty() {
        index.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::entry::{Login, Vault};

    fn session(number: u8, user: &str, client: &str, now: u64) -> Arc<Session> {
        let login = Login {
            user: user.to_owned(),
            label: user.to_owned(),
            browser: true,
            client: client.parse().unwrap(),
            second_factor: false,
            vault: Vault::new("t", "c".into(), now),
        };
        Arc::new(Session::begin(Id([number; 32]), login, "o".into(), now))
    }

    #[test]
    fn the_least_used_makes_room_and_nothing_is_left_of_it() {
        let bounds = Bounds { per_user: 2, per_address: 3, total: 4 };
        let mut table = Table::default();
        assert!(table.insert(session(1, "a@pve", "192.0.2.1", 10), &bounds).is_empty());
        assert!(table.insert(session(2, "a@pve", "192.0.2.1", 11), &bounds).is_empty());
        table.get(&Id([1; 32])).unwrap().touch(20);
        // a@pve has two: the second was used less lately.
        let out = table.insert(session(3, "a@pve", "192.0.2.1", 21), &bounds);
        assert!(out == [Id([2; 32])]);
        table.insert(session(4, "b@pve", "192.0.2.1", 22), &bounds);
        // 192.0.2.1 has three.
        assert!(table.insert(session(5, "c@pve", "192.0.2.1", 23), &bounds) == [Id([1; 32])]);
        // Four in all.
        table.insert(session(6, "d@pve", "2001:db8::1", 24), &bounds);
        assert!(table.insert(session(7, "e@pve", "2001:db8:1::1", 25), &bounds) == [Id([3; 32])]);
        assert_eq!(table.iter().count(), 4);
        for id in [4, 5, 6, 7] {
            table.remove(&Id([id; 32])).unwrap();
        }
        assert!(table.users.is_empty() && table.addresses.is_empty());
    }
}
