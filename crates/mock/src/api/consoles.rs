//! Consoles of nodes and guests: tickets, ports, and the websocket that leads to one.
//!
//! No answer is proxied to the node it is about, only SPICE is: there, as here, the node that
//! is asked opens the port.

use aws_lc_rs::rand;
use pve_access::ticket;
use pve_schema::Verb;
use serde_json::{Value, json};

use super::{Call, Row};
use crate::console::{Question, opens};
use crate::failure::{Failure, Outcome, Success};
use crate::limits::CONSOLE_WAIT;
use crate::object::{set, set_some};
use crate::seed::GuestKind;
use crate::state::{ConsoleKind, Effect, Guest, Spawn, TaskKind, random_uuid, sha1_hex};

pub(super) const ROWS: &[Row] = &[
    (Verb::Post, "/access/vncticket", verify),
    (Verb::Post, "/nodes/{node}/vncshell", node_vnc),
    (Verb::Post, "/nodes/{node}/termproxy", node_terminal),
    (Verb::Post, "/nodes/{node}/spiceshell", node_spice),
    (Verb::Get, "/nodes/{node}/vncwebsocket", node_socket),
    (Verb::Post, "/nodes/{node}/qemu/{vmid}/vncproxy", guest_vnc),
    (Verb::Post, "/nodes/{node}/qemu/{vmid}/termproxy", guest_terminal),
    (Verb::Post, "/nodes/{node}/qemu/{vmid}/spiceproxy", guest_spice),
    (Verb::Get, "/nodes/{node}/qemu/{vmid}/vncwebsocket", guest_socket),
    (Verb::Get, "/nodes/{node}/qemu/{vmid}/mtunnelwebsocket", tunnel_socket),
    (Verb::Post, "/nodes/{node}/lxc/{vmid}/vncproxy", guest_vnc),
    (Verb::Post, "/nodes/{node}/lxc/{vmid}/termproxy", guest_terminal),
    (Verb::Post, "/nodes/{node}/lxc/{vmid}/spiceproxy", guest_spice),
    (Verb::Get, "/nodes/{node}/lxc/{vmid}/vncwebsocket", guest_socket),
    (Verb::Get, "/nodes/{node}/lxc/{vmid}/mtunnelwebsocket", tunnel_socket),
];

/// Whether the method makes or checks tickets of consoles.
pub(super) fn signs(verb: Verb, path: &str) -> bool {
    ROWS.iter().any(|(known, at, _)| *known == verb && *at == path)
}

/// Characters of a generated VNC password, which the protocol cuts after as many.
const PASSWORD_CHARS: usize = 8;
/// The first release whose node consoles take API tokens.
const TOKENS_SINCE: u32 = 9;

fn node_vnc(call: &mut Call<'_>) -> Outcome {
    user_only(call)?;
    let path = node_path(call)?;
    Ok(vnc(call, &path, "vncshell", "")?.into())
}

fn guest_vnc(call: &mut Call<'_>) -> Outcome {
    let (path, vmid) = guest_path(call)?;
    let generated = call.flag("generate-password").then(password).transpose()?;
    let mut data = vnc(call, &path, "vncproxy", &vmid)?;
    set_some(&mut data, "password", generated);
    Ok(data.into())
}

fn vnc(call: &mut Call<'_>, path: &str, task: &'static str, id: &str) -> Result<Value, Failure> {
    let mut data = console(call, ConsoleKind::Vnc, path, task, id)?;
    set(&mut data, "cert", call.shared.certificate.clone());
    Ok(data)
}

fn node_terminal(call: &mut Call<'_>) -> Outcome {
    user_only(call)?;
    let path = node_path(call)?;
    Ok(console(call, ConsoleKind::Terminal, &path, "vncshell", "")?.into())
}

fn guest_terminal(call: &mut Call<'_>) -> Outcome {
    let (path, vmid) = guest_path(call)?;
    Ok(console(call, ConsoleKind::Terminal, &path, "vncproxy", &vmid)?.into())
}

/// A port, a ticket for it, and the task that waits there for a client. The port is a text, as
/// Perl makes one of every number it has printed.
fn console(
    call: &mut Call<'_>,
    kind: ConsoleKind,
    path: &str,
    task: &'static str,
    id: &str,
) -> Result<Value, Failure> {
    let port = port(call, kind, path)?;
    let user = call.caller.id().to_owned();
    let now = call.now().as_secs();
    let ticket = call
        .keys
        .as_ref()
        .and_then(|keys| ticket::issue_vnc(keys.signing(), &user, path, Some(port), now).ok());
    let ticket = ticket.ok_or_else(|| Failure::die("unable to sign the ticket"))?;
    let node = call.state.local.clone();
    let upid = worker(call, &node, task, id);
    Ok(json!({ "user": user, "ticket": ticket.expose(), "port": port.to_string(), "upid": upid }))
}

fn port(call: &mut Call<'_>, kind: ConsoleKind, path: &str) -> Result<u16, Failure> {
    let now = call.now();
    call.state.consoles.reserve(now, kind, path).ok_or_else(|| {
        let ports = kind.ports();
        Failure::die(format!("unable to find free port ({}-{})", ports.start, ports.end))
    })
}

fn worker(call: &mut Call<'_>, node: &str, name: &'static str, id: &str) -> String {
    let (now, user) = (call.now(), call.caller.id().to_owned());
    let kind = TaskKind { name, takes: CONSOLE_WAIT };
    let spawn = Spawn { node, kind, id, user: &user, effect: Effect::Nothing, exit: Ok(()) };
    call.state.tasks.spawn(now, call.shared.time_scale(), spawn)
}

/// `GET vncwebsocket`: the ticket is checked, and the port is what the connection leads to if it
/// asks for an upgrade.
fn node_socket(call: &mut Call<'_>) -> Outcome {
    user_only(call)?;
    let path = format!("/nodes/{}", call.required("node"));
    socket(call, &path)
}

fn guest_socket(call: &mut Call<'_>) -> Outcome {
    let path = format!("/vms/{}", call.required("vmid"));
    let success = socket(call, &path)?;
    if call.method.path().contains("/qemu/") {
        call.guest()?;
    }
    Ok(success)
}

fn socket(call: &Call<'_>, path: &str) -> Outcome {
    let port = call.number("port").and_then(|port| u16::try_from(port).ok());
    let (user, ticket, now) = (call.caller.id(), call.required("vncticket"), call.now().as_secs());
    let verified = call.keys.as_ref().is_some_and(|keys| {
        port.is_some() && ticket::verify_vnc(keys, &ticket, user, path, port, now).is_ok()
    });
    if !verified {
        return Err(Failure::unauthorized("permission denied - invalid PVEVNC ticket"));
    }
    Ok(json!({ "port": call.required("port") }).into())
}

/// Tickets for migration tunnels are not made here, so none is valid.
fn tunnel_socket(_: &mut Call<'_>) -> Outcome {
    Err(Failure::unauthorized("permission denied - invalid PVETUNNEL ticket"))
}

/// What termproxy and the VNC servers of a node ask before they let a client in. Every way to
/// fail has the same answer.
fn verify(call: &mut Call<'_>) -> Outcome {
    let (user, ticket, path) =
        (call.required("authid"), call.required("vncticket"), call.required("path"));
    let port = call.number("port").and_then(|port| u16::try_from(port).ok());
    let names = call.list("privs");
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let now = call.now().as_secs();
    let question = Question { user: &user, ticket: &ticket, path: &path, port, now };
    let port_is_readable = call.text("port").is_none() || port.is_some();
    let keys = call.keys.as_ref().filter(|_| port_is_readable);
    if keys.is_some_and(|keys| opens(call.state, keys, &question, &names)) {
        return Ok(Success::default());
    }
    Err(Failure::unauthorized("authentication failure"))
}

fn node_spice(call: &mut Call<'_>) -> Outcome {
    user_only(call)?;
    let path = node_path(call)?;
    let node = call.node()?.name.clone();
    let port = port(call, ConsoleKind::Spice, &path)?;
    worker(call, &node, "spiceshell", "");
    Ok(viewer(call, &node, "0", &format!("Shell on '{node}'"), port).into())
}

fn guest_spice(call: &mut Call<'_>) -> Outcome {
    let (path, vmid) = guest_path(call)?;
    let guest = call.guest()?;
    let (node, lxc) = (guest.node.clone(), guest.kind == GuestKind::Lxc);
    let title = format!("{} {vmid} - {}", if lxc { "CT" } else { "VM" }, guest.name());
    if !lxc {
        spice_display(guest)?;
    }
    let port = port(call, ConsoleKind::Spice, &path)?;
    if lxc {
        worker(call, &node, "spiceproxy", &vmid);
    }
    Ok(viewer(call, &node, &vmid, title.trim_end_matches(" - "), port).into())
}

/// Only a running machine with a `qxl` display has a SPICE port.
fn spice_display(guest: &Guest) -> Result<(), Failure> {
    if !guest.is_running() {
        return Err(Failure::die(format!("VM {} not running", guest.vmid)));
    }
    let vga = guest.config().get("vga").and_then(Value::as_str).unwrap_or_default();
    let display = vga.split(',').next().unwrap_or_default();
    if !display.trim_start_matches("type=").starts_with("qxl") {
        return Err(Failure::die("no spice port"));
    }
    Ok(())
}

/// What `remote-viewer` is told. The proxy is not there, so the signature needs no key.
fn viewer(call: &Call<'_>, node: &str, vmid: &str, title: &str, port: u16) -> Value {
    let made_up = || sha1_hex(random_uuid().as_bytes());
    let proxy = call.text("proxy").unwrap_or_else(|| node.to_owned());
    let proxy = if proxy.contains(':') { format!("[{proxy}]") } else { proxy };
    let time = call.now().as_secs();
    let lower = node.to_lowercase();
    json!({
        "type": "spice",
        "title": title,
        "host": format!("pvespiceproxy:{time:08X}:{vmid}:{lower}:{port}::{}", made_up()),
        "proxy": format!("http://{proxy}:3128"),
        "tls-port": port,
        "password": made_up(),
        "ca": call.shared.certificate.replace('\n', "\\n"),
        "host-subject": format!("OU=PVE Cluster Node,O=Proxmox Virtual Environment,CN={node}"),
        "secure-attention": "Ctrl+Alt+Ins",
        "toggle-fullscreen": "Shift+F11",
        "release-cursor": "Ctrl+Alt+R",
        "delete-this-file": 1,
    })
}

/// Until release 9 the consoles of a node read the caller as a user name, which the id of a
/// token is not.
fn user_only(call: &Call<'_>) -> Result<(), Failure> {
    let release = call.shared.schema().release().split('.').next();
    let release = release.and_then(|release| release.parse::<u32>().ok());
    if call.caller.is_token() && release.is_some_and(|release| release < TOKENS_SINCE) {
        let id = call.caller.id();
        return Err(Failure::die(format!("value '{id}' does not look like a valid user name")));
    }
    Ok(())
}

/// The path that tickets of the node's consoles are for; the node exists.
fn node_path(call: &Call<'_>) -> Result<String, Failure> {
    call.node()?;
    Ok(format!("/nodes/{}", call.required("node")))
}

/// The path that tickets of the guest's consoles are for, and its id; the guest exists.
fn guest_path(call: &Call<'_>) -> Result<(String, String), Failure> {
    let vmid = call.guest()?.vmid.to_string();
    Ok((format!("/vms/{vmid}"), vmid))
}

/// Printable characters from `!` to `~`, each as likely as the others.
fn password() -> Result<String, Failure> {
    const KINDS: u8 = b'~' - b'!' + 1;
    let mut bytes = [0; 8 * PASSWORD_CHARS];
    rand::fill(&mut bytes).map_err(|_| Failure::die("unable to generate a password"))?;
    let even = bytes.into_iter().filter(|byte| *byte < u8::MAX / KINDS * KINDS);
    Ok(even.map(|byte| char::from(b'!' + byte % KINDS)).take(PASSWORD_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_printable_and_differ() {
        let (one, other) = (password().unwrap(), password().unwrap());
        assert!(one.len() == PASSWORD_CHARS && one.bytes().all(|byte| byte.is_ascii_graphic()));
        assert_ne!(one, other);
    }
}
