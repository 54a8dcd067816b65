//! A gate in front of the scripted peer.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use gate::control::{Request, SOCKET};
use gate::{Config, Destination, Listeners, Running, Stopped, Takeover};
use telemetry::Clock;
use telemetry::metrics::Registry;
use tls::Authority;

/// A running gate and what a client needs to trust it.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    pub(crate) authority: String,
    registry: Registry,
    running: Option<Running>,
}

impl Gate {
    pub(crate) fn start(upstream: SocketAddr) -> Self {
        Self::with(upstream, |_| {})
    }

    pub(crate) fn with(upstream: SocketAddr, change: impl FnOnce(&mut Config)) -> Self {
        Self::try_with(upstream, change).unwrap()
    }

    pub(crate) fn try_with(
        upstream: SocketAddr,
        change: impl FnOnce(&mut Config),
    ) -> Result<Self, gate::StartError> {
        Self::begin(upstream, change, None)
    }

    /// Takes the place of the gate with this state directory.
    pub(crate) fn successor(upstream: SocketAddr, state: &Path) -> Self {
        let status = gate::control::call(&state.join(SOCKET), &Request::Status).unwrap();
        let listen = status["listen"][0].as_str().unwrap().parse().unwrap();
        let place = Takeover::begin(state).unwrap();
        let change = |config: &mut Config| {
            config.listen = vec![listen];
            config.state = Some(state.to_owned());
            config.sessions.pass_unknown_console_tickets = true;
        };
        Self::begin(upstream, change, Some(place)).unwrap()
    }

    fn begin(
        upstream: SocketAddr,
        change: impl FnOnce(&mut Config),
        place: Option<Takeover>,
    ) -> Result<Self, gate::StartError> {
        // Certificates are judged by the machine's clock.
        let (clock, unix) = (Clock::system(), Clock::system().unix());
        let authority = Authority::generate("test", unix).unwrap();
        let identity = authority.issue(&["127.0.0.1"], unix).unwrap();
        let destination = Destination::new(&format!("http://{upstream}"), None).unwrap();
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let mut config = Config::new(listen, destination, identity);
        config.workers = NonZeroUsize::MIN;
        config.limits.drain = Duration::from_secs(5);
        // Failures are counted; nobody waits for them here.
        config.login.delay = Duration::ZERO;
        change(&mut config);
        let registry = Registry::new();
        let running = match place {
            None => {
                let listeners = Listeners::bind(&config.listen).unwrap();
                gate::start(config, listeners, clock, &registry)?
            }
            Some(mut place) => {
                let listeners = place.listeners(&config.listen, &[]).unwrap();
                place.release().unwrap();
                let running = gate::prepare(config, listeners, clock, &registry)?;
                place.done().unwrap();
                running.serve();
                running
            }
        };
        Ok(Self {
            address: running.local_addrs()[0],
            authority: authority.certificate_pem().to_owned(),
            registry,
            running: Some(running),
        })
    }

    /// Waits until a counter, given as the exposition writes it, has this value. Counting
    /// follows the answer, so the value may come a moment after it.
    pub(crate) fn counts(&self, series: &str, expected: u64) {
        let line = format!("{series} {expected}");
        for _ in 0..1000 {
            if self.registry.encode().lines().any(|have| have == line) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("no {line} in {}", self.registry.encode());
    }

    /// Whether every worker has ended within a moment.
    pub(crate) fn ends(&self) -> bool {
        let ended = self.running.as_ref().unwrap().ended();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs(10), ended).await.is_ok() })
    }

    pub(crate) fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    pub(crate) fn reload(&self, config: &Config) -> Result<gate::Reloaded, gate::ReloadError> {
        self.running().reload(config)
    }

    /// All metrics, as a scraper would see them.
    pub(crate) fn metrics(&self) -> String {
        self.registry.encode()
    }

    /// Where its metrics are read.
    pub(crate) fn metrics_address(&self) -> Option<gate::MetricsAddress> {
        self.running().metrics_address().cloned()
    }

    pub(crate) fn stop(&self) {
        self.running.as_ref().unwrap().stop();
    }

    pub(crate) fn join(mut self) -> Stopped {
        self.running.take().unwrap().join()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            let stopped = running.shutdown();
            if !std::thread::panicking() {
                assert_eq!(stopped.failed, 0, "a worker panicked");
            }
        }
    }
}
