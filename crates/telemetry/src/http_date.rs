//! Dates of HTTP (RFC 9110 section 5.6.7, IMF-fixdate).

use std::fmt;
use std::str::FromStr;

use crate::rfc3339::civil;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds since 1970, shown as `Fri, 20 Nov 2026 22:48:36 GMT`. Reading looks at everything but
/// the weekday, as Perl's `HTTP::Date` does, and takes dates from 1970 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpDate(pub u64);

/// The text is no date of this form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a date of HTTP, such as Fri, 20 Nov 2026 22:48:36 GMT")]
pub struct NotAnHttpDate;

impl fmt::Display for HttpDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, rest) = (self.0 / 86_400, self.0 % 86_400);
        let (year, month, day) = civil(days);
        let name = |names: &[&'static str], at: u64| {
            usize::try_from(at).ok().and_then(|at| names.get(at).copied()).unwrap_or_default()
        };
        let (weekday, month) = (name(&DAYS, days % 7), name(&MONTHS, month - 1));
        let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
        write!(f, "{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    }
}

impl FromStr for HttpDate {
    type Err = NotAnHttpDate;

    fn from_str(text: &str) -> Result<Self, NotAnHttpDate> {
        parse(text).map(Self).ok_or(NotAnHttpDate)
    }
}

fn parse(text: &str) -> Option<u64> {
    let (_, date) = text.split_once(", ")?;
    let day = date.split(' ').next()?.parse::<u64>().ok().filter(|day| *day <= 31)?;
    let month = date.split(' ').nth(1)?;
    let month = u64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()? + 1;
    let mut numbers = date.split([' ', ':']).skip(2).map(|word| word.parse::<u64>().ok());
    let mut next = |most: u64| numbers.next()?.filter(|value| *value <= most);
    let (year, hour, minute, second) = (next(9999)?, next(23)?, next(59)?, next(60)?);
    let days = days_since_1970(year, month, day)?;
    date.ends_with(" GMT").then_some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days since 1970 of a date (month 1–12), counted in years that begin in March, so that a leap
/// day ends one.
#[must_use]
pub fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || year > 9999 {
        return None;
    }
    let (year, month) =
        if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    days.checked_sub(719_469)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants() {
        for (unix, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT"),
            (1_795_215_085, "Fri, 20 Nov 2026 22:51:25 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(HttpDate(unix).to_string(), text);
            assert_eq!(text.parse(), Ok(HttpDate(unix)));
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for wrong in [
            "",
            "nonsense",
            "Sun, ",
            "Sun, 06 Now 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37",
            "x, 99 Jan 1970 00:00:00 GMT",
        ] {
            assert_eq!(wrong.parse::<HttpDate>(), Err(NotAnHttpDate), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,40}") {
            let _ = parse(&text);
            let _ = parse(&format!("Sun, {text} GMT"));
        }

        #[test]
        fn dates_are_read_as_written(unix in 0_u64..253_402_300_800) {
            proptest::prop_assert_eq!(HttpDate(unix).to_string().parse(), Ok(HttpDate(unix)));
        }
    }
}
