//! What the gate tells about itself: metrics on a socket of their own, which is never one that
//! clients reach, and whether it is well.

mod address;
mod health;
mod listener;

pub use address::{MetricsAddress, MetricsAddressError};
pub(crate) use health::{Health, is_local};
pub(crate) use listener::{Observer, serve};
