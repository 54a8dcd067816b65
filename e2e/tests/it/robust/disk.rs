//! The disk below the state is full.

use anyhow::{Context as _, Result, ensure};

use super::acts::{ban, in_force, logout, try_logout, user};
use super::client::Client;
use super::kills::Upstream;
use super::process::{Files, free_address};
use crate::home::Home;
use crate::program::finish;

/// What is acknowledged is on the disk. What can not get there is refused with one line, in force
/// all the same until the gate ends, and everybody else is served.
#[test]
fn a_full_disk_loses_nothing_acknowledged_and_stops_nobody() -> Result<()> {
    let home = Home::new()?;
    let address = free_address()?.to_string();
    let upstream = Upstream::start(&home, &address)?;
    user(&address, &upstream.token)?;
    let lines = "trusted_proxies = \"127.0.0.1\"\n[gate.login]\ndelay_seconds = 0\n\
        lock_after = 1\nban_after = 1";
    let files = Files::write(&home, &format!("http://{address}"), lines)?;
    let mut command = home.command("sh");
    // A file that may not grow is an error for the program, not its end: signal 25 is ignored.
    command.args(["-c", "trap '' 25; exec \"$@\"", "sh"]).arg(crate::program::proxward()?);
    let gate = files.start_by(command)?;
    let pid = gate.running.pid().to_string();
    // As the gate's user: root of a container may not set the limits of others.
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let id = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()).context("no ids in its status")
    };
    let (uid, gid) = (id("Uid:")?, id("Gid:")?);
    let limit = |size: &str| {
        let mut command = home.command("setpriv");
        command.args(["--reuid", uid, "--regid", gid, "--clear-groups", "prlimit"]);
        command.args(["--pid", &pid, &format!("--fsize={size}:")]);
        finish(&mut command, "")?.success()
    };

    let mut acknowledged = vec![ban(&files, "203.0.113.1")?, logout(&files)?];
    limit("4096")?;
    let mut refused = Vec::new();
    for number in 2..6 {
        // Whoever guesses passwords is told what everybody is told; the operator reads the rest.
        let banned = ban(&files, &format!("203.0.113.{number}"))?;
        in_force(&files, &banned)?;
        let (ticket, answer) = try_logout(&files)?;
        ensure!(answer.status == 503, "{answer:?}");
        ensure!(answer.body.contains("could not be stored"), "{answer:?}");
        in_force(&files, &("logout", ticket.clone()))?;
        refused.push(ticket);
        let lawful = "GET /api2/json/access/domains HTTP/1.1\r\nHost: a\r\n\r\n";
        let answer = Client::connect(&files)?.ask(lawful)?;
        ensure!(answer.status == 200, "{answer:?}");
    }
    let said = gate.running.stderr();
    ensure!(said.contains("a ban is in force but not kept over a restart"), "{said}");

    // With room again it goes on by itself.
    limit("unlimited")?;
    acknowledged.extend([ban(&files, "203.0.113.9")?, logout(&files)?]);
    gate.end("KILL")?;
    let gate = files.start(&home)?;
    for act in &acknowledged {
        in_force(&files, act)?;
    }
    gate.end("TERM")?.success()?;
    upstream.kill()
}
