//! Consoles that are open, and what ends one before its two ends do: that its session or proxy
//! token is ended, that its session has reached its lifetime, or that its address is banned.
//!
//! Each looks once a second whether it may go on. A session that nobody has used or renewed leaves
//! its consoles open, as on stock: somebody may be at work there.
//!
//! After a takeover the consoles stay in the former process, which is told nothing any more. So it
//! asks, as often, whoever has the control socket which of them it would not let go on. While
//! nobody answers they stay for a while, since a gate that is started anew needs a moment, and
//! then they end: what can not be revoked must not go on.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::time::sleep;
use tracing::warn;

use crate::caller::Caller;
use crate::control::{HeldConsole, Request, call};
use crate::limits::{TUNNEL_LOOK, TUNNELS_ASKED, TUNNELS_UNHEARD};
use crate::policy::ProxyToken;
use crate::session::{Id, Session};
use crate::worker::Shared;

/// All that are open.
#[derive(Default)]
pub(crate) struct Tunnels {
    open: Mutex<HashMap<u64, Arc<Held>>>,
    next: AtomicU64,
}

/// What a console hangs on.
pub(crate) enum Holder {
    Session(Arc<Session>),
    ProxyToken(Arc<ProxyToken>),
    /// A credential of Proxmox VE, which does not end consoles for it.
    Other,
}

/// Who holds one, from where.
struct Held {
    holder: Holder,
    client: IpAddr,
    /// The gate that has taken over would not let it go on.
    cut: AtomicBool,
}

/// One that is open until this is dropped.
pub(crate) struct Open<'s> {
    shared: &'s Shared,
    number: u64,
    held: Arc<Held>,
}

impl Holder {
    pub(crate) fn of(caller: &Caller<'_>) -> Self {
        match caller {
            Caller::Session { session, .. } => Self::Session(Arc::clone(session)),
            Caller::ProxyToken(token) => Self::ProxyToken(Arc::clone(token)),
            _ => Self::Other,
        }
    }
}

impl Tunnels {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.open().len()
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<Held>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// A console opened by this holder from this address.
    pub(crate) fn tunnel(&self, holder: Holder, client: IpAddr) -> Open<'_> {
        let number = self.tunnels.next.fetch_add(1, Ordering::Relaxed);
        let held = Arc::new(Held { holder, client, cut: AtomicBool::new(false) });
        self.tunnels.open().insert(number, Arc::clone(&held));
        Open { shared: self, number, held }
    }

    /// Which of the consoles that a former process holds would not go on here, by their number
    /// in the list: `{"ended":[…]}`.
    pub(crate) fn ended(&self, held: &[HeldConsole]) -> Value {
        let now = self.clock.unix_secs();
        let ended = |one: &HeldConsole| {
            let session =
                |text: &String| Id::parse(text).is_some_and(|id| self.sessions.keeps(&id, now));
            self.logins.banned(one.client)
                || one.session.as_ref().is_some_and(|text| !session(text))
                || one.token.as_ref().is_some_and(|name| !self.tokens.keeps(name, now))
        };
        let ended = held.iter().enumerate().filter(|(_, one)| ended(one));
        json!({ "ended": ended.map(|(at, _)| at).collect::<Vec<_>>() })
    }

    /// Ends those of the consoles kept here that the gate with this control socket would not let
    /// go on, until the last connection has ended.
    pub(crate) async fn follow(&self, socket: &Path) {
        let mut heard = self.clock.monotonic();
        // A request that is still under way may yet become a console.
        while self.metrics.open_now() > 0 {
            sleep(TUNNEL_LOOK).await;
            let (asked, now) = (self.ask(socket).await, self.clock.monotonic());
            match asked {
                Ok(()) => heard = now,
                Err(error) if now.saturating_sub(heard) >= TUNNELS_UNHEARD => {
                    self.metrics.limit("tunnels_unheard");
                    warn!(%error, "no gate says which consoles may go on; they end");
                    self.tunnels.open().values().for_each(|held| held.cut());
                    heard = now;
                }
                Err(_) => {}
            }
        }
    }

    async fn ask(&self, socket: &Path) -> Result<(), String> {
        let open: Vec<_> = self.tunnels.open().values().map(Arc::clone).collect();
        for some in open.chunks(TUNNELS_ASKED) {
            let held = some.iter().map(|held| held.shown()).collect();
            let (path, request) = (socket.to_owned(), Request::ConsolesHeld { held });
            let answer = tokio::task::spawn_blocking(move || call(&path, &request)).await;
            let answer = answer.map_err(|error| error.to_string())?;
            let answer = answer.map_err(|error| error.to_string())?;
            let ended = answer.get("ended").and_then(Value::as_array).ok_or("no list")?;
            let at = ended.iter().filter_map(Value::as_u64);
            let at = at.filter_map(|at| some.get(usize::try_from(at).ok()?));
            at.for_each(|held| held.cut());
        }
        Ok(())
    }
}

impl Held {
    fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    /// Why it may not go on, if it may not.
    fn ended(&self, shared: &Shared) -> Option<&'static str> {
        let now = shared.clock.unix_secs();
        if self.cut.load(Ordering::Relaxed) {
            return Some("the gate that has taken over does not let it go on");
        }
        if shared.logins.banned(self.client) {
            return Some("its address is banned");
        }
        match &self.holder {
            Holder::Session(session) if !shared.sessions.sustains(session, now) => {
                Some("its session has ended")
            }
            Holder::ProxyToken(token) if !shared.tokens.keeps(token.plain_name(), now) => {
                Some("its proxy token has ended")
            }
            _ => None,
        }
    }

    fn shown(&self) -> HeldConsole {
        let (session, token) = match &self.holder {
            Holder::Session(session) => (Some(session.id.text()), None),
            Holder::ProxyToken(token) => (None, Some(token.plain_name().to_owned())),
            Holder::Other => (None, None),
        };
        HeldConsole { session, token, client: self.client }
    }
}

impl Open<'_> {
    /// Waits until it may not go on, and says why.
    pub(crate) async fn ended(&self) -> &'static str {
        loop {
            sleep(TUNNEL_LOOK).await;
            if let Some(why) = self.held.ended(self.shared) {
                return why;
            }
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.shared.tunnels.open().remove(&self.number);
    }
}
