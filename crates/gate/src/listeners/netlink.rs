//! The addresses of this host, and word when they change (rtnetlink(7)).

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto, socket_with,
};

use crate::limits::{FOLLOWED_ADDRESSES, NETLINK_MESSAGE};

const RTMGRP_IPV4_IFADDR: u32 = 0x10;
const RTMGRP_IPV6_IFADDR: u32 = 0x100;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x301;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// `nlmsghdr` and `ifaddrmsg`.
const HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;

/// One address; those of a link alone have the interface with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Address {
    ip: IpAddr,
    interface: u32,
}

impl Address {
    pub(super) fn socket(self, port: u16) -> SocketAddr {
        match self.ip {
            IpAddr::V6(ip) if ip.is_unicast_link_local() => {
                SocketAddr::V6(SocketAddrV6::new(ip, port, 0, self.interface))
            }
            ip => SocketAddr::new(ip, port),
        }
    }
}

/// Hears of changes.
pub(super) struct Changes(OwnedFd);

impl Changes {
    pub(super) fn subscribe() -> io::Result<Self> {
        let socket = route(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        bind(&socket, &SocketAddrNetlink::new(0, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))?;
        Ok(Self(socket))
    }

    /// Waits for a change. What it was is looked up anew: messages can get lost.
    pub(super) fn wait(&self, most: Duration) -> bool {
        let most = Timespec::try_from(most).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        if !matches!(poll(&mut fds, Some(&most)), Ok(1..)) {
            return false;
        }
        let mut buffer = vec![0; NETLINK_MESSAGE];
        // An overflow of the queue is read as an error, and is a change too.
        while matches!(recv(&self.0, &mut buffer[..], RecvFlags::empty()), Ok((1.., _))) {}
        true
    }
}

/// All addresses of all interfaces, at most [`FOLLOWED_ADDRESSES`].
pub(super) fn addresses() -> io::Result<BTreeSet<Address>> {
    let socket = route(SocketFlags::CLOEXEC)?;
    let mut request = Vec::with_capacity(HEADER + ADDRESS_HEADER);
    let length = u32::try_from(HEADER + ADDRESS_HEADER).unwrap_or(0);
    request.extend(length.to_ne_bytes());
    request.extend(RTM_GETADDR.to_ne_bytes());
    request.extend(DUMP.to_ne_bytes());
    request.resize(HEADER + ADDRESS_HEADER, 0);
    sendto(&socket, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut found = BTreeSet::new();
    let mut buffer = vec![0; NETLINK_MESSAGE];
    loop {
        let (read, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        match parse(buffer.get(..read).unwrap_or_default(), &mut found) {
            Parsed::More => {}
            Parsed::Done => return Ok(found),
            Parsed::Wrong => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

fn route(flags: SocketFlags) -> io::Result<OwnedFd> {
    // NETLINK_ROUTE is protocol 0.
    Ok(socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parsed {
    More,
    Done,
    Wrong,
}

/// Adds the addresses of the messages in one datagram.
fn parse(mut bytes: &[u8], found: &mut BTreeSet<Address>) -> Parsed {
    while !bytes.is_empty() {
        let (Some(length), Some(kind)) = (number32(bytes, 0), number16(bytes, 4)) else {
            return Parsed::Wrong;
        };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(body) = bytes.get(HEADER..length) else { return Parsed::Wrong };
        match kind {
            NLMSG_DONE => return Parsed::Done,
            NLMSG_ERROR => return Parsed::Wrong,
            RTM_NEWADDR if found.len() < FOLLOWED_ADDRESSES => found.extend(address(body)),
            _ => {}
        }
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
    }
    Parsed::More
}

/// `ifaddrmsg` and its attributes. Of a point-to-point link, `IFA_LOCAL` is our end.
fn address(body: &[u8]) -> Option<Address> {
    let family = *body.first()?;
    let interface = number32(body, 4)?;
    let mut attributes = body.get(ADDRESS_HEADER..)?;
    let (mut local, mut any) = (None, None);
    while let (Some(length), Some(kind)) = (number16(attributes, 0), number16(attributes, 2)) {
        let length = usize::from(length);
        let value = attributes.get(4..length)?;
        match kind {
            IFA_LOCAL => local = ip(family, value),
            IFA_ADDRESS => any = ip(family, value),
            _ => {}
        }
        attributes = attributes.get(aligned(length)..).unwrap_or_default();
    }
    local.or(any).map(|ip| Address { ip, interface })
}

fn ip(family: u8, value: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => <[u8; 4]>::try_from(value).ok().map(|four| Ipv4Addr::from(four).into()),
        AF_INET6 => <[u8; 16]>::try_from(value).ok().map(|six| Ipv6Addr::from(six).into()),
        _ => None,
    }
}

fn number32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

fn number16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(HEADER + body.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend(body);
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    fn new_address(family: u8, interface: u32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![family, 24, 0, 0];
        body.extend(interface.to_ne_bytes());
        for (kind, value) in attributes {
            body.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            body.extend(*value);
            body.resize(aligned(body.len()), 0);
        }
        message(RTM_NEWADDR, &body)
    }

    #[test]
    fn our_end_of_a_link_and_the_interface_of_a_link_local_address() {
        let mut bytes =
            new_address(AF_INET, 2, &[(IFA_ADDRESS, &[10, 0, 0, 1]), (IFA_LOCAL, &[10, 0, 0, 2])]);
        let six = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).octets();
        bytes.extend(new_address(AF_INET6, 3, &[(9, b"abc"), (IFA_ADDRESS, &six)]));
        let mut found = BTreeSet::new();
        assert_eq!(parse(&bytes, &mut found), Parsed::More);
        let sockets: Vec<_> = found.iter().map(|one| one.socket(8006).to_string()).collect();
        assert_eq!(sockets, ["10.0.0.2:8006", "[fe80::1%3]:8006"]);
        assert_eq!(parse(&message(NLMSG_DONE, &[0; 4]), &mut found), Parsed::Done);
        assert_eq!(parse(&message(NLMSG_ERROR, &[0; 4]), &mut found), Parsed::Wrong);
        assert_eq!(parse(&[9, 0, 0], &mut found), Parsed::Wrong);
    }

    #[test]
    fn this_host_has_loopback() {
        let found = addresses().unwrap();
        assert!(found.iter().any(|one| one.ip.is_loopback()), "{found:?}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_stand_still(bytes in prop::collection::vec(0u8..32, 0..256)) {
            parse(&bytes, &mut BTreeSet::new());
        }
    }
}
