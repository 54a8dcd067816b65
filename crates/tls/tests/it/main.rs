//! Handshakes as peers see them: our own, and OpenSSL, Python and curl.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod foreign;
mod handshake;

use std::time::{Duration, UNIX_EPOCH};

use tls::{Acceptor, Alpn, Authority, Identity};

/// Longest wait for a peer in these tests; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The machine's clock, as that is what the TLS libraries judge validity by.
fn now() -> Duration {
    UNIX_EPOCH.elapsed().unwrap()
}

struct Pki {
    authority: Authority,
    identity: Identity,
}

impl Pki {
    fn new() -> Self {
        Self::at(now())
    }

    fn at(time: Duration) -> Self {
        let authority = Authority::generate("Proxward test authority", time).unwrap();
        let names = ["pve1", "localhost", "127.0.0.1", "::1", "*.example.org"];
        let identity = authority.issue(&names, time).unwrap();
        Self { authority, identity }
    }

    fn acceptor(&self, alpn: Alpn) -> Acceptor {
        Acceptor::new(&self.identity, alpn).unwrap()
    }
}
