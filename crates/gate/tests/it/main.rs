//! The gate as a client and as Proxmox VE see it: raw bytes on one side over TLS, a scripted
//! peer on the other.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod addresses;
mod answers;
mod api;
mod audit;
mod certificates;
mod client;
mod compression;
mod consoles;
mod control;
mod failover;
mod forwarded;
mod gate;
mod handshake;
mod http2;
mod lifecycle;
mod log;
mod logins;
mod observe;
mod permissions;
mod plugins;
mod policy;
mod pve;
mod refusals;
mod reload;
mod requests;
mod revoked;
#[expect(dead_code, clippy::print_stderr, reason = "shared with the tests of the store")]
#[path = "../../../state/tests/it/server.rs"]
mod server;
mod sessions;
mod several;
mod sharing;
mod silence;
mod smuggling;
mod smuggling_http2;
mod sources;
mod takeover;
mod tickets;
mod tls_policy;
mod tokens;
mod trial;
mod tunnel;
mod upstream_tls;
