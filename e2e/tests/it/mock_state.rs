//! A mock with a state file is killed while it writes, and told that the disk is full: what it has
//! acknowledged is there afterwards, and what it has refused is not.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::home::Home;
use crate::program::{END, Running, finish};

/// Clients that write at the same time.
const WRITERS: usize = 4;
/// How long each life of the mock lasts, in milliseconds after it was ready.
const LIVES: [u64; 8] = [1, 7, 20, 33, 58, 90, 140, 220];
/// Largest file of the mock with the full disk, in the shell's blocks of 512 bytes.
const BLOCKS: &str = "160";

struct Mock {
    running: Running,
    address: String,
    token: String,
}

/// One answer: its status line and its body.
struct Answer {
    line: String,
    body: Value,
}

impl Mock {
    fn start(home: &Home, state: &Path) -> Result<Self> {
        let state = state.to_string_lossy();
        Self::run(&mut home.proxward(&arguments(&state))?)
    }

    fn run(command: &mut std::process::Command) -> Result<Self> {
        let mut running = Running::start(command)?;
        let ready = running.until("ready", |running| {
            let text = running.stdout();
            let (line, _) = text.split_once('\n')?;
            serde_json::from_str::<Value>(line).ok()
        })?;
        let text = |name: &str| ready[name].as_str().unwrap_or_default().to_owned();
        let address = text("url").trim_start_matches("http://").to_owned();
        Ok(Self { running, address, token: text("token") })
    }

    fn client(&self) -> (String, String) {
        (self.address.clone(), self.token.clone())
    }

    fn pools(&self) -> Result<BTreeSet<String>> {
        let answer = call(&self.client(), "GET", "/pools", "")?;
        let pools = answer.body["data"].as_array().context("a list")?;
        Ok(pools.iter().filter_map(|one| Some(one["poolid"].as_str()?.to_owned())).collect())
    }

    fn kill(self) -> Result<()> {
        self.running.signal("KILL")?;
        self.running.wait(END)?;
        Ok(())
    }
}

fn arguments(state: &str) -> Vec<&str> {
    let fixed = ["mock", "--seed", "empty", "--no-tls", "--time-scale", "0", "--format", "json"];
    [&fixed[..], &["--state", state]].concat()
}

fn call((address, token): &(String, String), verb: &str, path: &str, body: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(END))?;
    let length = body.len();
    write!(
        stream,
        "{verb} /api2/json{path} HTTP/1.1\r\nConnection: close\r\n\
         Authorization: PVEAPIToken={token}\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("a whole answer")?;
    let line = head.lines().next().unwrap_or_default().to_owned();
    Ok(Answer { line, body: serde_json::from_str(body).unwrap_or_default() })
}

/// Creates pools until the mock is gone; those whose creation was acknowledged.
fn write_until_the_end(client: &(String, String), prefix: &str) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for at in 0.. {
        let pool = format!("{prefix}-{at}");
        match call(client, "POST", "/pools", &format!("poolid={pool}")) {
            Ok(answer) if answer.line.ends_with("200 OK") => acknowledged.push(pool),
            _ => break,
        }
    }
    acknowledged
}

#[test]
fn no_acknowledged_write_is_lost_when_the_mock_is_killed() -> Result<()> {
    let home = Home::new()?;
    let state = home.scratch("state");
    let mut acknowledged = BTreeSet::new();
    let mut token = String::new();
    for (round, life) in LIVES.into_iter().enumerate() {
        let mock = Mock::start(&home, &state)?;
        ensure!(token.is_empty() || mock.token == token, "the token of the run has changed");
        token.clone_from(&mock.token);
        let client = mock.client();
        let written = thread::scope(|scope| {
            let client = &client;
            let writer = |at| move || write_until_the_end(client, &format!("r{round}-w{at}"));
            let writers: Vec<_> = (0..WRITERS).map(|at| scope.spawn(writer(at))).collect();
            thread::sleep(Duration::from_millis(life));
            let killed = mock.kill();
            let written = writers.into_iter().flat_map(|one| one.join().unwrap_or_default());
            killed.map(|()| written.collect::<Vec<String>>())
        })?;
        acknowledged.extend(written);
    }
    let mock = Mock::start(&home, &state)?;
    let pools = mock.pools()?;
    let lost: Vec<&String> = acknowledged.difference(&pools).collect();
    ensure!(acknowledged.len() > LIVES.len(), "next to nothing was written");
    ensure!(lost.is_empty(), "lost {} of {}: {lost:?}", lost.len(), acknowledged.len());
    // At most the one request that each writer of each round had under way.
    let unasked = pools.len() - acknowledged.len();
    ensure!(unasked <= WRITERS * LIVES.len(), "{unasked} pools that nobody was told of");
    mock.kill()
}

#[test]
fn a_full_disk_refuses_writes_and_loses_nothing() -> Result<()> {
    let home = Home::new()?;
    let state = home.scratch("state");
    let path = state.to_string_lossy();
    let program = crate::program::proxward()?;
    let mut limited = home.command("sh");
    // A file larger than allowed is an error for the program, not its end: signal 25 is ignored.
    limited.args(["-c", "trap '' 25; ulimit -f \"$1\"; shift; exec \"$@\"", "sh", BLOCKS]);
    limited.arg(program).args(arguments(&path));
    let mock = Mock::run(&mut limited)?;
    let client = mock.client();
    let comment = "x".repeat(4000);
    let mut acknowledged = BTreeSet::new();
    let refused = loop {
        let pool = format!("p{}", acknowledged.len());
        let answer = call(&client, "POST", "/pools", &format!("poolid={pool}&comment={comment}"))?;
        if !answer.line.ends_with("200 OK") {
            break answer.line;
        }
        acknowledged.insert(pool);
        ensure!(acknowledged.len() < 1000, "the limit is not in force");
    };
    ensure!(refused.contains(" 500 ") && refused.contains(&*path), "{refused}");
    ensure!(mock.pools()? == acknowledged, "memory is not what the file holds");
    // What is small enough still fits, and nothing of the refused write stands before it.
    let small = call(&client, "DELETE", "/pools/p0", "")?;
    if small.line.ends_with("200 OK") {
        acknowledged.remove("p0");
    }
    mock.kill()?;
    let mock = Mock::start(&home, &state)?;
    ensure!(mock.pools()? == acknowledged, "the next start holds something else");
    mock.kill()
}

#[test]
fn a_file_in_use_and_a_damaged_one_are_refused() -> Result<()> {
    let home = Home::new()?;
    let state = home.scratch("state");
    let path = state.to_string_lossy();
    let mock = Mock::start(&home, &state)?;
    let second = finish(&mut home.proxward(&arguments(&path))?, "")?;
    ensure!(second.code == Some(2) && second.stderr.contains("another mock"), "{second}");
    mock.kill()?;
    let mut bytes = std::fs::read(&state)?;
    let byte = bytes.get_mut(100).context("a file")?;
    *byte ^= 1;
    std::fs::write(&state, bytes)?;
    let damaged = finish(&mut home.proxward(&arguments(&path))?, "")?;
    ensure!(damaged.code == Some(2) && damaged.stderr.contains("damaged"), "{damaged}");
    Ok(())
}
