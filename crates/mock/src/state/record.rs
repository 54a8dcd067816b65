//! The cluster as records of a state file: one for each thing that changes by itself.
//!
//! A record holds the whole of its thing, so that applying one twice does no harm, and a thing
//! that is gone is a record without a value. What lives and dies with the process has none:
//! reserved console ports and uploads under way.

mod accounts;

use std::borrow::Cow;

use pve_access::Release;
use pve_access::user_cfg::UserConfig;
use serde::{Deserialize, Serialize};

use super::cluster_log::LogEntry;
use super::objects::ObjectKey;
use super::password::{Hashed, Password};
use super::{
    Accounts, ClusterLog, Consoles, Factors, Fields, Firewall, Guest, Guests, KeptBytes, KeptText,
    Node, Objects, SecondFactors, ServerSecrets, State, Storage, Task, Tasks, Tracked, Volume,
    Volumes,
};
use crate::seed::Version;
use accounts::{AccountRecord, changed};

/// One thing, by its key; `None` where it is gone.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Record<'s> {
    /// What the seed alone decides.
    Cluster {
        version: String,
        release: String,
        repoid: String,
        name: Option<String>,
        local: String,
    },
    Node(String, Option<Cow<'s, Node>>),
    Guest(u32, Option<Cow<'s, Guest>>),
    Storage(String, Option<Cow<'s, Storage>>),
    /// Storage, node (empty when shared), name.
    Volume(String, String, String, Option<Cow<'s, Volume>>),
    Firewall(String, Option<Cow<'s, Firewall>>),
    /// Collection and id.
    Object(String, String, Option<Cow<'s, Fields>>),
    Settings(String, Option<Cow<'s, Fields>>),
    Account(AccountRecord),
    Password(String, Option<Cow<'s, Hashed>>),
    /// The secret of an API token, by its full id.
    Token(String, Option<Cow<'s, KeptText>>),
    Factors(String, Option<Cow<'s, Factors>>),
    Task(Cow<'s, Task>),
    Log(Cow<'s, LogEntry>),
    TicketKey(KeptBytes),
    Csrf(KeptText),
}

/// Takes one record after the other.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(Record<'_>) -> std::io::Result<()>;

impl State {
    /// Notes changes from now on.
    pub(crate) fn track(&mut self) {
        self.nodes.track();
        self.guests.track();
        self.storages.track();
        self.volumes.track();
        self.firewalls.track();
        self.objects.track();
        self.accounts.track();
        self.second_factors.users.track();
        self.tasks.track();
    }

    /// Hands out what has changed since the last time.
    ///
    /// # Errors
    /// The sink's, or the system gives no salt for a password.
    pub(crate) fn changes(&mut self, sink: Sink<'_>) -> std::io::Result<()> {
        let mut any = false;
        self.changes_of_the_cluster(&mut |record| {
            any = true;
            sink(record)
        })?;
        let waited = any && std::mem::take(&mut self.server.unkept);
        if std::mem::take(&mut self.server.touched) || waited {
            self.server_secrets(sink)?;
        }
        Ok(())
    }

    fn changes_of_the_cluster(&mut self, sink: Sink<'_>) -> std::io::Result<()> {
        self.log_tasks();
        for key in self.nodes.take_touched() {
            let value = self.nodes.get(&key).map(Cow::Borrowed);
            sink(Record::Node(key, value))?;
        }
        for key in self.guests.take_touched() {
            sink(Record::Guest(key, self.guests.get(&key).map(Cow::Borrowed)))?;
        }
        for key in self.storages.take_touched() {
            let value = self.storages.get(&key).map(Cow::Borrowed);
            sink(Record::Storage(key, value))?;
        }
        for key in self.volumes.take_touched() {
            let value = self.volumes.at(&key).map(Cow::Borrowed);
            sink(Record::Volume(key.0, key.1, key.2, value))?;
        }
        for key in self.firewalls.take_touched() {
            let value = self.firewalls.get(&key).map(Cow::Borrowed);
            sink(Record::Firewall(key, value))?;
        }
        for key in self.objects.take_touched() {
            sink(object(&self.objects, key))?;
        }
        if let Some(before) = self.accounts.take_touched() {
            changed(&before, self.accounts.config(), &mut |one| sink(Record::Account(one)))?;
        }
        for id in self.accounts.passwords.take_touched() {
            self.password(id, sink)?;
        }
        for id in self.accounts.tokens.take_touched() {
            let value = self.accounts.tokens.get(&id).map(Cow::Borrowed);
            sink(Record::Token(id, value))?;
        }
        for user in self.second_factors.users.take_touched() {
            let value = self.second_factors.users.get(&user).map(Cow::Borrowed);
            sink(Record::Factors(user, value))?;
        }
        for task in self.tasks.take_touched() {
            sink(Record::Task(Cow::Borrowed(task)))?;
        }
        for entry in self.log.take_new() {
            sink(Record::Log(Cow::Borrowed(entry)))?;
        }
        Ok(())
    }

    /// Hands out everything; what has changed counts as handed out too.
    ///
    /// # Errors
    /// As of [`State::changes`].
    pub(crate) fn everything(&mut self, sink: Sink<'_>) -> std::io::Result<()> {
        self.changes(&mut |_| Ok(()))?;
        self.server.unkept = false;
        let Version { version, release, repoid } = self.version.clone();
        let (name, local) = (self.cluster.clone(), self.local.clone());
        sink(Record::Cluster { version, release, repoid, name, local })?;
        for (key, value) in self.nodes.iter() {
            sink(Record::Node(key.clone(), Some(Cow::Borrowed(value))))?;
        }
        for (key, value) in self.guests.iter() {
            sink(Record::Guest(*key, Some(Cow::Borrowed(value))))?;
        }
        for (key, value) in self.storages.iter() {
            sink(Record::Storage(key.clone(), Some(Cow::Borrowed(value))))?;
        }
        for key in self.volumes.keys() {
            let value = self.volumes.at(&key).map(Cow::Borrowed);
            sink(Record::Volume(key.0, key.1, key.2, value))?;
        }
        for (key, value) in self.firewalls.iter() {
            sink(Record::Firewall(key.clone(), Some(Cow::Borrowed(value))))?;
        }
        for key in self.objects.keys() {
            sink(object(&self.objects, key))?;
        }
        let nobody = UserConfig::default();
        changed(&nobody, self.accounts.config(), &mut |one| sink(Record::Account(one)))?;
        let users: Vec<String> = self.accounts.passwords.keys().cloned().collect();
        for user in users {
            self.password(user, sink)?;
        }
        for (id, secret) in self.accounts.tokens.iter() {
            sink(Record::Token(id.clone(), Some(Cow::Borrowed(secret))))?;
        }
        for (user, factors) in self.second_factors.users.iter() {
            sink(Record::Factors(user.clone(), Some(Cow::Borrowed(factors))))?;
        }
        for task in self.tasks.oldest_first() {
            sink(Record::Task(Cow::Borrowed(task)))?;
        }
        for entry in self.log.entries() {
            sink(Record::Log(Cow::Borrowed(entry)))?;
        }
        self.server_secrets(sink)
    }

    /// From now on the password is known by its hash alone.
    fn password(&mut self, user: String, sink: Sink<'_>) -> std::io::Result<()> {
        let known = self.accounts.passwords.untracked(&user);
        let hashed = known.map(Password::hashed).transpose()?;
        sink(Record::Password(user, hashed.map(Cow::Borrowed)))
    }

    fn server_secrets(&self, sink: Sink<'_>) -> std::io::Result<()> {
        if let Some(key) = &self.server.ticket_key {
            sink(Record::TicketKey(key.clone()))?;
        }
        if let Some(secret) = &self.server.csrf {
            sink(Record::Csrf(secret.clone()))?;
        }
        Ok(())
    }
}

fn object(objects: &Objects, key: ObjectKey) -> Record<'_> {
    match key {
        ObjectKey::Object(collection, id) => {
            let fields = objects.find(&collection, &id).map(Cow::Borrowed);
            Record::Object(collection, id, fields)
        }
        ObjectKey::Settings(path) => {
            let fields = objects.settings(&path).map(Cow::Borrowed);
            Record::Settings(path, fields)
        }
    }
}

/// A cluster while it is read from records.
pub(crate) struct Restoring {
    state: State,
    config: UserConfig,
    passwords: Tracked<String, Password>,
    tokens: Tracked<String, KeptText>,
}

impl Restoring {
    /// Of nothing so far.
    pub(crate) fn new(release: Release) -> Self {
        let nobody = UserConfig::default();
        let accounts =
            Accounts::restored(release, nobody.clone(), Tracked::default(), Tracked::default());
        let version =
            Version { version: String::new(), release: String::new(), repoid: String::new() };
        let state = State {
            version,
            cluster: None,
            local: String::new(),
            nodes: Tracked::default(),
            guests: Guests::default(),
            storages: Tracked::default(),
            volumes: Volumes::default(),
            firewalls: Tracked::default(),
            objects: Objects::default(),
            accounts,
            second_factors: SecondFactors::default(),
            tasks: Tasks::default(),
            log: ClusterLog::default(),
            consoles: Consoles::default(),
            server: ServerSecrets::default(),
        };
        Self { state, config: nobody, passwords: Tracked::default(), tokens: Tracked::default() }
    }

    pub(crate) fn apply(&mut self, record: Record<'_>) {
        let state = &mut self.state;
        match record {
            Record::Cluster { version, release, repoid, name, local } => {
                state.version = Version { version, release, repoid };
                (state.cluster, state.local) = (name, local);
            }
            Record::Node(key, value) => state.nodes.put(key, value.map(Cow::into_owned)),
            Record::Guest(key, value) => {
                state.guests.put(key, value.map(|guest| guest.into_owned().restored()));
            }
            Record::Storage(key, value) => state.storages.put(key, value.map(Cow::into_owned)),
            Record::Volume(storage, node, name, Some(volume)) => {
                state.volumes.insert(&storage, &node, name, volume.into_owned());
            }
            Record::Volume(storage, node, name, None) => {
                state.volumes.remove(&storage, &node, &name);
            }
            Record::Firewall(key, value) => state.firewalls.put(key, value.map(Cow::into_owned)),
            Record::Object(collection, id, fields) => {
                let key = ObjectKey::Object(collection, id);
                state.objects.put(key, fields.map(Cow::into_owned));
            }
            Record::Settings(path, fields) => {
                state.objects.put(ObjectKey::Settings(path), fields.map(Cow::into_owned));
            }
            Record::Account(record) => record.apply(&mut self.config),
            Record::Password(user, hashed) => {
                let known = hashed.map(|hashed| Password::Hashed(hashed.into_owned()));
                self.passwords.put(user, known);
            }
            Record::Token(id, secret) => self.tokens.put(id, secret.map(Cow::into_owned)),
            Record::Factors(user, factors) => {
                state.second_factors.users.put(user, factors.map(Cow::into_owned));
            }
            Record::Task(task) => state.tasks.restore(task.into_owned()),
            Record::Log(entry) => state.log.restore(entry.into_owned()),
            Record::TicketKey(key) => state.server.ticket_key = Some(key),
            Record::Csrf(secret) => state.server.csrf = Some(secret),
        }
    }

    /// The cluster; `None` when the records hold no node that answers.
    pub(crate) fn finish(self) -> Option<State> {
        let Self { mut state, config, passwords, tokens } = self;
        let release = state.accounts.release();
        state.accounts = Accounts::restored(release, config, passwords, tokens);
        state.nodes.contains_key(&state.local).then_some(state)
    }
}

#[cfg(test)]
mod tests;
