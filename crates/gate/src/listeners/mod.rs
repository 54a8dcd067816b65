//! Sockets that accept connections: bound at the start, handed in, or following the addresses of
//! this host.
//!
//! All workers accept on the same set. It is published through a channel, so that a listener can
//! come and go while they run.

mod accepting;
mod follow;
mod netlink;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use tokio::sync::watch;

use crate::limits::LISTEN_BACKLOG;
use crate::running::StartError;

pub(crate) use accepting::Accepting;
use follow::{Follower, is_outside};

/// Bound sockets, before any connection is accepted. Bound apart from [`start`](crate::start) so
/// that a program can bind as root and start as someone else.
#[derive(Debug)]
pub struct Listeners {
    sockets: Vec<TcpListener>,
    follow: Vec<u16>,
    /// Somebody else has bound them, and keeps them.
    handed_in: bool,
}

/// What is open now.
pub type Open = Arc<Vec<Arc<TcpListener>>>;

/// The set and whoever changes it.
#[derive(Debug)]
pub(crate) struct Listening {
    open: Arc<watch::Sender<Open>>,
    follower: Option<Follower>,
    pub(crate) handed_in: bool,
}

impl Listeners {
    /// Binds every address; port 0 takes a free one.
    ///
    /// # Errors
    /// [`StartError::Bind`] with the address at fault.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self, StartError> {
        let sockets = addresses.iter().map(|address| {
            bind(*address).map_err(|source| StartError::Bind { address: *address, source })
        });
        let sockets = sockets.collect::<Result<_, _>>()?;
        Ok(Self { sockets, follow: Vec::new(), handed_in: false })
    }

    /// Sockets that someone else has bound, and that listen already. They stand for everything
    /// the configuration says about listeners, in a process that takes over, too.
    #[must_use]
    pub fn from_sockets(sockets: Vec<TcpListener>) -> Self {
        Self { sockets, follow: Vec::new(), handed_in: true }
    }

    /// Sockets of a process before this one: those that are to be listened on still. What is
    /// missing of `addresses` is bound.
    ///
    /// # Errors
    /// [`StartError::Bind`] with the address at fault.
    pub fn taken(
        sockets: Vec<TcpListener>,
        addresses: &[SocketAddr],
        follow: &[u16],
    ) -> Result<Self, StartError> {
        let at = |socket: &TcpListener| socket.local_addr().ok();
        let wanted = |address: &SocketAddr| {
            addresses.contains(address) || follow.contains(&address.port()) && is_outside(address)
        };
        let kept: Vec<_> =
            sockets.into_iter().filter(|one| at(one).is_some_and(|at| wanted(&at))).collect();
        let missing =
            addresses.iter().filter(|one| !kept.iter().any(|kept| at(kept) == Some(**one)));
        let missing: Vec<SocketAddr> = missing.copied().collect();
        let mut all = Self::bind(&missing)?;
        all.sockets.extend(kept);
        Ok(all.following(follow))
    }

    /// Also these ports on every address of this host that is not loopback, for as long as it
    /// has the address.
    #[must_use]
    pub fn following(self, ports: &[u16]) -> Self {
        Self { follow: ports.to_vec(), ..self }
    }

    /// The addresses bound, with the ports taken.
    ///
    /// # Errors
    /// A socket that has no address.
    pub fn local_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        self.sockets.iter().map(TcpListener::local_addr).collect()
    }

    /// Opens them to the workers.
    pub(crate) fn open(self) -> io::Result<Listening> {
        for socket in &self.sockets {
            socket.set_nonblocking(true)?;
        }
        let fixed: Vec<_> = self.sockets.into_iter().map(Arc::new).collect();
        let open = Arc::new(watch::Sender::new(Arc::new(fixed)));
        let follow = (!self.follow.is_empty()).then_some(self.follow);
        let follower = follow.map(|ports| Follower::start(ports, Arc::clone(&open))).transpose()?;
        Ok(Listening { open, follower, handed_in: self.handed_in })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sockets.is_empty() && self.follow.is_empty()
    }
}

impl Listening {
    /// For a worker, or whoever wants to know.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Open> {
        self.open.subscribe()
    }

    /// Gives up all of them; the workers that have copies let go of theirs.
    pub(crate) fn close(&self) {
        self.follower.iter().for_each(Follower::end);
        self.open.send_replace(Open::default());
    }
}

/// The addresses of a set, with the ports taken.
pub(crate) fn addresses(open: &Open) -> Vec<SocketAddr> {
    open.iter().filter_map(|socket| socket.local_addr().ok()).collect()
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    // std asks for 128: a burst of connections would fill that in a moment, and a lawful client
    // would wait a second to try again.
    rustix::net::listen(&listener, LISTEN_BACKLOG)?;
    Ok(listener)
}
