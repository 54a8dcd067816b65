//! A pin that follows a server's certificate.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fingerprint::Fingerprint;

/// The certificate a server is about to show, and the one before it: a server goes on to show that
/// until it has read its files again. Clones are the same pin.
#[derive(Clone)]
pub struct Pins(Arc<Mutex<Expected>>);

#[derive(Clone, Copy)]
struct Expected {
    now: Fingerprint,
    before: Fingerprint,
}

impl Pins {
    /// This one alone.
    #[must_use]
    pub fn new(expected: Fingerprint) -> Self {
        Self(Arc::new(Mutex::new(Expected { now: expected, before: expected })))
    }

    /// From here on another is expected, and the last one accepted still.
    pub fn follow(&self, expected: Fingerprint) {
        let mut pins = self.lock();
        if pins.now != expected {
            *pins = Expected { now: expected, before: pins.now };
        }
    }

    /// The one expected now.
    #[must_use]
    pub fn expected(&self) -> Fingerprint {
        self.lock().now
    }

    pub(crate) fn accept(&self, seen: Fingerprint) -> bool {
        let Expected { now, before } = *self.lock();
        seen == now || seen == before
    }

    fn lock(&self) -> MutexGuard<'_, Expected> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartialEq for Pins {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Pins {}

impl fmt::Debug for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pins({})", self.expected())
    }
}

#[cfg(test)]
mod tests {
    use super::Pins;
    use crate::Fingerprint;

    #[test]
    fn the_last_one_is_accepted_until_the_one_after() {
        let [one, two, three] = [b"1", b"2", b"3"].map(|der| Fingerprint::of(der));
        let pins = Pins::new(one);
        assert!(pins.accept(one) && !pins.accept(two));
        pins.clone().follow(two);
        pins.follow(two);
        assert!(pins.accept(one) && pins.accept(two) && pins.expected() == two);
        pins.follow(three);
        assert!(!pins.accept(one) && pins.accept(two) && pins.accept(three));
    }
}
