//! Orders from the machine itself: a unix socket for `proxward` and for nobody else.
//!
//! The socket lies in the state directory (0700) and is 0600; whoever connects must be root or
//! the gate's own user by the kernel's word. One JSON request a line, one JSON answer a line:
//! `{"ok":…}` or `{"error":{"kind":"…","message":"…"}}`.
//!
//! A new verb is a variant of [`Request`] and a row in `answer::answer`.

mod answer;
mod call;
mod request;
mod server;

pub use call::{CallError, call};
pub use request::{HeldConsole, Hidden, Request};

pub(crate) use answer::ControlError;
pub(crate) use server::{Control, serve};

/// Name of the socket in the state directory.
pub const SOCKET: &str = "control.sock";
