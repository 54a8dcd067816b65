//! What all connections of one mock share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pve_access::Release;
use pve_access::csrf::CsrfSecret;
use pve_schema::Schema;
use secrets::SecretString;
use serde_json::Value;
use telemetry::Clock;

use crate::certificate;
use crate::error::StartError;
use crate::keys::Keys;
use crate::limits::IDLE;
use crate::seed::Seed;
use crate::state::State;
use crate::verified::VerifiedTickets;

/// How a mock is started. [`Config::new`] holds the defaults.
pub struct Config {
    /// What the cluster holds.
    pub seed: Seed,
    /// Which API it speaks.
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
    /// After this long without traffic a connection is closed.
    pub idle: Duration,
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
            idle: IDLE,
        }
    }
}

enum Document {
    Shipped(&'static Schema),
    Imported(Box<Schema>),
}

/// One mock, seen from a connection.
pub(crate) struct Shared {
    schema: Document,
    pub(crate) clock: Clock,
    pub(crate) time_scale: f64,
    pub(crate) keys: Keys,
    pub(crate) csrf: CsrfSecret,
    pub(crate) tickets: VerifiedTickets,
    /// The topmost certificate of the own chain as PEM, empty without TLS.
    pub(crate) certificate: String,
    /// The entries of `certificates/info`.
    pub(crate) certificates: Vec<Value>,
    pub(crate) idle: Duration,
    state: Mutex<State>,
    deliberate_delay: AtomicU64,
}

impl Shared {
    pub(crate) fn new(config: Config) -> Result<Self, StartError> {
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
        let started = config.clock.unix();
        let state = State::new(config.seed, release, started, fingerprint.as_deref())?;
        let csrf = match &config.csrf_secret {
            Some(text) => CsrfSecret::from_text(text.clone()),
            None => CsrfSecret::from_text(secrets::random::hex()?),
        };
        Ok(Self {
            schema,
            clock: config.clock,
            time_scale: config.time_scale,
            keys: Keys::start(config.key_file, &config.verify_keys)?,
            csrf,
            tickets: VerifiedTickets::default(),
            certificate,
            certificates: certificates.into_iter().collect(),
            idle: config.idle,
            state: Mutex::new(state),
            deliberate_delay: AtomicU64::new(0),
        })
    }

    pub(crate) fn schema(&self) -> &Schema {
        match &self.schema {
            Document::Shipped(schema) => schema,
            Document::Imported(schema) => schema,
        }
    }

    /// The cluster, with the effects of all ended tasks applied. A handler that panicked leaves
    /// the cluster as it was at that moment; a mock serves on.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.settle(self.clock.unix());
        state
    }

    /// Waits as long as the genuine server does before it answers a failed authentication.
    pub(crate) async fn delay(&self, duration: Duration) {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        self.deliberate_delay.fetch_add(millis, Ordering::Relaxed);
        tokio::time::sleep(duration.mul_f64(self.time_scale)).await;
    }

    /// The sum of all deliberate delays so far, before scaling.
    pub(crate) fn deliberate_delay(&self) -> Duration {
        Duration::from_millis(self.deliberate_delay.load(Ordering::Relaxed))
    }
}

/// The certificate that stands for `pve-root-ca.pem`: the last of the chain.
fn topmost(identity: &tls::Identity) -> String {
    const BEGIN: &str = "-----BEGIN";
    let chain = identity.certificate_pem();
    chain.rfind(BEGIN).and_then(|at| chain.get(at..)).unwrap_or_default().to_owned()
}
