//! Sessions: the genuine ticket stays here, and clients hold values that are good for nothing
//! anywhere else, can be taken back, and end.
//!
//! A session is found by the SHA-256 of its value, so that neither a memory dump's index nor
//! the state file names one. The look-up is one short lock. New and renewed sessions are
//! written behind; what ends one on purpose is durable before anybody is told.

mod entry;
mod replica;
mod seal;
mod settings;
mod table;
mod value;

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use state::limits::BATCH_CHANGES;
use state::{Change, Entry, StoreError, Table as Place, Writer};
use tracing::{debug, info, warn};

pub use seal::KeyError;
pub use settings::{ConsolePolicy, Policy, SessionConfig, SessionSettings, TicketVerification};

pub(crate) use entry::{Login, Session, TICKET_SECONDS, Vault};
pub(crate) use seal::Sealer;
use settings::Lifetimes;
use table::Table;
pub(crate) use value::{
    Id, Shape, Value, dummy, is_ticket, opaque, shape, ticket_label, ticket_time,
};

/// Seconds between two looks for sessions that have ended by themselves.
const SWEEP_EVERY: u64 = 60;

/// All sessions of the gate.
pub(crate) struct Sessions {
    config: SessionConfig,
    table: Mutex<Table>,
    swept: AtomicU64,
    keeper: Option<Keeper>,
}

/// Where sessions outlast the process.
pub(crate) struct Keeper {
    pub(crate) writer: Arc<Writer>,
    pub(crate) sealer: Arc<Sealer>,
    /// Whether other gates use the same store.
    pub(crate) shared: bool,
}

/// Which sessions to end.
pub(crate) enum Selection<'s> {
    /// By the beginning of the id that `list` shows.
    Id(&'s str),
    User(&'s str),
    All,
}

/// A session as it is shown to the operator: nothing that could be used.
#[derive(Serialize)]
pub(crate) struct Listed {
    pub(crate) id: String,
    pub(crate) user: String,
    /// `browser` or `tool`.
    pub(crate) kind: &'static str,
    pub(crate) client: IpAddr,
    pub(crate) began: u64,
    pub(crate) used: u64,
    pub(crate) ends: u64,
}

impl Sessions {
    /// With what was stored before, as far as it is still good. `now` in seconds since 1970.
    pub(crate) fn new(
        config: SessionConfig,
        keeper: Option<Keeper>,
        stored: Vec<Entry>,
        now: u64,
    ) -> Self {
        let (mut table, mut lost) = (Table::default(), 0_u32);
        if let Some(keeper) = &keeper {
            for entry in stored {
                let session = restore(&keeper.sealer, &entry, &config.lifetimes());
                match session.filter(|session| session.ends(&config.lifetimes()) > now) {
                    Some(session) => drop(table.insert(Arc::new(session), &config.bounds())),
                    None if entry.expires.as_secs() > now => lost += 1,
                    None => {}
                }
            }
            if lost > 0 {
                warn!(lost, "stored sessions that the key does not open; their users log in again");
            }
            let now = Duration::from_secs(now);
            keeper.writer.later(Change::Prune { table: Place::Sessions, now });
        }
        Self { config, table: Mutex::new(table), swept: AtomicU64::new(now), keeper }
    }

    pub(crate) fn config(&self) -> &SessionConfig {
        &self.config
    }

    /// The session in force that this value stands for. Notes the use.
    pub(crate) fn find(&self, value: &Value, now: u64) -> Option<Arc<Session>> {
        let id = value.id();
        let session = Arc::clone(self.table().get(&id)?);
        if session.ends(&self.config.lifetimes()) <= now {
            if self.table().remove(&id).is_some() {
                self.forget_ended([id]);
            }
            return None;
        }
        if session.touch(now) {
            self.extend_later(&session);
        }
        Some(session)
    }

    /// Notes that the stand-in ticket came along with the session's cookie, or that it did not.
    /// False when it once did and no longer does: the stock interface logs out by deleting it.
    pub(crate) fn accompanied(&self, session: &Session, by_ticket: bool) -> bool {
        if by_ticket && session.accompany() {
            self.store_later(session, false);
        }
        by_ticket || !session.is_accompanied()
    }

    /// A session with a value of its own, whatever the client showed before.
    ///
    /// # Errors
    /// The kernel gives no random bytes.
    pub(crate) fn open(&self, login: Login, now: u64) -> io::Result<(Arc<Session>, Value)> {
        let (value, csrf) = Value::draw(now)?;
        let session = Arc::new(Session::begin(value.id(), login, csrf, now));
        debug!(session = %session.id.short(), user = ?session.user, client = %session.client, "session opened");
        let mut ended = Vec::new();
        let last = self.swept.load(Ordering::Relaxed);
        let lifetimes = self.config.lifetimes();
        let mut table = self.table();
        if now.saturating_sub(last) >= SWEEP_EVERY {
            self.swept.store(now, Ordering::Relaxed);
            ended = table.sweep(|session| session.ends(&lifetimes) <= now);
        }
        let out = table.insert(Arc::clone(&session), &self.config.bounds());
        drop(table);
        self.store_later(&session, true);
        self.forget_ended(ended);
        self.forget_later(out);
        Ok((session, value))
    }

    /// Puts a fresh ticket into a session.
    pub(crate) fn renew(&self, session: &Session, vault: Vault) {
        session.replace(vault);
        self.store_later(session, false);
    }

    /// Ends a session. It is gone at once, and durably when this returns `Ok`.
    ///
    /// # Errors
    /// [`StoreError`]: gone until the next start only.
    pub(crate) async fn end(&self, id: Id) -> Result<(), StoreError> {
        if let Some(session) = self.table().remove(&id) {
            info!(session = %id.short(), user = ?session.user, "session ended");
        }
        self.forget([id]).await
    }

    /// Ends a session that is worth nothing any more; Proxmox VE would say so again.
    pub(crate) fn drop_later(&self, id: Id) {
        if self.table().remove(&id).is_some() {
            info!(session = %id.short(), "session dropped, its ticket is refused");
            self.forget_later([id]);
        }
    }

    /// Whether what was opened for a session may go on: nobody has ended it, and it has not reached
    /// its lifetime. One that has ended for want of use or of a renewal was ended by nobody.
    pub(crate) fn sustains(&self, session: &Session, now: u64) -> bool {
        let lifetimes = self.config.lifetimes();
        let by_itself = session.ends(&lifetimes) <= now;
        now < session.began.saturating_add(lifetimes.absolute)
            && (by_itself || self.table().get(&session.id).is_some())
    }

    /// The same of a session that another process knows: here it has to be known too.
    pub(crate) fn keeps(&self, id: &Id, now: u64) -> bool {
        let session = self.table().get(id).map(Arc::clone);
        session.is_some_and(|session| self.sustains(&session, now))
    }

    /// All sessions in force, oldest first.
    pub(crate) fn list(&self, now: u64) -> Vec<Listed> {
        let lifetimes = self.config.lifetimes();
        let table = self.table();
        let listed = table.iter().map(|session| Listed {
            id: session.id.short(),
            user: session.user.clone(),
            kind: if session.browser { "browser" } else { "tool" },
            client: session.client,
            began: session.began,
            used: session.used(),
            ends: session.ends(&lifetimes),
        });
        let mut listed: Vec<_> = listed.filter(|session| session.ends > now).collect();
        listed.sort_by_key(|session| session.began);
        listed
    }

    /// Sessions in memory, those not yet noticed to have ended among them.
    pub(crate) fn count(&self) -> usize {
        self.table().iter().count()
    }

    /// Ends the sessions selected, durably, and returns how many.
    ///
    /// # Errors
    /// [`StoreError`]: gone until the next start only.
    pub(crate) async fn revoke(
        &self,
        which: &Selection<'_>,
        now: u64,
    ) -> Result<usize, StoreError> {
        self.catch_up(now).await?;
        let ended = {
            let mut table = self.table();
            table.sweep(|session| match which {
                Selection::Id(prefix) => {
                    !prefix.is_empty() && session.id.short().starts_with(prefix)
                }
                Selection::User(user) => session.user == *user,
                Selection::All => true,
            })
        };
        let count = ended.len();
        self.forget(ended).await?;
        Ok(count)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new one is put there; of others, only what another gate has not ended meanwhile.
    fn store_later(&self, session: &Session, new: bool) {
        let Some(keeper) = &self.keeper else { return };
        // Held until it is queued: a session that ends meanwhile must not come back from the
        // disk, and its deletion is queued after it has left the table.
        let table = self.table();
        if table.get(&session.id).is_none() {
            return;
        }
        let expires = Duration::from_secs(session.ends(&self.config.lifetimes()));
        if let Some(value) = keeper.sealer.seal(&session.id, session.to_bytes()) {
            let entry = Entry { key: session.id.0.to_vec(), value, expires };
            let table = Place::Sessions;
            keeper.writer.later(match new {
                true => Change::Put { table, entry },
                false => Change::Update { table, entry },
            });
        }
    }

    /// Notes a use: it moves the end, and leaves alone what another gate may have stored.
    fn extend_later(&self, session: &Session) {
        let Some(keeper) = &self.keeper else { return };
        let expires = Duration::from_secs(session.ends(&self.config.lifetimes()));
        let key = session.id.0.to_vec();
        keeper.writer.later(Change::Extend { table: Place::Sessions, key, expires });
    }

    /// Of sessions that have ended by themselves. With other gates, one of them may know better:
    /// the store drops what ends by its own record.
    fn forget_ended(&self, ids: impl IntoIterator<Item = Id>) {
        if !self.keeper.as_ref().is_some_and(|keeper| keeper.shared) {
            self.forget_later(ids);
        }
    }

    fn forget_later(&self, ids: impl IntoIterator<Item = Id>) {
        let Some(keeper) = &self.keeper else { return };
        for id in ids {
            keeper.writer.later(deletion(id));
        }
    }

    async fn forget(&self, ids: impl IntoIterator<Item = Id>) -> Result<(), StoreError> {
        let Some(keeper) = &self.keeper else { return Ok(()) };
        let changes: Vec<Change> = ids.into_iter().map(deletion).collect();
        for batch in changes.chunks(BATCH_CHANGES) {
            keeper.writer.durable(batch.to_vec()).await?;
        }
        Ok(())
    }
}

fn deletion(id: Id) -> Change {
    Change::Delete { table: Place::Sessions, key: id.0.to_vec() }
}

fn restore(sealer: &Sealer, entry: &Entry, lifetimes: &Lifetimes) -> Option<Session> {
    let id = Id(entry.key.as_slice().try_into().ok()?);
    let record = sealer.open(&id, &entry.value)?;
    let session = Session::from_bytes(id, record.expose())?;
    session.extend(entry.expires.as_secs(), lifetimes);
    Some(session)
}

#[cfg(test)]
mod tests;
