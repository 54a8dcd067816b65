//! `proxward gate --takeover --background`: a successor that outlives who started it.
//!
//! For a service manager's reload command, which has to end when the work is done. The successor
//! stays in the unit, and tells the manager by itself that it is the service now.

use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ::gate::control::{Request, SOCKET, call};

use crate::cli::Gate;
use crate::config;
use crate::exit::{Exit, Stop};

/// How long the successor may take until it answers: longer than both sides wait for each other.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// The option that makes the difference between this process and the one it starts.
const OPTION: &str = "--background";

/// Starts it and waits until it answers orders, which is after everything that can fail.
pub(crate) fn start(arguments: &Gate) -> Result<(), Stop> {
    let config = config::gate(&super::document(arguments)?)?;
    let Some(socket) = config.state.map(|state| state.join(SOCKET)) else {
        return Err(super::no_state());
    };
    let mut command = Command::new(std::env::current_exe().map_err(Stop::usage)?);
    command.args(std::env::args_os().skip(1).filter(|word| word != OPTION));
    // It names the process that the watchdog is for: this one, which is about to end.
    command.env_remove("WATCHDOG_PID").stdin(Stdio::null()).stdout(Stdio::null());
    let mut successor = command.spawn().map_err(Stop::usage)?;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(status) = successor.try_wait().map_err(Stop::usage)? {
            let text = format!("the successor has ended ({status}); the gate that ran goes on");
            return Err(Stop::say(Exit::No, text));
        }
        let answer = call(&socket, &Request::Status).unwrap_or_default();
        if answer.get("pid").is_some_and(|pid| *pid == successor.id()) {
            return Ok(());
        }
        sleep(PAUSE);
    }
    Err(Stop::say(Exit::Unreachable, given_up(&mut successor)))
}

/// It must not take the place later, when nobody expects it.
fn given_up(successor: &mut Child) -> String {
    let _ = successor.kill();
    let _ = successor.wait();
    format!("the successor did not answer within {} s; it was ended", PATIENCE.as_secs())
}
