//! The sockets: handed in by a service manager, or made here; also while the broker runs.

use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use process::activation;

use super::{SuperviseError, io_error};
use crate::config::Settings;

/// A socket ready to be served, and whether its file is ours to remove.
pub(super) struct Socket {
    pub(super) name: String,
    pub(super) fd: OwnedFd,
    made: Option<PathBuf>,
}

impl Socket {
    fn is(&self, name: &str, path: &Path) -> bool {
        self.name == name && self.made.as_deref() == Some(path)
    }

    /// Takes its file away, if it was made here.
    pub(super) fn remove(&self) {
        if let Some(path) = &self.made {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Handed in by a service manager, or opened here.
pub(super) fn open_sockets(
    settings: &Settings,
) -> Result<(Vec<Socket>, Option<OwnedFd>), SuperviseError> {
    let handed = activation::sockets().map_err(io_error("LISTEN_FDS"))?;
    let mut metrics = None;
    let mut sockets = Vec::new();
    for (name, fd) in handed {
        let name = name.unwrap_or_else(|| "default".to_owned());
        if name == "metrics" {
            metrics = Some(fd);
        } else if activation::is_listening(fd.as_fd()) {
            let name = name.strip_suffix(".socket").unwrap_or(&name).to_owned();
            let known = settings.sockets.contains_key(&name);
            let name = if known { name } else { "default".to_owned() };
            sockets.push(Socket { name, fd, made: None });
        } else {
            let what = "LISTEN_FDS: not a unix socket that listens".to_owned();
            return Err(SuperviseError::Socket { path: name, what });
        }
    }
    if sockets.is_empty() {
        sockets =
            places(settings).map(|(name, path)| bind(name, path)).collect::<Result<_, _>>()?;
    }
    if metrics.is_none() && !settings.metrics.is_empty() {
        metrics = Some(bind_metrics(&settings.metrics)?);
    }
    Ok((sockets, metrics))
}

/// What a reload opens, and the names of what it closes.
pub(super) fn change(
    now: &[Socket],
    before: &Settings,
    next: &Settings,
) -> Result<(Vec<Socket>, Vec<String>), String> {
    if now.iter().any(|socket| socket.made.is_none()) {
        if places(next).eq(places(before)) {
            return Ok((Vec::new(), Vec::new()));
        }
        let text = "broker.socket, broker.sockets: the service manager hands sockets in; change its \
                    socket unit and restart";
        return Err(text.to_owned());
    }
    let stays = |socket: &&Socket| places(next).any(|(name, path)| socket.is(name, path));
    let closed = now.iter().filter(|socket| !stays(socket)).map(|socket| socket.name.clone());
    let mut opened = Vec::new();
    for (name, path) in places(next) {
        if now.iter().any(|socket| socket.is(name, path)) {
            continue;
        }
        match bind(name, path) {
            Ok(socket) => opened.push(socket),
            Err(error) => {
                opened.iter().for_each(Socket::remove);
                return Err(error.to_string());
            }
        }
    }
    Ok((opened, closed.collect()))
}

/// Names and paths of all sockets.
fn places(settings: &Settings) -> impl Iterator<Item = (&str, &Path)> {
    let more = settings.sockets.iter().map(|(name, path)| (name.as_str(), path.as_path()));
    [("default", settings.socket.as_path())].into_iter().chain(more)
}

/// Who is served is decided by who connects, so everybody may. The directory is not writable for
/// others, and stays over restarts: nobody can put another socket in its place meanwhile.
fn bind(name: &str, path: &Path) -> Result<Socket, SuperviseError> {
    let fault = |what: String| SuperviseError::Socket { path: path.display().to_string(), what };
    let folder = path.parent().ok_or_else(|| fault("a directory".to_owned()))?;
    if !folder.exists() {
        std::fs::create_dir_all(folder).map_err(|error| fault(error.to_string()))?;
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder, mode).map_err(|error| fault(error.to_string()))?;
    }
    clear(path).map_err(fault)?;
    let socket = UnixListener::bind(path).map_err(|error| fault(error.to_string()))?;
    let mode = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(path, mode).map_err(|error| fault(error.to_string()))?;
    Ok(Socket { name: name.to_owned(), fd: socket.into(), made: Some(path.to_owned()) })
}

/// Takes a socket away that nobody listens on any more, and nothing else.
fn clear(path: &Path) -> Result<(), String> {
    if let Ok(there) = std::fs::symlink_metadata(path) {
        if !there.file_type().is_socket() {
            return Err("is there and is no socket; move it away".to_owned());
        }
        if UnixStream::connect(path).is_ok() {
            return Err("another process listens here; stop it or name another".to_owned());
        }
        std::fs::remove_file(path).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn bind_metrics(place: &str) -> Result<OwnedFd, SuperviseError> {
    let fault = |what: String| SuperviseError::Socket { path: place.to_owned(), what };
    if place.starts_with('/') {
        clear(place.as_ref()).map_err(fault)?;
        return UnixListener::bind(place).map(Into::into).map_err(|error| fault(error.to_string()));
    }
    let address: std::net::SocketAddr = place
        .parse()
        .map_err(|_| fault("expected ADDRESS:PORT or the path of a socket".to_owned()))?;
    if !address.ip().is_loopback() {
        return Err(fault("metrics are served on loopback or a unix socket only".to_owned()));
    }
    TcpListener::bind(address).map(Into::into).map_err(|error| fault(error.to_string()))
}
