//! Several gates behind one name: what one of them knows, the others know.
//!
//! Every gate keeps all sessions, bans, tokens and counts in memory, as a gate alone does, and
//! follows the store's feed; no request of a known session asks the store. What must not be
//! believed by mistake is asked for or waited for:
//!
//! * a login is answered once its session is in the store, a logout or ban once it is;
//! * a value that is not known here yet is looked up, once for the request;
//! * a gate that hears nothing of the store for [`StoreConfig::grace`] takes no session any more,
//!   since it could not know which were revoked.

mod look;
mod news;
mod settings;

use std::time::Duration;

use state::{Change, Entry, Feed, Redis, Store, StoreError, Table};
use tracing::warn;

pub use settings::StoreSettings;

pub(crate) use look::{find_again, fresh, unknown};
pub(crate) use news::listener;
pub(crate) use settings::{StoreConfig, is_address};

use crate::session::{Id, KeyError, Sealer};

/// Key of the entry that only the right key opens, in the table of tokens.
const KEY_CHECK: &[u8] = b"key";

/// What that entry says.
const KEY_TEXT: &[u8] = b"proxward";

/// The way to the other gates.
#[derive(Debug)]
pub(crate) struct Joint {
    pub(crate) feed: Feed,
    grace: Duration,
}

impl Joint {
    /// Whether so little is known of the others that no session can be believed.
    pub(crate) fn is_stale(&self) -> bool {
        self.feed.silence() > self.grace
    }
}

impl StoreConfig {
    /// Connects, and says what the server may lose.
    pub(crate) fn open(&self) -> Result<(Redis, Joint), StoreError> {
        let mut redis = Redis::open(self.options())?;
        for doubt in redis.doubts()? {
            warn!(
                target: "gate::store",
                server = self.name,
                "a crash of the server may lose acknowledged bans and revocations: {doubt}"
            );
        }
        let joint = Joint { feed: redis.feed(), grace: self.grace };
        Ok((redis, joint))
    }
}

/// Refuses a key that is not the one of the gates that have used the store before.
pub(crate) fn check_key(store: &mut dyn Store, sealer: &Sealer) -> Result<(), CheckError> {
    let id = Id::of(KEY_CHECK);
    if let Some(entry) = store.find(Table::Tokens, KEY_CHECK)? {
        let text = sealer.open(&id, &entry.value);
        let same = text.is_some_and(|text| text.expose() == KEY_TEXT);
        return if same { Ok(()) } else { Err(CheckError::OtherKey) };
    }
    let value = sealer.seal(&id, KEY_TEXT.to_vec()).ok_or(KeyError::Library)?;
    let entry = Entry { key: KEY_CHECK.to_vec(), value, expires: Duration::MAX };
    Ok(store.commit(&[Change::Put { table: Table::Tokens, entry }])?)
}

/// Why a gate does not join the others.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The library refused.
    #[error("gate.sessions.key: {0}")]
    Key(#[from] KeyError),
    /// The gates do not have the same key.
    #[error(
        "gate.sessions.key: not the key of the other gates of this store; copy theirs here, or \
         name another gate.store.prefix to begin anew"
    )]
    OtherKey,
}
