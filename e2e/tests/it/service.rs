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

/// A service manager as systemd is one, as far as it keeps descriptors and follows a service from
/// process to process; and a client that does not stop to connect. `$1` is the program, `$2` the
/// configuration, `$3` the port, `$4` a broken configuration.
const KEEPER: &str = r#"
import os, signal, socket, subprocess, sys, threading, time
program, config, port, broken = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
place = os.path.join(os.getcwd(), "notify")
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(place)
notify.settimeout(60)
kept, heard, main, end, served, refused, broken_off = [], [], 0, False, 0, 0, 0

def hear(wanted):
    global main
    while True:
        text, fds, _, _ = socket.recv_fds(notify, 4096, 253)
        lines = text.decode().split("\n")
        heard.append(lines)
        name = [line[7:] for line in lines if line.startswith("FDNAME=")]
        if "FDSTOREREMOVE=1" in lines:
            for entry in [entry for entry in kept if entry[0] == name[0]]:
                kept.remove(entry)
                os.close(entry[1])
        if "FDSTORE=1" in lines:
            kept.extend((name[0], fd) for fd in fds)
        for line in lines:
            if line.startswith("MAINPID="):
                main = int(line[8:])
        if any(line.startswith(wanted) for line in lines):
            return

def start():
    global main
    main = os.fork()
    if main == 0:
        copies = [os.dup(fd) for _, fd in kept]
        high = [os.dup2(fd, 100 + at) for at, fd in enumerate(copies)]
        for at, fd in enumerate(high):
            os.dup2(fd, 3 + at)
        environment = dict(os.environ, NOTIFY_SOCKET=place, LISTEN_PID=str(os.getpid()),
            LISTEN_FDS=str(len(kept)), LISTEN_FDNAMES=":".join(name for name, _ in kept))
        os.execve(program, [program, "gate", "--config", config], environment)
    hear("FDSTORE=1")

def reload(config):
    return subprocess.run([program, "gate", "--takeover", "--background", "--config", config],
        env=dict(os.environ, NOTIFY_SOCKET=place, WATCHDOG_USEC="60000000", WATCHDOG_PID="1")).returncode

def client():
    global served, refused, broken_off
    while not end:
        try:
            with socket.create_connection(("127.0.0.1", port), 60) as one:
                one.sendall(b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n")
                answer = b""
                while part := one.recv(4096):
                    answer += part
            assert answer.startswith(b"HTTP/1.1 30"), answer
            served += 1
        except ConnectionRefusedError:
            refused += 1
        except (OSError, AssertionError):
            broken_off += 1

def goes_on(what):
    before, until = served, time.monotonic() + 60
    while served < before + 20:
        assert time.monotonic() < until, what
        time.sleep(0.01)

start()
assert len(kept) == 1, kept
hammer = threading.Thread(target=client)
hammer.start()
goes_on("at the start")

# A restart: the manager has the listener, so who connects in between waits.
os.kill(main, signal.SIGTERM)
assert os.waitpid(main, 0)[1] == 0
time.sleep(0.3)
start()
goes_on("after a restart")
assert (refused, broken_off) == (0, 0), (refused, broken_off)

# A reload: another process, and the one before has nothing more to say.
old = main
heard.clear()
assert reload(config) == 0
hear("MAINPID=")
assert main != old
hear("FDSTORE=1")
assert len(kept) == 1, kept
assert os.waitpid(old, 0)[1] == 0
goes_on("after a reload")
assert not any("STOPPING=1" in lines for lines in heard), heard
assert (refused, broken_off) == (0, 0), (refused, broken_off)

# One that does not come up changes nothing, and says so.
assert reload(broken) not in (0, None)
os.kill(main, 0)
goes_on("after a reload that failed")

# A crash: what was accepted is broken off, but nobody is refused.
os.kill(main, signal.SIGKILL)
time.sleep(0.3)
start()
goes_on("after a crash")
assert refused == 0, refused
assert broken_off <= 1, broken_off
end = True
hammer.join()
os.kill(main, signal.SIGTERM)
assert os.waitpid(main, 0)[1] == 0
print("PASSED")
"#;

#[test]
fn restarts_reloads_and_crashes_refuse_nobody() -> Result<()> {
    let home = Home::new()?;
    let unix = Clock::system().unix();
    let identity = Authority::generate("e2e", unix)?.issue(&["127.0.0.1"], unix)?;
    let (cert, key) = (home.scratch("g.pem"), home.scratch("g.key"));
    identity.write(&cert, &key)?;
    // Free a moment ago; the gate has it over its restarts.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let config = format!(
        "[gate]\nlisten = [\"127.0.0.1:{port}\"]\nupstream = \"http://127.0.0.1:1\"\nworkers = 1\n\
         cert = \"{}\"\nkey = \"{}\"\nstate = \"{}\"\n",
        cert.display(),
        key.display(),
        home.scratch("state").display(),
    );
    let broken = home.private("broken.toml", &format!("{config}nonsense = true\n"))?;
    let config = home.private("gate.toml", &config)?;
    let mut command = home.command("python3");
    command.args(["-c", KEEPER]).arg(program::proxward()?).arg(config);
    let ended = finish(command.arg(port.to_string()).arg(broken), "")?;
    ensure!(ended.stdout.trim_end().ends_with("PASSED"), "{ended}");
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
    let names = [
        "proxward-gate.service",
        "proxward-gate.socket",
        "proxward-gate-fallback.service",
        "proxward-gate-successor.path",
        "proxward-gate-successor.service",
    ];
    let program = program::proxward()?;
    for name in names {
        // The same unit with the program where it is.
        let text = fs::read_to_string(packaging().join(name))?;
        let place = format!("={}", program.display());
        fs::write(home.scratch(name), text.replace("=/usr/bin/proxward", &place))?;
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
