//! What a reload replaces while connections are open: one value, whole, behind a number that says
//! whether it is still the newest.
//!
//! A worker keeps its own copy and looks at the number for each use: reading costs one relaxed
//! load and no shared cache line is written. Whatever is not in here needs a restart (`reload`).

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderName;
use netpolicy::AddressSet;
use tls::{Acceptor, Alpn, CertificateError};

use crate::addresses::AddressRules;
use crate::config::Config;
use crate::limits::Limits;
use crate::origin::Origins;

/// Everything that can be replaced.
pub(crate) struct Live {
    pub(crate) acceptor: Acceptor,
    /// None when everybody is admitted.
    pub(crate) addresses: Option<AddressRules>,
    /// From these a PROXY header is required, from all others it is not read.
    pub(crate) proxies: AddressSet,
    /// What they write into `real_ip_header` is believed.
    pub(crate) trusted: AddressSet,
    pub(crate) real_ip_header: HeaderName,
    /// From which pages browsers may change something.
    pub(crate) origins: Origins,
    /// Whether clients may have compressed answers.
    pub(crate) compressed: bool,
    pub(crate) limits: Limits,
}

/// The newest one.
pub(crate) struct Current {
    generation: AtomicU64,
    live: Mutex<Arc<Live>>,
}

/// A worker's own count on what all share: counting on the shared one for each request would
/// move its cache line between the cores.
pub(crate) type Lease = Rc<Arc<Live>>;

/// One worker's copy of it.
pub(crate) struct Copy(RefCell<(u64, Lease)>);

impl Live {
    /// What of a configuration can be replaced.
    pub(crate) fn new(config: &Config) -> Result<Self, CertificateError> {
        let alpn = if config.http2 { Alpn::Http2AndHttp1 } else { Alpn::Http1 };
        let addresses = &config.addresses;
        Ok(Self {
            acceptor: Acceptor::new(&config.identity, alpn)?,
            addresses: (!addresses.admits_all()).then(|| addresses.clone()),
            proxies: config.proxy_protocol_from.clone(),
            trusted: config.trusted_proxies.clone(),
            real_ip_header: config.real_ip_header.clone(),
            origins: Origins::new(config.sessions.origins.clone()),
            compressed: config.compressed_answers,
            limits: config.limits.clone(),
        })
    }
}

impl Current {
    pub(crate) fn new(live: Live) -> Self {
        Self { generation: AtomicU64::new(0), live: Mutex::new(Arc::new(live)) }
    }

    /// The newest; takes a lock.
    pub(crate) fn newest(&self) -> Arc<Live> {
        Arc::clone(&self.lock())
    }

    /// Puts another in its place. It is used from the next connection and request on.
    #[expect(dead_code, reason = "x")]
    pub(crate) fn replace(&self, live: Live) {
        *self.lock() = Arc::new(live);
        // After the value: who sees the number finds the value, or a newer one.
        self.generation.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn copy(&self) -> Copy {
        let generation = self.generation.load(Ordering::Acquire);
        Copy(RefCell::new((generation, Rc::new(self.newest()))))
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Live>> {
        // The lock guards a plain assignment: a poisoned one holds a whole value.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Copy {
    /// The newest, which stays the same for the one who asked.
    pub(crate) fn of(&self, current: &Current) -> Lease {
        let generation = current.generation.load(Ordering::Acquire);
        let mut copy = self.0.borrow_mut();
        if copy.0 != generation {
            *copy = (generation, Rc::new(current.newest()));
        }
        Rc::clone(&copy.1)
    }
}
