//! Waiting for the end: Ctrl-C or a supervisor's request.

use tokio::signal::unix::{SignalKind, signal};

use crate::exit::Stop;

/// Blocks the thread until SIGINT, SIGTERM or SIGHUP arrives.
pub(crate) fn wait_for_end() -> Result<(), Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Stop::usage)?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Stop::usage)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(Stop::usage)?;
        let mut hang_up = signal(SignalKind::hangup()).map_err(Stop::usage)?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
        Ok(())
    })
}
