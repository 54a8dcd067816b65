//! Cells beside what else starts a program in confinement, round by round in one run.
//!
//! Peers that are not installed are said to be missing. Deno is the package `deno` of npm, srt the
//! package `@anthropic-ai/sandbox-runtime`; both are looked for in PATH.

use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{WaitOptions, getpid, set_child_subreaper, wait};

use crate::{millis, print};

/// Rounds of every peer, interleaved; one more before them is not counted.
const ROUNDS: usize = 40;
/// Connections of one round.
const CONNECTS: u32 = 4000;
/// Opened and closed files of one round.
const OPENS: u32 = 100_000;
/// Kernel ticks are a hundredth of a second (USER_HZ).
const TICK_MS: f64 = 10.0;

const BWRAP: &str = "bwrap --ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64 \
    --symlink usr/bin /bin --proc /proc --dev /dev --tmpfs /tmp --unshare-all --die-with-parent";
const FIREJAIL: &str = "firejail --quiet --noprofile --net=none --private-tmp --seccomp \
    --caps.drop=all --nonewprivs";

/// One program in a box of its own, without any domain.
const SRT: &str = "srt";
/// How long a slot may take to be built, beside everything else.
const SLOT_PAUSE: Duration = Duration::from_millis(400);

/// A name and the words before the program.
type Peer = (&'static str, Vec<String>);

/// Starts, memory, connections and files; true when every bar that can be judged is met.
pub(crate) fn run(program: &Path) -> Result<bool> {
    let place = tempfile::tempdir()?;
    let dir = place.path().join("dir");
    std::fs::create_dir(&dir)?;
    let peers = peers(program, &dir);
    let mut met = true;

    print("start of true             p10    median   bar");
    let starts = starts(&peers, &["true"])?;
    let of = |name: &str, starts: &[(String, f64, f64)]| {
        starts.iter().find(|(peer, ..)| peer == name).map(|(_, p10, median)| (*p10, *median))
    };
    let bwrap = of("bubblewrap", &starts).map(|(p10, _)| p10 + 1.0);
    for (name, p10, median) in &starts {
        let bar = bwrap.filter(|_| name.starts_with("cell"));
        met &= bar.is_none_or(|bar| *p10 <= bar);
        show(name, *p10, *median, bar.map(|bar| format!("p10 {bar:.2}")));
    }
    print("start of node -e 0        p10    median   bar");
    let script = place.path().join("empty.js");
    std::fs::write(&script, "")?;
    let mut with_runtimes = peers.clone();
    with_runtimes.iter_mut().for_each(|(_, words)| words.extend(words_of("node -e 0")));
    with_runtimes.extend(runtimes(&script.display().to_string()));
    let starts = self::starts(&with_runtimes, &[])?;
    let bare = of("bare", &starts).map(|(_, median)| median + 10.0);
    for (name, p10, median) in &starts {
        let bar = bare.filter(|_| name.starts_with("cell"));
        met &= bar.is_none_or(|bar| *median <= bar);
        show(name, *p10, *median, bar.map(|bar| format!("median {bar:.2}")));
    }
    met &= warm(program, &dir)?;
    met &= memory(program, &dir)?;
    met &= work(program, &dir)?;
    Ok(met)
}

fn show(name: &str, p10: f64, median: f64, bar: Option<String>) {
    print(&format!("{name:<22} {p10:>7.2} {median:>9.2}   {}", bar.unwrap_or_default()));
}

fn peers(program: &Path, dir: &Path) -> Vec<Peer> {
    let words = words_of;
    let cell = |mode: &str| {
        let (program, dir) = (program.display(), dir.display());
        words(&format!("{program} cell run --mode {mode} --dir {dir} --"))
    };
    let mut peers = vec![("bare", Vec::new())];
    for (name, program, line) in
        [("bubblewrap", "bwrap", BWRAP), ("firejail", "firejail", FIREJAIL), ("srt", "srt", SRT)]
    {
        if is_there(program, name) {
            peers.push((name, words(line)));
        }
    }
    if std::fs::metadata("/proc/self")
        .is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
    {
        peers.push(("cell", cell("privileged")));
    }
    peers.push(("cell unprivileged", cell("unprivileged")));
    peers
}

fn words_of(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Whether a program can be started; says so when not.
fn is_there(program: &str, name: &str) -> bool {
    let there = Command::new(program).arg("--version").output();
    let there = there.is_ok_and(|there| there.status.success());
    if !there {
        print(&format!("{name} is not installed"));
    }
    there
}

/// Runtimes that confine their own scripts, each with an empty one.
fn runtimes(script: &str) -> Vec<Peer> {
    let node = clean("node").arg("--version").output().map(|out| out.stdout).unwrap_or_default();
    // Until Node.js 23.5 it was an experiment, and said so in its name.
    let flag = if node.starts_with(b"v20") || node.starts_with(b"v22") {
        "--experimental-permission"
    } else {
        "--permission"
    };
    let mut peers = vec![(
        "node permission",
        words_of(&format!("node {flag} --allow-fs-read={script} {script}")),
    )];
    if is_there("deno", "deno") {
        peers.push(("deno", words_of(&format!("deno run --no-remote {script}"))));
    }
    peers
}

/// From the start of `cell run` to the first byte of a parked Node.js, ms.
fn warm(program: &Path, dir: &Path) -> Result<bool> {
    let socket = dir.with_file_name("pool");
    let mut server = clean(program)
        .args(["cell", "serve", "--pool", "2", "--socket"])
        .arg(&socket)
        .stderr(Stdio::null())
        .spawn()?;
    std::thread::sleep(SLOT_PAUSE);
    let measured = warm_rounds(program, dir, &socket);
    server.kill()?;
    server.wait()?;
    let values = measured?;
    let (p10, median) = (part(&values, 1), part(&values, 5));
    print("first result of a slot    p10    median   bar");
    show("cell warm", p10, median, Some("p10 2.00".to_owned()));
    Ok(p10 <= 2.0)
}

fn warm_rounds(program: &Path, dir: &Path, socket: &Path) -> Result<Vec<f64>> {
    let mut values = Vec::new();
    for round in 0..=ROUNDS {
        let began = Instant::now();
        let mut child = clean(program)
            .args(["cell", "run", "--socket"])
            .arg(socket)
            .arg("--dir")
            .arg(dir)
            .args(["--", "node", "-e", "console.log(1)"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut byte = [0];
        child.stdout.as_mut().context("stdout")?.read_exact(&mut byte)?;
        // The first is cold: the server learns by it what to keep.
        if round > 0 {
            values.push(millis(began.elapsed()));
        }
        child.wait()?;
        std::thread::sleep(SLOT_PAUSE);
    }
    Ok(values)
}

/// Tenth percentile and median of each peer, ms.
fn starts(peers: &[Peer], program: &[&str]) -> Result<Vec<(String, f64, f64)>> {
    let mut all: Vec<(String, Vec<f64>)> =
        peers.iter().map(|(name, _)| ((*name).to_owned(), Vec::new())).collect();
    for round in 0..=ROUNDS {
        for ((_, words), (_, values)) in peers.iter().zip(&mut all) {
            let value = start(words, program)?;
            if round > 0 {
                values.push(value);
            }
        }
    }
    Ok(all.into_iter().map(|(name, values)| (name, part(&values, 1), part(&values, 5))).collect())
}

fn start(words: &[String], program: &[&str]) -> Result<f64> {
    let line: Vec<&str> = words.iter().map(String::as_str).chain(program.iter().copied()).collect();
    let (first, rest) = line.split_first().context("a program")?;
    let began = Instant::now();
    let mut command = clean(first);
    let status = command.args(rest).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if !status.success() {
        bail!("{line:?} ended with {status}");
    }
    Ok(millis(began.elapsed()))
}

/// Without the caller's environment, which a cell has not either: one variable of Node.js's can
/// cost as much as all the rest of its start.
fn clean(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

fn part(values: &[f64], tenth: usize) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() * tenth / 10).copied().unwrap_or(f64::NAN)
}

/// What a cell holds beside its command: supervisor, launcher, process 1.
fn memory(program: &Path, dir: &Path) -> Result<bool> {
    let mut cell = Command::new(program)
        .args(["cell", "run", "--dir"])
        .arg(dir)
        .args(["--", "sleep", "2"])
        .stdin(Stdio::null())
        .spawn()?;
    std::thread::sleep(Duration::from_millis(1000));
    let mut sum = 0;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let of = |name: &str| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        if of("comm").trim() == "proxward-cell" {
            let rollup = of("smaps_rollup");
            let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
            let kib = pss.and_then(|pss| pss.split_whitespace().next()?.parse::<u64>().ok());
            sum += kib.unwrap_or(0);
        }
    }
    cell.wait()?;
    print(&format!("memory of helpers of one cell   {sum} KiB PSS, bar 512"));
    Ok(sum > 0 && sum <= 512)
}

/// Processor time of connections and of files, with that of the supervisor, as ratios to bare.
fn work(program: &Path, dir: &Path) -> Result<bool> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let over = AtomicBool::new(false);
    let connects = format!(
        "const net = require('net'); let n = {CONNECTS}; (function f() {{ if (!n--) process.exit(0); \
         const s = net.connect({port}, '127.0.0.1', () => {{ s.resetAndDestroy(); }}); \
         s.on('close', f); s.on('error', () => {{}}); }})()"
    );
    let opens = format!(
        "const fs = require('fs'); fs.writeFileSync('own', ''); \
         for (let i = 0; i < {OPENS}; i++) fs.closeSync(fs.openSync('own'))"
    );
    std::thread::scope(|scope| {
        scope.spawn(|| accept(&listener, &over));
        let judged = judge(program, dir, port, &connects, &opens);
        over.store(true, Ordering::Relaxed);
        judged
    })
}

fn judge(program: &Path, dir: &Path, port: u16, connects: &str, opens: &str) -> Result<bool> {
    let to = format!("127.0.0.1:{port}");
    let mut met = true;
    let lines = [
        ("connect, Node.js", connects, [1.2, 1.3]),
        ("open and close, Node.js", opens, [1.4, 1.4]),
    ];
    for (what, script, bars) in lines {
        let mut bare = Vec::new();
        let mut cells = [Vec::new(), Vec::new()];
        for _ in 0..5 {
            let mut plain = clean("node");
            bare.push(processor_ms(plain.args(["-e", script]).current_dir(dir))?);
            for (mode, values) in ["privileged", "unprivileged"].iter().zip(&mut cells) {
                let mut cell = clean(program);
                cell.args(["cell", "run", "--mode", mode, "--connect", &to, "--dir"]).arg(dir);
                values.push(processor_ms(cell.args(["--", "node", "-e", script]))?);
            }
        }
        let bare = part(&bare, 5);
        for ((mode, values), bar) in ["privileged", "unprivileged"].iter().zip(&cells).zip(bars) {
            let ratio = part(values, 5) / bare;
            met &= ratio <= bar;
            print(&format!("{what}: CPU {mode} {ratio:.2} x bare ({bare:.0} ms), bar {bar}"));
        }
    }
    Ok(met)
}

fn accept(listener: &TcpListener, over: &AtomicBool) {
    listener.set_nonblocking(true).ok();
    while !over.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((mut stream, _)) => {
                stream.set_nonblocking(true).ok();
                let _ = stream.read(&mut [0; 1]);
            }
            Err(_) => std::thread::sleep(Duration::from_micros(100)),
        }
    }
}

/// Processor time of a command and everything it started: who keeps a cell outlives its supervisor.
fn processor_ms(command: &mut Command) -> Result<f64> {
    set_child_subreaper(Some(getpid()))?;
    let before = waited_for()?;
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    while wait(WaitOptions::empty()).is_ok() {}
    Ok((waited_for()? - before) * TICK_MS)
}

/// Ticks of children that were waited for (proc_pid_stat(5), cutime and cstime).
fn waited_for() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(") ").context("stat")?;
    let ticks = fields.split(' ').skip(13).take(2).filter_map(|field| field.parse::<f64>().ok());
    Ok(ticks.sum())
}
