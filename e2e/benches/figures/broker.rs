//! The broker's figures, beside redis on the same kind of socket: `bench broker`.
//!
//! Policy, limits and the keyed audit log are on. The clients run on the same cores.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::broker_peers as peers;
use crate::{millis, print};

/// How long each load lasts.
const LOAD: Duration = Duration::from_secs(3);

/// Requests sent before their answers are read.
const DEPTH: usize = 64;

/// Calls one after the other, of which none may be refused.
const SEQUENTIAL: usize = 100_000;

/// Idle peers beside a lawful one.
const IDLE: [usize; 3] = [8, 64, 800];

/// Deadline of the silent peer, and how far from it the cut may be.
const SILENT: Duration = Duration::from_secs(1);
const TOLERANCE: f64 = 100.0;

/// Counts whole answers, and the bytes they take.
type Answers = fn(&[u8]) -> (usize, usize);

pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) socket: PathBuf,
    dir: Option<tempfile::TempDir>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

/// Prints one figure: name, value, unit, whether it is good enough, and the bar.
pub(crate) type Row<'a> = dyn FnMut(&str, f64, &str, bool, &str) + 'a;

pub(crate) fn broker(program: &Path) -> Result<bool> {
    let daemon = program.with_file_name("proxward-brokerd");
    let mut met = true;
    let mut row = |name: &str, value: f64, unit: &str, good: bool, bar: &str| {
        met &= good;
        let mark = if good { "" } else { "  NOT MET" };
        print(&format!("{name:<44} {value:>10.1} {unit:<4} {bar}{mark}"));
    };
    // As after a restart: the first start of all makes keys and directories.
    let place = tempfile::tempdir()?;
    drop(start_in(&daemon, "", place.path())?);
    let mut ready: Vec<f64> =
        (0..11).map(|_| ready_millis(&daemon, place.path())).collect::<Result<_>>()?;
    ready.sort_by(f64::total_cmp);
    let median = ready.get(5).copied().unwrap_or(f64::NAN);
    row("from exec to the first answered call", median, "ms", median <= 20.0, "≤ 20");

    let running = start(&daemon, "")?;
    std::thread::sleep(Duration::from_millis(300));
    let memory = pss_megabytes(&running.child)?;
    row("idle memory of all processes (PSS)", memory, "MB", memory <= 8.0, "≤ 8");

    let redis = redis()?;
    let peers = [("broker", Some(&running)), ("redis", redis.as_ref())];
    for (name, peer) in peers {
        let Some(peer) = peer else {
            print("redis is not installed: no figures beside it");
            continue;
        };
        let (bytes, answers) = load_of(name);
        let (rate, p99) = connections(&peer.socket, &bytes, 2)?;
        let ours = name == "broker";
        row(
            &format!("{name}: one connection each, c=2"),
            rate,
            "/s",
            !ours || rate >= 30_000.0,
            "≥ 30000",
        );
        row(&format!("{name}: p99 of these"), p99, "ms", !ours || p99 < 1.0, "< 1");
        let rate = pipelined(&peer.socket, &bytes, answers, 2)?;
        row(&format!("{name}: pipelined, c=2"), rate, "/s", !ours || rate >= 100_000.0, "≥ 100000");
    }
    drop(redis);

    let refused = sequential(&running.socket)?;
    row("refused of 100,000 calls one after the other", refused, "", refused == 0.0, "= 0");
    for idle in IDLE {
        let open: Vec<UnixStream> =
            (0..idle).map(|_| UnixStream::connect(&running.socket)).collect::<Result<_, _>>()?;
        let worst = (0..50).map(|_| one_call(&running.socket)).collect::<Result<Vec<_>>>()?;
        let worst = worst.into_iter().fold(0.0, f64::max);
        row(&format!("worst call beside {idle} idle peers"), worst, "ms", worst < 50.0, "< 50");
        drop(open);
    }
    drop(running);

    let short = start(&daemon, &format!("first_byte_ms = {}, ", SILENT.as_millis()))?;
    let began = Instant::now();
    let mut silent = UnixStream::connect(&short.socket)?;
    silent.read_to_end(&mut Vec::new())?;
    let off = (millis(began.elapsed()) - millis(SILENT)).abs();
    row("silent peer cut, off its deadline by", off, "ms", off <= TOLERANCE, "≤ 100");
    drop(short);
    peers::floods(&daemon, &mut row)?;
    peers::endless_node(&daemon, &mut row)?;
    Ok(met)
}

/// One in a directory of its own.
fn start(daemon: &Path, limits: &str) -> Result<Running> {
    let dir = tempfile::tempdir()?;
    let mut running = start_in(daemon, limits, dir.path())?;
    running.dir = Some(dir);
    Ok(running)
}

/// One in a directory of its own with one more rule and more lines of `[broker]`.
pub(crate) fn start_with(daemon: &Path, limits: &str, rule: &str, more: &str) -> Result<Running> {
    let dir = tempfile::tempdir()?;
    let mut running = start_with_in(daemon, limits, (rule, more), dir.path())?;
    running.dir = Some(dir);
    Ok(running)
}

/// One with a policy for this user, and budgets that never run out.
fn start_in(daemon: &Path, limits: &str, dir: &Path) -> Result<Running> {
    start_with_in(daemon, limits, ("", ""), dir)
}

fn start_with_in(
    daemon: &Path,
    limits: &str,
    (rule, more): (&str, &str),
    dir: &Path,
) -> Result<Running> {
    std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let at = dir.display();
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(dir)?);
    let config = format!(
        "[broker]\nsocket = '{at}/s/broker.sock'\nstate = '{at}/state'\n\
         limits = {{ {limits}per_second = 10000000.0, burst = 10000000, connections_per_peer = 1024 }}\n\
         allow = [{{ peer = ['uid:{uid}'], may = ['broker.status'] }}, {rule}]\n{more}\n\
         [broker.audit]\nfile = '{at}/log/audit.jsonl'\nkey_file = '{at}/state/audit.key'\n\
         head_file = '{at}/state/audit.head'\n"
    );
    let path = dir.join("proxward.toml");
    std::fs::write(&path, config)?;
    let socket = dir.join("s/broker.sock");
    let mut child =
        Command::new(daemon).arg("--config").arg(path).stderr(Stdio::piped()).spawn()?;
    let mut log = BufReader::new(child.stderr.take().context("no log")?);
    let mut line = String::new();
    log.read_line(&mut line)?;
    if !line.contains("ready") {
        bail!("the broker did not start: {line}");
    }
    Ok(Running { child, socket, dir: None })
}

fn ready_millis(daemon: &Path, dir: &Path) -> Result<f64> {
    let began = Instant::now();
    let running = start_in(daemon, "", dir)?;
    one_call(&running.socket)?;
    Ok(millis(began.elapsed()))
}

/// Of the program and all it has started.
fn pss_megabytes(child: &Child) -> Result<f64> {
    let own = child.id();
    let below = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children"))?;
    let all = below.split_whitespace().map(str::to_owned).chain([own.to_string()]);
    let mut kilobytes = 0.0;
    for pid in all {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
        kilobytes += line.trim().trim_end_matches(" kB").parse::<f64>()?;
    }
    Ok(kilobytes / 1024.0)
}

fn redis() -> Result<Option<Running>> {
    let dir = tempfile::tempdir()?;
    let socket = dir.path().join("redis.sock");
    let mut command = Command::new("redis-server");
    command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]).arg(&socket);
    let Ok(child) = command.stdout(Stdio::null()).spawn() else { return Ok(None) };
    let running = Running { child, socket, dir: Some(dir) };
    let listens = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        UnixStream::connect(&running.socket).is_ok()
    });
    if listens { Ok(Some(running)) } else { bail!("redis does not listen") }
}

/// What is sent, and how answers are counted.
fn load_of(name: &str) -> (Vec<u8>, Answers) {
    if name == "redis" {
        return (b"PING\r\n".to_vec(), |bytes| {
            let count = bytes.len() / 7;
            (count, count * 7)
        });
    }
    (request(), framed)
}

fn request() -> Vec<u8> {
    let body = br#"{"v":1,"verb":"broker.status","params":{}}"#;
    let mut bytes = u32::try_from(body.len()).unwrap_or(0).to_be_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

/// Whole frames, and the bytes they take.
fn framed(bytes: &[u8]) -> (usize, usize) {
    let (mut count, mut at) = (0, 0);
    while let Some(head) = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
        let end = at + 4 + u32::from_be_bytes(*head) as usize;
        if end > bytes.len() {
            break;
        }
        (count, at) = (count + 1, end);
    }
    (count, at)
}

pub(crate) fn one_call(socket: &Path) -> Result<f64> {
    let began = Instant::now();
    let answer = call(socket, &request(), &mut [0; 65_536])?;
    if answer == 0 {
        bail!("no answer");
    }
    Ok(millis(began.elapsed()))
}

fn call(socket: &Path, bytes: &[u8], buffer: &mut [u8]) -> Result<usize> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(bytes)?;
    Ok(stream.read(buffer)?)
}

fn connections(socket: &Path, bytes: &[u8], clients: usize) -> Result<(f64, f64)> {
    let began = Instant::now();
    let mut times: Vec<f64> = std::thread::scope(|scope| {
        let client = || {
            let (mut times, mut buffer) = (Vec::new(), vec![0; 65_536]);
            while began.elapsed() < LOAD {
                let one = Instant::now();
                call(socket, bytes, &mut buffer)?;
                times.push(millis(one.elapsed()));
            }
            anyhow::Ok(times)
        };
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        let all =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("client")));
        anyhow::Ok(all.collect::<Result<Vec<_>>>()?.concat())
    })?;
    times.sort_by(f64::total_cmp);
    let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or(f64::NAN);
    Ok((per_second(times.len(), began.elapsed()), p99))
}

fn pipelined(socket: &Path, bytes: &[u8], answers: Answers, clients: usize) -> Result<f64> {
    let batch = bytes.repeat(DEPTH);
    let began = Instant::now();
    let done: usize = std::thread::scope(|scope| {
        let client = || {
            let mut stream = UnixStream::connect(socket)?;
            let (mut done, mut rest, mut buffer) = (0, Vec::new(), vec![0; 1 << 18]);
            while began.elapsed() < LOAD {
                stream.write_all(&batch)?;
                let mut open = DEPTH;
                while open > 0 {
                    let read = stream.read(&mut buffer)?;
                    rest.extend(buffer.iter().take(read));
                    let (count, used) = answers(&rest);
                    rest.drain(..used);
                    open -= count.min(open);
                    if read == 0 {
                        bail!("the connection has ended");
                    }
                }
                done += DEPTH;
            }
            anyhow::Ok(done)
        };
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        let all =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("client")));
        anyhow::Ok(all.collect::<Result<Vec<_>>>()?.into_iter().sum())
    })?;
    Ok(per_second(done, began.elapsed()))
}

/// How many of many calls were refused.
fn sequential(socket: &Path) -> Result<f64> {
    let (bytes, mut buffer, mut refused) = (request(), vec![0; 65_536], 0.0);
    for _ in 0..SEQUENTIAL {
        let read = call(socket, &bytes, &mut buffer)?;
        let text = String::from_utf8_lossy(buffer.get(..read).unwrap_or_default()).into_owned();
        if !text.contains("\"result\"") {
            refused += 1.0;
        }
    }
    Ok(refused)
}

fn per_second(count: usize, time: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / time.as_secs_f64()
}
