//! One suite for every store, and what only a file can go through: a kill, a full disk, a
//! second owner.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance;
mod file;
