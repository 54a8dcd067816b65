//! Tickets that clients bring themselves are verified here, with the public key of the cluster.
//!
//! Proxmox VE judges every one of them anyway, and only it knows whether the account may be used.
//! But what is forged or has expired needs not be asked about: it is refused and counted before
//! anything goes upstream. A genuine ticket is passed on as it came.
//!
//! The key changes once a day, and what the file system of the cluster holds shows here up to a
//! second later. So a signature that does not verify is judged by the next look at the files, for
//! which the refusal, that takes three seconds, has time. While no key can be read, Proxmox VE
//! decides, as it does where that is configured; `gate check` and the metrics say which it is.
//!
//! What verifies is remembered by its digest: a request costs one hash and one look-up.

mod console;
mod files;

use std::sync::Arc;
use std::time::Duration;

use pve_access::ClusterKeys;
use pve_access::ticket::{Found, Remembered, TicketError};
use serde_json::{Value, json};
use telemetry::Clock;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{debug, info, warn};

pub(crate) use files::KeyFiles;

use crate::caller::Caller;
use crate::credential::Credential;
use crate::limits::{KEY_LOOK_WAIT, TICKETS_VERIFIED};
use crate::metrics::Metrics;

/// What the tickets of clients are verified with, and which have been.
pub(crate) struct Tickets {
    looked: watch::Sender<Looked>,
    verified: Remembered,
    clock: Clock,
    metrics: Metrics,
}

/// What the last look at the files has found.
#[derive(Clone)]
struct Looked {
    /// Or why Proxmox VE decides.
    keys: Result<Arc<ClusterKeys>, Arc<str>>,
    /// When it began, on the monotonic clock.
    began: Duration,
}

/// What the keys say of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Genuine, or not to be judged here: Proxmox VE decides.
    Pass,
    /// By these keys, nobody has signed it.
    Unsigned,
    /// Genuine once, or never: it authenticates nobody.
    Refuse,
}

impl Tickets {
    /// Without keys until the first look; `why` is what is said of that.
    pub(crate) fn new(why: &str, clock: &Clock, metrics: &Metrics) -> Self {
        let (looked, _) = watch::channel(Looked { keys: Err(why.into()), began: Duration::ZERO });
        let verified = Remembered::new(TICKETS_VERIFIED);
        Self { looked, verified, clock: clock.clone(), metrics: metrics.clone() }
    }

    /// Takes over what a look at the files has found that began then, on the monotonic clock.
    pub(crate) fn found(&self, keys: Result<Arc<ClusterKeys>, String>, began: Duration) {
        let keys = keys.map_err(Arc::from);
        match (&self.looked.borrow().keys, &keys) {
            (Err(_), Ok(keys)) => info!(keys = keys.count(), "tickets are verified here"),
            (Ok(_), Err(why)) => warn!(%why, "tickets are left to Proxmox VE"),
            (Err(before), Err(why)) if before != why => {
                info!(%why, "tickets are left to Proxmox VE");
            }
            (Ok(before), Ok(keys)) if !Arc::ptr_eq(before, keys) => {
                info!(keys = keys.count(), "the key of tickets has changed");
            }
            _ => {}
        }
        self.looked.send_replace(Looked { keys, began });
    }

    /// The caller, if the ticket it brings may be genuine; otherwise one that has none. `now` in
    /// seconds since 1970.
    pub(crate) async fn judged<'h>(&self, caller: Caller<'h>, now: u64) -> Caller<'h> {
        let Caller::OwnTicket(Credential::Ticket { text, by }) = caller else { return caller };
        let pass = match std::str::from_utf8(&text) {
            Ok(ticket) => self.passes(|keys| self.user_ticket(keys, ticket, now)).await,
            // Proxmox VE makes none like that; it may say so itself.
            Err(_) => true,
        };
        let credential = Credential::Ticket { text, by };
        match pass {
            true => Caller::OwnTicket(credential),
            false => Caller::Invalid(credential),
        }
    }

    /// For `Request::Status`: who verifies, and why that is not the gate.
    pub(crate) fn status(&self) -> Value {
        match &self.looked.borrow().keys {
            Ok(keys) => json!({ "verified_by": "gate", "keys": keys.count() }),
            Err(why) => json!({ "verified_by": "upstream", "why": **why }),
        }
    }

    /// Keys in force: 0 where Proxmox VE decides.
    pub(crate) fn keys(&self) -> u64 {
        self.looked.borrow().keys.as_ref().map_or(0, |keys| keys.count() as u64)
    }

    fn user_ticket(&self, keys: &ClusterKeys, text: &str, now: u64) -> Verdict {
        match self.verified.verify_user(keys, text, now) {
            Ok((_, found)) => {
                let event = if found == Found::Known { "hit" } else { "miss" };
                self.metrics.cache("tickets", event);
                if found == Found::MadeRoom {
                    self.metrics.limit("tickets");
                }
                Verdict::Pass
            }
            // Signed, but for a name that is none here: not for the gate to judge.
            Err(TicketError::Purpose) => Verdict::Pass,
            Err(TicketError::Signature) => Verdict::Unsigned,
            Err(error) => {
                debug!(%error, "ticket refused");
                Verdict::Refuse
            }
        }
    }

    /// Whether a ticket is passed on, which it is where there is no key.
    async fn passes(&self, judge: impl Fn(&ClusterKeys) -> Verdict) -> bool {
        let Ok(keys) = self.looked.borrow().keys.clone() else { return true };
        match judge(&keys) {
            Verdict::Pass => true,
            Verdict::Refuse => false,
            Verdict::Unsigned => {
                // Boxed: a genuine ticket needs no room for this.
                let next = Box::pin(self.next_look()).await;
                next.is_none_or(|keys| judge(&keys) == Verdict::Pass)
            }
        }
    }

    /// What a look finds that begins only now: the key may have changed. None where there is none
    /// any more, or no look is made in time.
    async fn next_look(&self) -> Option<Arc<ClusterKeys>> {
        let came = self.clock.monotonic();
        let mut looks = self.looked.subscribe();
        let next = timeout(KEY_LOOK_WAIT, looks.wait_for(|look| look.began >= came)).await;
        let look = next.ok().and_then(Result::ok);
        if look.is_none() {
            self.metrics.limit("ticket_key_look");
            warn!("the files of the key can not be looked at; a ticket is left to Proxmox VE");
        }
        look?.keys.as_ref().ok().map(Arc::clone)
    }
}

#[cfg(test)]
mod tests;
