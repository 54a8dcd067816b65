//! Exchanges as lines of a file: recorded from this mock or from a genuine node behind it, and
//! answered from again.
//!
//! A recording is JSON lines: a head with the version, then one exchange a line. Secrets are taken
//! out before a line is made, from what a client sent and from what it got; logins and refused
//! credentials are not recorded at all, because who may call is decided by the mock that replays.

mod exchange;
mod key;
mod masking;
mod recorder;
mod replay;
mod upstream;

pub(crate) use exchange::Exchange;
pub(crate) use key::Key;
pub(crate) use recorder::Recorder;
pub use replay::Recording;
pub use upstream::Upstream;
#[cfg(fuzzing)]
pub(crate) use upstream::parse;

/// The version of the format, in the first line of every recording.
const VERSION: u64 = 1;
/// The member of the first line that holds it.
const VERSION_KEY: &str = "proxward_recording";

#[cfg(test)]
mod tests;
