//! What needs a process of its own, and recorded exchanges of a genuine PVE.
#![expect(clippy::unwrap_used, reason = "tests")]

mod environ;
mod golden;
