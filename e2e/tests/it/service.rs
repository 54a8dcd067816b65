//! The gate under a service manager, played by the test; and its units as they are shipped.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use telemetry::Clock;
use tls::Authority;

use crate::curl::Curl;
use crate::home::Home;
use crate::program::{self, END, PATIENCE, Running, finish};

/// Descriptor 3, and the number of the process that it is for, which only that knows: a small
/// program becomes the gate.
const MANAGER: &str = "import os,socket,sys
s=socket.socket();s.bind(('127.0.0.1',0));s.listen(64)
open(sys.argv[1],'w').write(str(s.getsockname()[1]))
os.dup2(s.fileno(),3);os.set_inheritable(3,True)
pid=str(os.getpid())
os.environ.update(LISTEN_PID=pid,LISTEN_FDS='1',LISTEN_FDNAMES='gate',WATCHDOG_PID=pid)
os.execv(sys.argv[2],sys.argv[2:])";

#[test]
fn handed_in_sockets_ready_watchdog_and_stopping() -> Result<()> {
    let home = Home::new()?;
    let unix = Clock::system().unix();
    let identity = Authority::generate("e2e", unix)?.issue(&["127.0.0.1"], unix)?;
    let (cert, key, port) = (home.scratch("g.pem"), home.scratch("g.key"), home.scratch("port"));
    identity.write(&cert, &key)?;
    // The address it would bind without a manager is taken: it has to use the one handed in.
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let manager = UnixDatagram::bind(home.scratch("notify"))?;
    manager.set_read_timeout(Some(PATIENCE))?;
    let mut command = home.command("python3");
    command.args(["-c", MANAGER]).arg(&port).arg(program::proxward()?);
    command.args(["gate", "--upstream", "http://127.0.0.1:1", "--listen"]);
    command.arg(taken.local_addr()?.to_string()).arg("--cert").arg(&cert).arg("--key").arg(&key);
    command.env("NOTIFY_SOCKET", home.scratch("notify")).env("WATCHDOG_USEC", "400000");
    let gate = Running::start(&mut command)?;
    let hear = |wanted: &str| -> Result<String> {
        let mut bytes = [0; 4096];
        loop {
            let length = manager.recv(&mut bytes)?;
            let text =
                String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned();
            if text.contains(wanted) {
                return Ok(text);
            }
        }
    };
    ensure!(hear("READY=1")?.contains(&format!("MAINPID={}", gate.pid())));
    hear("WATCHDOG=1")?;
    hear("WATCHDOG=1")?;
    let url = format!("https://127.0.0.1:{}/api2/json/version", fs::read_to_string(&port)?);
    // Nobody is behind it, which the gate says.
    ensure!(Curl::plain(&url).with("cacert", &cert.display().to_string()).is_answered(&home)?);
    gate.signal("TERM")?;
    hear("STOPPING=1")?;
    gate.wait(END)?.success()?;
    Ok(())
}

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd")
}

#[test]
fn systemd_takes_the_units_and_finds_little_exposed() -> Result<()> {
    let home = Home::new()?;
    if finish(home.command("systemd-analyze").arg("--version"), "").is_err() {
        program::skip("systemd-analyze is not installed");
        return Ok(());
    }
    let names = ["proxward-gate.service", "proxward-gate.socket", "proxward-gate-fallback.service"];
    let program = program::proxward()?;
    for name in names {
        // The same unit with the program where it is.
        let text = fs::read_to_string(packaging().join(name))?;
        let start = format!("ExecStart={}", program.display());
        fs::write(home.scratch(name), text.replace("ExecStart=/usr/bin/proxward", &start))?;
    }
    let verified = finish(
        home.command("systemd-analyze").arg("verify").args(names.map(|n| format!("./{n}"))),
        "",
    )?;
    let about_ours: Vec<&str> =
        verified.stderr.lines().filter(|line| line.contains("proxward")).collect();
    ensure!(about_ours.is_empty(), "{verified}");
    let mut security = home.command("systemd-analyze");
    security.args(["security", "--offline=true", "--threshold=20", "./proxward-gate.service"]);
    let security = finish(&mut security, "")?;
    ensure!(security.code == Some(0), "{security}");
    Ok(())
}

/// What the broker's unit has, the gate's has too, as far as it fits: no rights, no devices.
#[test]
fn the_gates_unit_lacks_nothing_of_the_brokers() -> Result<()> {
    let [broker, gate] =
        ["proxward-brokerd.service", "proxward-gate.service"].map(|n| packaging().join(n));
    let (broker, gate) = (fs::read_to_string(broker)?, fs::read_to_string(gate)?);
    let keys = |text: &str| -> Vec<String> {
        let assignments = text.lines().filter(|line| !line.starts_with('#'));
        assignments.filter_map(|line| line.split_once('=')).map(|(key, _)| key.to_owned()).collect()
    };
    // Devices, the reload by a signal of root and the order among daemons are the broker's alone;
    // `/etc/pve` is told in the gate's unit.
    let alone = [
        "ReadOnlyPaths",
        "DeviceAllow",
        "ExecReload",
        "Sockets",
        "Requires",
        "Also",
        "OOMScoreAdjust",
    ];
    let gate = keys(&gate);
    let missing: Vec<_> = keys(&broker)
        .into_iter()
        .filter(|key| !gate.contains(key) && !alone.contains(&key.as_str()))
        .collect();
    ensure!(missing.is_empty(), "{missing:?}");
    Ok(())
}
