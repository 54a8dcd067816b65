//! Sessions over a kill: what was acknowledged counts, and the state file tells no ticket.

use anyhow::{Result, ensure};

use crate::curl::Curl;
use crate::demo::Demo;
use crate::home::{Home, below};
use crate::login::Login;

#[test]
fn a_kill_loses_no_session_and_brings_none_back() -> Result<()> {
    let home = Home::new()?;
    let state = home.scratch("state");
    let demo = Demo::start_in(&home, state.clone(), |_| {})?;
    let kept = Login::new(&home, &demo.ready)?;
    let ended = Login::new(&home, &demo.ready)?;
    let logout = ended.on(Curl::new(&demo.ready, "/proxward/logout")?).with("request", "POST");
    let reply = logout.send(&home)?;
    ensure!(reply.line == "HTTP/2 200", "not logged out\n{reply}");
    // Its commit took along what had waited to be written.
    demo.kill()?;

    for file in below(&state.join("gate"))? {
        if !file.is_file() {
            continue;
        }
        let bytes = std::fs::read(&file)?;
        for user in ["root@pam", "PVE:"] {
            let found = bytes.windows(user.len()).any(|part| part == user.as_bytes());
            let log = file.extension().is_some_and(|extension| extension == "jsonl");
            ensure!(log || !found, "{} shows {user}", file.display());
        }
    }
    let next = Demo::start_in(&home, state, |_| {})?;
    let nodes = |login: &Login| login.on(Curl::new(&next.ready, "/api2/json/nodes")?).send(&home);
    let reply = nodes(&kept)?;
    ensure!(reply.line == "HTTP/2 200", "the session is lost\n{reply}");
    let reply = nodes(&ended)?;
    ensure!(reply.line == "HTTP/2 401", "the session is back\n{reply}");
    next.end(&home, "TERM")?;
    Ok(())
}
