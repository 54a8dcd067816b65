//! What a test does to a mock beside its API: snapshots, a clean start, time.
//!
//! [`Control`] is the handle in the same process; [`http`] gives the same to others, at an address
//! of its own that must be asked for. It grants everything without a credential, so it listens on
//! loopback or a private socket only, and turns away whatever looks like a browser: a page in the
//! developer's browser can send requests to loopback addresses too.

mod error;
mod handle;
mod http;
mod listener;
mod request;
mod routes;
mod snapshots;

pub use error::ControlError;
pub use handle::{Control, SnapshotInfo, Status};
pub(crate) use http::serve;
pub use listener::ControlListener;
pub(crate) use snapshots::Snapshots;
