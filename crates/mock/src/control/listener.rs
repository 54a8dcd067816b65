//! Where the control API listens.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::error::StartError;

/// A bound address that only this machine, or only this user, can reach.
#[derive(Debug)]
pub struct ControlListener(pub(super) Bound);

#[derive(Debug)]
pub(super) enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl ControlListener {
    /// Binds `127.0.0.1:PORT`, `[::1]:PORT`, or the unix socket of a path, which is told by its
    /// slash and gets mode 0600. Port 0 takes a free one. A socket that nobody listens on any more
    /// is replaced.
    ///
    /// # Errors
    /// [`StartError::Control`]: an address of others, a taken one, a path that can not be used.
    pub fn bind(place: &str) -> Result<Self, StartError> {
        let refused = |text: String| StartError::Control(format!("control API at {place}: {text}"));
        if place.contains('/') {
            let path = Path::new(place.strip_prefix("unix:").unwrap_or(place));
            return bind_unix(path).map(Self).map_err(|error| refused(error.to_string()));
        }
        let address: SocketAddr = place.parse().map_err(|_| {
            refused("expected ADDRESS:PORT, or a path with a slash for a socket".to_owned())
        })?;
        if !address.ip().is_loopback() {
            let text = "it asks for no credential and listens on loopback or a socket only";
            return Err(refused(text.to_owned()));
        }
        let listener = TcpListener::bind(address).map_err(|error| refused(error.to_string()))?;
        Ok(Self(Bound::Tcp(listener)))
    }
}

/// `http://127.0.0.1:PORT`, or `unix:PATH`.
impl fmt::Display for ControlListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Bound::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "http://{address}"),
                Err(error) => write!(f, "({error})"),
            },
            Bound::Unix(_, path) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn bind_unix(path: &Path) -> io::Result<Bound> {
    let is_socket =
        std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket && UnixStream::connect(path).is_err() {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    // Who connects before this is asked for its user id like everybody.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(Bound::Unix(listener, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_can_reach_it() {
        for wrong in ["0.0.0.0:0", "192.0.2.1:0", "[::]:0", "localhost:0", "8007", ""] {
            assert!(matches!(ControlListener::bind(wrong), Err(StartError::Control(_))), "{wrong}");
        }
        let listener = ControlListener::bind("127.0.0.1:0").unwrap();
        assert!(listener.to_string().starts_with("http://127.0.0.1:"));
    }

    #[test]
    fn a_socket_is_private_and_an_abandoned_one_is_replaced() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("control");
        let text = path.to_str().unwrap();
        let first = ControlListener::bind(text).unwrap();
        assert_eq!(first.to_string(), format!("unix:{text}"));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(ControlListener::bind(text).is_err(), "it is in use");
        drop(first);
        ControlListener::bind(text).unwrap();
        let file = place.path().join("file");
        std::fs::write(&file, "kept").unwrap();
        assert!(ControlListener::bind(file.to_str().unwrap()).is_err());
        assert_eq!(std::fs::read(&file).unwrap(), b"kept");
    }
}
