//! The mock as a client meets it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod client;
mod cluster;
mod consoles;
mod control;
mod copies;
mod guests;
mod second_factors;
mod storage;
mod surroundings;
