//! Everything that the stock interface asks of a server, by mouse and keyboard, over both versions
//! of HTTP: through the gate it works as if there were none.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::chromium::{Chromium, is_installed};
use super::page::Page;
use super::stand::{PASSWORD, Stand};
use crate::program::{END, until};

const PHONE: &str = "Mozilla/5.0 (Linux; Android 15) Chrome/140.0.0.0 Mobile Safari/537.36";
/// Bytes of the uploaded file: more than the gate holds of any body.
const IMAGE: usize = 3 << 20;
/// Sends frames of 16 KiB over a console of the page's own, and compares what comes back.
const FRAMES: &str = "(async () => {
    const sent = Array.from({ length: 64 }, () => crypto.getRandomValues(new Uint8Array(16384)));
    const whole = new Uint8Array(await new Blob(sent).arrayBuffer());
    const call = '/nodes/pve1/qemu/100/';
    const headers = { CSRFPreventionToken: Proxmox.CSRFPreventionToken };
    const post = { method: 'POST', headers, body: new URLSearchParams({ websocket: 1 }) };
    const { data } = await (await fetch(`/api2/json${call}vncproxy`, post)).json();
    const query = new URLSearchParams({ port: data.port, vncticket: data.ticket });
    const socket = new WebSocket(`wss://${location.host}/api2/json${call}vncwebsocket?${query}`, 'binary');
    socket.binaryType = 'arraybuffer';
    const received = [];
    let count = -12;
    return new Promise((resolve) => {
        const stalled = () => resolve(`${count} of ${whole.length} back, ${socket.bufferedAmount} waiting`);
        setTimeout(stalled, 30000);
        socket.onclose = ({ code }) => resolve(`closed ${code}`);
        socket.onopen = () => sent.forEach((piece) => socket.send(piece));
        socket.onmessage = async ({ data }) => {
            received.push(data);
            count += data.byteLength;
            if (count < whole.length) return;
            const back = new Uint8Array(await new Blob(received).arrayBuffer()).subarray(12);
            resolve(back.every((byte, at) => byte === whole[at]) && socket.protocol === 'binary');
        };
    });
})()";

/// Logs in by the page's own form.
pub(super) fn log_in(page: &Page, user: &str, password: &str) -> Result<()> {
    page.fill("#login [name=username]", user)?;
    page.fill("#login [name=password]", password)?;
    page.click("#login button")
}

/// Waits until the page shows who is logged in and what there is.
pub(super) fn is_in(page: &Page, user: &str) -> Result<()> {
    let shown = format!("document.querySelector('#user')?.textContent === '{user}'");
    page.until("somebody logged in", &shown)?;
    page.until("resources", "document.querySelectorAll('#resources tr').length > 4").map(drop)
}

#[test]
fn the_interface_works_over_http_2() -> Result<()> {
    visit("", "h2")
}

#[test]
fn the_interface_works_over_http_1() -> Result<()> {
    visit("http2 = false", "http/1.1")
}

fn visit(line: &str, protocol: &str) -> Result<()> {
    if !is_installed() {
        return Ok(());
    }
    let stand = Stand::start(line, "")?;
    let chromium = Chromium::start(&stand.home, &stand.keys)?;
    let page = chromium.page()?;
    page.open(&format!("{}/?renew=1", stand.url))?;
    ensure!(page.js("Proxmox.UserName")? == "", "somebody is logged in");
    page.picture("login")?;
    log_in(&page, "root@pam", PASSWORD)?;
    is_in(&page, "root@pam")?;
    let spoken = "performance.getEntriesByType('navigation')[0].nextHopProtocol";
    ensure!(page.js(spoken)? == protocol, "{}", page.js(spoken)?);
    cookies_are_worth_what_they_should(&stand, &page)?;
    polls_and_renews(&page)?;
    guests_stop_and_start(&stand, &page)?;
    files_go_up_and_down(&stand, &chromium, &page)?;
    page.picture("desktop")?;
    consoles_open(&chromium, &page)?;
    let echoed = page.js(FRAMES)?;
    ensure!(echoed == true, "frames of a console did not come back as they were: {echoed}");
    speaks_the_chosen_language(&page)?;
    page.nothing_wrong_but(&[])?;
    works_on_a_telephone(&stand, &page)?;
    page.nothing_wrong_but(&[])?;
    logging_out_revokes(&stand, &page)?;
    a_revoked_session_asks_for_the_password(&stand, &page)?;
    page.nothing_wrong_but(&["401"])?;
    chromium.end()?;
    stand.end()
}

/// The `Cookie` line with those of these names.
fn cookie_line(cookies: &[Value], names: &[&str]) -> Result<String> {
    let pair = |name: &&str| {
        let cookie = cookies.iter().find(|cookie| cookie["name"] == **name);
        let value = cookie.and_then(|cookie| cookie["value"].as_str());
        value.map(|value| format!("{name}={value}")).with_context(|| format!("no {name}"))
    };
    let pairs: Vec<String> = names.iter().map(pair).collect::<Result<_>>()?;
    Ok(format!("Cookie: {}", pairs.join("; ")))
}

fn cookies_are_worth_what_they_should(stand: &Stand, page: &Page) -> Result<()> {
    let cookies = page.cookies()?;
    let session = cookies.iter().find(|cookie| cookie["name"] == "__Host-proxward");
    let session = session.context("no session cookie")?;
    let is = |key: &str, value: Value| session[key] == value;
    let hard = is("httpOnly", true.into()) && is("secure", true.into()) && is("path", "/".into());
    ensure!(hard && is("sameSite", "Strict".into()), "{session}");
    let readable = page.js("document.cookie")?;
    let readable = readable.as_str().unwrap_or_default();
    let dummy = readable.strip_prefix("PVEAuthCookie=PVE%3Aroot@pam%3A");
    let dummy = dummy.and_then(|rest| rest.strip_suffix("%3A%3Aproxward"));
    ensure!(dummy.is_some_and(|time| time.len() == 8), "scripts see {readable}");

    let nodes = "/api2/json/nodes";
    let alone = stand.ask(nodes, &[cookie_line(&cookies, &["PVEAuthCookie"])?])?;
    ensure!(alone.line.contains(" 401"), "the readable cookie alone: {alone}");
    let both = cookie_line(&cookies, &["__Host-proxward", "PVEAuthCookie"])?;
    let both = stand.ask(nodes, &[both])?;
    ensure!(both.line.contains(" 200"), "both cookies: {both}");
    Ok(())
}

fn polls_and_renews(page: &Page) -> Result<()> {
    let asked = |path: &str, times: usize| {
        let count = format!(
            "performance.getEntriesByType('resource').filter(({{ name }}) => \
             new URL(name).pathname === '{path}').length >= {times}"
        );
        page.until(path, &count)
    };
    asked("/api2/json/cluster/resources", 2)?;
    asked("/api2/json/cluster/tasks", 2)?;
    // The login, and two renewals.
    asked("/api2/extjs/access/ticket", 3)?;
    page.reload()?;
    is_in(page, "root@pam")
}

fn guests_stop_and_start(stand: &Stand, page: &Page) -> Result<()> {
    let row = "[id='qemu/100']";
    for (state, mark) in [("stopped", ".stopped"), ("running", ".running")] {
        page.click(&format!("{row} button"))?;
        page.until(state, &format!("document.querySelector(\"{row} {mark}\")"))?;
        let status = stand.api("GET", "/nodes/pve1/qemu/100/status/current", &[])?;
        ensure!(status["status"] == state, "{status}");
    }
    Ok(())
}

fn files_go_up_and_down(stand: &Stand, chromium: &Chromium, page: &Page) -> Result<()> {
    let image = stand.home.scratch("image.iso");
    fs::write(&image, vec![7; IMAGE])?;
    page.until("storages", "document.querySelector('#upload select').options.length > 0")?;
    page.choose_file("#upload [type=file]", &image)?;
    page.click("#upload button")?;
    page.until(
        "the end of the upload",
        "document.querySelector('#upload [type=file]').value === ''",
    )?;
    let files = stand.api("GET", "/nodes/pve1/storage/local/content", &[])?;
    let files = files.as_array().context("a list")?;
    let arrived = |file: &Value| file["volid"] == "local:iso/image.iso" && file["size"] == IMAGE;
    ensure!(files.iter().any(arrived), "{files:?}");

    let folder = stand.home.scratch("downloads");
    fs::create_dir(&folder)?;
    chromium.download_to(page, &folder)?;
    page.click("#tasks tr:last-child a")?;
    let saved = until(END, || saved_in(&folder));
    let text = saved.context("nothing was saved")?;
    ensure!(text.ends_with("TASK OK\n"), "{text}");
    Ok(())
}

/// The text of the log in a folder, once it is there whole.
fn saved_in(folder: &Path) -> Option<String> {
    let files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let log = files.into_iter().find(|path| path.extension().is_some_and(|word| word == "log"))?;
    fs::read_to_string(log).ok().filter(|text| !text.is_empty())
}

fn consoles_open(chromium: &Chromium, page: &Page) -> Result<()> {
    page.click("#resources a.button[href*='novnc=1']")?;
    let viewer = chromium.opened_by(page)?;
    viewer.until(
        "the greeting",
        "document.querySelector('#message').textContent.includes('RFB 003.008')",
    )?;
    viewer.until(
        "the version's echo",
        "document.querySelector('#screen').textContent === '24 bytes'",
    )?;
    viewer.keys(&["a", "Enter"])?;
    viewer
        .until("the keys' echo", "document.querySelector('#screen').textContent === '56 bytes'")?;
    viewer.nothing_wrong_but(&[])?;
    viewer.close()?;

    page.click("header a[href*='xtermjs=1']")?;
    let shell = chromium.opened_by(page)?;
    shell
        .until("the terminal", "document.querySelector('#message').textContent === 'Connected'")?;
    shell.keys(&["l", "s", " ", "é", "Enter"])?;
    shell.until("the echo", "document.querySelector('#screen').textContent === 'ls é\\n'")?;
    shell.picture("shell")?;
    shell.nothing_wrong_but(&[])?;
    shell.close()?;

    // Stock shows consoles of its own host in frames too.
    let framed = "new Promise((resolve) => { const frame = document.createElement('iframe'); \
        frame.onload = () => { resolve(frame.contentDocument?.querySelector('#screen') !== null); frame.remove(); }; \
        frame.src = '/?console=shell&xtermjs=1&node=pve1'; document.body.append(frame); })";
    ensure!(page.js(framed)? == true, "a frame of the interface's own is refused");
    Ok(())
}

fn speaks_the_chosen_language(page: &Page) -> Result<()> {
    page.js("globalThis.old = true")?;
    page.choose("#language", "de")?;
    page.until_new()?;
    page.until("its texts", "document.querySelector('#logout').textContent === 'Abmelden'")?;
    ensure!(page.js("document.documentElement.lang")? == "de", "the page is not German");
    Ok(())
}

fn works_on_a_telephone(stand: &Stand, page: &Page) -> Result<()> {
    page.pretend(PHONE)?;
    page.open(&stand.url)?;
    page.until("guests", "document.querySelectorAll('#guests li').length > 0")?;
    page.picture("mobile")?;
    page.click("#guests li:has(.running) button")?;
    page.until("its end", "document.querySelector('#guests .mark.stopped')")?;
    page.pretend("")?;
    page.open(&stand.url)
}

fn logging_out_revokes(stand: &Stand, page: &Page) -> Result<()> {
    let cookies = page.cookies()?;
    let stolen = cookie_line(&cookies, &["__Host-proxward", "PVEAuthCookie"])?;
    let ask = || stand.ask("/api2/json/nodes", std::slice::from_ref(&stolen));
    ensure!(ask()?.line.contains(" 200"), "the session before: {}", ask()?);
    page.click("#logout")?;
    page.until("the login", "document.querySelector('#login').open")?;
    let ended = until(END, || ask().ok().filter(|reply| reply.line.contains(" 401")));
    ensure!(ended.is_some(), "the session lives on: {}", ask()?);
    page.reload()?;
    ensure!(page.js("Proxmox.UserName")? == "", "somebody is logged in again");
    Ok(())
}

fn a_revoked_session_asks_for_the_password(stand: &Stand, page: &Page) -> Result<()> {
    log_in(page, "root@pam", PASSWORD)?;
    is_in(page, "root@pam")?;
    stand.operate(&["session", "revoke", "--user", "root@pam"])?;
    page.until("the login", "document.querySelector('#login').open && Proxmox.UserName === ''")?;
    ensure!(page.js("document.cookie.includes('PVEAuthCookie')")? == false, "a cookie is left");
    Ok(())
}
