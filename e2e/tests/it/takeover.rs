//! A gate takes the place of another while a client does not stop to connect, or is killed while it
//! tries. Consoles are tested with the gate itself, `tunnel.rs` there.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result, bail, ensure};

use crate::front::Front;
use crate::home::Home;
use crate::program::{self, END, PATIENCE, Running, finish, until};

#[test]
fn nobody_is_refused_and_sessions_and_logs_go_on() -> Result<()> {
    let home = Home::new()?;
    let mut front = Front::start(&home, "")?;
    let load = Load::start(&front.listen);
    load.goes_on()?;
    for round in 1..=3 {
        let before = front.gate_pid()?;
        let old = front.take_over(&home)?;
        ensure!(front.gate_pid()? != before);
        // It had no console, and ends by itself.
        old.wait(END)?.success()?;
        load.goes_on().with_context(|| format!("round {round}"))?;
        front.bans(&home, &["list"])?.success()?;
    }
    load.end()?;
    front.end()
}

/// System calls of a successor in the order of its way, each with the number of the call: the
/// listeners have come; it is confined; it asks for the state; it opens the directory, the state
/// and the audit log; the control socket and its thread; it asks whether the place is its own.
const STEPS: [(&str, u32); 9] = [
    ("recvmsg", 1),
    ("landlock_restrict_self", 1),
    ("sendto", 2),
    ("flock", 1),
    ("flock", 2),
    ("flock", 3),
    ("listen", 1),
    ("epoll_create1", 2),
    ("sendto", 3),
];

/// Killed at each step, by the tracer, a successor leaves the gate that ran, which serves and
/// keeps what it is told; then one comes up that is not killed.
#[test]
fn one_that_is_killed_on_its_way_changes_nothing() -> Result<()> {
    let home = Home::new()?;
    if finish(home.command("strace").arg("-V"), "").is_err() {
        program::skip("strace is not installed");
        return Ok(());
    }
    let mut front = Front::start(&home, "")?;
    let (pid, load) = (front.gate_pid()?, Load::start(&front.listen));
    for (call, number) in STEPS {
        let at = || format!("killed at {call} number {number}");
        let kill = format!("inject={call}:signal=KILL:when={number}");
        let mut command = home.command("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e"]).arg(format!("trace={call}"));
        command.args(["-e", &kill]).arg(program::proxward()?);
        command.args(["gate", "--takeover", "--config"]).arg(front.config());
        let killed = Running::start(&mut command)?.wait(PATIENCE).with_context(at)?;
        ensure!(!killed.stderr.contains("gate: ready"), "{}: it got through\n{killed}", at());
        load.goes_on().with_context(at)?;
        front.bans(&home, &["list"])?.success().with_context(at)?;
        ensure!(front.gate_pid()? == pid, "{}", at());
    }
    let old = front.take_over(&home)?;
    old.wait(END)?.success()?;
    load.goes_on()?;
    load.end()?;
    front.end()
}

/// A client that does not stop, and stands no failure.
struct Load {
    end: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    client: JoinHandle<Result<()>>,
}

impl Load {
    fn start(address: &str) -> Self {
        let (end, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ended, count, address) = (Arc::clone(&end), Arc::clone(&served), address.to_owned());
        let client = thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                one_request(&address)?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        Self { end, served, client }
    }

    /// Some more requests are answered from here on.
    fn goes_on(&self) -> Result<()> {
        let count = self.served.load(Ordering::Relaxed) + 20;
        let more = || (self.served.load(Ordering::Relaxed) >= count).then_some(());
        until(PATIENCE, || more().or_else(|| self.client.is_finished().then_some(())));
        ensure!(!self.client.is_finished(), "a request has failed");
        more().context("requests are not answered")
    }

    fn end(self) -> Result<()> {
        self.end.store(true, Ordering::Relaxed);
        match self.client.join() {
            Ok(outcome) => outcome,
            Err(_) => bail!("the client panicked"),
        }
    }
}

/// The gate's own answer to clear text, which needs no TLS here: one connection, one answer.
fn one_request(address: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    ensure!(answer.starts_with(b"HTTP/1.1 30"), "{}", String::from_utf8_lossy(&answer));
    Ok(())
}
