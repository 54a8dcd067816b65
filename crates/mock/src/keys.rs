//! The key that signs tickets, made beside the serving thread: 2048-bit RSA takes longer than
//! everything else at start, and only the first login needs it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use pve_access::{Keyring, SigningKey, VerifyKey};
use tokio::sync::watch;

use crate::error::StartError;
use crate::state::{KeptBytes, State};

/// Largest key file; a 2048-bit key takes 1.2 KB.
const KEY_FILE_BYTES: usize = 16 * 1024;

/// Where the key outlives the process.
pub(crate) enum KeyHome {
    Nowhere,
    File(PathBuf),
    /// Together with the cluster.
    State(Arc<Mutex<State>>),
}

pub(crate) struct Keys {
    ring: watch::Receiver<Option<Arc<Keyring>>>,
    /// Whether tickets of other keys are accepted too.
    accepts_foreign: bool,
}

impl Keys {
    /// Reads the key from its home, or makes one in its own thread and keeps it there.
    pub(crate) fn start(home: KeyHome, verify: &[String]) -> Result<Self, StartError> {
        let foreign = verify.iter().map(|pem| VerifyKey::from_pem(pem));
        let foreign: Vec<VerifyKey> = foreign.collect::<Result<_, _>>().map_err(|error| {
            StartError::Key { path: PathBuf::from("(--verify-key)"), cause: error.to_string() }
        })?;
        let (send, ring) = watch::channel(None);
        let accepts_foreign = !foreign.is_empty();
        let kept = home.key()?;
        if let Some(key) = kept {
            send.send_replace(ring_of(key, foreign));
        } else {
            std::thread::Builder::new().name("ticket-key".to_owned()).spawn(move || {
                let Ok(key) = SigningKey::generate() else {
                    tracing::error!("making the ticket key failed; logins will not be answered");
                    return;
                };
                home.keep(&key);
                send.send_replace(ring_of(key, foreign));
            })?;
        }
        Ok(Self { ring, accepts_foreign })
    }

    /// The keys to verify with, at once or, where tickets of other keys may come in, as soon as
    /// the own one is there. `None` while no ticket can be valid.
    pub(crate) async fn verifying(&self) -> Option<Arc<Keyring>> {
        if self.accepts_foreign {
            return self.signing().await;
        }
        self.ring.borrow().clone()
    }

    /// Waits until tickets can be signed; `None` when no key could be made.
    pub(crate) async fn signing(&self) -> Option<Arc<Keyring>> {
        let mut ring = self.ring.clone();
        let ready = ring.wait_for(Option::is_some).await.ok()?;
        ready.clone()
    }
}

fn ring_of(key: SigningKey, foreign: Vec<VerifyKey>) -> Option<Arc<Keyring>> {
    let ring = Keyring::new(key, foreign);
    ring.inspect_err(|error| tracing::error!(%error, "no ticket can be verified"))
        .ok()
        .map(Arc::new)
}

impl KeyHome {
    fn key(&self) -> Result<Option<SigningKey>, StartError> {
        match self {
            Self::Nowhere => Ok(None),
            Self::File(path) => path.exists().then(|| read(path)).transpose(),
            Self::State(state) => {
                let state = state.lock().unwrap_or_else(PoisonError::into_inner);
                let kept = state.server.ticket_key.as_ref();
                let key = kept.map(|kept| SigningKey::from_pkcs8(&kept.0)).transpose();
                key.map_err(|error| StartError::StateFile(format!("its ticket key: {error}")))
            }
        }
    }

    /// In the cluster it is kept with the answer to the first login, at the latest.
    fn keep(&self, key: &SigningKey) {
        let written = key.to_pkcs8().map_err(|error| error.to_string()).and_then(|der| {
            match self {
                Self::Nowhere => {}
                Self::File(path) => secrets::private_file::write(path, der.expose())
                    .map_err(|error| error.to_string())?,
                Self::State(state) => {
                    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                    state.server.ticket_key = Some(KeptBytes(der));
                    state.server.touched = true;
                }
            }
            Ok(())
        });
        if let Err(error) = written {
            tracing::warn!(%error, "the ticket key is not kept");
        }
    }
}

fn read(path: &Path) -> Result<SigningKey, StartError> {
    let fault = |cause: String| StartError::Key { path: path.to_owned(), cause };
    let bytes = secrets::private_file::read(path, KEY_FILE_BYTES)
        .map_err(|error| fault(error.to_string()))?;
    SigningKey::from_pkcs8(&bytes).map_err(|error| fault(error.to_string()))
}
