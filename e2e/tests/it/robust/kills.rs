//! Both sides are killed under load.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::acts::{Act, ban, in_force, logout, user};
use super::client::{Answer, Client};
use super::process::{Files, free_address};
use crate::home::Home;
use crate::program::{END, Running};

/// Clients at the same time.
const CLIENTS: u32 = 6;
/// How long each of several lives lasts, in milliseconds.
const LIVES: [u64; 3] = [150, 400, 250];

/// A mock at an address that stays, in clear text.
pub(super) struct Upstream {
    running: Running,
    pub(super) token: String,
}

impl Upstream {
    pub(super) fn start(home: &Home, address: &str) -> Result<Self> {
        let words = ["mock", "--no-tls", "--seed", "small", "--time-scale", "0", "--format"];
        let mut command = home.proxward(&words)?;
        command.args(["json", "--listen", address]);
        let mut running = Running::start(&mut command)?;
        let line = running.until("the mock's ready line", |mock| {
            mock.stdout().split_once('\n').map(|(line, _)| line.to_owned())
        })?;
        let ready: Value = serde_json::from_str(&line)?;
        let token = ready["token"].as_str().context("token")?.to_owned();
        Ok(Self { running, token })
    }

    pub(super) fn kill(self) -> Result<()> {
        self.running.signal("KILL")?;
        self.running.wait(END)?;
        Ok(())
    }
}

/// Whatever happens behind the gate, a request gets one answer: the right one, or that there is
/// none.
#[test]
fn proxmox_is_killed_under_load() -> Result<()> {
    let home = Home::new()?;
    let address = free_address()?.to_string();
    let files = Files::write(&home, &format!("http://{address}"), "")?;
    let gate = files.start(&home)?;
    let mut upstream = Some(Upstream::start(&home, &address)?);
    let domains = "GET /api2/json/access/domains HTTP/1.1\r\nHost: a\r\n\r\n";
    let expected = Client::connect(&files)?.ask(domains)?.body;
    ensure!(expected.contains("pam"), "{expected}");

    let (ended, right) = (AtomicBool::new(false), AtomicU32::new(0));
    let asked = |files: &Files| -> Result<u32> {
        let mut errors = 0;
        while !ended.load(Ordering::Relaxed) {
            let mut client = Client::connect(files)?;
            // A refusal of the gate ends an HTTP/1 connection, as pveproxy does.
            for _ in 0..20 {
                let Answer { status, body, head } = client.ask(domains)?;
                match status {
                    200 if body == expected => drop(right.fetch_add(1, Ordering::Relaxed)),
                    502 if body.contains("Proxmox VE") => errors += 1,
                    _ => bail!("a wrong answer: {head}{body}"),
                }
                if head.to_ascii_lowercase().contains("connection: close") {
                    break;
                }
            }
        }
        Ok(errors)
    };
    let errors = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| asked(&files))).collect();
        let killed = (|| {
            for life in LIVES {
                thread::sleep(Duration::from_millis(life));
                upstream.take().context("a mock")?.kill()?;
                thread::sleep(Duration::from_millis(life / 2));
                upstream = Some(Upstream::start(&home, &address)?);
                let before = right.load(Ordering::Relaxed);
                // It goes on by itself.
                crate::program::until(END, || {
                    (right.load(Ordering::Relaxed) > before).then_some(())
                })
                .context("no right answer after the restart")?;
            }
            anyhow::Ok(())
        })();
        ended.store(true, Ordering::Relaxed);
        let errors = clients.into_iter().map(|client| client.join().unwrap_or(Ok(0)));
        let errors = errors.sum::<Result<u32>>();
        killed.and(errors)
    })?;
    ensure!(errors > 0 && right.load(Ordering::Relaxed) > 0, "nothing was asked meanwhile");
    let ended = gate.end("TERM")?;
    ensure!(ended.code == Some(0) && !ended.stderr.contains("bug"), "{ended}");
    Ok(())
}

/// Bans and logouts that somebody was told of are in force after a kill.
#[test]
fn the_gate_is_killed_under_load() -> Result<()> {
    let home = Home::new()?;
    let address = free_address()?.to_string();
    let upstream = Upstream::start(&home, &address)?;
    let lines = "trusted_proxies = \"127.0.0.1\"\n[gate.login]\ndelay_seconds = 0\n\
        lock_after = 1\nban_after = 1";
    let files = Files::write(&home, &format!("http://{address}"), lines)?;
    let mut acknowledged = BTreeSet::new();
    let token = &upstream.token;
    user(&address, token)?;
    for (round, life) in LIVES.into_iter().enumerate() {
        let gate = files.start(&home)?;
        let done = thread::scope(|scope| {
            let files = &files;
            let work = |number| move || work(files, u32::try_from(round).unwrap_or(0), number);
            let workers: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(work(number))).collect();
            // At least one of each is told something, however slow the machine is.
            thread::sleep(Duration::from_millis(life * 4));
            gate.end("KILL")?;
            let done = workers.into_iter().flat_map(|one| one.join().unwrap_or_default());
            anyhow::Ok(done.collect::<Vec<_>>())
        })?;
        acknowledged.extend(done);
    }
    let kinds = |want: &str| acknowledged.iter().filter(|(kind, _)| *kind == want).count();
    let (bans, logouts) = (kinds("ban"), kinds("logout"));
    ensure!(bans > 0 && logouts > 0, "{bans} bans and {logouts} logouts: next to nothing was done");

    let gate = files.start(&home)?;
    for act in &acknowledged {
        in_force(&files, act)?;
    }
    gate.end("TERM")?.success()?;
    upstream.kill()
}

/// Gets addresses banned and sessions ended until the gate is gone; what was acknowledged.
fn work(files: &Files, round: u32, number: u32) -> Vec<Act> {
    let mut done = Vec::new();
    for step in 0..200_u32 {
        let client = format!("203.{}.{}.{}", round + 1, number + 1, step + 1);
        let one = if step % 2 == 0 { ban(files, &client) } else { logout(files) };
        match one {
            Ok(one) => done.push(one),
            Err(_) => break,
        }
    }
    done
}
