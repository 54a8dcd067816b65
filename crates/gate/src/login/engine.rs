//! The engine at work: who may try, what a failure costs, and what outlasts a restart.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use limits::Concurrency;
use netpolicy::{AddressClass, AddressSet, class};
use serde_json::{Value, json};
use state::{Change, Entry, Table, Writer};
use telemetry::Clock;
use telemetry::audit::Event;
use tracing::warn;

use super::attempt::{Attempt, Outcome, UserText};
use super::enforce::Enforcer;
use super::journal::Journal;
use super::ledger::{Judged, Ledger, Standing};
use super::replica::Told;
use super::settings::LoginRules;
use super::standing::{self, ShownBan};
use crate::audit::Act;
use crate::control::ControlError;
use crate::limits::{BANS_BETWEEN_PRUNES, LOGIN_BANS_KEPT};
use crate::metrics::Metrics;
use crate::source::{parse_source, source_of, source_text};

/// All logins of all workers.
pub(crate) struct Logins {
    pub(super) clock: Clock,
    ledger: Mutex<Ledger>,
    /// Whether anybody was banned since the start: without a ban no request takes the lock.
    pub(super) any_ban: AtomicBool,
    /// The same for accounts.
    pub(super) any_lock: AtomicBool,
    under_way: Arc<Mutex<Concurrency<IpAddr>>>,
    waiting: AtomicU32,
    waiting_most: u32,
    /// Neither locked nor banned.
    exempt: AddressSet,
    proxies: RwLock<[AddressSet; 2]>,
    pub(super) state: Arc<Writer>,
    /// For how long other gates count what they are told; None where there are none.
    pub(super) window: Option<Duration>,
    /// Since when, and how many were told since then.
    pub(super) told: Mutex<(Duration, u64)>,
    journal: Arc<Journal>,
    metrics: Metrics,
    bans_made: AtomicU64,
    /// The packet filter, where a broker is named.
    pub(super) enforcer: Option<Enforcer>,
}

/// What may happen with an attempt.
pub(crate) enum Begun {
    /// It may be passed on; the permit goes to [`Logins::end`] with the outcome.
    Pass(Permit),
    /// It is answered by [`Logins::refuse`] and then like a wrong password, unseen by Proxmox VE.
    Refused(Refused),
}

/// An attempt under way. Dropped with the request.
pub(crate) struct Permit {
    begun: Duration,
    /// None: of an exempt source, which has no number of places.
    place: Option<Place>,
}

/// An attempt that is refused unseen.
pub(crate) struct Refused {
    why: &'static str,
    /// None: there are too many of this source, and this one is answered at once.
    permit: Option<Permit>,
}

/// One of the places of a source.
struct Place {
    under_way: Arc<Mutex<Concurrency<IpAddr>>>,
    source: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.under_way).release(&self.source);
    }
}

impl Logins {
    /// The engine with the bans that were kept. `proxies` stand for many clients.
    pub(crate) fn new(
        rules: &LoginRules,
        proxies: [AddressSet; 2],
        kept: &[Entry],
        (clock, metrics): (&Clock, &Metrics),
        (state, journal): (Arc<Writer>, Arc<Journal>),
    ) -> Self {
        let mut ledger = Ledger::new(rules);
        let bans = kept.iter().filter_map(|entry| standing::restore(entry, clock));
        let mut any_ban = false;
        let enforcer = rules.broker.clone().and_then(|socket| {
            Enforcer::start(socket, clock)
                .inspect_err(|error| warn!(%error, "no thread for the broker's bans"))
                .ok()
        });
        for (source, ban) in bans.take(LOGIN_BANS_KEPT) {
            enforcer.iter().for_each(|enforcer| enforcer.ban(source, ban.until));
            ledger.impose(source, clock.monotonic(), ban);
            any_ban = true;
        }
        Self {
            clock: clock.clone(),
            ledger: Mutex::new(ledger),
            any_ban: AtomicBool::new(any_ban),
            any_lock: AtomicBool::new(false),
            under_way: Arc::new(Mutex::new(Concurrency::new(rules.attempts_per_address, u32::MAX))),
            waiting: AtomicU32::new(0),
            waiting_most: rules.waiting,
            exempt: rules.never_ban.clone(),
            proxies: RwLock::new(proxies),
            state,
            window: None,
            told: Mutex::default(),
            journal,
            metrics: metrics.clone(),
            bans_made: AtomicU64::new(0),
            enforcer,
        }
    }

    /// Those who stand for many clients from now on.
    pub(crate) fn set_proxies(&self, proxies: [AddressSet; 2]) {
        *self.proxies.write().unwrap_or_else(PoisonError::into_inner) = proxies;
    }

    /// Whether this client is shut out. For every request: no allocation, and no lock as long
    /// as nobody is.
    pub(crate) fn banned(&self, client: IpAddr) -> bool {
        if !self.any_ban.load(Ordering::Relaxed) || self.is_exempt(client) {
            return false;
        }
        self.ledger().is_banned(source_of(client), self.clock.monotonic())
    }

    /// Waits like a failure before a request of a banned client is refused; beyond the most
    /// that may wait it does not, since there is nothing to find out.
    pub(crate) async fn wait_banned(&self) {
        self.metrics.login("any", "banned");
        let delay = self.ledger().banned_delay();
        self.wait(delay).await;
    }

    /// Whether an attempt may be passed on.
    pub(crate) fn begin(&self, attempt: &Attempt) -> Begun {
        let begun = self.clock.monotonic();
        let source = source_of(attempt.client);
        if self.is_exempt(attempt.client) {
            return Begun::Pass(Permit { begun, place: None });
        }
        // Places are of the source alone: what others do takes none of them.
        if lock(&self.under_way).acquire(&source).is_err() {
            return Begun::Refused(Refused { why: "busy", permit: None });
        }
        let place = Place { under_way: Arc::clone(&self.under_way), source };
        let permit = Permit { begun, place: Some(place) };
        let why = match self.ledger().standing(source, attempt, begun) {
            Standing::Free => return Begun::Pass(permit),
            Standing::Locked => "locked",
            Standing::Banned => "banned",
        };
        Begun::Refused(Refused { why, permit: Some(permit) })
    }

    /// Counts the outcome. A failure returns after its delay, and what it led to is durable
    /// then. Call it with the answer read and the connection to Proxmox VE given back.
    pub(crate) async fn end(&self, permit: Permit, attempt: &Attempt, outcome: Outcome) {
        let source = source_of(attempt.client);
        match outcome {
            Outcome::Undecided => {}
            Outcome::Success => {
                self.metrics.login(attempt.channel.name(), "success");
                if self.ledger().success(source, attempt, self.clock.monotonic()) {
                    self.tell_later(&Told::success(source, attempt));
                }
                self.journal.audit(|| event(Act::LoginSucceeded, attempt));
            }
            Outcome::Failure => self.fail(permit, attempt, true).await,
        }
    }

    /// Whether this account is locked for its source: for a call with a ticket or a token,
    /// which is no attempt until it is refused. Without a lock no request takes the mutex.
    pub(crate) fn locked(&self, attempt: impl FnOnce() -> Option<Attempt>) -> Option<Attempt> {
        if !self.any_lock.load(Ordering::Relaxed) {
            return None;
        }
        let attempt = attempt()?;
        let source = source_of(attempt.client);
        let standing = self.ledger().standing(source, &attempt, self.clock.monotonic());
        (standing == Standing::Locked && !self.is_exempt(attempt.client)).then_some(attempt)
    }

    /// Counts a call whose ticket or token was refused: by Proxmox VE (`asked`), or unseen. It
    /// came at `begun`; what has passed since then has been waited already. It is counted even
    /// where the source has too many that wait: only the waiting is left out then.
    pub(crate) async fn failed(&self, attempt: &Attempt, begun: Duration, asked: bool) {
        let source = source_of(attempt.client);
        let place = lock(&self.under_way).acquire(&source).is_ok();
        let place = place.then(|| Place { under_way: Arc::clone(&self.under_way), source });
        if !asked {
            self.metrics.login(attempt.channel.name(), "locked");
        }
        self.fail(Permit { begun, place }, attempt, asked).await;
    }

    /// Counts an attempt that was not passed on, and waits as a wrong password would.
    pub(crate) async fn refuse(&self, attempt: &Attempt, refused: Refused) {
        self.metrics.login(attempt.channel.name(), refused.why);
        if let Some(permit) = refused.permit {
            self.fail(permit, attempt, false).await;
        }
    }

    async fn fail(&self, permit: Permit, attempt: &Attempt, asked: bool) {
        let source = source_of(attempt.client);
        let exempt = self.is_exempt(attempt.client);
        let now = self.clock.monotonic();
        let (judged, counted) = {
            let mut ledger = self.ledger();
            let counted = !ledger.is_banned(source, now);
            (ledger.failure(source, attempt, now, (asked, exempt)), counted)
        };
        if judged.lock.is_some() {
            self.any_lock.store(true, Ordering::Relaxed);
        }
        self.report(source, attempt, judged, asked);
        let mut changes = Vec::new();
        if let Some(ban) = judged.ban {
            // At once for every worker; the answer waits for the disk.
            self.any_ban.store(true, Ordering::Relaxed);
            self.enforcer.iter().for_each(|enforcer| enforcer.ban(source, ban.until));
            changes.push(standing::keep(source, ban, &self.clock));
            if self.bans_made.fetch_add(1, Ordering::Relaxed).is_multiple_of(BANS_BETWEEN_PRUNES) {
                changes.push(Change::Prune { table: Table::Bans, now: self.clock.unix() });
            }
        }
        if counted {
            changes.extend(self.telling(&Told::failure(source, attempt, (asked, exempt))));
        }
        if !changes.is_empty()
            && let Err(error) = self.state.durable(changes).await
            && judged.ban.is_some()
        {
            warn!(%error, "a ban is in force but not kept over a restart");
        }
        let passed = self.clock.monotonic().saturating_sub(permit.begun);
        if permit.place.is_some() || exempt {
            self.wait(judged.delay.saturating_sub(passed)).await;
        }
        drop(permit);
    }

    /// Waits, unless too many do: a failure that is known already gains nobody anything, and
    /// memory is not theirs to fill.
    async fn wait(&self, delay: Duration) {
        if delay.is_zero() {
            return;
        }
        let waiting = Waiting(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) < self.waiting_most {
            tokio::time::sleep(delay).await;
        } else {
            self.metrics.login("any", "not_delayed");
        }
        drop(waiting);
    }

    fn report(&self, source: IpAddr, attempt: &Attempt, judged: Judged, asked: bool) {
        let user = attempt.user.as_ref().map_or("", UserText::as_str);
        let event = |act| event(act, attempt);
        if asked {
            self.metrics.login(attempt.channel.name(), "failure");
            self.journal.failure(attempt);
            self.journal.audit(|| event(Act::LoginFailed));
            warn!(
                target: "gate::login",
                client = %attempt.client,
                user,
                channel = attempt.channel.name(),
                "login failed"
            );
        }
        if let Some(lock) = judged.lock {
            self.metrics.login(attempt.channel.name(), "lock");
            let shown = ShownBan::new(source, lock, &self.clock);
            self.journal.audit(|| shown.fields(event(Act::LoginLocked)));
            warn!(target: "gate::login", client = %attempt.client, user, "account locked for this source");
        }
        if let Some(ban) = judged.ban {
            self.metrics.login(attempt.channel.name(), "ban");
            let shown = ShownBan::new(source, ban, &self.clock);
            self.journal.audit(|| shown.fields(event(Act::BanAdded)));
            warn!(target: "gate::login", source = source_text(source), step = ban.step, "source banned");
        }
    }

    /// Adds a record to the audit log.
    pub(crate) fn audit(&self, event: Event) {
        self.journal.audit(|| event);
    }

    /// Bans and locks in force, for the control socket.
    pub(crate) fn list(&self) -> Value {
        let now = self.clock.monotonic();
        let ledger = self.ledger();
        let show = |source: &IpAddr, ban| ShownBan::new(*source, ban, &self.clock);
        let bans: Vec<_> = ledger.bans(now).map(|(source, ban)| show(source, ban)).collect();
        let locks = ledger.locks(now).map(|((source, user), lock)| show(source, lock).lock(user));
        let locks: Vec<_> = locks.collect();
        json!({ "bans": bans, "locks": locks })
    }

    /// Takes away the ban and locks of an address, or the locks of an account; durable before
    /// it is done.
    pub(crate) async fn pardon(&self, of: &str) -> Result<Value, ControlError> {
        let now = self.clock.monotonic();
        let source = parse_source(of);
        let mut changes: Vec<Change> = source.map(standing::forget).into_iter().collect();
        changes.extend(self.telling(&Told::Pardon { of: of.to_owned() }));
        // Looked at before: the store's news of it may be quicker than the answer.
        let banned = source.is_some_and(|source| self.ledger().is_banned(source, now));
        if !changes.is_empty() {
            self.state.durable(changes).await?;
        }
        let known = if let Some(source) = source {
            self.enforcer.iter().for_each(|enforcer| enforcer.free(source));
            self.ledger().pardon_source(source, now) || banned
        } else {
            self.ledger().pardon_account(&UserText::new(of), now)
        };
        let shown = UserText::new(of);
        if !known {
            let text = format!("{of}: neither banned nor locked; `gate bans list` shows who is");
            return Err(ControlError::NotFound(text));
        }
        warn!(target: "gate::login", of = shown.as_str(), "ban or lock removed");
        Ok(json!({ "removed": of }))
    }

    /// How the engine stands, for the control socket.
    pub(crate) fn status(&self) -> Value {
        let now = self.clock.monotonic();
        let ledger = self.ledger();
        let (sources, forgotten) = ledger.sizes();
        json!({
            "bans": ledger.bans(now).count(),
            "locks": ledger.locks(now).count(),
            "packet_filter": self.enforcer.as_ref().map(Enforcer::reached),
            "waiting": self.waiting.load(Ordering::Relaxed),
            "sources": sources,
            "forgotten": forgotten,
            "records_dropped": self.journal.dropped(),
            "commits_failed": self.state.failures(),
        })
    }

    fn is_exempt(&self, client: IpAddr) -> bool {
        class(client) == AddressClass::Loopback
            || self.exempt.contains(client)
            || self.proxies().iter().any(|proxies| proxies.contains(client))
    }

    fn proxies(&self) -> RwLockReadGuard<'_, [AddressSet; 2]> {
        // It guards a plain assignment: a poisoned one holds a whole value.
        self.proxies.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }
}

fn event(act: Act, attempt: &Attempt) -> Event {
    let user = attempt.user.as_ref().map_or("", UserText::as_str);
    let event = Event::new(act.kind()).field("client", attempt.client.to_string());
    event.field("user", user).field("channel", attempt.channel.name())
}

/// One of those that wait, however the waiting ends.
struct Waiting<'a>(&'a AtomicU32);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
