//! A mock for tests in a few words.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use secrets::SecretString;
use telemetry::Clock;
use tls::Authority;

use crate::error::StartError;
use crate::seed::Seed;
use crate::server::Mock;
use crate::shared::{Api, Config};

/// Names in the certificate of a mock that makes its own.
const NAMES: [&str; 3] = ["127.0.0.1", "::1", "localhost"];

/// Builds a mock on a free port of 127.0.0.1, with a certificate authority of its own, a clock
/// that can be moved, and tasks that end at once. [`Mock::builder`] makes one.
///
/// ```
/// let pve = mock::Mock::builder().guests(20).start()?;
/// let (url, ca, authorization) = (pve.url(), pve.ca_pem(), pve.authorization()?);
/// # assert!(url.starts_with("https://127.0.0.1:") && ca.is_some_and(|ca| ca.contains("BEGIN")));
/// # assert!(authorization.expose().starts_with("PVEAPIToken=root@pam!ci="));
/// // … a client that sends `Authorization: {authorization}` to `{url}/api2/json/…` …
/// pve.control().advance(std::time::Duration::from_secs(3600))?;
/// assert_eq!(pve.control().status().guests, 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Builder {
    seed: Seed,
    api: Api,
    time_scale: f64,
    frozen: Option<Duration>,
    plain: bool,
    state_file: Option<PathBuf>,
    passwords: Vec<(String, SecretString)>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            seed: Seed::small(),
            api: Api::V9,
            time_scale: 0.0,
            frozen: None,
            plain: false,
            state_file: None,
            passwords: Vec::new(),
        }
    }

    /// What the cluster holds, [`Seed::small`] otherwise.
    #[must_use]
    pub fn seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Adds generated guests until there are that many.
    #[must_use]
    pub fn guests(mut self, count: usize) -> Self {
        self.seed = self.seed.with_guests(count);
        self
    }

    /// The API, that of 9.2 otherwise; see [`Config::api`].
    #[must_use]
    pub fn api(mut self, api: Api) -> Self {
        self.api = api;
        self
    }

    /// Stretches tasks and the delay of failed logins; 1 is a genuine node's pace, 0 is at once
    /// and the default here.
    #[must_use]
    pub fn time_scale(mut self, factor: f64) -> Self {
        self.time_scale = factor;
        self
    }

    /// Lets the clock stand at a time since 1970. Otherwise it runs on from the system's time.
    #[must_use]
    pub fn frozen_at(mut self, unix: Duration) -> Self {
        self.frozen = Some(unix);
        self
    }

    /// Sets a password, also over that of a state file; without one nobody can log in by password.
    #[must_use]
    pub fn password(mut self, user: &str, password: &str) -> Self {
        self.passwords.push((user.to_owned(), SecretString::from(password)));
        self
    }

    /// Serves HTTP without TLS.
    #[must_use]
    pub fn plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// Keeps everything in a file; see [`Config::state_file`].
    #[must_use]
    pub fn state_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.state_file = Some(path.into());
        self
    }

    /// Starts it; it serves when this returns, and ends when the [`Mock`] is dropped.
    ///
    /// # Errors
    /// As of [`Mock::start`]; or no port is free.
    pub fn start(self) -> Result<Mock, StartError> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        // Clients judge certificates by the system's clock, whatever the mock takes for the time.
        let today = Clock::system().unix();
        let (clock, hands) = Clock::steered(self.frozen.unwrap_or(today), self.frozen.is_none());
        let mut config = Config::new(self.seed);
        config.api = self.api;
        config.clock = clock;
        config.virtual_clock = Some(hands);
        config.time_scale = self.time_scale;
        config.state_file = self.state_file;
        config.passwords = self.passwords;
        config.resettable = true;
        let fault = |error: tls::CertificateError| StartError::Tls(error.to_string());
        let mut ca = None;
        if !self.plain {
            let authority = Authority::generate("Proxward mock", today).map_err(fault)?;
            config.identity = Some(authority.issue(&NAMES, today).map_err(fault)?);
            ca = Some(authority.certificate_pem().to_owned());
        }
        let mut mock = Mock::start(config, listener)?;
        mock.ca = ca;
        Ok(mock)
    }
}
