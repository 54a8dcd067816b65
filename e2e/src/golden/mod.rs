//! The golden corpus: exchanges recorded from a genuine Proxmox VE 8.4, replayed here.
//!
//! Every record is sent, byte for byte, to a mock seeded as the recorded host was, once directly
//! and once through the gate, in the order of recording. The clock of mock and gate stands at
//! the second of the recorded answer, so recorded tickets verify with the recorded key.
//!
//! Ids and keys that the recorded server handed out are replaced by those handed out here
//! ([`substitute`]); requests that later answers presuppose are made again ([`omitted`]).
//!
//! What is compared directly: status line, header names in order and values, body, whether the
//! connection stays open, whether the answer was delayed. What is not: dates, signatures,
//! digests, ids and times made by the server (see [`compare`]), the length of bodies whose text
//! is not in the record, and the order of JSON members and of list entries that Perl takes from
//! a hash. Through the gate the order of headers and hop-by-hop headers are the gate's own.

mod client;
mod compare;
mod corpus;
mod expected;
mod omitted;
mod replay;
mod seed;
mod substitute;
mod through_gate;

pub use corpus::{Corpus, locate};
pub use replay::{Leg, Report, Verdict, run};
