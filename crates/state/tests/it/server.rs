//! A genuine server of a test's own: `redis-server`, or `valkey-server` where that is what there is.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use state::{Dial, RedisOptions, Wire};
use tokio::net::UnixStream;

/// What tests that pass over say.
pub(crate) const ABSENT: &str = "neither redis-server nor valkey-server is installed: passed over";

/// Everything is on the disk before it is acknowledged.
pub(crate) const DURABLE: &[&str] =
    &["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"];

/// Nothing is ever on a disk.
pub(crate) const FORGETFUL: &[&str] = &["--appendonly", "no"];

/// A server on a unix socket in a directory of its own. Dropping it kills it.
pub(crate) struct Server {
    pub(crate) directory: tempfile::TempDir,
    options: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// None where no server is installed.
    pub(crate) fn start(options: &[&str]) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut server = Self { directory, options, child: None };
        server.again().then_some(server)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// Starts it with what is on its disk. False where no server is installed.
    pub(crate) fn again(&mut self) -> bool {
        self.again_at(&self.socket())
    }

    /// Starts it where nobody looks for it, until its socket is moved to its place.
    pub(crate) fn again_at(&mut self, socket: &Path) -> bool {
        let _ = std::fs::remove_file(socket);
        let spawned = ["redis-server", "valkey-server"].iter().find_map(|program| {
            let mut command = Command::new(program);
            command.args(["--port", "0", "--save", ""]).arg("--unixsocket").arg(socket);
            command.arg("--dir").arg(self.directory.path()).args(&self.options);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().ok()
        });
        let Some(child) = spawned else {
            eprintln!("{ABSENT}");
            return false;
        };
        self.child = Some(child);
        let end = Instant::now() + Duration::from_secs(20);
        while !answers(socket) {
            assert!(Instant::now() < end, "the server does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// As a power failure does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether it has read its file.
fn answers(socket: &Path) -> bool {
    use std::io::{Read as _, Write as _};
    let Ok(mut stream) = std::os::unix::net::UnixStream::connect(socket) else { return false };
    let mut answer = [0; 5];
    stream.write_all(b"PING\r\n").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && (answer == *b"+PONG" || answer == *b"-NOAU")
}

/// The way to a socket.
pub(crate) fn options(socket: &Path) -> RedisOptions {
    let path = socket.to_owned();
    let dial: Dial = Box::new(move || {
        let path = path.clone();
        Box::pin(async move {
            UnixStream::connect(path).await.map(|stream| Box::new(stream) as Box<dyn Wire>)
        })
    });
    let name = "redis+unix:test".to_owned();
    RedisOptions { name, dial, user: None, password: None, database: 0, prefix: "test".into() }
}
