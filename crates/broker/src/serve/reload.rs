//! New settings in the running process: all of them, or none and why.

use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError};

use telemetry::audit::Event;

use super::Shared;
use super::sockets::Sockets;
use super::stream::Listener;
use crate::config::{Config, Settings, after_restart};
use crate::peer::SubIds;

/// Sockets that come and go with a reload.
pub(super) struct Changed {
    pub(super) opened: Vec<(Arc<str>, OwnedFd)>,
    pub(super) closed: Vec<String>,
}

/// Takes new settings over.
pub(super) fn reload(
    shared: &Arc<Shared>,
    sockets: &mut Sockets,
    settings: Settings,
    changed: Changed,
) -> Result<(), String> {
    let next = settings.check("/".as_ref()).map_err(|error| error.to_string())?;
    let before = shared.config();
    if let Some(keys) = after_restart(&before.settings, &next.settings) {
        return Err(keys);
    }
    let opened = changed.opened.into_iter().map(|(name, fd)| Ok((name, Listener::new(fd)?)));
    let opened: Vec<_> =
        opened.collect::<std::io::Result<_>>().map_err(|error| error.to_string())?;
    shared.audit.reopen().map_err(|error| error.to_string())?;
    let record = Event::new("broker.reloaded").field("rules", next.policy.len());
    shared.audit.write(vec![record]).map_err(|error| error.to_string())?;
    // Nothing fails from here on.
    let limits = next.settings.limits;
    let next = Config { public_key: before.public_key.clone(), ..next };
    *shared.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    shared.admission.set_limits(&limits);
    shared.connections.set_caps(limits.connections_per_peer, limits.connections);
    shared.attestor.set_subids(subids());
    changed.closed.iter().for_each(|name| sockets.close(name));
    opened.into_iter().for_each(|(name, socket)| sockets.open(shared, name, socket));
    // They were started with the settings before.
    shared.links.end_all();
    Ok(())
}

/// The host's subordinate ids.
pub(super) fn subids() -> SubIds {
    let text = |path: &str| process::text(path.as_ref());
    SubIds::parse(&text("/etc/subuid"), &text("/etc/subgid"))
}
