//! Six ways to fail a login, one count: delay, then lock, then ban.
//!
//! Who is guessing shows in the answers, not in the requests, and Proxmox VE gives them in six
//! shapes: a 401 of the JSON API, the 200 of the web interface's `extjs`, the second factor,
//! OpenID, and the 401 of any call with an API token or a ticket that is not valid. Every
//! failure is counted for its source (an address, or an IPv6 /64) and for the account.
//!
//! * **delay**: a failure is answered after three seconds like stock, and later the more of
//!   them a source has. It holds no connection to Proxmox VE.
//! * **lock**: an account from one source. Nobody can lock an account from everywhere: failures
//!   over many sources only make the failures of that account slower, never a success.
//! * **ban**: a source, durable before the failure is answered, longer each time.
//!
//! What is locked or banned is answered like a wrong password, to the letter and after the same
//! time, and Proxmox VE is not asked. Loopback addresses, proxies and what `never_ban` names
//! are only ever delayed: behind them are others.

mod attempt;
mod enforce;
mod engine;
mod envelope;
mod exchange;
mod journal;
mod ledger;
mod params;
mod replica;
mod settings;
mod standing;

pub use settings::{LoginRules, LoginSettings};

pub(crate) use attempt::{Attempt, Channel, Outcome, UserText};
pub(crate) use engine::{Begun, Logins};
pub(crate) use envelope::{Envelope, Member};
pub(crate) use exchange::{Exchange, Judged, session_cookie};
pub(crate) use journal::Journal;
pub(crate) use params::{Kind, Params, Shape, encode, query_value};

#[cfg(fuzzing)]
pub(crate) mod fuzzing {
    //! For the fuzz targets.
    pub(crate) use super::attempt::UserText;
    pub(crate) use super::params::{Kind, Params, Shape};
}
