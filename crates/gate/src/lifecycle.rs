//! How far the gate is, told to all its parts in one place.
//!
//! A gate serves, and one day ends. In between it may be held: a successor has its state, or it
//! is that successor and does not have it yet. Held, it accepts nobody and keeps its listeners, so
//! that whoever connects waits in the kernel's queue; it can go on from there as if nothing had
//! been. See [`takeover`](crate::takeover).

use tokio::sync::watch;

use crate::listeners::Listening;

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nobody is accepted for now.
    Held,
    /// Everybody is.
    Serving,
    /// Nobody is any more.
    Ended,
}

/// The one who tells. Dropping it is the end, too.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    phase: watch::Sender<Phase>,
    /// Whether connections end when they are idle.
    drain: watch::Sender<bool>,
    /// Whether consoles stay when the workers end: somebody else serves all others.
    keep: watch::Sender<bool>,
    listening: Listening,
}

impl Lifecycle {
    /// Held, until [`Lifecycle::serve`].
    pub(crate) fn new(listening: Listening) -> Self {
        let (drain, keep) = (watch::Sender::new(false), watch::Sender::new(false));
        Self { phase: watch::Sender::new(Phase::Held), drain, keep, listening }
    }

    pub(crate) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    pub(crate) fn drain(&self) -> watch::Receiver<bool> {
        self.drain.subscribe()
    }

    pub(crate) fn keep(&self) -> watch::Receiver<bool> {
        self.keep.subscribe()
    }

    pub(crate) fn listening(&self) -> &Listening {
        &self.listening
    }

    /// Everybody is accepted, unless the end has come.
    pub(crate) fn serve(&self) {
        self.go(Phase::Serving);
    }

    /// Nobody is accepted, and what is idle ends. False when the end has come already.
    pub(crate) fn hold(&self) -> bool {
        self.go(Phase::Held)
    }

    /// The end for all but consoles: another process serves from here on.
    pub(crate) fn succeeded(&self) {
        self.keep.send_replace(true);
        self.finish();
    }

    /// The end. Consoles, kept ones too, have the drain limit from here on.
    pub(crate) fn end(&self) {
        self.keep.send_replace(false);
        self.finish();
    }

    fn go(&self, to: Phase) -> bool {
        self.phase.send_if_modified(|phase| {
            let lives = *phase != Phase::Ended;
            if lives {
                *phase = to;
                self.drain.send_replace(to == Phase::Held);
            }
            lives
        })
    }

    fn finish(&self) {
        self.phase.send_replace(Phase::Ended);
        // Kept here, a listener would keep its port after the workers let go of it.
        self.listening.close();
        self.drain.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use super::{Lifecycle, Phase};
    use crate::listeners::Listeners;

    #[test]
    fn what_has_ended_is_not_taken_up_again() {
        let listeners = Listeners::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let life = Lifecycle::new(listeners.open().unwrap());
        let (phase, drain, keep) = (life.phase(), life.drain(), life.keep());
        let open = life.listening().subscribe();
        let is = |at| (*phase.borrow(), *drain.borrow(), *keep.borrow()) == at;
        assert!(is((Phase::Held, false, false)));
        life.serve();
        assert!(is((Phase::Serving, false, false)));
        assert!(life.hold() && is((Phase::Held, true, false)));
        life.serve();
        assert!(is((Phase::Serving, false, false)) && open.borrow().len() == 1);
        life.succeeded();
        assert!(is((Phase::Ended, true, true)) && open.borrow().is_empty());
        life.serve();
        assert!(!life.hold() && is((Phase::Ended, true, true)));
        life.end();
        assert!(is((Phase::Ended, true, false)));
    }
}
