//! A directory for a cell, and around it what it must not reach.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::home::Home;
use crate::program::{Ended, finish, until};

/// The two ways of building a cell.
pub(crate) const MODES: [&str; 2] = ["privileged", "unprivileged"];

/// The modes that this user can test.
pub(crate) fn modes() -> Result<Vec<&'static str>> {
    if fs::metadata("/proc/self")?.uid() == 0 {
        return Ok(MODES.to_vec());
    }
    skipped("the privileged mode needs root");
    Ok(vec!["unprivileged"])
}

/// Says that something was not tested.
fn skipped(why: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// Whether Node.js 20 or later is there; says so when not.
pub(crate) fn has_node() -> bool {
    let version = Command::new("node").arg("--version").output();
    let text = version.map(|out| String::from_utf8_lossy(&out.stdout).into_owned());
    let major = text
        .ok()
        .and_then(|text| text.trim().strip_prefix('v')?.split('.').next()?.parse::<u32>().ok());
    let found = major.is_some_and(|major| major >= 20);
    if !found {
        skipped("Node.js 20 or later is not there");
    }
    found
}

/// Programs of the majors beside the system's that `cargo xtask test` has fetched.
pub(crate) fn other_majors() -> Vec<String> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let installed = cache.or_else(home).unwrap_or_default().join("proxward/node");
    let program = |major| installed.join(major).join("node_modules/node/bin/node");
    let mut found = Vec::new();
    for major in ["20", "22", "24"] {
        match program(major) {
            program if program.is_file() => found.push(program.display().to_string()),
            _ => skipped(&format!("Node.js {major} was not fetched")),
        }
    }
    found
}

/// Fixtures of one test. Listeners answer nothing: that a connection comes about is what counts.
pub(crate) struct Range {
    pub(crate) home: Home,
    pub(crate) dir: PathBuf,
    pub(crate) outside: PathBuf,
    open: TcpListener,
    closed: TcpListener,
    pub(crate) udp: [UdpSocket; 2],
    unix: UnixListener,
    _abstract: Option<UnixListener>,
}

impl Range {
    pub(crate) fn new() -> Result<Self> {
        let home = Home::new()?;
        let (dir, outside) = (home.scratch("dir"), home.scratch("outside"));
        for folder in [&dir, &outside, &dir.join("scratch")] {
            fs::create_dir(folder)?;
        }
        fs::write(outside.join("file"), "secret\n")?;
        symlink(outside.join("file"), dir.join("planted"))?;
        let name = SocketAddr::from_abstract_name("proxward-probe")?;
        Ok(Self {
            open: TcpListener::bind("0.0.0.0:0")?,
            closed: TcpListener::bind("[::]:0").or_else(|_| TcpListener::bind("0.0.0.0:0"))?,
            udp: [UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?],
            unix: UnixListener::bind(outside.join("socket"))?,
            // Another test may hold the name at the moment; then it listens there.
            _abstract: UnixListener::bind_addr(&name).ok(),
            home,
            dir,
            outside,
        })
    }

    /// Takes connections off the open listener's queue.
    pub(crate) fn accept_until(&self, over: &AtomicBool) {
        self.open.set_nonblocking(true).ok();
        while !over.load(Ordering::Relaxed) {
            if self.open.accept().is_err() {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    }

    pub(crate) fn open_port(&self) -> Result<u16> {
        Ok(self.open.local_addr()?.port())
    }

    pub(crate) fn closed_port(&self) -> Result<u16> {
        Ok(self.closed.local_addr()?.port())
    }

    /// What the probes are told, with paths as they are inside or outside.
    fn facts(&self, cell: &str) -> Result<Vec<(&'static str, String)>> {
        let unix = self.unix.local_addr()?;
        let unix = unix.as_pathname().context("a socket with a path")?.display().to_string();
        let port = |socket: &UdpSocket| Ok::<_, anyhow::Error>(socket.local_addr()?.port());
        Ok(vec![
            ("CELL", cell.to_owned()),
            ("SCRATCH", format!("{cell}/scratch")),
            ("HOST_FILE", self.outside.join("file").display().to_string()),
            ("HOST_DIR", self.outside.display().to_string()),
            ("HOST_PORT", self.closed_port()?.to_string()),
            ("HOST_SOCKET", unix),
            ("OPEN_PORT", self.open_port()?.to_string()),
            ("CLOSED_PORT", self.closed_port()?.to_string()),
            ("OPEN_UDP", port(&self.udp[0])?.to_string()),
            ("CLOSED_UDP", port(&self.udp[1])?.to_string()),
        ])
    }

    /// `proxward cell run` over the directory.
    pub(crate) fn cell(&self, mode: &str, options: &[&str], command: &[&str]) -> Result<Command> {
        let dir = self.dir.display().to_string();
        let first = ["cell", "run", "--mode", mode, "--dir", &dir];
        let all = [&first[..], options, &["--"], command].concat();
        self.home.proxward(&all)
    }

    /// The same, to its end.
    pub(crate) fn run(&self, mode: &str, options: &[&str], command: &[&str]) -> Result<Ended> {
        finish(&mut self.cell(mode, options, command)?, "")
    }

    /// A probe inside.
    pub(crate) fn probe(&self, mode: &str, options: &[&str], command: &[&str]) -> Result<Ended> {
        let facts = self.facts("/cell")?;
        let facts: Vec<String> =
            facts.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut given: Vec<&str> = options.to_vec();
        for fact in &facts {
            given.extend(["--env", fact]);
        }
        self.run(mode, &given, command)
    }

    /// The same probe outside: the control.
    pub(crate) fn control(&self, command: &[&str]) -> Result<Ended> {
        let (program, arguments) = command.split_first().context("a command")?;
        let mut control = self.home.command(program);
        control.args(arguments).current_dir(&self.dir);
        control.envs(self.facts(&self.dir.display().to_string())?);
        finish(&mut control, "")
    }

    /// The probe in C, compiled into the directory.
    pub(crate) fn native_probe(&self) -> Result<PathBuf> {
        let probe = self.dir.join("probe");
        let mut cc = self.home.command("cc");
        cc.args(["-O1", "-w", "-o"]).arg(&probe).arg(source("probes.c"));
        finish(&mut cc, "")?.success()?;
        Ok(probe)
    }

    /// An add-on for Node.js whose constructor would leave a file.
    pub(crate) fn add_on(&self) -> Result<()> {
        let code = self.home.scratch("addon.c");
        let mark = self.outside.join("loaded").display().to_string();
        fs::write(
            &code,
            format!(
                "#include <fcntl.h>\n__attribute__((constructor)) static void f(void)\
                 {{ open(\"{mark}\", O_CREAT | O_WRONLY, 0600); }}\n\
                 void *napi_register_module_v1(void *env, void *exports) {{ return exports; }}\n"
            ),
        )?;
        let mut cc = self.home.command("cc");
        cc.args(["-shared", "-fPIC", "-w", "-o"]).arg(self.dir.join("addon.node")).arg(&code);
        finish(&mut cc, "")?.success()?;
        Ok(())
    }
}

/// A file of `e2e/cells`.
pub(crate) fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cells").join(name)
}

/// Groups that cells have left.
pub(crate) fn groups_of(pid: u32) -> Vec<PathBuf> {
    let prefix = format!("proxward-cell-{pid}-");
    let mut open = vec![PathBuf::from("/sys/fs/cgroup")];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                found.push(entry.path());
            } else if is_folder {
                open.push(entry.path());
            }
        }
    }
    found
}

/// Looks until nothing is left, and returns what is.
pub(crate) fn left_of(pid: u32) -> Vec<PathBuf> {
    let gone = until(Duration::from_secs(10), || groups_of(pid).is_empty().then_some(()));
    if gone.is_some() { Vec::new() } else { groups_of(pid) }
}
