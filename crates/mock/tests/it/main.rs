//! The mock as a client meets it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod accounts;
mod client;
mod cluster;
mod consoles;
mod control;
mod copies;
mod guests;
mod restore;
mod second_factors;
mod shapes;
mod storage;
mod surroundings;
