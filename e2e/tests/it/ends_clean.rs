//! However a demo is asked to end, it ends with code 0 and leaves nothing.

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::curl::Curl;
use crate::demo::Demo;
use crate::home::Home;
use crate::login::Login;
use crate::processes;
use crate::program::{END, Running};

#[test]
fn after_ctrl_c() -> Result<()> {
    ends_after("INT")
}

#[test]
fn after_the_request_of_a_supervisor() -> Result<()> {
    ends_after("TERM")
}

/// Impatience: Ctrl-C before anything answers, as soon as there is something to leave behind.
#[test]
fn while_it_starts() -> Result<()> {
    let home = Home::new()?;
    let mut command = home.proxward(&["demo", "--listen", "127.0.0.1:0"])?;
    let demo = Running::start(&mut command)?;
    let begun = Instant::now();
    while home.left()?.is_empty() {
        ensure!(begun.elapsed() < END, "the demo does not begin\n{}", demo.stderr());
        // No pause: the start takes a few hundredths of a second.
        std::thread::yield_now();
    }
    demo.signal("INT")?;
    let ended = demo.wait(END)?.success()?;
    let left = home.left()?;
    ensure!(left.is_empty(), "the demo left behind: {left:?}\n{ended}");
    Ok(())
}

/// A named state stays, complete, and the next demo goes on with it.
#[test]
fn a_named_state_is_used_again() -> Result<()> {
    let home = Home::new()?;
    let state = home.scratch("state");
    let first = Demo::start_in(&home, state.clone(), |_| {})?;
    let password = first.ready.password()?;
    let login = Login::new(&home, &first.ready)?;
    first.end(&home, "INT")?;

    let second = Demo::start_in(&home, state, |_| {})?;
    ensure!(second.ready.password()? == password, "the password changed");
    let nodes = login.on(Curl::new(&second.ready, "/api2/json/nodes")?).send(&home)?;
    ensure!(nodes.line == "HTTP/2 200", "the ticket of the first run is not accepted\n{nodes}");
    second.end(&home, "TERM")?;
    Ok(())
}

fn ends_after(signal: &str) -> Result<()> {
    let home = Home::new()?;
    let demo = Demo::start(&home)?;
    ensure!(!processes::of_group(demo.group())?.is_empty(), "the demo's own process is not seen");
    ensure!(!home.left()?.is_empty(), "the demo keeps its files where this test does not look");
    let ended = demo.end(&home, signal)?;
    ensure!(!ended.stderr.contains("panicked"), "{ended}");
    ensure!(ended.stdout.lines().count() == 1, "stdout holds more than the ready line\n{ended}");
    Ok(())
}
