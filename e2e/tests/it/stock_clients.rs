//! Unchanged clients from their registries, through the gate.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::curl::{Curl, Reply};
use crate::demo::{Demo, Ready};
use crate::home::Home;
use crate::login::Login;
use crate::program::{END, Running, finish};
use crate::python::Python;

/// proxmoxer by password and by token: nodes, guests, a guest started and its task awaited,
/// messages of errors.
#[test]
fn proxmoxer() -> Result<()> {
    let (python, home) = (Python::open()?, Home::new()?);
    let demo = Demo::start(&home)?;
    let (host, port) = demo.ready.address()?.rsplit_once(':').context("no port")?;
    let at = json!({
        "host": host,
        "port": port.parse::<u16>()?,
        "ca": demo.ready.ca_text()?,
        "user": demo.ready.user,
        "password": demo.ready.password()?,
    });
    let mut command = python.command(&home, "python3");
    command.arg(clients().join("proxmoxer_session.py"));
    let ended = finish(&mut command, &at.to_string())?.success()?;
    ensure!(ended.stdout.ends_with("\ndone\n"), "the script did not come to its end\n{ended}");
    demo.end(&home, "INT")?;
    Ok(())
}

/// prometheus-pve-exporter as a service would run it, by token.
#[test]
fn prometheus_exporter() -> Result<()> {
    let (python, home) = (Python::open()?, Home::new()?);
    let demo = Demo::start(&home)?;
    let token = Login::new(&home, &demo.ready)?.create_token(&home, &demo.ready, "exporter")?;
    // JSON is YAML.
    let config = json!({ "default": {
        "user": demo.ready.user,
        "token_name": "exporter",
        "token_value": token,
        "verify_ssl": demo.ready.ca_text()?,
    }});
    let config = home.private("pve.yml", &config.to_string())?;
    let mut command = python.command(&home, "pve_exporter");
    command.arg("--config.file").arg(config).args(["--web.listen-address", "127.0.0.1:0"]);
    let mut exporter = Running::start(&mut command)?;
    let url = exporter.until("the address it listens on", |exporter| {
        let log = exporter.stderr();
        let rest = log.split_once("Listening at: ")?.1;
        Some(rest.split_once([' ', '\n'])?.0.to_owned())
    })?;

    let target = demo.ready.address()?;
    let scrape = Curl::plain(&format!("{url}/pve?target={target}&cluster=1&node=1")).send(&home)?;
    let said = exporter.stderr();
    ensure!(scrape.line == "HTTP/1.1 200 OK", "{scrape}\n--- its stderr\n{said}");
    for node in ["pve1", "pve2", "pve3"] {
        has_line(&scrape, &format!("pve_up{{id=\"node/{node}\"}} 1.0"))?;
        has_line(&scrape, &format!("pve_node_info{{id=\"node/{node}\","))?;
    }
    has_line(&scrape, "pve_up{id=\"cluster/demo\"} 1.0")?;
    has_line(&scrape, "pve_guest_info{id=\"qemu/100\",")?;
    has_line(&scrape, "pve_version_info{")?;
    // of the collectors that are asked with node=1
    has_line(&scrape, "# TYPE pve_onboot_status gauge")?;
    has_line(&scrape, "pve_subscription_status{")?;

    let own = Curl::plain(&format!("{url}/metrics")).send(&home)?;
    has_line(&own, "pve_request_errors_total{module=\"default\"} 0.0")?;
    exporter.signal("TERM")?;
    let ended = exporter.wait(END)?.success()?;
    for word in ["Traceback", "Exception", "Error"] {
        ensure!(!ended.stderr.contains(word), "the exporter complains\n{ended}");
    }
    demo.end(&home, "INT")?;
    Ok(())
}

/// PVE's own envelope, status lines and messages, in both versions of HTTP.
#[test]
fn curl() -> Result<()> {
    let home = Home::new()?;
    let demo = Demo::start(&home)?;
    let ready = &demo.ready;

    let login = Login::new(&home, ready)?;
    let reply = &login.reply;
    ensure!(reply.line == "HTTP/1.1 200 OK", "{reply}");
    ensure!(reply.header("server") == Some("pve-api-daemon/3.0"), "{reply}");
    ensure!(reply.header("content-type") == Some("application/json;charset=UTF-8"), "{reply}");
    let data = &reply.json()?["data"];
    ensure!(data["username"] == ready.user.as_str(), "{reply}");
    ensure!(login.ticket.starts_with(&format!("PVE:{}:", ready.user)), "{reply}");
    ensure!(data["cap"]["vms"]["VM.PowerMgmt"] == 1, "{reply}");

    let users = login.on(Curl::new(ready, "/api2/json/access/users")?).send(&home)?;
    ensure!(users.line == "HTTP/2 200", "{users}");
    ensure!(users.json()?["data"][0]["userid"].is_string(), "{users}");

    let token = login.create_token(&home, ready, "curl")?;
    let header = format!("Authorization: PVEAPIToken={}!curl={token}", ready.user);
    let version = Curl::new(ready, "/api2/json/version")?.http1().with("header", &header);
    let version = version.send(&home)?;
    ensure!(version.line == "HTTP/1.1 200 OK", "{version}");
    ensure!(version.json()?["data"]["release"].is_string(), "{version}");

    for refusal in &REFUSALS {
        refused(&home, ready, &header, refusal)?;
    }
    demo.end(&home, "INT")?;
    Ok(())
}

/// A request that PVE refuses, and its words.
struct Refusal {
    authenticated: bool,
    /// `POST` with an empty form instead of a GET.
    post: bool,
    path: &'static str,
    status: u16,
    reason: &'static str,
}

#[rustfmt::skip]
const REFUSALS: [Refusal; 5] = [
    Refusal { authenticated: false, post: false, path: "/nodes", status: 401, reason: "No ticket" },
    Refusal { authenticated: true, post: false, path: "/nope", status: 501,
        reason: "Method 'GET /nope' not implemented" },
    Refusal { authenticated: true, post: true, path: "/version", status: 501,
        reason: "Method 'POST /version' not implemented" },
    Refusal { authenticated: true, post: false, path: "/nodes/pve1/qemu/7/config", status: 400,
        reason: "Parameter verification failed." },
    Refusal { authenticated: true, post: false, path: "/nodes/pve1/qemu/999999/config", status: 500,
        reason: "Configuration file 'nodes/pve1/qemu-server/999999.conf' does not exist" },
];

/// The phrase stands in the status line of HTTP/1.1; in HTTP/2, which has none, in the body's
/// message or in a header of the gate's.
fn refused(home: &Home, ready: &Ready, authorization: &str, refusal: &Refusal) -> Result<()> {
    let Refusal { authenticated, post, path, status, reason } = refusal;
    let request = || -> Result<Curl> {
        let mut curl = Curl::new(ready, &format!("/api2/json{path}"))?;
        if *authenticated {
            curl = curl.with("header", authorization);
        }
        Ok(if *post { curl.with("data", "") } else { curl })
    };
    let one = request()?.http1().send(home)?;
    ensure!(one.line == format!("HTTP/1.1 {status} {reason}"), "{path}: {one}");

    let two = request()?.send(home)?;
    ensure!(two.line == format!("HTTP/2 {status}"), "{path}: {two}");
    let message = two.json()?["message"].as_str().unwrap_or_default().trim_end().to_owned();
    let header = two.header("proxward-reason");
    ensure!(message == *reason || header == Some(reason), "{path}: the reason is lost\n{two}");
    Ok(())
}

fn clients() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients")
}

/// Fails unless a line of the answer's body begins so.
fn has_line(reply: &Reply, start: &str) -> Result<()> {
    let found = reply.body.lines().any(|line| line.starts_with(start));
    ensure!(found, "no line begins with {start}\n{reply}");
    Ok(())
}
