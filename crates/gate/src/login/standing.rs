//! Bans as they are kept over a restart, and bans and locks as they are shown.

use std::net::IpAddr;
use std::time::Duration;

use limits::Ban;
use serde::{Deserialize, Serialize};
use state::{Change, Entry, Table};
use telemetry::audit::Event;
use telemetry::{Clock, Rfc3339};

use super::attempt::UserText;
use crate::source::{parse_source, source_text};

/// The value of an entry in the table of bans; its key is the source as text.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// How often the source was banned in a row: the next ban is longer.
    step: u32,
    /// Unix seconds at which the ban was made.
    since: u64,
}

/// A ban in force, as `bans list` shows it.
#[derive(Serialize)]
pub(super) struct ShownBan {
    /// `192.0.2.1` or `2001:db8::/64`.
    address: String,
    /// Unix seconds.
    until: u64,
    /// The same as text.
    until_text: String,
    /// 1 for a first ban.
    step: u32,
}

/// A lock in force.
#[derive(Serialize)]
pub(super) struct ShownLock {
    user: String,
    #[serde(flatten)]
    ban: ShownBan,
}

impl ShownBan {
    pub(super) fn new(source: IpAddr, ban: Ban, clock: &Clock) -> Self {
        let until = unix(ban.until, clock);
        Self {
            address: source_text(source),
            until: until.as_secs(),
            until_text: Rfc3339(until).to_string(),
            step: ban.step,
        }
    }

    /// The fields of an audit record about it.
    pub(super) fn fields(self, event: Event) -> Event {
        let event = event.field("address", self.address).field("until", self.until_text);
        event.field("step", self.step)
    }

    pub(super) fn lock(self, user: &UserText) -> ShownLock {
        ShownLock { user: user.to_string(), ban: self }
    }
}

/// The change that keeps a ban.
pub(super) fn keep(source: IpAddr, ban: Ban, clock: &Clock) -> Change {
    let kept = Kept { step: ban.step, since: clock.unix_secs() };
    let entry = Entry {
        key: source_text(source).into_bytes(),
        // A struct of two numbers can not fail to be written.
        value: serde_json::to_vec(&kept).unwrap_or_default(),
        expires: unix(ban.until, clock),
    };
    Change::Put { table: Table::Bans, entry }
}

/// The change that forgets it.
pub(super) fn forget(source: IpAddr) -> Change {
    Change::Delete { table: Table::Bans, key: source_text(source).into_bytes() }
}

/// A ban that was kept, if it is still in force and can be read.
pub(super) fn restore(entry: &Entry, clock: &Clock) -> Option<(IpAddr, Ban)> {
    let source = parse_source(std::str::from_utf8(&entry.key).ok()?)?;
    let kept: Kept = serde_json::from_slice(&entry.value).ok()?;
    let left = entry.expires.checked_sub(clock.unix()).filter(|left| !left.is_zero())?;
    let until = clock.monotonic().saturating_add(left);
    Some((source, Ban { until, step: kept.step }))
}

/// A moment of the monotonic clock as unix time.
fn unix(at: Duration, clock: &Clock) -> Duration {
    clock.unix().saturating_add(at.saturating_sub(clock.monotonic()))
}

#[cfg(test)]
mod tests {
    use super::{forget, keep, restore};
    use limits::Ban;
    use state::Change;
    use std::time::Duration;
    use telemetry::Clock;

    #[test]
    fn a_ban_comes_back_with_what_is_left_of_it() {
        let (clock, hands) = Clock::manual(Duration::from_secs(1_000_000));
        for source in ["192.0.2.1", "2001:db8::"] {
            let source = source.parse().unwrap();
            let until = clock.monotonic() + Duration::from_secs(600);
            let Change::Put { entry, .. } = keep(source, Ban { until, step: 3 }, &clock) else {
                panic!("no put");
            };
            let Change::Delete { key, .. } = forget(source) else { panic!("no delete") };
            assert_eq!(key, entry.key);
            hands.advance(Duration::from_secs(100));
            // Another process: its monotonic clock begins anew.
            let (later, later_hands) = Clock::manual(clock.unix());
            let (of, ban) = restore(&entry, &later).unwrap();
            assert_eq!((of, ban.step), (source, 3));
            assert_eq!(ban.until - later.monotonic(), Duration::from_secs(500));
            later_hands.advance(Duration::from_secs(500));
            assert_eq!(restore(&entry, &later), None);
        }
    }
}
