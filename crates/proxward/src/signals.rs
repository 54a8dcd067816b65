//! The wish to end: Ctrl-C or a supervisor's request.

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Stop;

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

    /// Blocks the thread until one arrives or `other` has come. True for a signal.
    pub(crate) fn wait_or(&mut self, other: impl Future<Output = ()>) -> bool {
        let Self { runtime, interrupt, terminate, hang_up } = self;
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => true,
                _ = terminate.recv() => true,
                _ = hang_up.recv() => true,
                () = other => false,
            }
        })
    }

    /// Blocks the thread until one arrives, or at once when one has arrived before.
    pub(crate) fn wait(mut self) {
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
                _ = self.hang_up.recv() => {}
            }
        });
    }
}
