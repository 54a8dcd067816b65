//! The real binaries with real parts, and the recorded exchanges of a genuine server.
//!
//! [`golden`] replays recorded exchanges against the mock, directly and through the gate. The
//! tests in `tests/it` start the built program and drive it with clients from their registries.

pub mod golden;
