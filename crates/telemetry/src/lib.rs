//! What happened, and when? Clock, masked log, correlation ids, metrics, hash-chained audit log.
//!
//! Every crate that has a clock, a log line, a number or an audit record gets it from here, so
//! that four rules hold everywhere and are tested once:
//!
//! * time is read in one place ([`Clock`]) and can be set by a test or by the golden corpus;
//! * nothing is written before `secrets::mask` has seen it: log lines and audit records alike;
//! * what comes from outside can not forge a line: control and direction characters are escaped,
//!   lines are limited ([`limits`]), label sets are bounded;
//! * the audit log shows afterwards whether a record was changed, removed, moved or repeated.
//!
//! The log goes to stderr and is for reading, the access log says what was asked and answered; the audit log is a file and is evidence. Neither
//! opens a socket: who serves the metrics decides who may see them.

pub mod access;
pub mod audit;
mod clock;
mod correlation;
mod escape;
mod http_date;
pub mod limits;
pub mod log;
pub mod metrics;
mod rfc3339;
mod virtual_clock;

pub use clock::{Clock, ManualClock};
pub use correlation::{CorrelationId, CorrelationIdError};
pub use http_date::{HttpDate, NotAnHttpDate, days_since_1970};
pub use rfc3339::{NotATime, Rfc3339};
pub use virtual_clock::VirtualClock;
