//! The wish to end: Ctrl-C or a supervisor's request.

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Stop;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// SIGINT, SIGTERM.
    End,
    /// SIGHUP.
    Reload,
}

/// Signals that end a program in order instead of killing it. Made before anything that has to
/// be tidied up: one that arrives while the program starts is answered when it has started.
pub(crate) struct Signals {
    runtime: Runtime,
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Takes SIGINT, SIGTERM and SIGHUP over from the system.
    pub(crate) fn install() -> Result<Self, Stop> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Stop::usage)?;
        let within = runtime.enter();
        let on = |kind| signal(kind).map_err(Stop::usage);
        let (interrupt, terminate, hang_up) =
            (on(SignalKind::interrupt())?, on(SignalKind::terminate())?, on(SignalKind::hangup())?);
        drop(within);
        Ok(Self { runtime, interrupt, terminate, hang_up })
    }

    /// Blocks the thread until one arrives, or at once when one has arrived before: for programs
    /// that have nothing to read anew, which SIGHUP ends.
    pub(crate) fn wait(mut self) {
        let _ = self.next();
    }

    /// The next wish, or `other` when that has come before.
    pub(crate) fn next_or<T>(&mut self, other: impl Future<Output = T>) -> Result<T, Wish> {
        let Self { runtime, interrupt, terminate, hang_up } = self;
        runtime.block_on(async {
            tokio::select! {
                biased;
                _ = interrupt.recv() => Err(Wish::End),
                _ = terminate.recv() => Err(Wish::End),
                _ = hang_up.recv() => Err(Wish::Reload),
                other = other => Ok(other),
            }
        })
    }

    /// The next wish, likewise.
    pub(crate) fn next(&mut self) -> Wish {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = self.interrupt.recv() => Wish::End,
                _ = self.terminate.recv() => Wish::End,
                _ = self.hang_up.recv() => Wish::Reload,
            }
        })
    }
}
