//! The mock beside proxmox-sdk's, in one run: rounds of both, one after the other.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::load::Load;
use crate::print;
use crate::server::Server;

/// Rounds of each server on each path.
const ROUNDS: usize = 5;
const SPAN: Duration = Duration::from_secs(2);
const GUESTS: u32 = 500;
/// The peer, from PyPI. Its store is the default one.
const PEER: &str = "proxmox-sdk[cli]==0.0.15";
const PATHS: [&str; 2] = ["/api2/json/nodes", "/api2/json/cluster/resources"];
/// Ours must answer this many times as often.
const BAR: f64 = 20.0;

/// Prints a line for each path; whether the bar is met on all.
pub(crate) fn mock_beside_sdk(program: &Path) -> Result<bool> {
    let ours = Server::start(Command::new(program).args([
        "mock",
        "--no-tls",
        "--seed",
        "cluster",
        "--guests",
        &GUESTS.to_string(),
        "--format",
        "json",
    ]))?;
    let fact = |name: &str| ours.line.get(name).and_then(Value::as_str).context("ready line");
    let address = fact("url")?.trim_start_matches("http://").parse()?;
    let headers = format!("Authorization: PVEAPIToken={}\r\n", fact("token")?);
    let seeded = peer_data(address, &headers)?;
    // What an earlier run left there would be answered instead of the data file.
    let state = tempfile::tempdir()?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let peer = environment()?.join("bin/proxmox-sdk-mock");
    let theirs = Server::start_peer(
        Command::new(peer)
            .env("HOST", "127.0.0.1")
            .env("PORT", port.to_string())
            .env("PROXMOX_MOCK_DATA_PATH", seeded.path())
            .env("PROXMOX_MOCK_STATE_PATH", state.path().join("state.sqlite")),
        port,
    )?;
    print(&format!(
        "mock beside {PEER}: ready {:.1} ms and {:.0} ms, memory {:.1} MB and {:.1} MB",
        ours.ready.as_secs_f64() * 1000.0,
        theirs.ready.as_secs_f64() * 1000.0,
        ours.resident_megabytes()?,
        theirs.resident_megabytes()?
    ));
    let mut met = true;
    for path in PATHS {
        let our_load = Load { address, path, headers: headers.clone() };
        let their_load =
            Load { address: ([127, 0, 0, 1], port).into(), path, headers: String::new() };
        let (mut our_rates, mut their_rates) = (Vec::new(), Vec::new());
        let (our_cpu, their_cpu) = (ours.cpu()?, theirs.cpu()?);
        for _ in 0..ROUNDS {
            our_rates.push(our_load.run(SPAN)?);
            their_rates.push(their_load.run(SPAN).with_context(|| format!("{PEER} {path}"))?);
        }
        let span = SPAN.as_secs_f64();
        let cpu = |used: f64, rates: &[f64]| used / (rates.iter().sum::<f64>() * span) * 1e6;
        let (our_cpu, their_cpu) =
            (cpu(ours.cpu()? - our_cpu, &our_rates), cpu(theirs.cpu()? - their_cpu, &their_rates));
        // Round by round, because what else the machine does changes from one to the next.
        let pairs = our_rates.iter().zip(&their_rates);
        let ratio = median(&mut pairs.map(|(ours, theirs)| ours / theirs).collect::<Vec<_>>());
        let (our_rate, their_rate) = (median(&mut our_rates), median(&mut their_rates));
        met &= ratio >= BAR;
        print(&format!(
            "{path:<32} {our_rate:>8.0}/s ({our_cpu:.0} µs CPU)  peer {their_rate:>6.0}/s ({their_cpu:.0} µs CPU)  {ratio:>6.1} ×  bar {BAR} ×  (CPU {:.1} ×)",
            their_cpu / our_cpu
        ));
    }
    Ok(met)
}

/// The peer's data file with the very lists that ours answers, so that both send the same.
fn peer_data(address: SocketAddr, headers: &str) -> Result<NamedTempFile> {
    let mut data = serde_json::Map::new();
    for path in PATHS {
        let load = Load { address, path, headers: headers.to_owned() };
        let answer: Value = serde_json::from_slice(&load.once()?)?;
        data.insert(path.to_owned(), answer.get("data").cloned().context("no data")?);
    }
    let mut file = tempfile::Builder::new().suffix(".json").tempfile()?;
    file.write_all(Value::Object(data).to_string().as_bytes())?;
    Ok(file)
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A Python environment with the peer in it, made once.
fn environment() -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let target = here.parent().and_then(Path::parent).context("no target directory")?;
    let folder = target.join("bench-peers");
    let done = folder.join("installed");
    if !done.is_file() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", PEER]))?;
        std::fs::write(&done, PEER)?;
    }
    Ok(folder)
}

fn run(command: &mut Command) -> Result<()> {
    if !command.status()?.success() {
        bail!("{command:?} failed");
    }
    Ok(())
}
