//! The gate as a service: handed-in sockets, word of how it goes, a watchdog that is told only
//! while every worker turns.

use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ::gate::Heartbeat;
use process::{Notify, activation};

use crate::exit::{Exit, Stop};

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

/// Sockets that a service manager has opened, in the place of those the configuration names.
pub(crate) fn sockets() -> Result<Vec<TcpListener>, Stop> {
    let handed = activation::sockets().map_err(|error| {
        Stop::say(Exit::Usage, format!("LISTEN_FDS: {error}; each has to be an open descriptor"))
    })?;
    let listener = |(name, fd): (Option<String>, _)| {
        activation::tcp_listener(fd).ok_or_else(|| {
            let name = name.unwrap_or_else(|| "unnamed".to_owned());
            let text =
                format!("LISTEN_FDS: {name}: no TCP socket that listens; write ListenStream=");
            Stop::say(Exit::Usage, text)
        })
    };
    handed.into_iter().map(listener).collect()
}
