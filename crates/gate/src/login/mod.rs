//! Logins: what is asked for, what came of it, and what the client gets to know.

mod envelope;
mod exchange;
mod params;

pub(crate) use envelope::{Envelope, Verdict};
pub(crate) use exchange::{Exchange, Judged, describe, session_cookie};
pub(crate) use params::query_value;
