//! Pages of others in the same browser: what they can do to a session without a gate, and that
//! they can do nothing through one.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::chromium::{Chromium, is_installed};
use super::interface::{is_in, log_in};
use super::stand::{PASSWORD, Stand};

/// Another site, and another port of the same host, which browsers take for the same site:
/// SameSite cookies go along with what that one sends.
const ORIGINS: [&str; 2] = ["https://foreign.example", "https://127.0.0.1:4"];

/// A console's ticket, made by the session itself, that has leaked.
const LEAK: &str = "(async () => {
    const headers = { CSRFPreventionToken: Proxmox.CSRFPreventionToken };
    const post = { method: 'POST', headers, body: new URLSearchParams({ websocket: 1 }) };
    const { data } = await (await fetch('/api2/json/nodes/pve1/qemu/100/vncproxy', post)).json();
    return `${new URLSearchParams({ port: data.port, vncticket: data.ticket })}`;
})()";

/// What the page tries; it answers with what it sees itself to have got.
const ATTEMPTS: &str = "(async () => {
    const got = [];
    const read = (path) => fetch(victim + path, { credentials: 'include' })
        .then((answer) => answer.text()).then(() => got.push(`read ${path}`), () => {});
    await read('/');
    await read('/api2/json/cluster/resources');
    const send = (path, body) => fetch(victim + path,
        { method: 'POST', mode: 'no-cors', credentials: 'include', body }).catch(() => {});
    await send('/api2/json/nodes/pve1/qemu/101/status/stop');
    const form = new FormData();
    form.append('content', 'iso');
    form.append('filename', new Blob(['x']), 'foreign.iso');
    await send('/api2/json/nodes/pve1/storage/local/upload', form);
    const url = `${victim}/api2/json/nodes/pve1/qemu/100/vncwebsocket?${leak}`;
    const socket = new WebSocket(url.replace('https', 'wss'), 'binary');
    await new Promise((done) => {
        socket.onopen = () => { got.push('console'); done(); };
        socket.onerror = done;
    });
    socket.close();
    const frame = document.createElement('iframe');
    frame.src = `${victim}/`;
    document.body.append(frame);
    await new Promise((done) => { frame.onload = done; });
    return got;
})()";

/// All that pages of an origin can do to who is logged in at `victim`.
fn attempts(
    stand: &Stand,
    chromium: &Chromium,
    victim: &str,
    origin: &str,
) -> Result<BTreeSet<String>> {
    let page = chromium.page()?;
    page.open(victim)?;
    log_in(&page, "root@pam", PASSWORD)?;
    is_in(&page, "root@pam")?;
    let leak = page.js(LEAK)?;
    page.serve(&format!("{origin}/*"), "<!DOCTYPE html><title>foreign</title><body>")?;
    page.open(&format!("{origin}/"))?;
    page.js(&format!("globalThis.victim = {}; globalThis.leak = {leak}", json!(victim)))?;
    let got = page.js(ATTEMPTS)?;
    let mut got: BTreeSet<String> = serde_json::from_value(got)?;
    // A frame that was refused loads too: an error.
    let refused = |fault: &String| fault.contains("frame-ancestors");
    if !page.faults()?.iter().any(refused) {
        got.insert("frame".to_owned());
    }
    let status = stand.api("GET", "/nodes/pve1/qemu/101/status/current", &[])?;
    if status["status"] != "running" {
        got.insert("stop".to_owned());
    }
    let files = stand.api("GET", "/nodes/pve1/storage/local/content", &[])?;
    let files = files.as_array().context("a list")?;
    if files.iter().any(|file| file["volid"] == "local:iso/foreign.iso") {
        got.insert("upload".to_owned());
        stand.api("DELETE", "/nodes/pve1/storage/local/content/local:iso%2Fforeign.iso", &[])?;
    }
    page.close()?;
    Ok(got)
}

#[test]
fn pages_of_others_can_do_nothing() -> Result<()> {
    if !is_installed() {
        return Ok(());
    }
    let stand = Stand::start("", "")?;
    let chromium = Chromium::start(&stand.home, &stand.keys)?;
    // Without a gate: SameSite=Lax keeps the cookie from other sites, not from other ports.
    let cases = [
        (&stand.mock_url, ORIGINS[0], &["frame"][..]),
        (&stand.mock_url, ORIGINS[1], &["console", "frame", "upload"]),
        (&stand.url, ORIGINS[0], &[]),
        (&stand.url, ORIGINS[1], &[]),
    ];
    for (victim, origin, expected) in cases {
        let got = attempts(&stand, &chromium, victim, origin)?;
        let got: Vec<&str> = got.iter().map(String::as_str).collect();
        ensure!(got == expected, "{origin} at {victim}: {got:?} in place of {expected:?}");
    }
    chromium.end()?;
    stand.end()
}
