//! Tickets for consoles: good once, for the caller and the address they were handed to, for as
//! long as Proxmox VE takes them.
//!
//! Proxmox VE binds such a ticket to its user, path and port, and takes it as often as it is
//! shown; it stands in the address of a page, which histories and logs keep. So the gate notes
//! each one that it sees handed out, and lets it pass once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::uri::PathAndQuery;
use state::{Change, Entry, StoreError, Table, Writer};
use tracing::debug;

use crate::login::query_value;
use crate::refusal::Refusal;
use crate::session::Id;

/// How long Proxmox VE takes a console's ticket (gateway reference §2.1).
const TAKEN_FOR: Duration = Duration::from_secs(40);

/// Tickets noted at once. A node has a hundred ports for consoles; one more takes the place of
/// the oldest.
const NOTED: usize = 4096;

/// What such tickets begin with; newer releases put a password before it.
const PREFIXES: [&str; 2] = ["PVEVNC:", "PVETUNNEL:"];

/// The parameter of a websocket's address that holds its ticket: consoles, migrations.
const PARAMETERS: [&str; 2] = ["vncticket", "ticket"];

/// The tickets that were handed out and not used yet.
pub(crate) struct Consoles {
    noted: Mutex<HashMap<Id, Noted>>,
    pass_unknown: bool,
    /// Where other gates find those that were handed out here.
    store: Option<Arc<Writer>>,
}

/// A ticket that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The gate has seen Proxmox VE hand it out to the caller.
    Noted,
    /// Somebody else may have handed it out, or nobody.
    Unknown,
}

struct Noted {
    caller: Id,
    client: IpAddr,
    /// On the monotonic clock.
    until: Duration,
}

impl Consoles {
    /// `pass_unknown`: whether tickets that were never noted are left to Proxmox VE.
    pub(crate) fn new(pass_unknown: bool, store: Option<Arc<Writer>>) -> Self {
        Self { noted: Mutex::default(), pass_unknown, store }
    }

    /// Notes a ticket for other gates too. One that can not be stored is good here.
    pub(crate) async fn share(&self, ticket: &[u8], caller: Id, client: IpAddr, unix: Duration) {
        let Some(store) = &self.store else { return };
        let value = serde_json::to_vec(&(caller.0, client)).unwrap_or_default();
        let expires = unix.saturating_add(TAKEN_FOR);
        let entry = Entry { key: id(ticket).0.to_vec(), value, expires };
        let prune = Change::Prune { table: Table::Consoles, now: unix };
        let put = Change::Put { table: Table::Consoles, entry };
        if let Err(error) = store.durable(vec![put, prune]).await {
            debug!(%error, "a console's ticket is good at this gate alone");
        }
    }

    /// Notes a ticket that another gate has handed out, and uses it up for all of them.
    ///
    /// # Errors
    /// [`StoreError`]: it may have been used at another gate.
    pub(crate) async fn fetch(
        &self,
        ticket: Option<&[u8]>,
        (unix, now): (Duration, Duration),
    ) -> Result<(), StoreError> {
        let (Some(store), Some(ticket)) = (&self.store, ticket) else { return Ok(()) };
        let key = id(ticket).0.to_vec();
        let stored = store.find(Table::Consoles, key.clone()).await?;
        let read = |entry: &Entry| serde_json::from_slice(&entry.value).ok();
        let Some((caller, client)) = stored.as_ref().and_then(read) else { return Ok(()) };
        store.durable(vec![Change::Delete { table: Table::Consoles, key }]).await?;
        let left = stored.map(|entry| entry.expires.saturating_sub(unix)).unwrap_or_default();
        let until = now.saturating_add(left.min(TAKEN_FOR));
        self.noted().insert(id(ticket), Noted { caller: Id(caller), client, until });
        Ok(())
    }

    /// A ticket was used, at whichever gate.
    pub(crate) fn told_gone(&self, key: &[u8]) {
        if let Ok(id) = key.try_into() {
            self.noted().remove(&Id(id));
        }
    }

    /// Notes a ticket that goes out to this caller.
    pub(crate) fn note(&self, ticket: &[u8], caller: Id, client: IpAddr, now: Duration) {
        let mut noted = self.noted();
        if noted.len() >= NOTED {
            noted.retain(|_, noted| noted.until > now);
        }
        if noted.len() >= NOTED
            && let Some(oldest) =
                noted.iter().min_by_key(|(_, noted)| noted.until).map(|(id, _)| *id)
        {
            noted.remove(&oldest);
        }
        noted.insert(id(ticket), Noted { caller, client, until: now + TAKEN_FOR });
    }

    /// Lets a ticket pass, for the last time; one that was never noted as it is configured.
    pub(crate) fn take(
        &self,
        ticket: Option<&[u8]>,
        caller: Option<Id>,
        client: IpAddr,
        now: Duration,
    ) -> Result<Taken, Refusal> {
        // Whoever shows it, it is used: one that has got into other hands must not be good
        // for a second try.
        let noted = ticket.and_then(|ticket| self.noted().remove(&id(ticket)));
        let Some(noted) = noted else {
            return self.pass_unknown.then_some(Taken::Unknown).ok_or(Refusal::ConsoleTicket);
        };
        let good = Some(noted.caller) == caller && noted.client == client && noted.until > now;
        good.then_some(Taken::Noted).ok_or(Refusal::ConsoleTicket)
    }

    fn noted(&self) -> MutexGuard<'_, HashMap<Id, Noted>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ticket in the address of a websocket. Of two, none counts: Proxmox VE takes only one of
/// the parameters on each path, and the other must not be what is judged here.
pub(crate) fn ticket(target: &PathAndQuery) -> Option<Vec<u8>> {
    let query = target.query()?;
    let mut tickets = PARAMETERS.iter().filter_map(|name| query_value(query, name));
    let ticket = tickets.next();
    ticket.filter(|_| tickets.next().is_none())
}

/// What a ticket is known by: itself, from its prefix on.
fn id(ticket: &[u8]) -> Id {
    let begins =
        |prefix: &&str| ticket.windows(prefix.len()).position(|part| part == prefix.as_bytes());
    let at = PREFIXES.iter().find_map(begins).unwrap_or(0);
    Id::of(ticket.get(at..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICKET: &[u8] = b"PVEVNC:6B00CF1B::KVnf0x";
    const NOW: Duration = Duration::from_secs(100);

    fn client(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn noted(pass_unknown: bool) -> Consoles {
        let consoles = Consoles::new(pass_unknown, None);
        consoles.note(TICKET, Id([1; 32]), client(1), NOW);
        consoles
    }

    #[test]
    fn once() {
        let consoles = noted(false);
        assert_eq!(
            consoles.take(Some(TICKET), Some(Id([1; 32])), client(1), NOW),
            Ok(Taken::Noted)
        );
        let again = consoles.take(Some(TICKET), Some(Id([1; 32])), client(1), NOW);
        assert_eq!(again, Err(Refusal::ConsoleTicket));
    }

    #[test]
    fn by_its_caller_from_its_address_in_time() {
        let later = NOW + TAKEN_FOR;
        let tries = [
            (Some(Id([2; 32])), client(1), NOW),
            (None, client(1), NOW),
            (Some(Id([1; 32])), client(2), NOW),
            (Some(Id([1; 32])), client(1), later),
        ];
        for (caller, client, now) in tries {
            // What is known is never passed on as unknown.
            assert!(noted(true).take(Some(TICKET), caller, client, now).is_err());
        }
    }

    #[test]
    fn with_its_password_or_without() {
        let with: Vec<u8> = [b"abcdefgh:", TICKET].concat();
        let taken = noted(false).take(Some(&with), Some(Id([1; 32])), client(1), NOW);
        assert_eq!(taken, Ok(Taken::Noted));
    }

    #[test]
    fn unknown_ones_by_policy() {
        let one = |pass_unknown| Consoles::new(pass_unknown, None);
        assert!(one(false).take(Some(TICKET), None, client(1), NOW).is_err());
        let unknown = one(true).take(Some(TICKET), None, client(1), NOW);
        assert_eq!(unknown, Ok(Taken::Unknown));
        assert!(one(false).take(None, None, client(1), NOW).is_err());
        assert!(one(true).take(None, None, client(1), NOW).is_ok());
    }

    #[test]
    fn the_oldest_makes_room() {
        let consoles = Consoles::new(false, None);
        for number in 0..=NOTED {
            let ticket = format!("PVEVNC:{number:08X}::x");
            let now = NOW + Duration::from_micros(number as u64);
            consoles.note(ticket.as_bytes(), Id([1; 32]), client(1), now);
        }
        assert_eq!(consoles.noted().len(), NOTED);
        assert!(
            consoles.take(Some(b"PVEVNC:00000000::x"), Some(Id([1; 32])), client(1), NOW).is_err()
        );
        assert!(
            consoles.take(Some(b"PVEVNC:00000001::x"), Some(Id([1; 32])), client(1), NOW).is_ok()
        );
    }
}
