//! The gate as the records meet it.

use std::net::SocketAddr;
use std::time::Duration;

use super::replay::IDLE;
use anyhow::{Context as _, Result};
use gate::{Config, Destination, Listeners, Running};
use telemetry::Clock;
use telemetry::metrics::Registry;
use tls::{Fingerprint, Identity, Trust};

/// First bytes of a PROXY header of version 2 (PROXY protocol specification, section 2.2).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const VERSION_AND_COMMAND: u8 = 0x21;
/// TCP over IPv4.
const FAMILY: u8 = 0x11;

/// A gate in front of one mock, which believes the PROXY headers of loopback.
pub(super) struct Gate {
    running: Option<Running>,
    address: SocketAddr,
}

impl Gate {
    pub(super) fn start(
        mock: SocketAddr,
        fingerprint: Fingerprint,
        identity: Identity,
        clock: Clock,
    ) -> Result<Self> {
        let destination =
            Destination::new(&format!("https://{mock}"), Some(&Trust::Pin(fingerprint)))?;
        let listeners = Listeners::bind(&[([127, 0, 0, 1], 0).into()])?;
        let mut config = Config::new(listeners.local_addrs()?, destination, identity);
        config.proxy_protocol_from = "127.0.0.0/8".parse()?;
        // The records' console tickets were handed out by the recorded server.
        config.sessions.pass_unknown_console_tickets = true;
        // Deliberate delays are counted by the mock, which does not wait either.
        config.login.delay = Duration::ZERO;
        // As short as the mock's patience, for the records that end in silence.
        (config.limits.head, config.limits.body_idle) = (IDLE, IDLE);
        let running = gate::start(config, listeners, clock, &Registry::new())?;
        let address = *running.local_addrs().first().context("the gate listens nowhere")?;
        Ok(Self { running: Some(running), address })
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The PROXY header that gives record `seq` a source address of its own (RFC 2544's
    /// 198.18.0.0/15).
    pub(super) fn announce(&self, seq: u64) -> Vec<u8> {
        let [.., high, low] = seq.to_be_bytes();
        let mut header = SIGNATURE.to_vec();
        header.extend([VERSION_AND_COMMAND, FAMILY, 0, 12]);
        header.extend([198, 18, high, low]);
        header.extend([127, 0, 0, 1]);
        header.extend(40_000_u16.to_be_bytes());
        header.extend(self.address.port().to_be_bytes());
        header
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown();
        }
    }
}
