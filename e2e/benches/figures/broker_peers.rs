//! The broker among peers that mean no good: floods of many users, and a node that never stops.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use broker_api::{Client, Outcome, Request};

use crate::broker::{Row, one_call, start_with};
use crate::{millis, print};

/// Peers of a flood, each a user of its own.
const PEERS: [usize; 3] = [8, 64, 800];

/// Lawful calls beside each flood.
const CALLS: usize = 200;

/// An address of this machine that the broker does not take for itself.
const NODE: &str = "127.0.0.2";

/// Most bytes of a node's answer.
const CAP: usize = 20_000;

/// Connects as many users, one after the other, says so, and keeps the connections: silent, or
/// with a byte of a request now and then.
const FLOOD: &str = r"
import os, socket, sys, time
path, count, dribble = sys.argv[1], int(sys.argv[2]), sys.argv[3] == 'dribbling'
os.setgroups([])
os.setegid(4242)
peers = []
for n in range(count):
    os.seteuid(50000 + n)
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    os.seteuid(0)
    peers.append(s)
print('x', end='', flush=True)
while True:
    time.sleep(0.2)
    for s in peers if dribble else []:
        try:
            s.send(b'\0')
        except OSError:
            pass
";

/// Lawful calls beside floods. Nothing where this user can not be others.
pub(crate) fn floods(daemon: &Path, row: &mut Row<'_>) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        print("peers of many users can be made by root only: no floods");
        return Ok(());
    }
    let rules = "{ peer = ['gid:4242'], may = ['broker.status'] }";
    let running = start_with(daemon, "", rules, "")?;
    for how in ["silent", "dribbling"] {
        for count in PEERS {
            let mut flood = Command::new("python3")
                .args(["-c", FLOOD])
                .arg(&running.socket)
                .args([&count.to_string(), how])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()?;
            let began = flood.stdout.as_mut().context("no pipe")?.read_exact(&mut [0]);
            let times: Result<Vec<f64>> = (0..CALLS).map(|_| one_call(&running.socket)).collect();
            flood.kill()?;
            flood.wait()?;
            began.context("the flood did not come about")?;
            let worst = times?.into_iter().fold(0.0, f64::max);
            let name = format!("worst call beside {count} {how} peers of as many users");
            row(&name, worst, "ms", worst < 50.0, "< 50");
        }
    }
    Ok(())
}

/// A node whose answer has no end. Nothing without root and sshd.
pub(crate) fn endless_node(daemon: &Path, row: &mut Row<'_>) -> Result<()> {
    if !rustix::process::geteuid().is_root() || !Path::new("/usr/sbin/sshd").exists() {
        print("no root or no sshd: no endless node");
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let sshd = Sshd::start(dir.path())?;
    let at = dir.path().display();
    let nodes = format!(
        "nodes = {{ allow = ['{NODE}'], port = {}, known_hosts = '{at}/nodes', output_bytes = {CAP} }}",
        sshd.port
    );
    let running = start_with(
        daemon,
        "",
        "{ peer = ['uid:0'], may = ['read', 'admin'], on = ['*'] }",
        &nodes,
    )?;
    let mut client = Client::connect(&running.socket, Duration::from_secs(30))?;
    let made = client.call(Request::new("keys.ensure"), |_| {})?;
    let Outcome::Done { result, .. } = made.outcome else { bail!("{made:?}") };
    let line = result.pointer("/authorized_keys/0").and_then(|line| line.as_str());
    let key = line.and_then(|line| line.split("\" ").nth(1)).context("no key")?;
    let accept = |command: &str| {
        let line = format!("restrict,command=\"{command}\" {key}\n");
        std::fs::write(dir.path().join("authorized_keys"), line)
    };
    let ask = || Request::new("sensors.read").with("node", NODE);
    // A node that answers at once: what ssh costs by itself. The first call starts the worker,
    // and each answer is handed out again for a second.
    accept("echo '{}'")?;
    let mut ordinary = 0.0;
    for _ in 0..2 {
        let before = cpu_millis(running.child.id())?;
        client.call(ask(), |_| {})?;
        ordinary = cpu_millis(running.child.id())? - before;
        std::thread::sleep(Duration::from_millis(1100));
    }
    let counted = dir.path().join("written");
    // What the node has written until it was stopped is the size of this file.
    accept(&format!("yes | tee {}", counted.display()))?;
    let before = cpu_millis(running.child.id())?;
    let began = Instant::now();
    let refused = client.call(ask(), |_| {})?;
    let took = millis(began.elapsed());
    let cpu = cpu_millis(running.child.id())? - before;
    if !matches!(refused.outcome, Outcome::Refused { code: 42, .. }) {
        bail!("{refused:?}");
    }
    let left = below(running.child.id())?.into_iter().filter(|pid| is_ssh(*pid)).count();
    let written = std::fs::metadata(&counted)?.len();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let (written, left) = (written as f64 / 1024.0, left as f64);
    row("endless node: from the call to its refusal", took, "ms", took < 1000.0, "< 1000");
    let more = (cpu - ordinary).max(0.0);
    row("endless node: CPU of the broker and its ssh", cpu, "ms", cpu < 50.0, "< 50");
    row("endless node: of that beyond an ordinary call", more, "ms", true, "");
    row("endless node: had written (a window is 2048)", written, "KiB", written < 4096.0, "< 4096");
    row("endless node: ssh processes left", left, "", left == 0.0, "= 0");
    Ok(())
}

struct Sshd {
    child: Child,
    port: u16,
}

impl Sshd {
    fn start(dir: &Path) -> Result<Self> {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755))?;
        std::fs::create_dir_all("/run/sshd")?;
        let port = std::net::TcpListener::bind((NODE, 0))?.local_addr()?.port();
        let at = dir.display();
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(dir.join("host"))
            .status()?;
        if !made.success() {
            bail!("ssh-keygen");
        }
        let config = format!(
            "Port {port}\nListenAddress {NODE}\nHostKey {at}/host\nUsePAM no\nStrictModes no\n\
             AuthorizedKeysFile {at}/authorized_keys\nPidFile none\n"
        );
        std::fs::write(dir.join("config"), config)?;
        let folder = dir.join("nodes").join(NODE);
        std::fs::create_dir_all(&folder)?;
        let known = format!("{NODE} {}", std::fs::read_to_string(dir.join("host.pub"))?);
        std::fs::write(folder.join("ssh_known_hosts"), known)?;
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(dir.join("config")).stderr(Stdio::null());
        let sshd = Self { child: command.spawn()?, port };
        let listens = (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            std::net::TcpStream::connect((NODE, port)).is_ok()
        });
        if listens { Ok(sshd) } else { bail!("sshd does not listen") }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time of a process, of all below it, and of those of them that have ended.
fn cpu_millis(pid: u32) -> Result<f64> {
    const TICK_MILLIS: f64 = 10.0;
    let mut ticks = 0.0;
    for pid in below(pid)? {
        let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let (_, rest) = text.rsplit_once(')').context("stat")?;
        // utime, stime, cutime, cstime (proc(5))
        for field in rest.split_ascii_whitespace().skip(11).take(4) {
            ticks += field.parse::<f64>()?;
        }
    }
    Ok(ticks * TICK_MILLIS)
}

/// A process and all below it.
fn below(pid: u32) -> Result<Vec<u32>> {
    let mut all = vec![pid];
    let mut at = 0;
    while let Some(pid) = all.get(at).copied() {
        at += 1;
        let path = format!("/proc/{pid}/task/{pid}/children");
        let children = std::fs::read_to_string(path).unwrap_or_default();
        for child in children.split_whitespace() {
            all.push(child.parse()?);
        }
    }
    Ok(all)
}

fn is_ssh(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "ssh")
}
