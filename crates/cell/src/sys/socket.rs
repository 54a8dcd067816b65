//! Socket calls that rustix lacks: the namespace a socket belongs to, loopback up, packet filters.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::check;
use super::seccomp::Instruction;

const SO_NETNS_COOKIE: libc::c_int = 71;

/// Which network namespace the socket was made in: equal numbers, same namespace.
///
/// # Errors
///
/// `ENOPROTOOPT` before Linux 5.14, `ENOTSOCK` for another kind of file.
pub(crate) fn namespace_cookie(socket: BorrowedFd<'_>) -> Result<u64, Errno> {
    let mut cookie = 0_u64;
    let mut length: libc::socklen_t = 8;
    // SAFETY: eight bytes are there for the answer, and the length says so.
    check(unsafe {
        libc::c_long::from(libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            std::ptr::from_mut(&mut cookie).cast(),
            &raw mut length,
        ))
    })?;
    Ok(cookie)
}

/// Brings the loopback device of the current network namespace up.
///
/// # Errors
///
/// `EPERM` without the right to.
pub(crate) fn loopback_up() -> Result<(), Errno> {
    let socket = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: a zeroed request is valid; the name fits and ends in NUL.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = libc::c_char::try_from(*from).unwrap_or(0);
        }
        request.ifr_ifru.ifru_flags =
            libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(0);
        check(libc::c_long::from(libc::ioctl(
            socket.as_fd().as_raw_fd(),
            libc::SIOCSIFFLAGS,
            std::ptr::from_ref(&request),
        )))?;
    }
    Ok(())
}

/// A UDP socket on port 53 of the loopback device of the current network namespace.
///
/// # Errors
///
/// `EACCES` without the right to.
pub(crate) fn resolver() -> Result<std::os::fd::OwnedFd, Errno> {
    let (family, kind) = (AddressFamily::INET, SocketType::DGRAM);
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 53));
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

/// Lets only packets through that the program accepts, and locks that for ever.
///
/// # Errors
///
/// `EINVAL` for a program the kernel refuses.
pub(crate) fn attach_filter(socket: BorrowedFd<'_>, program: &[Instruction]) -> Result<(), Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::TOOBIG)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    let size = libc::socklen_t::try_from(size_of::<libc::sock_fprog>()).unwrap_or(0);
    // SAFETY: the program is valid for its length; the kernel copies it. The lock takes a number.
    unsafe {
        check(libc::c_long::from(libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            std::ptr::from_ref(&program).cast(),
            size,
        )))?;
        let one: libc::c_int = 1;
        check(libc::c_long::from(libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LOCK_FILTER,
            std::ptr::from_ref(&one).cast(),
            4,
        )))?;
    }
    Ok(())
}
