//! A client for the Proxmox VE API: untyped calls, login, tokens, tasks.
//!
//! [`Client`] knows how PVE's server really answers, where generic HTTP clients go wrong:
//!
//! - the error text is the reason phrase of the status line, and field errors are in the body;
//! - a refused ticket is answered without a body and without a length;
//! - idle connections are closed after five seconds, so pooled ones are given up before, and only
//!   what can not have been executed is repeated;
//! - the second factor is a challenge ticket answered with `totp:…`, not the `otp` parameter;
//! - a ticket lives two hours and is renewed at half of that, by one caller for all.
//!
//! Connections lead to the one [`Endpoint`] given, over TLS with the trust given; plain HTTP goes
//! to loopback only. Redirects are errors: PVE's come from the request's own Host header.

mod client;
mod connection;
mod credentials;
mod encode;
mod endpoint;
mod error;
mod limits;
mod line;
mod params;
mod pool;
mod reply;
mod session;
mod task;

pub use client::Client;
pub use credentials::{Credentials, SecondFactor, Ticket};
pub use encode::path;
pub use endpoint::{DEFAULT_BASE, DEFAULT_PORT, Endpoint, EndpointError};
pub use error::ClientError;
pub use limits::{
    ADDRESSES_MAX, BODY_MAX, CONNECT_TIMEOUT, CONNECTIONS_MAX, HANDSHAKE_TIMEOUT, IDLE_MAX,
    IDLE_TIMEOUT, Limits, POLL_MIN, REASON_MAX, RESPONSE_TIMEOUT, TARGET_MAX, TICKET_LIFETIME,
    TICKET_RENEWAL, UPLOAD_MAX,
};
pub use params::Params;
pub use reply::Reply;
pub use task::{NotAUpid, TaskStatus, Upid};
