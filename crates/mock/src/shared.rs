//! What all connections of one mock share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pve_access::Release;
use pve_access::csrf::CsrfSecret;
use pve_access::ticket::Remembered;
use pve_access::user_cfg::Token;
use pve_schema::Schema;
use secrets::SecretString;
use serde_json::Value;
use telemetry::{Clock, VirtualClock};

use crate::certificate;
use crate::control::{ControlListener, Snapshots};
use crate::document::FileError;
use crate::durable::{Journal, Receipt, StateFile};
use crate::error::StartError;
use crate::faults::{Armed, Faults};
use crate::keys::{KeyHome, Keys};
use crate::limits::{IDLE, VERIFIED_TICKETS};
use crate::recording::{Recorder, Recording, Upstream};
use crate::seed::{self, Seed, Steps, Version};
use crate::state::{KeptText, State, sha1_hex};

/// User and name of the token that is there at every start.
const TOKEN: (&str, &str) = ("root@pam", "ci");

/// How a mock is started. [`Config::new`] holds the defaults.
pub struct Config {
    /// What the cluster holds.
    pub seed: Seed,
    /// Which API it speaks. With [`Api::V8`] a seed that says no 8.x becomes one of 8.4.
    pub api: Api,
    /// The time of day, for tickets, dates and tasks.
    pub clock: Clock,
    /// Stretches tasks and the delay of failed authentication; 0 ends them at once.
    pub time_scale: f64,
    /// Certificate; `None` serves plain HTTP.
    pub identity: Option<tls::Identity>,
    /// File for the ticket key (PKCS#8), made when it does not exist; `None` makes a new key.
    pub key_file: Option<PathBuf>,
    /// Further public keys (SPKI PEM) whose tickets are accepted.
    pub verify_keys: Vec<String>,
    /// CSRF secret as the text used for the HMAC; `None` makes a random one.
    pub csrf_secret: Option<SecretString>,
    /// What fills a new cluster before it serves, after the seed: calls that a seed file names.
    pub steps: Steps,
    /// What goes wrong on purpose.
    pub faults: Faults,
    /// Answers to these requests come from a recording, all others from the cluster.
    pub replay: Recording,
    /// File that exchanges are recorded to; it must not exist.
    pub record: Option<PathBuf>,
    /// Requests are passed on to this server instead of being answered.
    pub upstream: Option<Upstream>,
    /// After this long without traffic a connection is closed.
    pub idle: Duration,
    /// File that everything the cluster holds outlives the process in; made from the seed when it
    /// does not exist or is empty, otherwise the seed is not used. `None` keeps nothing.
    pub state_file: Option<PathBuf>,
    /// Passwords by user id that are set at every start, also over those of a state file.
    pub passwords: Vec<(String, SecretString)>,
    /// The hands of [`Config::clock`], for [`crate::Control`]; `None` when nobody may move it.
    pub virtual_clock: Option<VirtualClock>,
    /// Where the control API listens; `None` is nowhere.
    pub control: Option<ControlListener>,
    /// Whether seed and steps are kept in memory for [`crate::Control::reset`].
    pub resettable: bool,
}

/// Which API document a mock serves.
#[derive(Debug, Clone)]
pub enum Api {
    /// Proxmox VE 9.2.
    V9,
    /// Proxmox VE 8.4.
    V8,
    /// The text of an `apidoc.js` or its JSON.
    Document(String),
}

impl Config {
    /// The mock of `seed` with the newest API, the system's clock and plain HTTP.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        Self {
            seed,
            api: Api::V9,
            clock: Clock::system(),
            time_scale: 1.0,
            identity: None,
            key_file: None,
            verify_keys: Vec::new(),
            csrf_secret: None,
            steps: Steps::default(),
            faults: Faults::default(),
            replay: Recording::default(),
            record: None,
            upstream: None,
            idle: IDLE,
            state_file: None,
            passwords: Vec::new(),
            virtual_clock: None,
            control: None,
            resettable: false,
        }
    }
}

enum Document {
    Shipped(&'static Schema),
    Imported(Box<Schema>),
}

impl Document {
    fn get(&self) -> &Schema {
        match self {
            Self::Shipped(schema) => schema,
            Self::Imported(schema) => schema,
        }
    }
}

/// One mock, seen from a connection.
pub(crate) struct Shared {
    schema: Document,
    pub(crate) clock: Clock,
    time_scale: AtomicU64,
    pub(crate) keys: Keys,
    pub(crate) csrf: CsrfSecret,
    pub(crate) tickets: Remembered,
    /// The topmost certificate of the own chain as PEM, empty without TLS.
    pub(crate) certificate: String,
    /// The entries of `certificates/info`.
    pub(crate) certificates: Vec<Value>,
    pub(crate) idle: Duration,
    state: Arc<Mutex<State>>,
    journal: Option<Journal>,
    pub(crate) virtual_clock: Option<VirtualClock>,
    pub(crate) snapshots: Mutex<Snapshots>,
    origin: Option<Origin>,
    pub(crate) replay: Recording,
    pub(crate) recorder: Option<Recorder>,
    pub(crate) upstream: Option<Upstream>,
    faults: Mutex<Arc<Armed>>,
    deliberate_delay: AtomicU64,
}

impl Shared {
    pub(crate) fn new(mut config: Config) -> Result<Self, StartError> {
        let (schema, release) = match &config.api {
            Api::V9 => (Document::Shipped(Schema::v9()), Release::V9),
            Api::V8 => (Document::Shipped(Schema::v8()), Release::V8),
            Api::Document(text) => {
                let schema = Schema::from_apidoc(text);
                let schema = schema.map_err(|error| StartError::Schema(error.to_string()))?;
                (Document::Imported(Box::new(schema)), Release::V9)
            }
        };
        let fingerprint =
            config.identity.as_ref().map(|identity| identity.fingerprint().to_string());
        let certificate = config.identity.as_ref().map(topmost).unwrap_or_default();
        let certificates = config.identity.as_ref().and_then(|identity| {
            let fingerprint = identity.fingerprint().to_string();
            certificate::info("pve-ssl.pem", &identity.certificate_pem(), &fingerprint)
        });
        if matches!(config.api, Api::V8) && !config.seed.version.release.starts_with("8.") {
            config.seed.version = Version::v8();
        }
        let origin = Origin {
            seed: std::mem::replace(&mut config.seed, Seed::empty()),
            steps: std::mem::take(&mut config.steps),
            passwords: std::mem::take(&mut config.passwords),
            release,
            fingerprint,
        };
        let Cluster { state, journal, is_new } = cluster(&config, &origin)?;
        let csrf = match (&config.csrf_secret, &lock(&state).server.csrf) {
            (Some(text), _) => CsrfSecret::from_text(text.clone()),
            (None, Some(kept)) => CsrfSecret::from_text(kept.0.clone()),
            (None, None) => CsrfSecret::from_text(secrets::random::hex()?),
        };
        let home = match (config.key_file, &journal) {
            (Some(file), _) => KeyHome::File(file),
            (None, Some(_)) => KeyHome::State(Arc::clone(&state)),
            (None, None) => KeyHome::Nowhere,
        };
        let faults = config.faults.arm(schema.get())?;
        let source = config.upstream.as_ref().map_or_else(|| "mock".to_owned(), Upstream::source);
        let recorder = config.record.as_deref();
        let recorder = recorder.map(|path| Recorder::create(path, &source)).transpose()?;
        let mut shared = Self {
            schema,
            clock: config.clock,
            time_scale: AtomicU64::new(config.time_scale.to_bits()),
            keys: Keys::start(home, &config.verify_keys)?,
            csrf,
            tickets: Remembered::new(VERIFIED_TICKETS),
            certificate,
            certificates: certificates.into_iter().collect(),
            idle: config.idle,
            state,
            journal,
            virtual_clock: config.virtual_clock,
            snapshots: Mutex::default(),
            origin: None,
            replay: config.replay,
            recorder,
            upstream: config.upstream,
            faults: Mutex::new(Arc::new(faults)),
            deliberate_delay: AtomicU64::new(0),
        };
        shared.begin(&origin, is_new)?;
        shared.origin = config.resettable.then_some(origin);
        Ok(shared)
    }

    /// Fills a new cluster and sets what every start sets. Ready means that all of it is kept.
    fn begin(&self, origin: &Origin, is_new: bool) -> Result<(), StartError> {
        let receipt = {
            let mut state = lock(&self.state);
            if is_new {
                seed::fill(self, &mut state, origin.steps.clone())?;
            }
            if self.journal.is_some() {
                state.track();
            }
            origin.set_passwords(&mut state);
            if is_new { self.keep_all() } else { self.keep(&mut state) }
        };
        Ok(receipt.map_or(Ok(()), Receipt::block)?)
    }

    pub(crate) fn schema(&self) -> &Schema {
        self.schema.get()
    }

    /// Whether requests are compared with a recording or kept in one.
    pub(crate) fn keeps_keys(&self) -> bool {
        self.recorder.is_some() || !self.replay.is_empty()
    }

    /// The rules that are in force.
    pub(crate) fn faults(&self) -> Arc<Armed> {
        Arc::clone(&self.faults.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other rules in force, with counters of their own; calls under way keep what met them.
    pub(crate) fn set_faults(&self, faults: Faults) -> Result<(), FileError> {
        let armed = Arc::new(faults.arm(self.schema())?);
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = armed;
        Ok(())
    }

    /// The cluster, with the effects of all ended tasks applied. A handler that panicked leaves
    /// the cluster as it was at that moment; a mock serves on.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        let mut state = lock(&self.state);
        state.settle(self.clock.unix());
        state
    }

    /// Hands the changes of the cluster over to be kept. What is given back is to be waited for,
    /// without the lock, before anybody is told what the cluster holds.
    pub(crate) fn keep(&self, state: &mut State) -> Option<Receipt> {
        self.journal.as_ref()?.submit(state)
    }

    /// The secret of [`TOKEN`], made when there is none.
    pub(crate) fn token(&self) -> Result<SecretString, StartError> {
        let (secret, receipt) = {
            let mut state = self.state();
            let full = format!("{}!{}", TOKEN.0, TOKEN.1);
            let secret = match state.accounts.token_secret(&full) {
                Some(known) => known.clone(),
                None => {
                    let secret = secrets::random::uuid()?;
                    let text = Some(secret.expose().clone());
                    state.accounts.set_token(TOKEN.0, TOKEN.1, Token::default(), text);
                    secret
                }
            };
            (secret, self.keep(&mut state))
        };
        receipt.map_or(Ok(()), Receipt::block)?;
        Ok(secret)
    }

    /// As [`Shared::keep`] when the cluster has become another one.
    pub(crate) fn keep_all(&self) -> Option<Receipt> {
        Some(self.journal.as_ref()?.submit_all())
    }

    /// The cluster as the seed of this start says, but with the token of this run.
    pub(crate) fn seeded(&self) -> Result<State, StartError> {
        let origin = self.origin.as_ref().ok_or(StartError::NoSeed)?;
        let mut seeded = origin.state(self.clock.unix())?;
        seed::fill(self, &mut seeded, origin.steps.clone())?;
        origin.set_passwords(&mut seeded);
        let state = self.state();
        let full = format!("{}!{}", TOKEN.0, TOKEN.1);
        if let Some(secret) = state.accounts.token_secret(&full) {
            let text = Some(secret.expose().clone());
            seeded.accounts.set_token(TOKEN.0, TOKEN.1, Token::default(), text);
        }
        Ok(seeded)
    }

    /// Closes the state file, though handles may be left.
    pub(crate) fn close(&self) {
        if let Some(journal) = &self.journal {
            journal.close();
        }
    }

    /// Bytes of the state file.
    pub(crate) fn state_file_bytes(&self) -> Option<u64> {
        Some(self.journal.as_ref()?.size())
    }

    pub(crate) fn set_time_scale(&self, factor: f64) {
        self.time_scale.store(factor.to_bits(), Ordering::Relaxed);
    }

    /// How much longer than on a genuine node everything takes; 0 is at once.
    pub(crate) fn time_scale(&self) -> f64 {
        f64::from_bits(self.time_scale.load(Ordering::Relaxed))
    }

    /// Waits as long as the genuine server does before it answers a failed authentication.
    pub(crate) async fn delay(&self, duration: Duration) {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.deliberate_delay.fetch_add(millis, Ordering::Relaxed);
        tokio::time::sleep(duration.mul_f64(self.time_scale())).await;
    }

    /// The sum of all deliberate delays so far, before scaling.
    pub(crate) fn deliberate_delay(&self) -> Duration {
        Duration::from_millis(self.deliberate_delay.load(Ordering::Relaxed))
    }
}

/// What a new cluster is made from.
struct Origin {
    seed: Seed,
    steps: Steps,
    passwords: Vec<(String, SecretString)>,
    release: Release,
    fingerprint: Option<String>,
}

impl Origin {
    /// The cluster before its steps.
    fn state(&self, now: Duration) -> Result<State, StartError> {
        State::new(self.seed.clone(), self.release, now, self.fingerprint.as_deref())
    }

    fn set_passwords(&self, state: &mut State) {
        for (user, password) in &self.passwords {
            if !state.accounts.password_matches(user, password.expose()) {
                state.accounts.set_password(user, password.expose().clone());
            }
        }
    }

    /// Tells one seed from another. Its secrets do not show there.
    fn digest(&self) -> String {
        sha1_hex(format!("{:?}{:?}", self.seed, self.steps).as_bytes())
    }
}

struct Cluster {
    state: Arc<Mutex<State>>,
    journal: Option<Journal>,
    /// Whether it is still to be filled.
    is_new: bool,
}

/// The cluster: from the state file, else from the seed.
fn cluster(config: &Config, origin: &Origin) -> Result<Cluster, StartError> {
    let started = config.clock.unix();
    let Some(path) = &config.state_file else {
        let state = Arc::new(Mutex::new(origin.state(started)?));
        return Ok(Cluster { state, journal: None, is_new: true });
    };
    let opened = StateFile::open(path, origin.release, origin.digest())?;
    opened.notes.iter().for_each(|note| tracing::warn!("{note}"));
    let is_new = opened.state.is_none();
    let mut state = opened.state.map_or_else(|| origin.state(started), Ok)?;
    let fingerprint = origin.fingerprint.as_deref();
    state.nodes.values_untracked().for_each(|node| node.present(fingerprint));
    if let Some(hands) = &config.virtual_clock {
        hands.set(hands.unix().max(state.latest()));
    }
    if config.clock.unix() < state.latest() {
        tracing::warn!("the state file {} was changed at a later time than it is", path.display());
    }
    if config.csrf_secret.is_none() && state.server.csrf.is_none() {
        state.server.csrf = Some(KeptText(secrets::random::hex()?));
        state.server.touched = true;
    }
    let state = Arc::new(Mutex::new(state));
    let journal = Journal::start(opened.file, Arc::clone(&state), origin.release)?;
    Ok(Cluster { state, journal: Some(journal), is_new })
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The certificate that stands for `pve-root-ca.pem`: the last of the chain.
fn topmost(identity: &tls::Identity) -> String {
    const BEGIN: &str = "-----BEGIN";
    let chain = identity.certificate_pem();
    chain.rfind(BEGIN).and_then(|at| chain.get(at..)).unwrap_or_default().to_owned()
}
