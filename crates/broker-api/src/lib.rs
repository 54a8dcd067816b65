//! What may be asked of the broker: verbs, wire types, framing, client.
//!
//! Two protocols arrive on one socket, told apart by their first byte:
//!
//! * the broker's own ([`frame`], [`Request`], [`Answer`]): a length, then JSON; pipelined, with
//!   numeric error codes, a correlation id in every answer, and its verbs described by a verb;
//! * pulse-sensor-proxy's ([`pulse`]): one line of JSON each way, then the end.
//!
//! Both are read by one strict JSON reader ([`strict_json`]): an object with a key twice means
//! different things to different readers, so it means nothing here.
//!
//! [`VERBS`] is the one table of what can be done. The broker checks parameters against it, the
//! policy is written in its names, `broker.describe` and the documentation are printed from it.

mod answer;
mod client;
mod code;
mod request;
mod verb;

pub mod frame;
pub mod limits;
pub mod pulse;
pub mod strict_json;

pub use answer::{Answer, Outcome, Refusal};
pub use client::{Client, ClientError};
pub use code::Code;
pub use request::{InvalidRequest, Request};
pub use verb::{Group, Kind, Parameter, ParameterError, SAFEGUARDS, VERBS, Verb};

/// The version of the own protocol, in every request and answer.
pub const VERSION: u64 = 1;

/// Where the broker listens when nothing else is said.
pub const SOCKET: &str = "/run/proxward-broker/broker.sock";
