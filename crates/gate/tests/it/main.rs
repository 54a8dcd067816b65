//! The gate as a client and as Proxmox VE see it: raw bytes on one side over TLS, a scripted
//! peer on the other.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod answers;
mod api;
mod client;
mod consoles;
mod control;
mod forwarded;
mod gate;
mod http2;
mod lifecycle;
mod log;
mod logins;
mod permissions;
mod plugins;
mod pve;
mod refusals;
mod requests;
mod sessions;
mod silence;
mod sources;
mod tunnel;
mod upstream_tls;
