//! Timestamps as people and log tools read them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::http_date::days_since_1970;

/// The last second of the year 9999; RFC 3339 has four digits for the year (section 5.6).
const LAST_SECOND: u64 = 253_402_300_799;

/// A time since the Unix epoch, shown as `2026-07-01T12:00:00.123Z`: RFC 3339, UTC,
/// milliseconds cut off, not rounded. Later than the year 9999 is shown as its last millisecond.
///
/// ```
/// # use std::time::Duration;
/// let time = telemetry::Rfc3339(Duration::from_millis(951_782_400_001));
/// assert_eq!(time.to_string(), "2000-02-29T00:00:00.001Z");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rfc3339(pub Duration);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = match self.0.as_secs() {
            seconds @ ..=LAST_SECOND => (seconds, self.0.subsec_millis()),
            _ => (LAST_SECOND, 999),
        };
        let (year, month, day) = civil(seconds / 86_400);
        let of_day = seconds % 86_400;
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

/// The text is no time of RFC 3339 from 1970 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time such as 2026-07-01T12:00:00Z, from 1970 on")]
pub struct NotATime;

/// Reads `2026-07-01T12:00:00Z`, also with a fraction of a second and with an offset such as
/// `+02:00` (section 5.6). A leap second is the second after it.
impl FromStr for Rfc3339 {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        parse(text).map(Self).ok_or(NotATime)
    }
}

fn parse(text: &str) -> Option<Duration> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let (time, offset) = rest.split_at_checked(rest.find(['Z', 'z', '+', '-'])?)?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // The 30th of February is counted as the 2nd of March.
    let days =
        days_since_1970(year, month, day).filter(|days| civil(*days) == (year, month, day))?;
    let local = ((days * 24 + hour) * 60 + minute) * 60 + second;
    let seconds = match offset.split_at_checked(1)? {
        ("Z" | "z", "") => local,
        (sign, offset) => {
            let [hours, minutes] = numbers(offset, ':', [2, 2])?;
            let ahead = (hours * 60 + minutes) * 60;
            let valid = hours <= 23 && minutes <= 59;
            let seconds =
                if sign == "+" { local.checked_sub(ahead) } else { local.checked_add(ahead) };
            seconds.filter(|_| valid)?
        }
    };
    let is_number = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let nanos = format!("{fraction:0<9}").get(..9).filter(|_| is_number)?.parse().ok()?;
    Some(Duration::new(seconds, nanos))
}

/// Numbers of exactly so many digits.
fn numbers<const N: usize>(text: &str, between: char, digits: [usize; N]) -> Option<[u64; N]> {
    let mut words = text.split(between);
    let mut numbers = [0; N];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let word = words.next().filter(|word| word.len() == digits)?;
        *number = word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok())??;
    }
    words.next().is_none().then_some(numbers)
}

/// Year, month and day of the proleptic Gregorian calendar, from days since 1970-01-01.
/// The year is counted from March in 400-year eras, which puts the leap day last
/// (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
pub(crate) fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let read = |text: &str| text.parse::<Rfc3339>().map(|time| time.0.as_secs_f64());
        assert_eq!(read("1985-04-12T23:20:50.52Z"), Ok(482_196_050.52));
        assert_eq!(read("1996-12-19T16:39:57-08:00"), Ok(851_042_397.0));
        assert_eq!(read("1996-12-20t00:39:57z"), Ok(851_042_397.0));
        assert_eq!(read("1970-01-01T01:00:00+01:00"), Ok(0.0));
        for wrong in [
            "",
            "2026-07-01",
            "2026-07-01T12:00:00",
            "2026-13-01T12:00:00Z",
            "2026-02-30T12:00:00Z",
            "2026-07-01T24:00:00Z",
            "2026-07-01T12:00:00.Z",
            "2026-07-01T12:00:00ZZ",
            "2026-07-01T12:00:00+1:00",
            "+026-07-01T12:00:00Z",
            "1970-01-01T00:00:00+01:00",
            "1969-12-31T23:59:59Z",
        ] {
            assert_eq!(read(wrong), Err(NotATime), "{wrong}");
        }
    }

    /// Counts the days by walking the calendar year by year and month by month: slow, and
    /// made of nothing but the leap year rule.
    fn days_walked(year: u64, month: u64, day: u64) -> u64 {
        let leap =
            |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
        let years: u64 = (1970..year).map(|y| 365 + u64::from(leap(y))).sum();
        let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        years + lengths.iter().take(usize::try_from(month).unwrap() - 1).sum::<u64>() + day - 1
    }

    #[test]
    fn known_instants() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000, "9999-12-31T23:59:59.999Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Rfc3339(Duration::from_millis(millis)).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read(millis in 0..LAST_SECOND * 1000) {
            let time = Rfc3339(Duration::from_millis(millis));
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }

        #[test]
        fn any_text_is_taken(text in "\\PC{0,40}") {
            let _ = text.parse::<Rfc3339>();
        }

        #[test]
        fn the_date_counts_back_to_the_same_day(days in 0u64..=LAST_SECOND / 86_400) {
            let (year, month, day) = civil(days);
            prop_assert!((1..=12).contains(&month) && (1..=31).contains(&day));
            prop_assert_eq!(days_walked(year, month, day), days);
        }

        #[test]
        fn text_sorts_as_time_does(a in 0..=LAST_SECOND * 1000, b in 0..=LAST_SECOND * 1000) {
            let text = |millis| Rfc3339(Duration::from_millis(millis)).to_string();
            prop_assert_eq!(text(a).len(), 24);
            prop_assert_eq!(text(a).cmp(&text(b)), a.cmp(&b));
        }
    }
}
