//! What a cell was refused, as a record.

use std::sync::Mutex;

use serde::Serialize;

use crate::limits::{DENIAL_PAUSE, DENIALS, DENIALS_AT_SPEED};

/// One refused attempt. Serialised, it is a line of the audit file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Denial {
    /// The cell.
    pub cell: String,
    /// What refused it: `connect`, `bind`, `listen`, `send`, `call`, `path`, `memory`, `timeout`,
    /// `output`, `layer`, or `more` when no further ones are recorded.
    pub rule: &'static str,
    /// The address, path, call or limit.
    pub what: String,
}

impl Denial {
    /// Every rule there is.
    pub(crate) const RULES: [&'static str; 11] = [
        "connect", "bind", "listen", "send", "call", "path", "memory", "timeout", "output",
        "layer", "more",
    ];
}

/// Who is told. Called from the supervisor's threads.
pub type OnDenial<'a> = dyn Fn(&Denial) + Send + Sync + 'a;

/// The denials of one cell, bounded.
pub(crate) struct Denials<'a> {
    cell: String,
    count: Mutex<u64>,
    tell: Option<&'a OnDenial<'a>>,
}

impl<'a> Denials<'a> {
    pub(crate) fn new(cell: String, tell: Option<&'a OnDenial<'a>>) -> Self {
        Self { cell, count: Mutex::new(0), tell }
    }

    pub(crate) fn record(&self, rule: &'static str, what: String) {
        let count = {
            let mut count = self.count.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *count += 1;
            *count
        };
        if count > DENIALS_AT_SPEED {
            // A command that is refused over and over waits, instead of keeping a core busy that
            // its own limit does not count.
            std::thread::sleep(DENIAL_PAUSE);
        }
        let Some(tell) = self.tell.filter(|_| count <= DENIALS) else { return };
        let cell = self.cell.clone();
        if count == DENIALS {
            let what = format!("more than {DENIALS} denials; the rest is counted, not recorded");
            return tell(&Denial { cell, rule: "more", what });
        }
        tell(&Denial { cell, rule, what });
    }

    pub(crate) fn count(&self) -> u64 {
        *self.count.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
