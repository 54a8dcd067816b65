//! A listener for each address that this host has, loopback excepted: there, pveproxy itself
//! stays. Never the wildcard, which would take pveproxy's port away from it.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use tokio::sync::watch;
use tracing::{info, warn};

use super::netlink::{Changes, addresses};
use super::{Open, bind};
use crate::limits::{ADDRESS_WAIT, FOLLOWED_ADDRESSES};

/// The thread that follows. Dropping it tells it to end, which takes it up to [`ADDRESS_WAIT`].
#[derive(Debug)]
pub(super) struct Follower {
    ended: Arc<AtomicBool>,
}

impl Follower {
    /// Binds what there is now, then follows changes in a thread.
    pub(super) fn start(ports: Vec<u16>, open: Arc<watch::Sender<Open>>) -> io::Result<Self> {
        let ended = Arc::new(AtomicBool::new(false));
        // Those of a process whose place was taken go on to come and go.
        let followed = |socket: &Arc<TcpListener>| {
            let address = socket.local_addr().ok();
            address.filter(|at| ports.contains(&at.port()) && is_outside(at))
        };
        let (adopted, fixed): (Vec<_>, Vec<_>) =
            open.borrow().iter().cloned().partition(|socket| followed(socket).is_some());
        let adopted = adopted.into_iter().filter_map(|socket| Some((followed(&socket)?, socket)));
        let followed: BTreeMap<_, _> = adopted.collect();
        // Asked for before the first look, so that no change falls between.
        let changes = Changes::subscribe()?;
        let (begun, first) = mpsc::sync_channel(1);
        let end = Arc::clone(&ended);
        let mut following = Following { ports, fixed, followed, complained: false, open, ended };
        thread::Builder::new().name("gate-addresses".to_owned()).spawn(move || {
            let mut missing = following.look();
            let _ = begun.send(());
            while !following.ended.load(Ordering::Relaxed) {
                // What could not be bound (an address that is still being checked for its
                // uniqueness, another program) is tried again.
                if changes.wait(ADDRESS_WAIT) || missing {
                    missing = following.look();
                }
            }
        })?;
        let _ = first.recv();
        Ok(Self { ended: end })
    }

    /// Nothing is opened any more.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.end();
    }
}

struct Following {
    ports: Vec<u16>,
    fixed: Vec<Arc<TcpListener>>,
    followed: BTreeMap<SocketAddr, Arc<TcpListener>>,
    complained: bool,
    open: Arc<watch::Sender<Open>>,
    ended: Arc<AtomicBool>,
}

impl Following {
    /// Binds what is new, lets go of what is gone. Returns whether something is missing.
    fn look(&mut self) -> bool {
        let found = match addresses() {
            Ok(found) => found,
            Err(error) => {
                warn!(%error, "the addresses of this host can not be read");
                return true;
            }
        };
        let at = |port: &u16| {
            let port = *port;
            found.iter().map(move |address| address.socket(port))
        };
        let wanted: Vec<SocketAddr> = self.ports.iter().flat_map(at).filter(is_outside).collect();
        let before = self.followed.len();
        self.followed.retain(|address, _| wanted.contains(address));
        let mut changed = before != self.followed.len();
        let mut missing = false;
        for address in wanted.into_iter().take(FOLLOWED_ADDRESSES) {
            if self.followed.contains_key(&address) {
                continue;
            }
            match bind(address).and_then(|socket| socket.set_nonblocking(true).map(|()| socket)) {
                Ok(socket) => {
                    info!(%address, "listening");
                    self.followed.insert(address, Arc::new(socket));
                    changed = true;
                }
                Err(error) => {
                    if !self.complained {
                        warn!(%address, %error, "not listening yet; is another program using it?");
                    }
                    missing = true;
                }
            }
        }
        self.complained = missing;
        if changed {
            let all = self.fixed.iter().chain(self.followed.values()).cloned().collect();
            self.open.send_if_modified(|open| {
                // Closed meanwhile: it stays so.
                let ended = self.ended.load(Ordering::Relaxed);
                if !ended {
                    *open = Arc::new(all);
                }
                !ended
            });
        }
        missing
    }
}

pub(super) fn is_outside(address: &SocketAddr) -> bool {
    let ip = match address.ip() {
        IpAddr::V6(ip) => ip.to_canonical(),
        ip @ IpAddr::V4(_) => ip,
    };
    !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast()
}
