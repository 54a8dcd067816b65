//! How many connections at once, per address and together.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use limits::{Busy, Concurrency};

use crate::source::source_of;

/// The count of all workers. A lock is taken twice in the life of a connection, never for a
/// request.
#[derive(Clone)]
pub(crate) struct Admission(Arc<Mutex<Concurrency<IpAddr>>>);

/// A place, given back when dropped.
pub(crate) struct Permit {
    admission: Admission,
    key: IpAddr,
}

impl Admission {
    pub(crate) fn new(per_address: u32, total: u32) -> Self {
        Self(Arc::new(Mutex::new(Concurrency::new(per_address, total))))
    }

    /// A place for a connection of this client.
    pub(crate) fn admit(&self, client: IpAddr) -> Result<Permit, Busy> {
        let key = source_of(client);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.acquire(&key)?;
        Ok(Permit { admission: self.clone(), key })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.admission.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.release(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::Admission;

    #[test]
    fn a_64_is_one_client_and_places_come_back() {
        let admission = Admission::new(1, 2);
        let first = admission.admit("2001:db8::1".parse().unwrap());
        assert!(first.is_ok());
        assert!(admission.admit("2001:db8::2".parse().unwrap()).is_err());
        let _other = admission.admit("::ffff:192.0.2.1".parse().unwrap()).unwrap();
        assert!(admission.admit("192.0.2.1".parse().unwrap()).is_err());
        assert!(admission.admit("192.0.2.2".parse().unwrap()).is_err());
        drop(first);
        assert!(admission.admit("192.0.2.2".parse().unwrap()).is_ok());
    }
}
