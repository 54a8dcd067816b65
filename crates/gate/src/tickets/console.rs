//! Tickets of consoles that the gate has not seen handed out, where those are passed on at all
//! (`sessions.unknown_console_tickets`).
//!
//! The cluster's key signs them too, for one user, path and port. Their age is not judged here: it
//! is forty seconds by the clock of the node that runs the console, which may be another one.

use http::uri::PathAndQuery;
use pve_access::ClusterKeys;
use pve_access::ticket::{TicketError, verify_vnc};

use super::{Tickets, Verdict};
use crate::login::query_value;

/// The last part of a console's path.
const WEBSOCKET: &str = "vncwebsocket";

impl Tickets {
    /// Whether a ticket may open the console at this path below the format of the API, for this
    /// user or token. Other websockets are left to Proxmox VE, which signs theirs otherwise.
    pub(crate) async fn may_open(
        &self,
        ticket: &[u8],
        (user, below, target): (&str, &str, &PathAndQuery),
        now: u64,
    ) -> bool {
        let (Some(path), Ok(ticket)) = (access_path(below), std::str::from_utf8(ticket)) else {
            return true;
        };
        let port = target.query().and_then(|query| query_value(query, "port"));
        let port = port.and_then(|port| String::from_utf8(port).ok()?.parse().ok());
        let judge = |keys: &ClusterKeys| {
            // Older releases bind the ticket to no port.
            let ports = [port, None];
            let genuine = |port: &Option<u16>| {
                let verified = verify_vnc(keys, ticket, user, &path, *port, now);
                matches!(verified, Ok(_) | Err(TicketError::Expired(_) | TicketError::Future(_)))
            };
            if ports.iter().any(genuine) { Verdict::Pass } else { Verdict::Unsigned }
        };
        self.passes(judge).await
    }
}

/// The path of the access list that a console stands at.
fn access_path(below: &str) -> Option<String> {
    let segments: Vec<&str> = below.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments.as_slice() {
        ["nodes", node, WEBSOCKET] => Some(format!("/nodes/{node}")),
        ["nodes", _, "qemu" | "lxc", guest, WEBSOCKET] => Some(format!("/vms/{guest}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::access_path;

    #[test]
    fn consoles_stand_at_their_node_or_guest() {
        for (below, path) in [
            ("/nodes/a/vncwebsocket", Some("/nodes/a")),
            ("/nodes/a//qemu/100/vncwebsocket/", Some("/vms/100")),
            ("/nodes/a/lxc/101/vncwebsocket", Some("/vms/101")),
            ("/nodes/a/qemu/100/mtunnelwebsocket", None),
            ("/nodes/a/storage/100/vncwebsocket", None),
            ("", None),
        ] {
            assert_eq!(access_path(below).as_deref(), path, "{below}");
        }
    }
}
