//! SIGHUP at a gate that runs.

use std::fs::Permissions;
use std::io::Read as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use telemetry::Clock;
use tls::Authority;

use crate::curl::Curl;
use crate::home::Home;
use crate::program::{END, Running};

#[test]
fn a_reload_is_in_force_at_once_or_changes_nothing() -> Result<()> {
    let home = Home::new()?;
    let arguments = ["mock", "--no-tls", "--time-scale", "0", "--format", "json"];
    let mut mock = Running::start(&mut home.proxward(&arguments)?)?;
    let line = mock.until("the mock's ready line", |mock| {
        mock.stdout().split_once('\n').map(|(line, _)| line.to_owned())
    })?;
    let ready: serde_json::Value = serde_json::from_str(&line)?;
    let upstream = ready["url"].as_str().context("the mock's url")?;

    let unix = Clock::system().unix();
    let authority = Authority::generate("e2e", unix)?;
    let (cert, key) = (home.scratch("gate.pem"), home.scratch("gate.key"));
    authority.issue(&["127.0.0.1"], unix)?.write(&cert, &key)?;
    let ca = home.private("ca.pem", authority.certificate_pem())?;
    // Started as root, the gate reads them again as somebody else.
    let open = || Permissions::from_mode(0o644);
    std::fs::set_permissions(&key, open())?;
    let defaults = home.private("pveproxy", "POLICY=allow\n")?;
    std::fs::set_permissions(&defaults, open())?;
    let config = format!(
        "[gate]\nlisten = ['127.0.0.1:0']\nupstream = '{upstream}'\nworkers = 1\n\
         cert = '{}'\nkey = '{}'\npveproxy_defaults = '{}'\nkey_readable_by_others = true\n",
        cert.display(),
        key.display(),
        defaults.display(),
    );
    let file = home.private("gate.toml", &config)?;
    std::fs::set_permissions(&file, open())?;
    let mut command = home.proxward(&["gate", "--config"])?;
    command.arg(&file);
    let mut gate = Running::start(&mut command)?;
    let url = gate.until("the gate's ready line", |gate| {
        let text = gate.stderr();
        let (_, after) = text.split_once("gate: ready on ")?;
        after.split_once('\n').map(|(url, _)| url.to_owned())
    })?;
    let version = || {
        let curl = Curl::plain(&format!("{url}/api2/json/version"));
        curl.with("cacert", &ca.display().to_string()).is_answered(&home)
    };
    ensure!(version()?, "the gate does not answer");

    home.private("pveproxy", "DENY_FROM=127.0.0.0/8\nPOLICY=$(id)\n")?;
    gate.signal("HUP")?;
    let place = format!("{}:2: '$' would need a shell", defaults.display());
    gate.until("the refused reload", |gate| {
        let text = gate.stderr();
        (text.contains("not reloaded") && text.contains(&place)).then_some(())
    })?;
    ensure!(version()?, "a refused reload has changed something");

    home.private("pveproxy", "# all\nDENY_FROM=127.0.0.0/8\n")?;
    home.private("gate.toml", &config.replace("workers = 1", "workers = 2"))?;
    gate.signal("HUP")?;
    let told = format!(
        "in force now: gate.address_policy (default), gate.deny_from ({}:2); \
         needs a restart: gate.workers ({}:4)",
        defaults.display(),
        file.display()
    );
    gate.until("the reload", |gate| gate.stderr().contains(&told).then_some(()))?;
    // Closed without a byte, and well before the time of a handshake is over.
    let mut denied = TcpStream::connect(url.trim_start_matches("https://"))?;
    denied.set_read_timeout(Some(Duration::from_secs(5)))?;
    ensure!(denied.read(&mut [0])? == 0, "a denied address is answered");

    gate.signal("TERM")?;
    let ended = gate.wait(END)?;
    ensure!(ended.code == Some(0), "the gate\n{ended}");
    mock.signal("TERM")?;
    mock.wait(END)?;
    Ok(())
}
