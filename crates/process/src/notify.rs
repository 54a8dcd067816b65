//! Telling a service manager how it goes (sd_notify(3)).

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// How long a manager may take to have room for a message.
const PATIENCE: Duration = Duration::from_secs(1);

/// Most descriptors in one message; the kernel takes 253 (`SCM_MAX_FD`).
const DESCRIPTORS: usize = 253;

/// The way to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notify {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
    silent: AtomicBool,
}

impl Notify {
    /// From `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    #[must_use]
    pub fn from_env() -> Self {
        let variable = std::env::var_os;
        let address =
            variable("NOTIFY_SOCKET").and_then(|name| match name.as_bytes().strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name).ok(),
                None => SocketAddr::from_pathname(&name).ok(),
            });
        // Connected now: a process that confines itself may not find the socket later.
        let connect = |address: SocketAddr| {
            let socket = UnixDatagram::unbound()?;
            socket.connect_addr(&address)?;
            // A manager that does not read must not keep a service from ending.
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok::<_, std::io::Error>(socket)
        };
        let socket = address.and_then(|address| connect(address).ok());
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|_| ours).map(Duration::from_micros);
        Self { socket, watchdog, silent: AtomicBool::new(false) }
    }

    /// How often the watchdog wants to hear something: twice in its time.
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        self.watchdog.map(|time| time / 2).filter(|time| !time.is_zero())
    }

    /// Sends lines such as `READY=1`. A manager that does not listen is not an error of ours.
    pub fn tell(&self, lines: &str) {
        if let Some(socket) = self.socket() {
            let _ = socket.send(lines.as_bytes());
        }
    }

    /// Says nothing any more: the service is another process, and the manager would take the words
    /// of this one for that one's.
    pub fn fall_silent(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    /// Gives the manager these descriptors to keep, under one name and in the place of those it
    /// kept under it: the next process gets them, however this one ends. As many as the unit's
    /// FileDescriptorStoreMax= allows are kept.
    pub fn keep(&self, name: &str, fds: &[BorrowedFd<'_>]) {
        let Some(socket) = self.socket() else { return };
        self.tell(&format!("FDSTOREREMOVE=1\nFDNAME={name}"));
        let line = format!("FDSTORE=1\nFDNAME={name}");
        for some in fds.chunks(DESCRIPTORS) {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if control.push(SendAncillaryMessage::ScmRights(some)) {
                let line = [IoSlice::new(line.as_bytes())];
                let _ = sendmsg(socket, &line, &mut control, SendFlags::NOSIGNAL);
            }
        }
    }

    fn socket(&self) -> Option<&UnixDatagram> {
        self.socket.as_ref().filter(|_| !self.silent.load(Ordering::Relaxed))
    }
}
