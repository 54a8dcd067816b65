//! The one table of `/proxward/api`: path, verb, privilege, and why that one.

use http::Method;

/// One row.
#[derive(Debug)]
pub struct ApiRow {
    /// `GET`, `POST` or `PUT`.
    pub method: &'static str,
    /// Below `/proxward/api/`; `{name}` is a parameter of the verb.
    pub path: &'static str,
    /// The broker's verb.
    pub verb: &'static str,
    /// What the caller needs.
    pub privilege: &'static str,
    /// Where it needs it; `{node}` is this node.
    pub at: &'static str,
    /// Parameters that a GET takes in its query.
    pub query: &'static [&'static str],
    /// Why this privilege.
    pub reason: &'static str,
}

const NODE: &str = "/nodes/{node}";
const AUDIT: &str = "what the node's own summary shows for it";
const MODIFY: &str = "changes what the node lets in, as its firewall does";
const CONSOLE: &str = "a root shell could do it; here it is one declared thing, recorded";
const CELLS: &str = "starts and ends services, which the node's service calls ask it for";

const fn get(path: &'static str, verb: &'static str, query: &'static [&'static str]) -> ApiRow {
    let (method, privilege, reason) = ("GET", "Sys.Audit", AUDIT);
    ApiRow { method, path, verb, privilege, at: NODE, query, reason }
}

const fn post(
    path: &'static str,
    verb: &'static str,
    privilege: &'static str,
    reason: &'static str,
) -> ApiRow {
    ApiRow { method: "POST", path, verb, privilege, at: NODE, query: &[], reason }
}

/// Everything that is offered. The first row that fits is the one.
static ROWS: &[ApiRow] = &[
    get("status", "broker.status", &[]),
    get("verbs", "broker.describe", &[]),
    get("sensors", "sensors.read", &["format"]),
    ApiRow {
        at: "/",
        reason: "of every node of the cluster",
        ..get("sensors/cluster", "sensors.cluster", &["budget_ms"])
    },
    get("disks", "disks.read", &[]),
    get("ipmi", "ipmi.read", &[]),
    get("node", "node.status", &[]),
    get("guests/cpu", "guests.cpu", &["interval_ms"]),
    ApiRow {
        at: "/",
        reason: "the cluster's own page asks for it",
        ..get("cluster/members", "cluster.members", &[])
    },
    get("bans", "ban.list", &[]),
    post("bans", "ban.apply", "Sys.Modify", MODIFY),
    post("bans/confirm", "ban.confirm", "Sys.Modify", MODIFY),
    ApiRow {
        privilege: "Sys.Console",
        reason: CONSOLE,
        ..get("files/{root}", "file.read", &["path"])
    },
    ApiRow { method: "PUT", ..post("files/{root}", "file.write", "Sys.Console", CONSOLE) },
    post("files/{root}/restore", "file.restore", "Sys.Console", CONSOLE),
    post("files/{root}/confirm", "file.confirm", "Sys.Console", CONSOLE),
    post("commands/{name}", "command.run", "Sys.Console", CONSOLE),
    get("cells", "cell.list", &[]),
    post("cells/{name}/start", "cell.start", "Sys.Modify", CELLS),
    post("cells/{name}/stop", "cell.stop", "Sys.Modify", CELLS),
    post("cells/{name}/confirm", "cell.confirm", "Sys.Modify", CELLS),
];

/// Verbs that are not offered, and why.
#[cfg(test)]
const NOT_OFFERED: [(&str, &str); 5] = [
    ("file.watch", "it streams; ask file.read again"),
    ("nodes.register", "for root of the host alone"),
    ("keys.ensure", "for root of the host alone"),
    ("keys.rotate", "for root of the host alone"),
    ("cleanup.request", "for root of the host alone"),
];

/// What a request is for.
#[derive(Debug)]
pub(super) struct Found<'p> {
    pub(super) row: &'static ApiRow,
    /// Parameters that stand in the path.
    pub(super) named: Vec<(&'static str, &'p str)>,
}

/// The rows, for documentation.
#[must_use]
pub fn api_rows() -> &'static [ApiRow] {
    ROWS
}

impl ApiRow {
    /// Whether it needs more than reading.
    pub(super) fn changes(&self) -> bool {
        self.method != "GET"
    }
}

/// The row of a request, or the status that says why there is none.
pub(super) fn find<'p>(method: &Method, path: &'p str) -> Result<Found<'p>, u16> {
    let mut status = 404;
    for row in ROWS {
        let Some(named) = matched(row.path, path) else { continue };
        if row.method == method.as_str() {
            return Ok(Found { row, named });
        }
        status = 405;
    }
    Err(status)
}

fn matched<'p>(pattern: &'static str, path: &'p str) -> Option<Vec<(&'static str, &'p str)>> {
    let (mut named, mut given) = (Vec::new(), path.split('/'));
    for part in pattern.split('/') {
        let found = given.next()?;
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(name) if !found.is_empty() => named.push((name, found)),
            None if part == found => {}
            _ => return None,
        }
    }
    given.next().is_none().then_some(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use broker_api::{VERBS, Verb};
    use std::collections::BTreeSet;

    #[test]
    fn every_verb_is_offered_or_there_is_a_reason() {
        let offered: BTreeSet<&str> = ROWS.iter().map(|row| row.verb).collect();
        let not: BTreeSet<&str> = NOT_OFFERED.iter().map(|row| row.0).collect();
        let all: BTreeSet<&str> = VERBS.iter().map(|verb| verb.name).collect();
        assert!(offered.is_disjoint(&not));
        assert_eq!(offered.union(&not).copied().collect::<BTreeSet<_>>(), all);
    }

    #[test]
    fn no_row_is_dead_and_what_it_takes_the_verb_takes() {
        for row in ROWS {
            let path = row.path.replace(['{', '}'], "");
            let method = Method::from_bytes(row.method.as_bytes()).unwrap();
            let found = find(&method, &path).unwrap();
            assert!(std::ptr::eq(found.row, row), "{}", row.path);
            assert!(pve_access::Privilege::parse(row.privilege).is_some());
            let verb = Verb::find(row.verb).unwrap();
            let known: Vec<_> = verb.parameters.iter().map(|parameter| parameter.name).collect();
            for name in row.query.iter().chain(found.named.iter().map(|(name, _)| name)) {
                assert!(known.contains(name), "{}: {name}", row.path);
            }
            // A verb that changes something is never a GET: no token guards those.
            assert_eq!(verb.group == broker_api::Group::Read, !row.changes(), "{}", row.path);
        }
    }

    #[test]
    fn paths_are_matched_whole() {
        assert_eq!(find(&Method::GET, "files/etc").unwrap().named, [("root", "etc")]);
        assert_eq!(find(&Method::DELETE, "bans").unwrap_err(), 405);
        for path in ["", "files", "files/", "files/a/b", "sensors/", "status/x", "Status"] {
            assert_eq!(find(&Method::GET, path).unwrap_err(), 404, "{path}");
        }
    }

    #[test]
    fn the_guide_has_the_table() {
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guides/rights-instead-of-root.md");
        let guide = std::fs::read_to_string(path).unwrap();
        for row in ROWS {
            let line = format!(
                "| `{} /proxward/api/{}` | `{}` | {} on `{}` | {} |",
                row.method, row.path, row.verb, row.privilege, row.at, row.reason
            );
            assert!(guide.contains(&line), "{line}");
        }
    }
}
