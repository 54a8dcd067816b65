//! The way of a request to a plugin. Origin, session and CSRF token were judged.

use http::header::SET_COOKIE;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method};
use telemetry::Rfc3339;

use super::answer::{adapt, switching};
use super::{Asked, refused, whole};
use crate::body::{AnswerBody, Source};
use crate::caller::Caller;
use crate::credential::Lines;
use crate::edge;
use crate::head::{Answer, Fields, Parts};
use crate::hygiene::{self, HeadLines};
use crate::plugins::{PLUGIN, Plugin, REQUEST, UNTIL, USER};
use crate::record::Record;
use crate::refusal::Refusal;
use crate::upstream::{Inbound, Outbound};

/// Passes a request on to the plugin that `path` names (below `/proxward/plugins/`), if the
/// caller may.
pub(super) async fn plugin(
    asked: &Asked<'_>,
    record: &mut Record,
    path: &str,
    body: &mut dyn Source,
) -> Result<Answer<AnswerBody>, Refusal> {
    let Asked { peer, parts, caller, .. } = *asked;
    let shared = &peer.worker.shared;
    let (name, _) = path.split_once('/').ok_or(Refusal::NoSuchPath)?;
    let (plugin, upstream) = peer.worker.plugin(name).ok_or(Refusal::NoSuchPath)?;
    let target = target(parts, name).ok_or(Refusal::NoSuchPath)?;

    // What browsers send by themselves must have been judged here: the CSRF token of a ticket
    // from elsewhere is Proxmox VE's to judge, and it is not asked.
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    let websocket = edge::wants_websocket(parts);
    if caller.id().is_none() {
        return Err(Refusal::NotLoggedIn);
    }
    if matches!(caller, Caller::OwnTicket(_)) && (!reads || websocket) {
        return Err(Refusal::ForeignTicket);
    }
    if let Some(until) = plugin.until
        && (shared.clock.unix() >= until || !is_same_site(parts))
    {
        return Err(Refusal::Development);
    }
    let held = shared.permissions.of(peer, caller, parts, &plugin.at).await;
    let held = held.map_err(|unknown| unknown.refusal(Refusal::Path))?;
    if !held.contains(plugin.privilege) {
        return Err(Refusal::PluginPrivilege);
    }

    // No credential.
    let mut lines = hygiene::upstream_lines(parts, &target, websocket, &Lines::default())?;
    introduce(&mut lines, name, caller, record);
    let outbound = Outbound { method: &parts.method, target: &target, lines };
    let body = whole(peer, body).await?;
    let inbound = match websocket {
        true => upstream.websocket(&outbound).await,
        false => upstream.call(&outbound, &body).await.map(Inbound::Answer),
    };
    match inbound.map_err(|error| refused(record, &error))? {
        Inbound::Tunnel(head, socket, early) => {
            *peer.tunnel.borrow_mut() = Some(asked.tunnel(socket, early, record.id()));
            Ok(switching(&head))
        }
        Inbound::Answer(answer) => {
            let answer = adapt(parts.version, answer).await;
            let mut answer = answer.map_err(|error| refused(record, &error))?;
            mark(&mut answer.head.headers, plugin);
            Ok(answer)
        }
    }
}

/// Who asks. The client's own lines of these names are not in the list of what is passed on.
fn introduce(lines: &mut HeadLines, name: &str, caller: &Caller<'_>, record: &Record) {
    let own =
        [(USER, caller.name()), (PLUGIN, name.to_owned()), (REQUEST, record.id().to_string())];
    for (name, value) in own {
        // A name that is no header is left out: nothing may add a line of its own.
        if let Ok(value) = HeaderValue::from_str(&value) {
            lines.add(name.as_str(), value.as_bytes());
        }
    }
}

/// A plugin sets no cookie: its names would be those of the interface.
fn mark(headers: &mut Fields, plugin: &Plugin) {
    headers.remove(&SET_COOKIE);
    let until = plugin.until.map(|until| Rfc3339(until).to_string());
    headers
        .extend(until.and_then(|text| HeaderValue::from_str(&text).ok()).map(|text| (UNTIL, text)));
}

/// The path as the plugin sees it: from its own root, as the client wrote it. The beginning must
/// be written plainly, and nothing may lead above.
fn target(parts: &Parts, name: &str) -> Option<PathAndQuery> {
    let raw = parts.uri.path().strip_prefix("/proxward/plugins/")?.strip_prefix(name)?;
    let above = edge::decode_path(raw).ok()?.split('/').any(|part| part == "..");
    if !raw.starts_with('/') || above {
        return None;
    }
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    PathAndQuery::try_from(format!("{raw}{query}")).ok()
}

/// Whether a browser says that its own page, or the person, asks. A tool says nothing.
fn is_same_site(parts: &Parts) -> bool {
    let site = parts.headers.get("sec-fetch-site");
    site.is_none_or(|site| matches!(site.as_bytes(), b"same-origin" | b"none"))
}
