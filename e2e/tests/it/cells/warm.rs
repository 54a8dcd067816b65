//! Slots of `cell serve`: used when they fit, one run each, gone with their server.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::lifecycle::{alive, descendants};
use super::range::{Range, has_node, left_of, modes};
use crate::program::{Ended, PATIENCE, Running, finish, until};

/// A server of slots with a socket of the test's own.
struct Pool {
    range: Range,
    server: Running,
    socket: PathBuf,
    mode: &'static str,
}

impl Pool {
    fn start(mode: &'static str, slots: &str) -> Result<Self> {
        let range = Range::new()?;
        let socket = range.home.scratch("pool");
        let path = socket.display().to_string();
        let words = ["cell", "serve", "--pool", slots, "--socket", &path, "--format", "json"];
        let mut server = Running::start(&mut range.home.proxward(&words)?)?;
        server.until("it listens", |it| it.stdout().contains("ready").then_some(()))?;
        Ok(Self { range, server, socket, mode })
    }

    fn command(&self, options: &[&str], command: &[&str]) -> Result<Command> {
        let mut run = self.range.cell(self.mode, options, command)?;
        run.env("PROXWARD_CELL_SOCKET", &self.socket);
        Ok(run)
    }

    fn run(&self, options: &[&str], command: &[&str]) -> Result<Ended> {
        finish(&mut self.command(options, command)?, "")
    }

    fn slots(&self) -> Result<Vec<Value>> {
        let mut ps = self.range.home.proxward(&["cell", "ps", "--format", "json"])?;
        let shown = finish(ps.env("PROXWARD_CELL_SOCKET", &self.socket), "")?.success()?.stdout;
        let shown: Value = serde_json::from_str(&shown)?;
        Ok(shown.get("slots").and_then(Value::as_array).context("slots")?.clone())
    }

    /// Waits until no slot is being built; returns the process ids of those that wait.
    fn parked(&self) -> Result<Vec<u32>> {
        let parked = until(PATIENCE, || {
            let slots = self.slots().ok()?;
            let all = slots.iter().all(|slot| slot["state"] == "parked");
            let pids = slots.iter();
            let pids: Vec<u32> =
                pids.filter_map(|slot| u32::try_from(slot["pid"].as_u64()?).ok()).collect();
            (all && !pids.is_empty()).then_some(pids)
        });
        parked.context("no slot became ready")
    }

    /// Makes the server know what will be asked for, and waits for its slot.
    fn warm(&self, options: &[&str]) -> Result<Vec<u32>> {
        self.run(options, &["node", "-e", "0"])?.success()?;
        self.parked()
    }
}

/// The end of a run through a slot is that of a run without.
#[test]
fn a_slot_ends_as_a_cold_cell_does() -> Result<()> {
    if !has_node() {
        return Ok(());
    }
    let spins = "setInterval(() => {}, 1000)";
    let eats = "const a = []; for (;;) a.push(Buffer.alloc(1 << 20, 1))";
    let cases: &[(&[&str], &[&str], i32, &str)] = &[
        (&[], &["node", "main.js", "a", "-v"], 3, "main a -v /cell\n"),
        (&[], &["node", "-p", "1 + 1 + fs.readdirSync('.').length * 0"], 0, "2\n"),
        (&[], &["node", "-e", "process.kill(process.pid, 'SIGKILL')"], 137, ""),
        (&["--timeout", "300ms"], &["node", "-e", spins], 124, ""),
        (&["--memory", "96M"], &["node", "-e", eats], 137, ""),
        (&[], &["node", "esm.mjs"], 0, "module\n"),
        (&["--env", "ID=7"], &["node", "-p", "process.env.ID + process.argv.length"], 0, "71\n"),
    ];
    for mode in modes()? {
        let pool = Pool::start(mode, "1")?;
        let main = "console.log('main', ...process.argv.slice(2), process.cwd()); \
            process.exitCode = require.main === module ? 3 : 4";
        std::fs::write(pool.range.dir.join("main.js"), main)?;
        std::fs::write(pool.range.dir.join("esm.mjs"), "console.log('module')")?;
        for (options, command, code, stdout) in cases {
            let waiting = pool.warm(options)?;
            let ended = pool.run(options, command)?;
            ensure!(
                ended.code == Some(*code) && ended.stdout == *stdout,
                "{mode}: {command:?}: expected {code} {stdout:?}: {ended}"
            );
            let used = waiting.iter().any(|pid| !alive(*pid));
            ensure!(used, "{mode}: {command:?} did not use a slot");
        }
    }
    Ok(())
}

/// Input arrives, denials are recorded, connections are judged; nothing of one run is there in the
/// next.
#[test]
fn a_slot_is_a_whole_cell_and_runs_once() -> Result<()> {
    if !has_node() {
        return Ok(());
    }
    for mode in modes()? {
        let pool = Pool::start(mode, "1")?;
        let audit = pool.range.home.scratch("audit");
        let audit = audit.display().to_string();
        let open = format!("127.0.0.1:{}", pool.range.open_port()?);
        let options = ["--connect", open.as_str(), "--audit", audit.as_str()];
        pool.warm(&options)?;
        let script = format!(
            "const net = require('net'), fs = require('fs'); globalThis.mark = 1; \
             process.stdin.on('data', (text) => {{ \
             fs.writeFileSync(process.env.TMPDIR + '/left', 'x'); \
             net.connect(80, '192.0.2.1').on('error', (e) => {{ console.log(e.code); \
             net.connect({}, '127.0.0.1', () => {{ console.log('got', String(text)); \
             process.exit(0); }}); }}); }})",
            pool.range.open_port()?
        );
        let ended = finish(&mut pool.command(&options, &["node", "-e", &script])?, "word")?;
        let ended = ended.success()?;
        ensure!(ended.stdout == "EPERM\ngot word\n", "{mode}: {ended}");
        let denied = std::fs::read_to_string(&audit)?;
        ensure!(denied.contains("192.0.2.1:80"), "{mode}: {denied}");
        std::fs::remove_file(&audit)?;
        pool.warm(&options)?;
        let look = "[typeof mark, fs.readdirSync(process.env.TMPDIR).length].join()";
        let ended = pool.run(&options, &["node", "-p", look])?.success()?;
        ensure!(ended.stdout == "undefined,0\n", "{mode}: {ended}");
    }
    Ok(())
}

#[test]
fn another_policy_is_built_cold() -> Result<()> {
    if !has_node() {
        return Ok(());
    }
    let pool = Pool::start(modes()?[0], "1")?;
    let waiting = pool.warm(&[])?;
    let ended = pool.run(&["--memory", "128M"], &["node", "-p", "6 * 7"])?.success()?;
    ensure!(ended.stdout == "42\n", "{ended}");
    let ended = pool.run(&[], &["node", "--stack-size=900", "-p", "6 * 7"])?.success()?;
    ensure!(ended.stdout == "42\n", "{ended}");
    ensure!(waiting.iter().all(|pid| alive(*pid)), "a slot of another policy was used");
    Ok(())
}

/// Killed: nothing stays. Asked to end: what runs may finish.
#[test]
fn slots_end_with_their_server() -> Result<()> {
    if !has_node() {
        return Ok(());
    }
    for mode in modes()? {
        let mut pool = Pool::start(mode, "2")?;
        let slots = pool.warm(&[])?;
        let script = "console.log('up'); setTimeout(() => console.log('done'), 1500)";
        let mut running = Running::start(&mut pool.command(&[], &["node", "-e", script])?)?;
        running.until("it is up", |it| it.stdout().contains("up").then_some(()))?;
        pool.server.signal("TERM")?;
        let ended = running.wait(PATIENCE)?.success()?;
        ensure!(ended.stdout == "up\ndone\n", "{mode}: {ended}");
        pool.server.until("it ends", |_| (!pool.socket.exists()).then_some(())).ok();
        ensure!(slots.iter().all(|pid| left_of(*pid).is_empty()), "{mode}: groups are left");

        let pool = Pool::start(mode, "2")?;
        pool.warm(&[])?;
        let mut running = Running::start(&mut pool.command(&[], &["node", "-e", script])?)?;
        running.until("it is up", |it| it.stdout().contains("up").then_some(()))?;
        let parts = descendants(pool.server.pid());
        ensure!(parts.len() >= 4, "{mode}: {parts:?}");
        pool.server.signal("KILL")?;
        let gone =
            until(Duration::from_secs(20), || parts.iter().all(|part| !alive(*part)).then_some(()));
        ensure!(gone.is_some(), "{mode}: {:?} live", parts.iter().filter(|pid| alive(**pid)));
        ensure!(running.wait(PATIENCE)?.code == Some(125), "{mode}: the caller was not told");
        ensure!(parts.iter().all(|pid| left_of(*pid).is_empty()), "{mode}: groups are left");
    }
    Ok(())
}

/// The caller goes: its command goes.
#[test]
fn a_slot_ends_with_its_caller() -> Result<()> {
    if !has_node() {
        return Ok(());
    }
    let pool = Pool::start(modes()?[0], "1")?;
    let slots = pool.warm(&[])?;
    let script = "console.log('up'); setInterval(() => {}, 1000)";
    for signal in ["KILL", "TERM"] {
        let slots = if signal == "KILL" { slots.clone() } else { pool.parked()? };
        let mut running = Running::start(&mut pool.command(&[], &["node", "-e", script])?)?;
        running.until("it is up", |it| it.stdout().contains("up").then_some(()))?;
        running.signal(signal)?;
        running.wait(PATIENCE)?;
        let gone =
            until(Duration::from_secs(20), || slots.iter().all(|slot| !alive(*slot)).then_some(()));
        ensure!(gone.is_some(), "{signal}: the slot lives on");
    }
    Ok(())
}
