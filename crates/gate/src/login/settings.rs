//! `[gate.login]`: as it is written, and as it is meant.

use std::path::PathBuf;
use std::time::Duration;

use limits::{MAX_THRESHOLD, OffenceRules};
use netpolicy::AddressSet;
use serde::Deserialize;

use crate::config::ConfigError;
use crate::limits::{LOGIN_DELAY, LOGIN_TIME};

/// `[gate.login]` as it is written; what is absent keeps the default of [`LoginRules`].
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct LoginSettings {
    /// See [`LoginRules::broker`].
    pub broker: Option<PathBuf>,
    /// See [`LoginRules::window`].
    pub window_seconds: Option<u64>,
    /// See [`LoginRules::delay`].
    pub delay_seconds: Option<u64>,
    /// See [`LoginRules::longest_delay`].
    pub longest_delay_seconds: Option<u64>,
    /// See [`LoginRules::lock_after`].
    pub lock_after: Option<u32>,
    /// See [`LoginRules::first_lock`].
    pub first_lock_seconds: Option<u64>,
    /// See [`LoginRules::longest_lock`].
    pub longest_lock_seconds: Option<u64>,
    /// See [`LoginRules::ban_after`].
    pub ban_after: Option<u32>,
    /// See [`LoginRules::first_ban`].
    pub first_ban_seconds: Option<u64>,
    /// See [`LoginRules::longest_ban`].
    pub longest_ban_seconds: Option<u64>,
    /// See [`LoginRules::forgive_after`].
    pub forgive_after_seconds: Option<u64>,
    /// See [`LoginRules::slow_after`].
    pub slow_after: Option<u32>,
    /// See [`LoginRules::attempts_per_address`].
    pub attempts_per_address: Option<u32>,
    /// See [`LoginRules::waiting`].
    pub waiting: Option<u32>,
    /// Networks and ranges, commas between. See [`LoginRules::never_ban`].
    pub never_ban: Option<String>,
    /// See [`LoginRules::failure_log`].
    pub failure_log: Option<PathBuf>,
    /// See [`LoginRules::failure_syslog`].
    pub failure_syslog: Option<PathBuf>,
}

/// When a failure is delayed, locks or bans. The defaults let a person who has forgotten a
/// password try for a while and give a guesser some hundred tries a day.
#[derive(Clone, Debug)]
pub struct LoginRules {
    /// A failure counts until it is this old. Default 15 minutes.
    pub window: Duration,
    /// How long a failure takes at least; Proxmox VE's own three seconds are within it. From the
    /// fourth failure of a source in the window it doubles with each. Zero delays nothing.
    pub delay: Duration,
    /// The longest it gets. Default 24 s: browsers give up at 30.
    pub longest_delay: Duration,
    /// Failures that lock an account from one source. Default 5.
    pub lock_after: u32,
    /// The first lock; each further one is twice as long. Default a minute.
    pub first_lock: Duration,
    /// No lock is longer. Default an hour.
    pub longest_lock: Duration,
    /// Failures, and tries while locked, that ban a source. Default 15.
    pub ban_after: u32,
    /// The first ban; each further one is twice as long. Default 10 minutes.
    pub first_ban: Duration,
    /// No ban is longer. Default a week.
    pub longest_ban: Duration,
    /// Each full span without a ban or lock takes one doubling back. Default a day.
    pub forgive_after: Duration,
    /// Failures of an account, over all sources, after which each of its failures takes the
    /// longest delay; of a realm, ten times as many. Default 20.
    pub slow_after: u32,
    /// Logins under way and failures waiting of one source; more are refused unseen. Default 16.
    pub attempts_per_address: u32,
    /// Failures that wait in all; more are answered at once. Default 1024.
    pub waiting: u32,
    /// Never locked or banned, in addition to loopback addresses and named proxies.
    pub never_ban: AddressSet,
    /// File to which a line for fail2ban is appended for each failure.
    pub failure_log: Option<PathBuf>,
    /// Datagram socket (`/dev/log`) that gets the same line.
    pub failure_syslog: Option<PathBuf>,
    /// The broker's socket: bans are told to it, for the packet filter. None: bans hold in the
    /// gate alone.
    pub broker: Option<PathBuf>,
}

impl Default for LoginRules {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(15 * 60),
            delay: Duration::from_secs(3),
            longest_delay: Duration::from_secs(24),
            lock_after: 5,
            first_lock: Duration::from_secs(60),
            longest_lock: Duration::from_secs(3600),
            ban_after: 15,
            first_ban: Duration::from_secs(600),
            longest_ban: Duration::from_secs(7 * 24 * 3600),
            forgive_after: Duration::from_secs(24 * 3600),
            slow_after: 20,
            attempts_per_address: 16,
            waiting: 1024,
            never_ban: AddressSet::default(),
            failure_log: None,
            failure_syslog: None,
            broker: None,
        }
    }
}

impl LoginSettings {
    /// Checks every value.
    pub(crate) fn check(&self) -> Result<LoginRules, ConfigError> {
        let mut rules = LoginRules::default();
        let times = [
            ("window_seconds", self.window_seconds, 1, LOGIN_TIME, &mut rules.window),
            ("delay_seconds", self.delay_seconds, 0, LOGIN_DELAY, &mut rules.delay),
            (
                "longest_delay_seconds",
                self.longest_delay_seconds,
                0,
                LOGIN_DELAY,
                &mut rules.longest_delay,
            ),
            ("first_lock_seconds", self.first_lock_seconds, 1, LOGIN_TIME, &mut rules.first_lock),
            (
                "longest_lock_seconds",
                self.longest_lock_seconds,
                1,
                LOGIN_TIME,
                &mut rules.longest_lock,
            ),
            ("first_ban_seconds", self.first_ban_seconds, 1, LOGIN_TIME, &mut rules.first_ban),
            (
                "longest_ban_seconds",
                self.longest_ban_seconds,
                1,
                LOGIN_TIME,
                &mut rules.longest_ban,
            ),
            (
                "forgive_after_seconds",
                self.forgive_after_seconds,
                1,
                LOGIN_TIME,
                &mut rules.forgive_after,
            ),
        ];
        for (key, given, least, most, time) in times {
            if let Some(seconds) = given {
                if !(least..=most).contains(&seconds) {
                    let what = format!("{seconds}; write seconds from {least} to {most}");
                    return Err(ConfigError::new(&format!("login.{key}"), &what));
                }
                *time = Duration::from_secs(seconds);
            }
        }
        let counts = [
            ("lock_after", self.lock_after, MAX_THRESHOLD, &mut rules.lock_after),
            ("ban_after", self.ban_after, MAX_THRESHOLD, &mut rules.ban_after),
            ("slow_after", self.slow_after, MAX_THRESHOLD / 10, &mut rules.slow_after),
            (
                "attempts_per_address",
                self.attempts_per_address,
                MAX_THRESHOLD,
                &mut rules.attempts_per_address,
            ),
            ("waiting", self.waiting, 64 * MAX_THRESHOLD, &mut rules.waiting),
        ];
        for (key, given, most, limit) in counts {
            if let Some(count) = given {
                if !(1..=most).contains(&count) {
                    let what = format!("{count}; write a number from 1 to {most}");
                    return Err(ConfigError::new(&format!("login.{key}"), &what));
                }
                *limit = count;
            }
        }
        if let Some(text) = &self.never_ban {
            rules.never_ban = AddressSet::strict(text)
                .map_err(|error| ConfigError::new("login.never_ban", &error))?;
        }
        if let Some(path) = self.broker.as_ref().filter(|path| !path.is_absolute()) {
            let what = format!("{}; write the whole path of the broker's socket", path.display());
            return Err(ConfigError::new("login.broker", &what));
        }
        rules.broker.clone_from(&self.broker);
        rules.failure_log.clone_from(&self.failure_log);
        rules.failure_syslog.clone_from(&self.failure_syslog);
        Ok(rules)
    }
}

impl LoginRules {
    pub(crate) fn bans(&self) -> OffenceRules {
        self.rules(self.ban_after, self.first_ban, self.longest_ban)
    }

    pub(crate) fn locks(&self) -> OffenceRules {
        self.rules(self.lock_after, self.first_lock, self.longest_lock)
    }

    /// An account or realm that is slow stays so for a window after it was found to be.
    pub(crate) fn slow(&self, times: u32) -> OffenceRules {
        self.rules(self.slow_after.saturating_mul(times), self.window, self.window)
    }

    fn rules(&self, threshold: u32, first_ban: Duration, longest_ban: Duration) -> OffenceRules {
        let (window, forgive_after) = (self.window, self.forgive_after);
        let longest_ban = longest_ban.max(first_ban);
        OffenceRules { threshold, window, first_ban, longest_ban, forgive_after }
    }
}

#[cfg(test)]
mod tests {
    use super::LoginSettings;
    use std::time::Duration;

    #[test]
    fn given_values_are_taken_and_others_keep_their_default() {
        let text = r#"{"ban_after": 3, "delay_seconds": 0, "never_ban": "10.0.0.0/8, ::1"}"#;
        let settings: LoginSettings = serde_json::from_str(text).unwrap();
        let rules = settings.check().unwrap();
        assert_eq!((rules.ban_after, rules.lock_after), (3, 5));
        assert_eq!((rules.delay, rules.longest_delay), (Duration::ZERO, Duration::from_secs(24)));
        assert!(rules.never_ban.contains("10.1.2.3".parse().unwrap()));
    }

    #[test]
    fn what_would_switch_the_engine_off_is_refused_with_its_key() {
        for (key, text) in [
            ("gate.login.ban_after", r#"{"ban_after": 0}"#),
            ("gate.login.lock_after", r#"{"lock_after": 100000}"#),
            ("gate.login.window_seconds", r#"{"window_seconds": 0}"#),
            ("gate.login.delay_seconds", r#"{"delay_seconds": 61}"#),
            ("gate.login.broker", r#"{"broker": "broker.sock"}"#),
            ("gate.login.never_ban", r#"{"never_ban": "everyone"}"#),
        ] {
            let settings: LoginSettings = serde_json::from_str(text).unwrap();
            assert_eq!(settings.check().unwrap_err().key(), key);
        }
        assert!(serde_json::from_str::<LoginSettings>(r#"{"ban_afer": 3}"#).is_err());
    }
}
