//! The gate alone: what each kind of request costs it, `bench gate`.
//!
//! The lines are those of the comparison with other proxies (CONTRIBUTING.md), without the other
//! proxies: a change shows here in a minute. Load and upstream run in this process, so the rate is
//! that of both; the gate's own processor time, from `/proc`, is what counts.

mod load;
mod upstream;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Resource;
use telemetry::Clock;
use tls::{Authority, Connector, Trust};

use self::load::{Kind, Load};
use crate::print;
use crate::server::Server;

/// How long each line is measured.
const SPAN: Duration = Duration::from_secs(2);
/// Connections that are idle at once, for the memory of one.
const IDLE: [usize; 2] = [1_000, 10_000];
/// Websockets at once whose other end reads nothing, and what one may grow by, in KiB.
const STALLED: usize = 8;
const STALLED_BAR: f64 = 256.0;
/// Starts of the gate, for the time of one.
const STARTS: usize = 11;

const SMALL: &str = "/api2/json/version";
const LIST: &str = "/api2/json/cluster/resources";
const SCRIPT: &str = "/pve2/js/pvemanagerlib.js";

/// Name, connections, and what each of them does.
#[rustfmt::skip]
const LINES: [(&str, usize, Kind); 11] = [
    ("small JSON", 32, Kind::Get(SMALL, "")),
    ("small JSON, one connection", 1, Kind::Get(SMALL, "")),
    ("login", 8, Kind::Login),
    ("full handshake", 8, Kind::Handshake),
    ("200 KB JSON", 8, Kind::Get(LIST, "")),
    ("200 KB JSON, zstd", 8, Kind::Get(LIST, "Accept-Encoding: zstd\r\n")),
    ("200 KB JSON, gzip", 8, Kind::Get(LIST, "Accept-Encoding: gzip\r\n")),
    ("3 MB script", 8, Kind::Get(SCRIPT, "")),
    ("3 MB script, kept", 8, Kind::Get(SCRIPT, "Accept-Encoding: zstd\r\n")),
    ("websocket, 64 B", 16, Kind::Echo(64)),
    ("websocket, 16 KiB", 16, Kind::Echo(16 * 1024)),
];

/// Lines that end with the checks off: sessions and log; what of HTTP and TLS remains is no check
/// that could be turned off.
const OFF: &str = "\n[gate.sessions]\nenabled = false\nunknown_console_tickets = \"pass\"\n";

pub(crate) fn run(program: &Path) -> Result<bool> {
    let place = tempfile::tempdir()?;
    let files = Files::write(place.path())?;
    let upstream = upstream::start()?;
    print("gate alone                       rate/s   gate µs   bytes");
    {
        let gate = files.start(program, upstream, &Checks::On)?;
        for (name, connections, kind) in LINES {
            line(&gate, &files, (name, connections, kind))?;
        }
    }
    {
        let gate = files.start(program, upstream, &Checks::Off)?;
        line(&gate, &files, ("small JSON, checks off", 32, Kind::Get(SMALL, "")))?;
    }
    memory(program, &files, upstream)?;
    starts(program, &files, upstream)?;
    stalled(program, &files, upstream)
}

/// Which configuration is measured.
enum Checks {
    On,
    Off,
}

struct Files {
    cert: PathBuf,
    key: PathBuf,
    off: PathBuf,
    access_log: PathBuf,
    connector: Connector,
}

struct Gate {
    server: Server,
    address: SocketAddr,
}

impl Files {
    fn write(place: &Path) -> Result<Self> {
        let unix = Clock::system().unix();
        let authority = Authority::generate("bench", unix)?;
        let (cert, key) = (place.join("cert.pem"), place.join("key.pem"));
        authority.issue(&["127.0.0.1"], unix)?.write(&cert, &key)?;
        let off = place.join("off.toml");
        let on = std::fs::read_to_string(configuration())?;
        let (common, _) = on.split_once("[gate.sessions]").context("bench.toml")?;
        std::fs::write(&off, format!("{common}{OFF}"))?;
        let trust = Trust::Authority(authority.certificate_pem().as_bytes().to_vec());
        let connector = Connector::new(&trust)?;
        Ok(Self { cert, key, off, access_log: place.join("access.log"), connector })
    }

    fn command(
        &self,
        program: &Path,
        upstream: SocketAddr,
        checks: &Checks,
    ) -> Result<(Command, SocketAddr)> {
        let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new(program);
        command.arg("gate").arg("--config");
        match checks {
            Checks::On => {
                command.arg(configuration()).env("PROXWARD_GATE_ACCESS_LOG", &self.access_log);
            }
            Checks::Off => {
                command.arg(&self.off).env("PROXWARD_GATE_ACCESS_LOG", "off");
            }
        }
        command.args(["--listen", &free.to_string(), "--upstream", &format!("http://{upstream}")]);
        command.arg("--cert").arg(&self.cert).arg("--key").arg(&self.key);
        Ok((command, free))
    }

    fn load(&self, address: SocketAddr, kind: Kind) -> Load {
        Load { address, connector: self.connector.clone(), kind }
    }

    fn start(&self, program: &Path, upstream: SocketAddr, checks: &Checks) -> Result<Gate> {
        let (mut command, address) = self.command(program, upstream, checks)?;
        let server = Server::start_peer(&mut command, address.port())?;
        Ok(Gate { server, address })
    }
}

/// The documented configuration of the comparison.
fn configuration() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/bench/bench.toml")
}

fn line(gate: &Gate, files: &Files, (name, connections, kind): (&str, usize, Kind)) -> Result<()> {
    let load = files.load(gate.address, kind);
    // What is made once is not counted.
    load.run(1, Duration::from_millis(200)).with_context(|| name.to_owned())?;
    let (cpu, begun) = (gate.server.cpu()?, Instant::now());
    let done = load.run(connections, SPAN).with_context(|| name.to_owned())?;
    let took = begun.elapsed().as_secs_f64();
    let cpu = (gate.server.cpu()? - cpu) * 1e6;
    ensure!(done.count > 0, "{name}: nothing was answered");
    let count = f64::from(done.count);
    let (rate, each, bytes) = (count / took, cpu / count, done.bytes);
    print(&format!("{name:<30} {rate:>8.0} {each:>9.1} {bytes:>7}"));
    Ok(())
}

fn memory(program: &Path, files: &Files, upstream: SocketAddr) -> Result<()> {
    raise_file_limit();
    for count in IDLE {
        let gate = files.start(program, upstream, &Checks::On)?;
        let load = files.load(gate.address, Kind::Get(SMALL, ""));
        load.run(1, Duration::from_millis(50))?;
        let base = gate.server.resident_megabytes()?;
        let idle = load.idle(count)?;
        let held = gate.server.resident_megabytes()?;
        drop(idle);
        let each = (held - base) * 1024.0 / f64::from(u32::try_from(count)?);
        print(&format!(
            "idle connection, of {count:<10} {each:>8.1} KiB, over {base:.1} MiB without any"
        ));
    }
    Ok(())
}

/// What a connection grows by whose websocket nobody reads; whether that is bounded.
fn stalled(program: &Path, files: &Files, upstream: SocketAddr) -> Result<bool> {
    let gate = files.start(program, upstream, &Checks::On)?;
    let mut idle = files.load(gate.address, Kind::Stalled).idle(STALLED)?;
    let base = gate.server.resident_megabytes()?;
    let taken = idle.offer()? / STALLED / 1024;
    let held = gate.server.resident_megabytes()?;
    let each = (held - base) * 1024.0 / f64::from(u32::try_from(STALLED)?);
    print(&format!(
        "stalled websocket, 1 GiB offered {each:>6.1} KiB  bar {STALLED_BAR} KiB ({taken} KiB taken)"
    ));
    Ok(each <= STALLED_BAR)
}

/// The connections of the load are files of this process, and of the gate that it starts.
fn raise_file_limit() {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = rustix::process::setrlimit(Resource::Nofile, limit);
}

/// From the start of the program to its first answer.
fn starts(program: &Path, files: &Files, upstream: SocketAddr) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let (mut command, address) = files.command(program, upstream, &Checks::On)?;
        command.stderr(std::process::Stdio::null());
        let begun = Instant::now();
        let mut child = command.spawn()?;
        let load = files.load(address, Kind::Get(SMALL, ""));
        let took = loop {
            if load.once().is_ok() {
                break begun.elapsed();
            }
            if begun.elapsed() > Duration::from_secs(10) {
                let _ = child.kill();
                bail!("the gate does not answer");
            }
            std::thread::sleep(Duration::from_micros(500));
        };
        child.kill()?;
        child.wait()?;
        times.push(took.as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    let median = times.get(STARTS / 2).copied().unwrap_or(f64::NAN);
    print(&format!("first answer after the start   {median:>8.1} ms"));
    Ok(())
}
