//! Files and ports that the gate goes on to need.

use std::path::Path;

use process::confine::Reach;

use crate::config::{AccessLogTo, Config};
use crate::observe::MetricsAddress;

/// Resolving a name: the C library asks these, and servers over TCP when an answer is long.
const RESOLVER: [&str; 6] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/run/systemd/resolve",
];
pub(super) const DNS: u16 = 53;

/// What stays within reach.
pub(super) fn of(config: &Config) -> Reach {
    let mut reach = Reach { read: config.readable.clone(), ..Reach::default() };
    reach.read.push(config.sessions.version_file.clone());
    let logs = match &config.access_log {
        AccessLogTo::File(path) => Some(path),
        AccessLogTo::Off | AccessLogTo::Stderr => None,
    };
    // The directory, as a file that was rotated away is made anew.
    let logs = logs.into_iter().chain(&config.login.failure_log);
    let logs = logs.filter_map(|path| path.parent()).map(Path::to_owned);
    reach.write = logs.collect();
    // With the control socket.
    reach.sockets = config.state.iter().cloned().collect();
    reach.bind.clone_from(&config.follow);
    match &config.traffic.metrics_listen {
        Some(MetricsAddress::Unix(path)) => {
            reach.sockets.extend(path.parent().map(Path::to_owned));
        }
        // It is bound after the gate has confined itself, and again when a successor has failed.
        Some(MetricsAddress::Tcp(address)) => reach.bind.push(address.port()),
        None => {}
    }
    let destinations = [&config.destination].into_iter().chain(&config.daemon);
    let store = config.store.iter().map(|store| &store.destination);
    let destinations = destinations.chain(&config.traffic.fallback).chain(store);
    // A socket of this machine has no port.
    for destination in destinations.filter(|destination| destination.port() != 0) {
        reach.connect.push(destination.port());
        if destination.is_name() {
            reach.read.extend(RESOLVER.map(Into::into));
            reach.connect.push(DNS);
        }
    }
    reach
}
