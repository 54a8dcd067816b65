//! When a rule is in force: `mon-fri 08:00-18:00`, `sat,sun`, `22:00-06:00 +01:00`.
//!
//! Times are UTC unless a fixed offset is named: a zone with summer time would need tables that
//! change, and an hour that happens twice.

/// Seconds of a day.
const DAY: u64 = 24 * 3600;

/// The days as they are written; 1 January 1970 was a Thursday.
const DAYS: [&str; 7] = ["thu", "fri", "sat", "sun", "mon", "tue", "wed"];

/// A span of each of some days. One that ends before it begins reaches into the next day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// By [`DAYS`].
    days: [bool; 7],
    /// Minutes since midnight; the end is not in it.
    begins: u64,
    ends: u64,
    /// Seconds east of UTC.
    offset: i64,
}

impl Window {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let example = "write one such as \"mon-fri 08:00-18:00\" or \"22:00-06:00 +01:00\"";
        let fault = |what: &str| format!("{text:?}: {what}; {example}");
        let mut window = Self { days: [true; 7], begins: 0, ends: 24 * 60, offset: 0 };
        let (mut days, mut hours, mut offset) = (false, false, false);
        for word in text.split_whitespace() {
            if word.starts_with(['+', '-']) && !offset {
                offset = true;
                window.offset = east(word).ok_or_else(|| fault("no offset"))?;
            } else if word.contains(':') && !hours && !offset {
                hours = true;
                let span = word.split_once('-');
                let span = span.and_then(|(from, to)| Some((minute(from)?, minute(to)?)));
                (window.begins, window.ends) = span.ok_or_else(|| fault("no hours"))?;
            } else if !days && !hours && !offset {
                days = true;
                window.days = weekdays(word).ok_or_else(|| fault("no days"))?;
            } else {
                return Err(fault("more than days, hours and an offset"));
            }
        }
        if !(days || hours) || window.begins == window.ends {
            return Err(fault("no time at all"));
        }
        Ok(window)
    }

    /// Whether this time, in seconds since 1970, is within it.
    pub(crate) fn holds(&self, now: u64) -> bool {
        let local = now.saturating_add_signed(self.offset);
        let (day, minute) = (local / DAY, local % DAY / 60);
        if self.begins < self.ends {
            return self.on(day) && (self.begins..self.ends).contains(&minute);
        }
        (self.on(day) && minute >= self.begins) || (self.on(day + 6) && minute < self.ends)
    }

    fn on(&self, day: u64) -> bool {
        let at = usize::try_from(day % 7).unwrap_or_default();
        self.days.get(at).copied().unwrap_or(false)
    }
}

/// `mon-fri`, `sat,sun`, `fri-mon`.
fn weekdays(word: &str) -> Option<[bool; 7]> {
    let index = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
    let mut days = [false; 7];
    for part in word.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut at, last) = (index(first)?, index(last)?);
        loop {
            *days.get_mut(at)? = true;
            if at == last {
                break;
            }
            at = (at + 1) % 7;
        }
    }
    Some(days)
}

/// `08:30`; 24:00 is the end of the day.
fn minute(text: &str) -> Option<u64> {
    let (hour, minute) = text.split_once(':')?;
    let two = |text: &str| (text.len() == 2).then(|| text.parse::<u64>().ok()).flatten();
    let (hour, minute) = (two(hour)?, two(minute)?);
    let total = hour * 60 + minute;
    (minute < 60 && total <= 24 * 60).then_some(total)
}

/// `+05:30`, in seconds.
fn east(text: &str) -> Option<i64> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let minutes = minute(text.get(1..)?).filter(|minutes| *minutes <= 14 * 60)?;
    i64::try_from(minutes).ok().map(|minutes| sign * minutes * 60)
}

#[cfg(test)]
mod tests {
    use super::Window;
    use proptest::prelude::*;

    /// Saturday, 21 November 2026, 06:00 UTC.
    const SATURDAY: u64 = 1_795_240_800;

    fn holds(text: &str, now: u64) -> bool {
        Window::parse(text).unwrap().holds(now)
    }

    #[test]
    fn days_hours_and_offsets() {
        assert!(
            holds("sat", SATURDAY) && !holds("mon-fri", SATURDAY) && holds("fri-mon", SATURDAY)
        );
        assert!(holds("06:00-07:00", SATURDAY) && !holds("07:00-08:00", SATURDAY));
        assert!(!holds("05:00-06:00", SATURDAY));
        assert!(holds("sat 07:00-08:00 +01:00", SATURDAY));
        assert!(holds("fri 23:30-24:00 -06:30", SATURDAY));
        // Friday's night lasts into Saturday, Saturday's has not begun.
        assert!(holds("fri 22:00-07:00", SATURDAY) && !holds("sat 22:00-07:00", SATURDAY));
        for bad in [
            "",
            "foo",
            "8-18",
            "08:00",
            "08:00-08:00",
            "25:00-26:00",
            "mon 08:00-09:00 tue",
            "+01:00",
            "08:00-09:00 +15:00",
            "mon-fri 08:60-09:00",
        ] {
            Window::parse(bad).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn a_span_and_its_rest_are_every_minute(now in 0_u64..1 << 40, a in 0_u64..1440, b in 0_u64..1440) {
            prop_assume!(a != b);
            let hours = |minute: u64| format!("{:02}:{:02}", minute / 60, minute % 60);
            let (one, other) = (format!("{}-{}", hours(a), hours(b)), format!("{}-{}", hours(b), hours(a)));
            prop_assert!(holds(&one, now) != holds(&other, now));
        }

        #[test]
        fn any_text(text in ".{0,30}") {
            let _ = Window::parse(&text);
        }
    }
}
