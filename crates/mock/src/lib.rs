//! A stateful Proxmox VE for development and tests that stock clients accept.
//!
//! One connection, one thread, one lock: a request is read line by line as pveproxy reads it
//! ([`wire`]), authenticated before its body is looked at ([`auth`]), matched against the API
//! schema, checked for rights and parameters in the genuine order ([`pipeline`]), answered by
//! one handler from the table in [`api`], and wrapped in the envelope of its format
//! ([`format`]). Methods that no handler models answer from the schema's description of their
//! result, so that every path of the API exists.
//!
//! The clock is passed in and deliberate delays can be scaled to nothing, so a test can replay
//! recorded exchanges in the second they were recorded.

mod api;
mod auth;
mod builder;
mod certificate;
mod console;
mod control;
mod coverage;
mod data;
mod document;
mod durable;
mod error;
mod failure;
mod faults;
mod format;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod keys;
mod limits;
mod object;
mod permission;
mod pipeline;
mod recording;
mod seed;
mod server;
mod shared;
mod state;
mod upload;
mod web;
mod wire;

pub use builder::Builder;
pub use control::{Control, ControlError, ControlListener, SnapshotInfo, Status};
pub use coverage::unmodelled;
pub use document::{FileError, Form};
pub use error::StartError;
pub use faults::Faults;
pub use recording::{Recording, Upstream};
pub use seed::{
    GuestKind, GuestSeed, Hardware, NodeSeed, Seed, SeedFile, Steps, StorageSeed, Version,
};
pub use server::Mock;
pub use shared::{Api, Config};
