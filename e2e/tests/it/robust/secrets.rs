//! All secrets of a session, through every kind of request, and where a gate writes.

use std::fs::Permissions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::acts::{direct, login, user};
use super::client::{Answer, Client};
use super::kills::Upstream;
use super::process::{Files, free_address};
use crate::canary::planted::Planted;
use crate::home::{Home, below};

/// The console that is opened.
const GUEST: &str = "/api2/json/nodes/pve1/qemu/100";
/// What a browser adds.
const BROWSER: &str = "Sec-Fetch-Site: same-origin\r\n";

/// None of them stands in the access log, the audit log, the failure log, what goes to the journal,
/// stderr, the metrics or the state.
#[test]
fn no_secret_of_a_session_is_written_anywhere() -> Result<()> {
    let home = Home::new()?;
    let address = free_address()?.to_string();
    let upstream = Upstream::start(&home, &address)?;
    user(&address, &upstream.token)?;
    let rights = "path=/&users=k@pve&roles=Administrator";
    direct(&address, &upstream.token, "PUT /api2/json/access/acl", rights)?;

    let journal = UnixDatagram::bind(home.scratch("journal"))?;
    journal.set_nonblocking(true)?;
    // The gate is not the test's user where the test is root.
    std::fs::set_permissions(home.scratch("journal"), Permissions::from_mode(0o666))?;
    let place = |name: &str| home.scratch(name).display().to_string();
    let lines = format!(
        "metrics_listen = \"{}\"\n[gate.login]\ndelay_seconds = 0\nlock_after = 100\n\
         ban_after = 100\nfailure_log = \"{}\"\nfailure_syslog = \"{}\"",
        place("gate-state/metrics"),
        place("failures"),
        place("journal"),
    );
    let files = Files::write(&home, &format!("http://{address}"), &lines)?;
    // Variables come after the file.
    let mut command = home.proxward(&[])?;
    command.env("PROXWARD_GATE_ACCESS_LOG", home.scratch("access.log"));
    let gate = files.start_logging(command)?;
    let mut planted = Planted::default();
    planted.known("API token", upstream.token.rsplit('=').next().context("a token")?);
    session(&files, "", &mut planted)?;
    session(&files, BROWSER, &mut planted)?;
    failures(&files, &mut planted)?;

    let mut metrics = UnixStream::connect(home.scratch("gate-state/metrics"))?;
    metrics.write_all(b"GET /metrics HTTP/1.1\r\n\r\n")?;
    let mut exposition = String::new();
    metrics.read_to_string(&mut exposition)?;
    ensure!(exposition.contains("endpoint=\"console\""), "{exposition}");
    planted.search("metrics", exposition.as_bytes())?;
    let ended = gate.end("TERM")?.success()?;
    planted.search("stderr", ended.stderr.as_bytes())?;
    planted.search("stdout", ended.stdout.as_bytes())?;

    let mut told = Vec::new();
    let mut datagram = [0; 4096];
    while let Ok(count @ 1..) = journal.recv(&mut datagram) {
        told.extend_from_slice(datagram.get(..count).unwrap_or_default());
    }
    ensure!(!told.is_empty(), "nothing was told to the journal");
    planted.search("journal", &told)?;
    for (name, holds) in [
        ("access.log", "/vncwebsocket"),
        ("failures", "authentication failure; rhost="),
        ("gate-state/audit.jsonl", "login.failed"),
    ] {
        let text = std::fs::read_to_string(home.scratch(name)).context(name)?;
        ensure!(text.contains(holds), "{name} does not say {holds}:\n{text}");
        planted.search(name, text.as_bytes())?;
    }
    state(&home.scratch("gate-state"), &planted)?;
    upstream.kill()
}

/// Nothing in the state opens anything without the key beside it.
fn state(directory: &Path, planted: &Planted) -> Result<()> {
    let files = below(directory)?;
    for path in files.iter().filter(|path| path.is_file()) {
        if path.extension().is_none_or(|extension| extension != "key") {
            planted.search(&path.display().to_string(), &std::fs::read(path)?)?;
        }
    }
    Ok(())
}

/// A login, a console with its ticket, used twice, and the end; everything it was handed out.
fn session(files: &Files, browser: &str, planted: &mut Planted) -> Result<()> {
    let answer = login(files, browser, "killed-not")?;
    planted.known("password", "killed-not");
    let cookie = answer.head.lines().find_map(|line| line.strip_prefix("Set-Cookie: "));
    let cookie = cookie.and_then(|cookie| cookie.split(';').next()).map(str::to_owned);
    let data: Value = serde_json::from_str(&answer.body)?;
    let text = |key: &str| data["data"][key].as_str().map(str::to_owned).context("a login");
    let (ticket, csrf) = (text("ticket")?, text("CSRFPreventionToken")?);
    let credential = match &cookie {
        Some(cookie) => {
            planted.known("session cookie", cookie.split_once('=').context("a cookie")?.1);
            format!("{cookie}; PVEAuthCookie={ticket}")
        }
        None => {
            planted.known("value of a tool", ticket.rsplit(':').next().context("a value")?);
            format!("PVEAuthCookie={ticket}")
        }
    };
    planted.known("CSRF token", csrf.rsplit(':').next().context("a token")?);
    let lines =
        format!("Host: a\r\nCookie: {credential}\r\nCSRFPreventionToken: {csrf}\r\n{browser}");
    let ask = |request: String| -> Result<Answer> { Client::connect(files)?.ask(&request) };
    let console = ask(format!(
        "POST {GUEST}/vncproxy HTTP/1.1\r\n{lines}Content-Length: 11\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\r\nwebsocket=1"
    ))?;
    ensure!(console.status == 200, "{console:?}");
    let data: Value = serde_json::from_str(&console.body)?;
    let ticket = data["data"]["ticket"].as_str().context("a console's ticket")?;
    planted.known("console ticket", ticket.rsplit(':').next().context("a signature")?);
    let port = data["data"]["port"].to_string();
    let port = port.trim_matches('"');
    let encoded = ticket.replace('%', "%25").replace('+', "%2B").replace('/', "%2F");
    let encoded = encoded.replace(':', "%3A").replace('=', "%3D");
    let origin = if browser.is_empty() { "" } else { "Origin: https://a\r\n" };
    for status in [101, 401] {
        let opened = ask(format!(
            "GET {GUEST}/vncwebsocket?port={port}&vncticket={encoded} HTTP/1.1\r\n{lines}{origin}\
             Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: binary\r\n\r\n"
        ))?;
        ensure!(opened.status == status, "{opened:?}");
    }
    // A page that does not exist, a query that is none, and the end.
    ask(format!("GET /?vncticket={encoded}&password=killed-not HTTP/1.1\r\n{lines}\r\n"))?;
    ask(format!("GET /api2/json/nodes?ticket={encoded} HTTP/1.1\r\n{lines}\r\n"))?;
    let ended = ask(format!("POST /proxward/logout HTTP/1.1\r\n{lines}Content-Length: 0\r\n\r\n"))?;
    ensure!(ended.status == 200, "{ended:?}");
    // What is worth nothing any more is no less a secret.
    ask(format!("GET /api2/json/nodes HTTP/1.1\r\n{lines}\r\n"))?;
    Ok(())
}

/// Credentials that are wrong by little.
fn failures(files: &Files, planted: &mut Planted) -> Result<()> {
    let wrong = planted.one("wrong password");
    ensure!(login(files, "", &wrong)?.status == 401, "a wrong password");
    for header in [
        format!("Authorization: PVEAPIToken=root@pam!ci={}", planted.one("wrong token")),
        format!("Cookie: PVEAuthCookie=PVE:k@pve:6B00CE46::{}", planted.one("wrong ticket")),
        format!("Cookie: __Host-proxward={}", planted.one("wrong session")),
        format!("Authorization: Bearer {}", planted.one("no credential of PVE")),
    ] {
        let request = format!("GET /api2/json/nodes HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n");
        let answer = Client::connect(files)?.ask(&request)?;
        ensure!(answer.status == 401, "{header}: {answer:?}");
    }
    Ok(())
}
