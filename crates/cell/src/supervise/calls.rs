//! Answers the calls that a cell's filter hands over.
//!
//! Never by letting the kernel go on with an address that was looked at: the command could change
//! it in between. The supervisor copies the address, judges the copy, and makes the call itself,
//! on the command's own socket within the cell, or on a fresh one of the host's that then takes
//! that socket's place.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use netpolicy::Transport;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SendFlags, SocketFlags, SocketType, sockopt};
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};

use super::calls_observed;
use super::denial::Denials;
use super::memory::Memory;
use super::names::call_name;
use super::observe::Observer;
use super::paths::{self, Recorded, View};
use super::prepare::Prepared;
use super::rules::Rules;
use super::udp;
use crate::limits::{
    BACKLOG, CONNECT_TIME, DATAGRAM_BYTES, MESSAGE_PARTS, PENDING_CONNECTIONS, timespec,
};
use crate::seccomp::{self, Call};
use crate::sys::seccomp::{
    Answer, Notification, add_descriptor, receive, respond, still_waits, wake_in_turn,
};
use crate::sys::socket::namespace_cookie;

/// Where questions for names go.
const DOMAIN: u16 = 53;

/// The one who answers for one cell.
pub(super) struct Calls<'a> {
    listener: OwnedFd,
    command: OwnedFd,
    rules: &'a Rules,
    published: &'a [Published],
    /// Cookies of the sockets of the host's that the command may listen on.
    listeners: &'a [u64],
    denials: &'a Denials<'a>,
    /// The host's network namespace.
    host: u64,
    pending: Vec<Pending>,
    /// The command's memory, as the thread that called last has it.
    memory: Option<(u32, Memory)>,
    armed: &'a AtomicBool,
    /// Ports of the cell's own network that the command has ever listened on.
    own_ports: BTreeSet<u16>,
    observer: Option<&'a Observer>,
    /// Calls by path that the kernel would make, when they are handed over.
    by_path: Vec<Call>,
    recorded: Recorded,
}

/// A listener of the host's that the cell may take over by binding its port.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) port: u16,
    pub(crate) socket: OwnedFd,
}

/// A blocking connect that has no answer yet.
struct Pending {
    id: u64,
    socket: OwnedFd,
    /// The command's descriptor that the socket will replace; none for one within the cell.
    target: Option<u32>,
    deadline: Instant,
}

type Answered = Result<i64, Errno>;

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// It returns this.
    Answer(Answered),
    /// It is answered when that is known, or has been already.
    Later,
    /// The kernel makes it, as it would have without us.
    Continue,
}

impl<'a> Calls<'a> {
    pub(super) fn new(
        listener: OwnedFd,
        command: OwnedFd,
        prepared: &'a Prepared,
        denials: &'a Denials<'a>,
        armed: &'a AtomicBool,
    ) -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC;
        let probe = net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
        let host = namespace_cookie(probe.as_fd())?;
        wake_in_turn(listener.as_fd());
        let Prepared { rules, published, may_listen: listeners, .. } = prepared;
        let filter = prepared.blueprint.filter;
        let (pending, memory, own_ports) = (Vec::new(), None, BTreeSet::new());
        Ok(Self {
            listener,
            command,
            rules,
            published,
            listeners,
            denials,
            host,
            pending,
            memory,
            armed,
            own_ports,
            observer: prepared.observer.as_deref(),
            by_path: if filter.by_path { seccomp::by_path(filter) } else { Vec::new() },
            recorded: Recorded::new(View::of(&prepared.blueprint)),
        })
    }

    /// Until the cell has ended.
    pub(super) fn serve(mut self) {
        loop {
            let mut watched = vec![PollFd::new(&self.listener, PollFlags::IN)];
            watched.extend(self.pending.iter().map(|one| PollFd::new(&one.socket, PollFlags::OUT)));
            let wait = self.pending.iter().map(|one| one.deadline).min();
            let wait = wait.map(|at| timespec(at.saturating_duration_since(Instant::now())));
            if poll(&mut watched, wait.as_ref()).is_err() {
                continue;
            }
            let events: Vec<PollFlags> = watched.iter().map(PollFd::revents).collect();
            drop(watched);
            let (first, rest) =
                events.split_first().map_or((PollFlags::empty(), &[][..]), |e| (*e.0, e.1));
            self.settle(rest);
            if first.contains(PollFlags::IN) {
                if let Ok(notification) = receive(self.listener.as_fd()) {
                    self.answer(&notification);
                }
            } else if first.intersects(PollFlags::HUP | PollFlags::ERR) {
                return;
            }
        }
    }

    fn answer(&mut self, call: &Notification) {
        let reply = calls_observed::answer(self, call).unwrap_or_else(|| self.reply(call));
        let answer = match reply {
            Reply::Answer(answered) => answered.map_or_else(Answer::Error, Answer::Value),
            Reply::Continue => Answer::Continue,
            Reply::Later => return,
        };
        respond(self.listener.as_fd(), call.id, answer);
    }

    fn reply(&mut self, call: &Notification) -> Reply {
        Reply::Answer(match libc::c_long::from(call.number) {
            libc::SYS_connect => match self.connect(call) {
                Ok(None) => return Reply::Later,
                Ok(Some(value)) => Ok(value),
                Err(error) => Err(error),
            },
            libc::SYS_bind => self.bind(call),
            libc::SYS_listen => self.listen(call),
            libc::SYS_sendto => self.send_to(call),
            libc::SYS_sendmsg => self.send_message(call),
            _ => {
                let what = self.refused(call);
                self.deny("call", what);
                Err(Errno::PERM)
            }
        })
    }

    /// A refused call with its paths, as far as they can be read: for the record only.
    fn refused(&mut self, call: &Notification) -> String {
        let mut what = call_name(call.number);
        for at in paths::of_call(call) {
            let path = if self.is_armed() { self.path(call, at) } else { None };
            if let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) {
                what.push(' ');
                what.push_str(&paths::shown(&path));
            }
        }
        what
    }

    /// A path in the caller's memory, while it still is the caller's.
    pub(super) fn path(&mut self, call: &Notification, at: u64) -> Option<PathBuf> {
        let path = self.memory(call).ok()?.path(at);
        path.filter(|_| still_waits(self.listener.as_fd(), call.id))
    }

    /// Would the filter let the kernel make this call by path, if it were not handed over?
    pub(super) fn would_be_allowed(&self, call: &Notification) -> bool {
        self.by_path.iter().any(|row| row.fits(call.number, &call.arguments))
    }

    /// Records a path outside the cell that the command asks for.
    pub(super) fn record_path(&mut self, path: &Path) {
        if let Some(path) = self.recorded.first_time(path) {
            self.deny("path", path);
        }
    }

    /// There in a cell that is observed.
    pub(super) fn observer(&self) -> Option<&'a Observer> {
        self.observer
    }

    /// Is the command about to start, so that what it does counts?
    pub(super) fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Acquire)
    }

    pub(super) fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Records what the command was refused; what canaries were refused is as it should be.
    fn deny(&self, rule: &'static str, what: String) {
        if self.is_armed() {
            self.denials.record(rule, what);
        }
    }

    /// The command's socket, the address it means, and what kind of socket it is.
    fn socket(&self, call: &Notification) -> Result<(OwnedFd, Kind), Errno> {
        let [fd, ..] = call.arguments;
        let fd = i32::try_from(fd & 0xffff_ffff).map_err(|_| Errno::BADF)?;
        let socket = pidfd_getfd(&self.command, fd, PidfdGetfdFlags::empty())?;
        let on_host = namespace_cookie(socket.as_fd()).map_err(|_| Errno::NOTSOCK)? == self.host;
        let family = sockopt::socket_domain(&socket)?;
        let transport = match sockopt::socket_type(&socket)? {
            SocketType::STREAM => Transport::Tcp,
            SocketType::DGRAM => Transport::Udp,
            _ => return Err(Errno::OPNOTSUPP),
        };
        if family != AddressFamily::INET && family != AddressFamily::INET6 {
            return Err(Errno::AFNOSUPPORT);
        }
        let waits = !rustix::fs::fcntl_getfl(&socket)?.contains(OFlags::NONBLOCK);
        Ok((socket, Kind { on_host, family, transport, waits, number: fd.unsigned_abs() }))
    }

    /// The caller's memory. Opened for each thread that calls; once executed, the command keeps
    /// its memory, and no call before that is answered by reading it.
    pub(super) fn memory(&mut self, call: &Notification) -> Result<&Memory, Errno> {
        let memory = match self.memory.take() {
            Some((thread, memory)) if thread == call.thread => memory,
            _ => Memory::of(call.thread)?,
        };
        Ok(&self.memory.insert((call.thread, memory)).1)
    }

    /// An address from the command's memory. Only what is still the caller's own memory counts.
    fn address(&mut self, call: &Notification, at: u64, length: u64) -> Result<SocketAddr, Errno> {
        let address = self.memory(call)?.address(at, length);
        if !still_waits(self.listener.as_fd(), call.id) {
            return Err(Errno::SRCH);
        }
        address
    }

    /// None: the answer comes later.
    fn connect(&mut self, call: &Notification) -> Result<Option<i64>, Errno> {
        let [_, at, length, ..] = call.arguments;
        let (socket, kind) = self.socket(call)?;
        let to = self.address(call, at, length & 0xffff_ffff)?;
        if to.is_ipv6() && kind.family == AddressFamily::INET {
            return Err(Errno::AFNOSUPPORT);
        }
        let local = is_local(to);
        let meant = if local { loopback(to) } else { to };
        let allowed = self.rules.allow(meant, kind.transport);
        // A cell that is observed has its resolver within.
        let asks_names = self.observer.is_some() && to.port() == DOMAIN;
        let outside_first =
            kind.on_host || kind.transport == Transport::Udp && allowed && !asks_names;
        // An attempt that could only be refused costs half of a connection.
        let nobody_within = allowed && !asks_names && !self.own_ports.contains(&to.port());
        if local && !outside_first && !nobody_within {
            match self.connect_within(call, &socket, kind, to) {
                Err(Errno::CONNREFUSED) if allowed => {}
                other => return other,
            }
        }
        if !allowed {
            self.deny("connect", shown(to, kind.transport));
            return Err(Errno::PERM);
        }
        if let Some(observer) = self.observer {
            observer.connection(meant, kind.transport);
        }
        let meant = spelled_for(meant, kind.family);
        if kind.on_host {
            // Non-blocking on purpose: a queue that is full must not hold the supervisor up.
            return self.finish(call, without_waiting(&socket, meant), socket, kind, None);
        }
        let fresh = self.fresh(&socket, kind)?;
        let result = net::connect(&fresh, &meant);
        self.finish(call, result, fresh, kind, Some(kind.number))
    }

    /// Within the cell's own network, on the command's own socket.
    fn connect_within(
        &mut self,
        call: &Notification,
        socket: &OwnedFd,
        kind: Kind,
        to: SocketAddr,
    ) -> Result<Option<i64>, Errno> {
        let mut result = without_waiting(socket, to);
        if result == Err(Errno::INPROGRESS) && is_settled(socket) {
            result = sockopt::socket_error(socket)?;
            if result.is_err() {
                // As new, so that it can be used for another attempt.
                let _ = net::connect_unspec(socket);
            }
        }
        let again = rustix::io::fcntl_dupfd_cloexec(socket, 3)?;
        self.finish(call, result, again, kind, None)
    }

    /// Answers a connect by its result, now or when it is known; puts the socket in place.
    fn finish(
        &mut self,
        call: &Notification,
        result: rustix::io::Result<()>,
        socket: OwnedFd,
        kind: Kind,
        target: Option<u32>,
    ) -> Result<Option<i64>, Errno> {
        match result {
            Ok(()) => {
                self.put(call.id, &socket, target, kind.waits)?;
                Ok(Some(0))
            }
            Err(Errno::INPROGRESS) if kind.waits => {
                if self.pending.len() >= PENDING_CONNECTIONS {
                    return Err(Errno::AGAIN);
                }
                let deadline = Instant::now() + CONNECT_TIME;
                self.pending.push(Pending { id: call.id, socket, target, deadline });
                Ok(None)
            }
            Err(Errno::INPROGRESS) => {
                self.put(call.id, &socket, target, false)?;
                Err(Errno::INPROGRESS)
            }
            Err(error) => Err(error),
        }
    }

    /// Replaces the command's descriptor. The socket gets the command's own blocking mode.
    fn put(
        &self,
        id: u64,
        socket: &OwnedFd,
        target: Option<u32>,
        waits: bool,
    ) -> Result<(), Errno> {
        let Some(target) = target else { return Ok(()) };
        if waits {
            rustix::io::ioctl_fionbio(socket, false)?;
        }
        add_descriptor(self.listener.as_fd(), id, socket.as_fd(), target)
    }

    /// Connects that have come to an end since the last look.
    fn settle(&mut self, events: &[PollFlags]) {
        let now = Instant::now();
        let mut left = Vec::new();
        for (at, one) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            let ready = events.get(at).is_some_and(|events| !events.is_empty());
            if !ready && now < one.deadline {
                left.push(one);
                continue;
            }
            let result = if ready {
                sockopt::socket_error(&one.socket).unwrap_or(Err(Errno::TIMEDOUT))
            } else {
                Err(Errno::TIMEDOUT)
            };
            let put = result.and_then(|()| self.put(one.id, &one.socket, one.target, true));
            let answer = put.map_or_else(Answer::Error, |()| Answer::Value(0));
            respond(self.listener.as_fd(), one.id, answer);
        }
        self.pending = left;
    }

    /// A socket of the host's, like the command's.
    fn fresh(&self, like: &OwnedFd, kind: Kind) -> Result<OwnedFd, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let udp = kind.transport == Transport::Udp;
        let shape = if udp { SocketType::DGRAM } else { SocketType::STREAM };
        let fresh = net::socket_with(kind.family, shape, flags, None)?;
        if kind.family == AddressFamily::INET6 {
            sockopt::set_ipv6_v6only(&fresh, sockopt::ipv6_v6only(like)?)?;
        }
        if udp {
            udp::only_from(&fresh, self.rules)?;
        } else {
            // What programs set before they connect.
            if sockopt::tcp_nodelay(like)? {
                sockopt::set_tcp_nodelay(&fresh, true)?;
            }
            if sockopt::socket_keepalive(like)? {
                sockopt::set_socket_keepalive(&fresh, true)?;
            }
        }
        Ok(fresh)
    }

    fn bind(&mut self, call: &Notification) -> Answered {
        let [_, at, length, ..] = call.arguments;
        let (socket, kind) = self.socket(call)?;
        let to = self.address(call, at, length & 0xffff_ffff)?;
        let published = self.published.iter().find(|one| one.port == to.port());
        if let Some(published) = published.filter(|_| kind.transport == Transport::Tcp) {
            let own = rustix::fs::fcntl_getfl(&socket)? & OFlags::NONBLOCK;
            let flags = rustix::fs::fcntl_getfl(&published.socket)?;
            rustix::fs::fcntl_setfl(&published.socket, (flags - OFlags::NONBLOCK) | own)?;
            add_descriptor(self.listener.as_fd(), call.id, published.socket.as_fd(), kind.number)?;
            return Ok(0);
        }
        if kind.on_host || (1..1024).contains(&to.port()) {
            self.deny("bind", shown(to, kind.transport));
            return Err(if kind.on_host { Errno::PERM } else { Errno::ACCESS });
        }
        let any = to.ip().is_unspecified() && to.port() == 0;
        if any && kind.transport == Transport::Udp && self.rules.has_udp() {
            // A client's socket: it will send outside. Replaced now, because programs register
            // the descriptor for events before they send.
            let fresh = self.fresh(&socket, kind)?;
            net::bind(&fresh, &to)?;
            self.put(call.id, &fresh, Some(kind.number), kind.waits)?;
            return Ok(0);
        }
        net::bind(&socket, &to)?;
        Ok(0)
    }

    fn listen(&mut self, call: &Notification) -> Answered {
        let [_, backlog, ..] = call.arguments;
        let backlog = i32::try_from(backlog & 0xffff_ffff).unwrap_or(BACKLOG).clamp(0, BACKLOG);
        let (socket, kind) = self.socket(call)?;
        if kind.on_host {
            let cookie = sockopt::socket_cookie(&socket)?;
            if !self.listeners.contains(&cookie) {
                self.deny("listen", format!("descriptor {}", kind.number));
                return Err(Errno::PERM);
            }
        }
        net::listen(&socket, backlog)?;
        if !kind.on_host {
            let own = SocketAddr::try_from(net::getsockname(&socket)?).map(|own| own.port());
            if let (Some(observer), Ok(port)) = (self.observer, own) {
                observer.listened(port);
            }
            self.own_ports.extend(own);
        }
        Ok(0)
    }

    fn send_to(&mut self, call: &Notification) -> Answered {
        let [_, at, length, flags, address, address_length] = call.arguments;
        let to = self.address(call, address, address_length & 0xffff_ffff)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > DATAGRAM_BYTES {
            return Err(Errno::MSGSIZE);
        }
        let bytes = self.memory(call)?.bytes(at, length)?;
        if !still_waits(self.listener.as_fd(), call.id) {
            return Err(Errno::SRCH);
        }
        self.send(call, Some(to), &bytes, flags)
    }

    /// `struct msghdr`: name, its length, parts, their number, control, its length, flags.
    fn send_message(&mut self, call: &Notification) -> Answered {
        let [_, at, flags, ..] = call.arguments;
        let memory = self.memory(call)?;
        let header = memory.bytes(at, 56)?;
        let word = |from: usize| {
            let bytes = header.get(from..from + 8).and_then(|part| part.try_into().ok());
            bytes.map_or(0, u64::from_ne_bytes)
        };
        let (name, name_length) = (word(0), word(8) & 0xffff_ffff);
        let (parts, count, control_length) = (word(16), word(24), word(40));
        if control_length != 0 {
            return Err(Errno::PERM);
        }
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > MESSAGE_PARTS {
            return Err(Errno::MSGSIZE);
        }
        let to = match (name, name_length) {
            (0, _) | (_, 0) => None,
            _ => Some(memory.address(name, name_length)?),
        };
        let mut bytes = Vec::new();
        for part in memory.bytes(parts, count * 16)?.chunks_exact(16) {
            let half = |from: usize| {
                let bytes = part.get(from..from + 8).and_then(|part| part.try_into().ok());
                bytes.map_or(0, u64::from_ne_bytes)
            };
            let room = DATAGRAM_BYTES.saturating_sub(bytes.len());
            let length = usize::try_from(half(8)).unwrap_or(usize::MAX);
            if length > room {
                return Err(Errno::MSGSIZE);
            }
            bytes.extend(memory.bytes(half(0), length)?);
        }
        if !still_waits(self.listener.as_fd(), call.id) {
            return Err(Errno::SRCH);
        }
        self.send(call, to, &bytes, flags)
    }

    fn send(
        &mut self,
        call: &Notification,
        to: Option<SocketAddr>,
        bytes: &[u8],
        flags: u64,
    ) -> Answered {
        let flags = SendFlags::from_bits_truncate(u32::try_from(flags & 0xffff_ffff).unwrap_or(0))
            | SendFlags::DONTWAIT
            | SendFlags::NOSIGNAL;
        let (socket, kind) = self.socket(call)?;
        let sent = |count: usize| i64::try_from(count).map_err(|_| Errno::OVERFLOW);
        let Some(to) = to else { return sent(net::send(&socket, bytes, flags)?) };
        if kind.transport == Transport::Tcp {
            return Err(Errno::ISCONN);
        }
        let local = is_local(to);
        let meant = if local { loopback(to) } else { to };
        if !self.rules.allow(meant, Transport::Udp) {
            if local && !kind.on_host {
                return sent(net::sendto(&socket, bytes, flags, &to)?);
            }
            self.deny("send", shown(to, Transport::Udp));
            return Err(Errno::PERM);
        }
        if local && self.observer.is_some() && to.port() == DOMAIN && !kind.on_host {
            return sent(net::sendto(&socket, bytes, flags, &to)?);
        }
        if let Some(observer) = self.observer {
            observer.connection(meant, Transport::Udp);
        }
        let meant = spelled_for(meant, kind.family);
        if kind.on_host {
            return sent(net::sendto(&socket, bytes, flags, &meant)?);
        }
        let bound = net::getsockname(&socket).ok().and_then(|own| SocketAddr::try_from(own).ok());
        if bound.is_some_and(|own| own.port() != 0) {
            // Bound to a port of the cell's own network: it can not also be a socket of the host's.
            self.deny("send", shown(to, Transport::Udp));
            return Err(Errno::PERM);
        }
        let fresh = self.fresh(&socket, kind)?;
        let count = net::sendto(&fresh, bytes, flags, &meant)?;
        self.put(call.id, &fresh, Some(kind.number), kind.waits)?;
        sent(count)
    }
}

/// What a socket is.
#[derive(Debug, Clone, Copy)]
struct Kind {
    on_host: bool,
    family: AddressFamily,
    transport: Transport,
    /// Would the command's own call wait?
    waits: bool,
    number: u32,
}

/// Connects without waiting, whatever the socket's mode.
fn without_waiting(socket: &OwnedFd, to: SocketAddr) -> rustix::io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(socket)?;
    if flags.contains(OFlags::NONBLOCK) {
        return net::connect(socket, &to);
    }
    rustix::fs::fcntl_setfl(socket, flags | OFlags::NONBLOCK)?;
    let result = net::connect(socket, &to);
    rustix::fs::fcntl_setfl(socket, flags)?;
    result
}

/// Has a connection within the machine come about or been refused? That is known at once.
fn is_settled(socket: &OwnedFd) -> bool {
    let mut watched = [PollFd::new(socket, PollFlags::OUT)];
    let at_once = timespec(Duration::ZERO);
    poll(&mut watched, Some(&at_once)).is_ok_and(|ready| ready > 0)
}

/// Loopback, or the unspecified address, which means it.
fn is_local(to: SocketAddr) -> bool {
    let ip = netpolicy::canonical(to.ip());
    ip.is_loopback() || ip.is_unspecified()
}

fn loopback(to: SocketAddr) -> SocketAddr {
    match netpolicy::canonical(to.ip()) {
        std::net::IpAddr::V4(ip) if ip.is_unspecified() => {
            SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), to.port())
        }
        std::net::IpAddr::V6(ip) if ip.is_unspecified() => {
            SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), to.port())
        }
        ip => SocketAddr::new(ip, to.port()),
    }
}

/// An IPv4 address for an IPv6 socket is written as a mapped one.
fn spelled_for(to: SocketAddr, family: AddressFamily) -> SocketAddr {
    match to {
        SocketAddr::V4(v4) if family == AddressFamily::INET6 => {
            SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
        }
        SocketAddr::V6(v6) if family == AddressFamily::INET => {
            v6.ip().to_ipv4_mapped().map_or(to, |v4| SocketAddr::new(v4.into(), to.port()))
        }
        other => other,
    }
}

fn shown(to: SocketAddr, transport: Transport) -> String {
    let suffix = if transport == Transport::Udp { "/udp" } else { "" };
    format!("{to}{suffix}")
}
