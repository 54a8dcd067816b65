//! Reading what a waiting call points to.

use std::ffi::OsString;
use std::fs::File;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use rustix::io::Errno;

/// Longest path (PATH_MAX).
const PATH: usize = 4096;

/// The memory of a cell's process, read through /proc.
#[derive(Debug)]
pub(super) struct Memory(File);

impl Memory {
    /// Of the process that a thread belongs to.
    pub(super) fn of(thread: u32) -> Result<Self, Errno> {
        let file = File::open(format!("/proc/{thread}/mem"));
        file.map(Self).map_err(|_| Errno::SRCH)
    }

    pub(super) fn bytes(&self, at: u64, length: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; length];
        self.0.read_exact_at(&mut bytes, at).map_err(|_| Errno::FAULT)?;
        Ok(bytes)
    }

    /// A path, up to its end; none when it is longer than PATH_MAX or not there. Read page by page,
    /// because what follows it may not be mapped.
    pub(super) fn path(&self, at: u64) -> Option<PathBuf> {
        let mut path = Vec::new();
        while path.len() < PATH {
            let here = at.checked_add(u64::try_from(path.len()).ok()?)?;
            let room = usize::try_from(4096 - here % 4096).ok()?;
            let bytes = self.bytes(here, room).ok()?;
            match bytes.iter().position(|byte| *byte == 0) {
                Some(end) => {
                    path.extend(bytes.get(..end)?);
                    return Some(PathBuf::from(OsString::from_vec(path)));
                }
                None => path.extend(bytes),
            }
        }
        None
    }

    /// Writes into a waiting thread's memory.
    pub(super) fn write(thread: u32, at: u64, bytes: &[u8]) -> Result<(), Errno> {
        let file = File::options().write(true).open(format!("/proc/{thread}/mem"));
        file.and_then(|file| file.write_all_at(bytes, at)).map_err(|_| Errno::FAULT)
    }

    /// An IPv4 or IPv6 address with port; `EAFNOSUPPORT` for every other family.
    pub(super) fn address(&self, at: u64, length: u64) -> Result<SocketAddr, Errno> {
        // struct sockaddr_in6 is the longest that counts; more is ignored, as the kernel does.
        let length = usize::try_from(length.min(28)).unwrap_or(28);
        if length < 2 {
            return Err(Errno::INVAL);
        }
        parse(&self.bytes(at, length)?)
    }
}

/// `struct sockaddr_in` and `struct sockaddr_in6` (ip(7), ipv6(7)).
pub(crate) fn parse(bytes: &[u8]) -> Result<SocketAddr, Errno> {
    let array = |from: usize| -> Option<[u8; 4]> { bytes.get(from..from + 4)?.try_into().ok() };
    let family = bytes.first_chunk::<2>().map(|two| u16::from_ne_bytes(*two));
    let port = bytes
        .get(2..)
        .and_then(|rest| rest.first_chunk::<2>())
        .map_or(0, |two| u16::from_be_bytes(*two));
    match family.map(i32::from) {
        Some(libc::AF_INET) => {
            let address = array(4).filter(|_| bytes.len() >= 16).ok_or(Errno::INVAL)?;
            Ok(SocketAddrV4::new(address.into(), port).into())
        }
        Some(libc::AF_INET6) => {
            let address: Option<[u8; 16]> = bytes.get(8..24).and_then(|part| part.try_into().ok());
            let flow = array(4).map_or(0, u32::from_ne_bytes);
            // RFC 2133 had no scope; the kernel takes 24 bytes too.
            let scope = array(24).map_or(0, u32::from_ne_bytes);
            let address = address.ok_or(Errno::INVAL)?;
            Ok(SocketAddrV6::new(address.into(), port, flow, scope).into())
        }
        _ => Err(Errno::AFNOSUPPORT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_read_as_the_kernel_lays_them_out() {
        let mut four = vec![2, 0, 0x1f, 0x90, 127, 0, 0, 1];
        four.resize(16, 0);
        assert_eq!(parse(&four), Ok("127.0.0.1:8080".parse().unwrap()));
        assert_eq!(parse(&four[..8]), Err(Errno::INVAL));
        let mut six = vec![10, 0, 0, 80, 0, 0, 0, 0];
        six.extend([0; 15]);
        six.push(1);
        assert_eq!(parse(&six), Ok("[::1]:80".parse().unwrap()));
        assert_eq!(parse(&[0, 0, 0, 0]), Err(Errno::AFNOSUPPORT));
        assert_eq!(parse(&[1, 0, b'/']), Err(Errno::AFNOSUPPORT));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
