//! Dates of HTTP (RFC 9110 section 5.6.7, IMF-fixdate).

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds since 1970 as `Fri, 20 Nov 2026 22:48:36 GMT`.
pub(crate) fn http_date(unix: u64) -> String {
    let (days, rest) = (unix / 86_400, unix % 86_400);
    let (year, month, day) = civil(days);
    let weekday = usize::try_from(days % 7).ok().and_then(|at| DAYS.get(at)).unwrap_or(&"Thu");
    let month = MONTHS.get(month - 1).unwrap_or(&"Jan");
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// The reverse, for dates from 1970 on; the weekday is not looked at, as `HTTP::Date` does not.
pub(crate) fn parse_http_date(text: &str) -> Option<u64> {
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
pub(crate) fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || year > 9999 {
        return None;
    }
    let (year, month) =
        if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
    days.checked_sub(719_469)
}

/// Days since 1970 to year, month (1–12) and day, by counting in 400-year eras that begin in March.
fn civil(days: u64) -> (u64, usize, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, usize::try_from(month).unwrap_or(1), day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants() {
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(http_date(0x6B00_CE44), "Fri, 20 Nov 2026 22:48:36 GMT");
    }

    #[test]
    fn dates_are_read_as_written() {
        for unix in [0, 784_111_777, 951_782_400, 0x6B00_CE44, 4_102_444_800] {
            assert_eq!(parse_http_date(&http_date(unix)), Some(unix));
        }
        for wrong in [
            "",
            "Sun, ",
            "Sun, 06 Now 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37",
            "x, 99 Jan 1970 00:00:00 GMT",
        ] {
            assert_eq!(parse_http_date(wrong), None, "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,40}") {
            let _ = parse_http_date(&text);
            let _ = parse_http_date(&format!("Sun, {text} GMT"));
        }
    }
}
