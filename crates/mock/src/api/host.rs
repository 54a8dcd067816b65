//! The node's own settings and facts: index, resolver, hosts file, time zone, journal,
//! certificates.

use pve_schema::Verb;
use serde_json::{Value, json};

use super::{Call, Row};
use crate::failure::{Failure, Outcome, Success};
use crate::format::index as index_of;
use crate::state::{Node, sha1_hex};

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/nodes/{node}", index),
    (Verb::Get, "/nodes/{node}/dns", resolver),
    (Verb::Put, "/nodes/{node}/dns", set_resolver),
    (Verb::Get, "/nodes/{node}/hosts", hosts),
    (Verb::Post, "/nodes/{node}/hosts", set_hosts),
    (Verb::Put, "/nodes/{node}/time", set_timezone),
    (Verb::Get, "/nodes/{node}/syslog", syslog),
    (Verb::Get, "/nodes/{node}/certificates/info", certificates),
];

/// Children that the genuine index, a list written by hand, leaves out.
const NOT_IN_INDEX: [&str; 2] = ["execute", "vncwebsocket"];

/// What resolv.conf can hold here.
const RESOLVER: [&str; 4] = ["search", "dns1", "dns2", "dns3"];

fn index(call: &mut Call<'_>) -> Outcome {
    let mut names: Vec<&str> =
        call.matched.children().filter(|name| !NOT_IN_INDEX.contains(name)).collect();
    names.sort_unstable();
    Ok(index_of("name", names).into())
}

fn node_mut<'c>(call: &'c mut Call<'_>) -> Result<&'c mut Node, Failure> {
    let name = call.node()?.name.clone();
    let found = call.state.nodes.get_mut(&name);
    found.ok_or_else(|| Failure::die(format!("no such cluster node '{name}'")))
}

fn resolver(call: &mut Call<'_>) -> Outcome {
    Ok(json!(call.node()?.resolver).into())
}

/// Replaces the whole file, as the genuine call does.
fn set_resolver(call: &mut Call<'_>) -> Outcome {
    let given = RESOLVER.iter().filter_map(|name| Some(((*name).to_owned(), call.text(name)?)));
    let given = given.collect();
    node_mut(call)?.resolver = given;
    Ok(Success::default())
}

fn hosts(call: &mut Call<'_>) -> Outcome {
    let text = &call.node()?.hosts;
    Ok(json!({ "data": text, "digest": sha1_hex(text.as_bytes()) }).into())
}

fn set_hosts(call: &mut Call<'_>) -> Outcome {
    let (text, digest) = (call.required("data"), call.text("digest"));
    let node = node_mut(call)?;
    if digest.is_some_and(|digest| digest != sha1_hex(node.hosts.as_bytes())) {
        return Err(Failure::die(
            "detected modified configuration - file changed by other user? Try again.",
        ));
    }
    node.hosts = text;
    Ok(Success::default())
}

/// The zones of the system are not known here; a name of the right form is believed.
fn set_timezone(call: &mut Call<'_>) -> Outcome {
    let zone = call.required("timezone");
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+');
    let part = |part: &str| part.starts_with(char::is_alphabetic) && part.chars().all(plain);
    if !zone.split('/').all(part) {
        return Err(Failure::die("No such timezone."));
    }
    node_mut(call)?.timezone = zone;
    Ok(Success::default())
}

/// The mock has no journal; this is what `journalctl` prints then.
fn syslog(call: &mut Call<'_>) -> Outcome {
    call.node()?;
    let lines = [json!({ "n": 1, "t": "-- No entries --" })];
    let start = usize::try_from(call.number("start").unwrap_or(0)).unwrap_or(usize::MAX);
    let shown: Vec<&Value> = lines.iter().skip(start).collect();
    Ok(Success { total: Some(1), ..json!(shown).into() })
}

/// The certificate the mock serves with, as `pve-ssl.pem`; none without TLS.
fn certificates(call: &mut Call<'_>) -> Outcome {
    call.node()?;
    Ok(json!(call.shared.certificates).into())
}
