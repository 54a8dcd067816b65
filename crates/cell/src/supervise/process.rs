//! The command as seen from outside: how much it uses, and holding it back where no control group
//! does.

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::process::{Signal, pidfd_send_signal};

/// A cell's command.
#[derive(Debug)]
pub(super) struct Process {
    pidfd: OwnedFd,
    /// Its number here; the descriptor keeps it from being somebody else's when it is signalled.
    number: u32,
    stopped: bool,
    /// Processor time it may have used, and when that was reckoned.
    allowance: Duration,
    reckoned: Instant,
}

impl Process {
    pub(super) fn new(pidfd: OwnedFd) -> Option<Self> {
        let path = format!("/proc/self/fdinfo/{}", pidfd.as_fd().as_raw_fd());
        let info = fs::read_to_string(path).ok()?;
        let number =
            info.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()?;
        let (stopped, allowance, reckoned) = (false, Duration::from_millis(50), Instant::now());
        Some(Self { pidfd, number, stopped, allowance, reckoned })
    }

    pub(super) fn pidfd(&self) -> Option<OwnedFd> {
        self.pidfd.try_clone().ok()
    }

    /// Bytes of memory that are its own: private, and of its temporary files as far as mapped.
    pub(super) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.number));
        let status = status.unwrap_or_default();
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
        };
        (kib("RssAnon:") + kib("RssShmem:")) << 10
    }

    /// Stops it while it has used more than its share, starts it again when the share has grown.
    pub(super) fn share(&mut self, cpus: f64, now: Instant) {
        let passed = now.saturating_duration_since(self.reckoned);
        self.reckoned = now;
        self.allowance += passed.mul_f64(cpus);
        let used = self.processor_time();
        // What was not used can not be saved up for longer than this.
        let most = used + Duration::from_millis(100).mul_f64(cpus.max(0.2));
        self.allowance = self.allowance.min(most);
        let over = used > self.allowance;
        if over != self.stopped {
            let signal = if over { Signal::STOP } else { Signal::CONT };
            self.stopped = pidfd_send_signal(&self.pidfd, signal).is_ok() && over;
        }
    }

    /// User and system time of all threads, from clock ticks (proc_pid_stat(5)).
    fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.number)).unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        // USER_HZ is 100 on every Linux of this architecture.
        Duration::from_millis(ticks * 10)
    }
}
