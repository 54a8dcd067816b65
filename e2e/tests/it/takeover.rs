//! A gate takes the place of another while a client does not stop to connect. Consoles are tested
//! with the gate itself, `tunnel.rs` there.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use anyhow::{Context as _, Result, bail, ensure};

use crate::front::Front;
use crate::home::Home;
use crate::program::{END, PATIENCE, until};

#[test]
fn nobody_is_refused_and_sessions_and_logs_go_on() -> Result<()> {
    let home = Home::new()?;
    let mut front = Front::start(&home, "")?;
    let (end, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let hammer = {
        let (end, served, address) = (Arc::clone(&end), Arc::clone(&served), front.listen.clone());
        thread::spawn(move || -> Result<()> {
            while !end.load(Ordering::Relaxed) {
                one_request(&address)?;
                served.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        })
    };
    let after =
        |count: u64| until(PATIENCE, || (served.load(Ordering::Relaxed) >= count).then_some(()));
    after(20).context("no requests")?;
    for round in 1..=3 {
        let before = front.gate_pid()?;
        let old = front.take_over(&home)?;
        ensure!(front.gate_pid()? != before);
        // It had no console, and ends by itself.
        old.wait(END)?.success()?;
        after(served.load(Ordering::Relaxed) + 20).with_context(|| format!("round {round}"))?;
        front.bans(&home, &["list"])?.success()?;
    }
    end.store(true, Ordering::Relaxed);
    match hammer.join() {
        Ok(outcome) => outcome?,
        Err(_) => bail!("the client panicked"),
    }
    front.end()
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
