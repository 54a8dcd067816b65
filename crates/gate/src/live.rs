//! What a reload replaces while connections are open: one value, whole, behind a number that says
//! whether it is still the newest.
//!
//! A worker keeps its own copy and looks at the number for each use: reading costs one relaxed
//! load and no shared cache line is written. Whatever is not in here needs a restart (`reload`).

use std::cell::RefCell;
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderName;
use netpolicy::AddressSet;
use tls::{Acceptor, Alpn, CertificateError, ClientAuth, Identity, Pins, Policy};

use crate::addresses::AddressRules;
use crate::certificates::{TlsFiles, TlsLoaded};
use crate::config::Config;
use crate::limits::Limits;
use crate::origin::Origins;
use crate::pages::PageHeaders;

/// Everything that can be replaced.
#[derive(Clone)]
pub(crate) struct Live {
    acceptor: Acceptor,
    /// Of these no certificate is asked. Another acceptor, so that a session begun there is worth
    /// nothing elsewhere.
    exempt: Option<(AddressSet, Acceptor)>,
    alpn: Alpn,
    policy: Policy,
    clients: Option<ClientAuth>,
    pub(crate) identity: Identity,
    /// Where the identity and the authorities of clients come from, and what they held.
    pub(crate) files: Option<TlsFiles>,
    /// The one of them with the certificate that is shown.
    pub(crate) file: Option<PathBuf>,
    /// Upstream's pin, where it is what is shown here.
    pins: Option<Pins>,
    pub(crate) digest: Option<[u8; 32]>,
    /// None when everybody is admitted.
    pub(crate) addresses: Option<AddressRules>,
    /// From these a PROXY header is required, from all others it is not read.
    pub(crate) proxies: AddressSet,
    /// What they write into `real_ip_header` is believed.
    pub(crate) trusted: AddressSet,
    pub(crate) real_ip_header: HeaderName,
    /// From which pages browsers may change something.
    pub(crate) origins: Origins,
    pub(crate) pages: PageHeaders,
    pub(crate) limits: Limits,
}

/// The newest one.
pub(crate) struct Current {
    generation: AtomicU64,
    live: Mutex<Arc<Live>>,
    /// Held while another is made, which takes longer than workers should wait.
    updating: Mutex<()>,
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
        let (identity, clients) = (&config.identity, config.clients.as_ref());
        let exempt = match clients {
            Some(_) if !config.client_exempt.is_empty() => {
                let acceptor = Acceptor::with(identity, alpn, &config.tls, None)?;
                Some((config.client_exempt.clone(), acceptor))
            }
            _ => None,
        };
        Ok(Self {
            acceptor: Acceptor::with(identity, alpn, &config.tls, clients)?,
            exempt,
            alpn,
            policy: config.tls.clone(),
            clients: config.clients.clone(),
            identity: identity.clone(),
            files: config.tls_files.clone(),
            file: config.tls_file.clone(),
            pins: config.pins.clone(),
            digest: config.tls_digest,
            addresses: (!addresses.admits_all()).then(|| addresses.clone()),
            proxies: config.proxy_protocol_from.clone(),
            trusted: config.trusted_proxies.clone(),
            real_ip_header: config.real_ip_header.clone(),
            origins: Origins::new(config.sessions.origins.clone()),
            pages: PageHeaders::new(&config.content_policy, config.hsts_seconds),
            limits: config.limits.clone(),
        })
    }

    /// The same with another certificate. Sessions of before are not resumed: whoever comes again
    /// sees the new one.
    pub(crate) fn showing(&self, loaded: TlsLoaded) -> Result<Self, CertificateError> {
        let TlsLoaded { identity, clients, file, digest } = loaded;
        let file = Some(file);
        self.pins.iter().for_each(|pins| pins.follow(identity.fingerprint()));
        let acceptor = |clients: Option<&ClientAuth>| {
            Acceptor::with(&identity, self.alpn, &self.policy, clients)
        };
        let exempt = self.exempt.as_ref();
        let exempt =
            exempt.map(|(set, _)| Ok::<_, CertificateError>((set.clone(), acceptor(None)?)));
        let (acceptor, exempt) = (acceptor(clients.as_ref())?, exempt.transpose()?);
        Ok(Self { acceptor, exempt, identity, clients, file, digest, ..self.clone() })
    }

    /// Takes over the acceptors of `former` where nothing of TLS differs, so that its sessions can
    /// be resumed: a reload must not cost every client a whole handshake.
    pub(crate) fn keep_sessions(mut self, former: &Self) -> Self {
        // Connections upstream are made as before.
        self.pins.clone_from(&former.pins);
        self.pins.iter().for_each(|pins| pins.follow(self.identity.fingerprint()));
        let exempt = |live: &Self| live.exempt.as_ref().map(|(set, _)| set.clone());
        let same = self.identity.fingerprint() == former.identity.fingerprint()
            && self.digest == former.digest
            && self.alpn == former.alpn
            && self.policy == former.policy
            && self.clients == former.clients
            && exempt(&self) == exempt(former);
        if same {
            self.acceptor = former.acceptor.clone();
            self.exempt.clone_from(&former.exempt);
        }
        self
    }

    /// Who makes the handshake with this client.
    pub(crate) fn acceptor(&self, client: IpAddr) -> &Acceptor {
        match &self.exempt {
            Some((exempt, acceptor)) if exempt.contains(client) => acceptor,
            _ => &self.acceptor,
        }
    }
}

impl Current {
    pub(crate) fn new(live: Live) -> Self {
        let live = Mutex::new(Arc::new(live));
        Self { generation: AtomicU64::new(0), live, updating: Mutex::new(()) }
    }

    /// The newest; takes a lock.
    pub(crate) fn newest(&self) -> Arc<Live> {
        Arc::clone(&self.lock())
    }

    /// Puts another in its place, made of the newest. It is used from the next connection and
    /// request on. Returns whether there was another.
    pub(crate) fn update<E>(
        &self,
        make: impl FnOnce(&Live) -> Result<Option<Live>, E>,
    ) -> Result<bool, E> {
        let _one_at_a_time = self.updating.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(live) = make(&self.newest())? else {
            return Ok(false);
        };
        *self.lock() = Arc::new(live);
        // After the value: who sees the number finds the value, or a newer one.
        self.generation.fetch_add(1, Ordering::Release);
        Ok(true)
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
