//! Whether the gate is well, for whoever watches it on this machine.

use std::net::IpAddr;

use http::header::{FORWARDED, HeaderName};
use netpolicy::canonical;
use serde_json::{Value, json};

use crate::head::Parts;
use crate::listeners::addresses;
use crate::shared_store::Joint;
use crate::worker::Shared;

/// What a proxy in front adds: then the peer is not the one who asks.
const FORWARDING: [HeaderName; 3] =
    [FORWARDED, HeaderName::from_static("x-forwarded-for"), HeaderName::from_static("x-real-ip")];

/// How the gate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    draining: bool,
    /// A destination is in use.
    upstream: bool,
    /// A shared store is heard.
    store: bool,
    /// It serves, but needs to be replaced by another process.
    successor_wanted: bool,
}

impl Health {
    pub(crate) fn of(shared: &Shared, draining: bool) -> Self {
        let upstream = shared.breakers.iter().any(|breaker| breaker.is_closed());
        let store = !shared.joint.as_ref().is_some_and(Joint::is_stale);
        Self { draining, upstream, store, successor_wanted: shared.files.wants_successor() }
    }

    /// Whether requests should be sent here.
    pub(crate) fn is_ready(self) -> bool {
        self.upstream && self.store && !self.draining
    }

    /// `{"draining":…,"live":true,"ready":…,"store":…,"successor_wanted":…,"upstream":…}`
    pub(crate) fn json(self) -> Value {
        let Self { draining, upstream, store, successor_wanted } = self;
        json!({
            "live": true,
            "ready": self.is_ready(),
            "draining": draining,
            "upstream": upstream,
            "store": store,
            "successor_wanted": successor_wanted,
        })
    }
}

/// Whether a request was made on this machine: from loopback, or from an address on which the gate
/// listens, and not passed on for somebody else.
pub(crate) fn is_local(shared: &Shared, peer: IpAddr, parts: &Parts) -> bool {
    let listening = || addresses(&shared.listening.borrow());
    let own =
        peer.is_loopback() || listening().iter().any(|address| canonical(address.ip()) == peer);
    own && !FORWARDING.iter().any(|name| parts.headers.contains(name))
}
