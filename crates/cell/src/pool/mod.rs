//! Cells that are built before they are asked for: each holds a Node.js that waits for its script.
//!
//! The server plans nothing and carries nothing. It starts slots, each a supervisor of its own as
//! `cell run` has one, matches what is asked for with what a slot was built for, and passes the
//! caller's streams on. A slot runs one command and is gone then; whatever ends the server ends
//! its slots.

mod call;
mod client;
mod server;
mod slot;
mod wire;

pub use client::{Warm, ask, follow, slots};
pub use server::{PoolOptions, Wanted, serve};
pub use slot::become_slot;
pub use wire::SlotState;

pub(crate) use client::follow_number;
pub(crate) use slot::{Handover, Parking};
pub(crate) use wire::Call;

/// What a slot's Node.js runs until it is given a script, by its name in the cell's `/etc`.
pub(crate) const PARK: (&str, &str) = ("park.cjs", include_str!("park.cjs"));
