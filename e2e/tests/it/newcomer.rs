//! The first minute: start the demo, read what it says, copy the commands it shows.

use anyhow::{Result, ensure};

use crate::home::Home;
use crate::program::{self, END, Running, finish};

#[test]
fn the_commands_that_the_demo_shows_work() -> Result<()> {
    let home = Home::new()?;
    let mut command = home.proxward(&["demo", "--listen", "127.0.0.1:0"])?;
    let mut demo = Running::start(&mut command)?;
    let text = demo.until("its last words", |demo| {
        let text = demo.stdout();
        text.ends_with("Ctrl-C ends everything.\n").then_some(text)
    })?;
    ensure!(text.contains("no broker"), "what is not there yet is not said\n{text}");

    let call = shown(&text, "proxward api ")?;
    let program = program::proxward()?.display().to_string();
    let nodes = in_shell(&home, &call.replacen("proxward", &program, 1))?;
    for node in ["pve1", "pve2", "pve3"] {
        ensure!(nodes.contains(node), "{call}\nshows no {node}:\n{nodes}");
    }
    let login = in_shell(&home, &shown(&text, "curl ")?)?;
    ensure!(login.contains("\"ticket\":\"PVE:root@pam:"), "no ticket:\n{login}");

    demo.signal("INT")?;
    demo.wait(END)?.success()?;
    ensure!(home.left()?.is_empty(), "the demo left behind: {:?}", home.left()?);
    Ok(())
}

/// The one command of `text` that begins so.
fn shown(text: &str, start: &str) -> Result<String> {
    let found: Vec<&str> = text.lines().map(str::trim).filter(|it| it.starts_with(start)).collect();
    let [command] = found[..] else { anyhow::bail!("no command {start:?} in\n{text}") };
    Ok(command.to_owned())
}

fn in_shell(home: &Home, line: &str) -> Result<String> {
    Ok(finish(home.command("sh").args(["-c", line]), "")?.success()?.stdout)
}
