//! The mock as a client meets it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod client;
mod cluster;
mod consoles;
mod copies;
mod faults;
mod guests;
mod recordings;
mod roles;
mod second_factors;
mod seeds;
mod storage;
mod surroundings;
