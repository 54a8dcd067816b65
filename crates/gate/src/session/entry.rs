//! One session: who logged in, and the genuine ticket that never leaves the gate.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use secrets::SecretString;
use serde::{Deserialize, Serialize};

use super::settings::Lifetimes;
use super::value::Id;
use crate::credential::{ticket_in, ticket_pair};

/// Seconds for which Proxmox VE takes a ticket (gateway reference §2.1).
pub(crate) const TICKET_SECONDS: u64 = 7200;

/// Seconds between two notes of when a session was used last.
const NOTE_EVERY: u64 = 60;

/// What Proxmox VE handed out for a login. The ticket is kept in one form alone.
pub(crate) struct Vault {
    pub(crate) csrf: SecretString,
    /// When, in seconds since 1970 by the gate's clock.
    pub(crate) received: u64,
    /// The ticket as upstream gets it with each request.
    pub(crate) cookie: SecretString,
}

impl Vault {
    pub(crate) fn new(ticket: &str, csrf: SecretString, received: u64) -> Self {
        Self { csrf, received, cookie: ticket_pair(ticket.as_bytes()) }
    }

    /// The ticket itself. As with a secret's `expose`, every use is a place to review.
    pub(crate) fn ticket(&self) -> Cow<'_, str> {
        ticket_in(self.cookie.expose())
    }
}

/// A login that succeeded.
pub(crate) struct Login {
    /// `name@realm` as Proxmox VE said it.
    pub(crate) user: String,
    /// The name as the ticket spells it.
    pub(crate) label: String,
    pub(crate) browser: bool,
    pub(crate) client: IpAddr,
    /// Whether Proxmox VE asked for a second factor and got it.
    pub(crate) second_factor: bool,
    pub(crate) vault: Vault,
}

/// A login in force.
pub(crate) struct Session {
    pub(crate) id: Id,
    pub(crate) user: String,
    pub(crate) label: String,
    /// Whether its value may be used by browsers, in the session cookie, or by tools.
    pub(crate) browser: bool,
    /// Where the login came from.
    pub(crate) client: IpAddr,
    /// Whether that passed a second factor.
    pub(crate) second_factor: bool,
    pub(crate) began: u64,
    /// What its holder shows with every change, in PVE's form. Drawn with the session, so that
    /// nobody can make one.
    pub(crate) csrf: SecretString,
    used: AtomicU64,
    noted: AtomicU64,
    accompanied: AtomicBool,
    vault: Mutex<Arc<Vault>>,
}

/// A session as it is stored, sealed.
#[derive(Serialize, Deserialize)]
struct Record<'r> {
    user: &'r str,
    label: &'r str,
    browser: bool,
    client: IpAddr,
    began: u64,
    used: u64,
    accompanied: bool,
    #[serde(default)]
    second_factor: bool,
    ticket: &'r str,
    csrf: &'r str,
    own_csrf: &'r str,
    received: u64,
}

impl Session {
    pub(super) fn begin(id: Id, login: Login, csrf: SecretString, now: u64) -> Self {
        let Login { user, label, browser, client, second_factor, vault } = login;
        Self {
            id,
            user,
            label,
            browser,
            client,
            second_factor,
            began: now,
            csrf,
            used: AtomicU64::new(now),
            noted: AtomicU64::new(now),
            accompanied: AtomicBool::new(false),
            vault: Mutex::new(Arc::new(vault)),
        }
    }

    pub(crate) fn vault(&self) -> Arc<Vault> {
        Arc::clone(&self.vault.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn replace(&self, vault: Vault) {
        *self.vault.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(vault);
    }

    /// When it was used last.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Notes a use; true when it is time to store that.
    pub(super) fn touch(&self, now: u64) -> bool {
        self.used.store(now, Ordering::Relaxed);
        let due = now.saturating_sub(self.noted.load(Ordering::Relaxed)) >= NOTE_EVERY;
        if due {
            self.noted.store(now, Ordering::Relaxed);
        }
        due
    }

    /// Takes over an end that was stored, which tells when it was used last at the earliest.
    pub(super) fn extend(&self, ends: u64, lifetimes: &Lifetimes) {
        self.used.fetch_max(ends.saturating_sub(lifetimes.idle), Ordering::Relaxed);
    }

    /// When it ends unless something happens, in seconds since 1970.
    pub(super) fn ends(&self, lifetimes: &Lifetimes) -> u64 {
        let ticket = self.vault().received.saturating_add(TICKET_SECONDS);
        let idle = self.used().saturating_add(lifetimes.idle);
        self.began.saturating_add(lifetimes.absolute).min(ticket).min(idle)
    }

    /// The stand-in ticket came along: from now on its absence says that the interface has
    /// logged out. True the first time.
    pub(super) fn accompany(&self) -> bool {
        !self.accompanied.load(Ordering::Relaxed) && !self.accompanied.swap(true, Ordering::Relaxed)
    }

    pub(super) fn is_accompanied(&self) -> bool {
        self.accompanied.load(Ordering::Relaxed)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let vault = self.vault();
        let record = Record {
            user: &self.user,
            label: &self.label,
            browser: self.browser,
            client: self.client,
            began: self.began,
            used: self.used(),
            accompanied: self.is_accompanied(),
            second_factor: self.second_factor,
            ticket: &vault.ticket(),
            csrf: vault.csrf.expose(),
            own_csrf: self.csrf.expose(),
            received: vault.received,
        };
        serde_json::to_vec(&record).unwrap_or_default()
    }

    /// None for what this program has not written.
    pub(super) fn from_bytes(id: Id, bytes: &[u8]) -> Option<Self> {
        let record: Record<'_> = serde_json::from_slice(bytes).ok()?;
        let login = Login {
            user: record.user.to_owned(),
            label: record.label.to_owned(),
            browser: record.browser,
            client: record.client,
            second_factor: record.second_factor,
            vault: Vault::new(record.ticket, record.csrf.into(), record.received),
        };
        let session = Self::begin(id, login, record.own_csrf.into(), record.began);
        session.touch(record.used);
        session.accompanied.store(record.accompanied, Ordering::Relaxed);
        Some(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn login(user: &str, received: u64) -> Login {
        Login {
            user: user.to_owned(),
            label: "l".into(),
            browser: true,
            client: "192.0.2.1".parse().unwrap(),
            second_factor: true,
            vault: Vault::new("t", "c".into(), received),
        }
    }

    #[test]
    fn the_first_of_three_ends_counts() {
        let lifetimes = Lifetimes { idle: 3600, absolute: 20_000 };
        let session = Session::begin(Id([0; 32]), login("a@pve", 1000), "o".into(), 1000);
        assert_eq!(session.ends(&lifetimes), 4600);
        session.touch(8000);
        assert_eq!(session.ends(&lifetimes), 1000 + TICKET_SECONDS);
        session.replace(login("a@pve", 20_500).vault);
        session.touch(20_900);
        assert_eq!(session.ends(&lifetimes), 21_000);
    }

    #[test]
    fn uses_are_noted_now_and_then() {
        let session = Session::begin(Id([0; 32]), login("a@pve", 0), "o".into(), 0);
        assert!(!session.touch(59) && session.touch(60) && !session.touch(61));
    }

    proptest! {
        #[test]
        fn records_are_read_back(user in "[^\"\\\\\\p{C}]{1,20}@pve", began in 0_u64..1 << 40, browser in any::<bool>()) {
            let mut login = login(&user, began + 5);
            login.browser = browser;
            let session = Session::begin(Id([7; 32]), login, "o".into(), began);
            session.touch(began + 9);
            session.accompany();
            let read = Session::from_bytes(Id([7; 32]), &session.to_bytes()).unwrap();
            prop_assert_eq!((&read.user, read.began, read.used()), (&session.user, began, began + 9));
            prop_assert_eq!((read.browser, read.is_accompanied()), (browser, true));
            prop_assert!(read.second_factor);
            prop_assert!(read.vault().ticket() == "t" && read.csrf.same_as("o"));
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(Session::from_bytes(Id([0; 32]), &bytes).is_none());
        }
    }
}
