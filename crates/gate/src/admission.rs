//! How many connections at once, per address and together.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use limits::{Busy, Concurrency};
use netpolicy::canonical;

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
        let key = budget_of(client);
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

/// Whoever has one IPv6 address has its /64.
pub(crate) fn budget_of(client: IpAddr) -> IpAddr {
    match canonical(client) {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
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
