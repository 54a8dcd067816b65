//! The gate as a service: handed-in sockets, and those that the manager has kept over a restart;
//! word of how it goes; a watchdog that is told only while every worker turns.

use std::net::TcpListener;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ::gate::Heartbeat;
use process::{Notify, activation};

use crate::exit::{Exit, Stop};

/// Name of the listeners that the manager keeps for the next process.
const KEPT: &str = "proxward-gate-kept";

/// Listeners that came with the start.
pub(crate) struct Sockets {
    /// Those that the manager has opened.
    pub(crate) handed_in: Vec<TcpListener>,
    /// Those that a gate before this one has given it to keep.
    pub(crate) kept: Vec<TcpListener>,
}

/// The way to the service manager. Made before the gate confines itself.
pub(crate) struct Service {
    notify: Arc<Notify>,
}

impl Service {
    pub(crate) fn from_env() -> Self {
        Self { notify: Arc::new(Notify::from_env()) }
    }

    /// How often the watchdog is to be told.
    pub(crate) fn watchdog(&self) -> Option<Duration> {
        self.notify.interval()
    }

    /// Says that connections are accepted, and goes on to say so while the workers turn.
    pub(crate) fn ready(&self, heartbeat: Option<Heartbeat>) -> Result<(), Stop> {
        self.notify.tell(&format!("READY=1\nSTATUS=serving\nMAINPID={}", std::process::id()));
        let (Some(mut heartbeat), Some(every)) = (heartbeat, self.watchdog()) else {
            return Ok(());
        };
        let notify = Arc::clone(&self.notify);
        let told = move || {
            loop {
                thread::sleep(every);
                if heartbeat.alive() {
                    notify.tell("WATCHDOG=1");
                }
            }
        };
        // It ends with the process: a service that stops is not watched any more.
        let thread = thread::Builder::new().name("watchdog".to_owned()).spawn(told);
        thread.map(drop).map_err(Stop::usage)
    }

    /// Has the manager keep these, so that whoever connects while no gate runs waits for the next.
    pub(crate) fn keep(&self, listeners: &[Arc<TcpListener>]) {
        let fds: Vec<BorrowedFd<'_>> = listeners.iter().map(|one| one.as_fd()).collect();
        self.notify.keep(KEPT, &fds);
    }

    /// Another process is the service from here on.
    pub(crate) fn succeeded(&self) {
        self.notify.fall_silent();
    }

    /// Around a change of what is in force.
    pub(crate) fn reloading(&self) {
        self.notify.tell("RELOADING=1\nSTATUS=reading the configuration anew");
    }

    pub(crate) fn reloaded(&self) {
        self.notify.tell("READY=1\nSTATUS=serving");
    }

    pub(crate) fn stopping(&self) {
        self.notify.tell("STOPPING=1\nSTATUS=waiting for what is under way");
    }
}

/// What the service manager has passed on.
pub(crate) fn sockets() -> Result<Sockets, Stop> {
    let handed = activation::sockets().map_err(|error| {
        Stop::say(Exit::Usage, format!("LISTEN_FDS: {error}; each has to be an open descriptor"))
    })?;
    let mut sockets = Sockets { handed_in: Vec::new(), kept: Vec::new() };
    for (name, fd) in handed {
        let name = name.unwrap_or_else(|| "unnamed".to_owned());
        let Some(listener) = activation::tcp_listener(fd) else {
            let text =
                format!("LISTEN_FDS: {name}: no TCP socket that listens; write ListenStream=");
            return Err(Stop::say(Exit::Usage, text));
        };
        match name == KEPT {
            true => sockets.kept.push(listener),
            false => sockets.handed_in.push(listener),
        }
    }
    Ok(sockets)
}
