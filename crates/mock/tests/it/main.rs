//! The mock as a client meets it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod accounts;
mod client;
mod clients;
mod cluster;
mod consoles;
mod control;
mod copies;
mod faults;
mod guests;
mod networks;
mod recordings;
mod restore;
mod sdn;
mod second_factors;
mod seeds;
mod shapes;
mod storage;
mod surroundings;
