//! Calendar events as in systemd: `mon..fri 8..17,22:0/15`. Sources: PVE::CalendarEvent,
//! proxmox-time.

use super::{Row, require};

pub(super) static FORMATS: [Row; 2] = [
    Row::code("pve-calendar-event", calendar_event),
    Row::code("pve-day-of-week", |day| {
        require(DAYS.iter().any(|(short, _)| *short == day), &format!("invalid day '{day}'"))
    }),
];

const DAYS: [(&str, &str); 7] = [
    ("mon", "monday"),
    ("tue", "tuesday"),
    ("wed", "wednesday"),
    ("thu", "thursday"),
    ("fri", "friday"),
    ("sat", "saturday"),
    ("sun", "sunday"),
];

const NAMED: [&str; 10] = [
    "annually",
    "daily",
    "hourly",
    "minutely",
    "monthly",
    "quarterly",
    "semi-annually",
    "semiannually",
    "weekly",
    "yearly",
];

fn calendar_event(text: &str) -> Result<(), String> {
    let event = text.trim();
    let refused = |cause: &str| Err(format!("invalid calendar event '{text}' - {cause}\n\n"));
    if event.is_empty() {
        return refused("unable to parse calendar event - event is empty");
    }
    if NAMED.contains(&event) || is_event(event) {
        return Ok(());
    }
    refused(&format!("unable to parse calendar event at '{event}'"))
}

/// `[DAYS] [DATE] [TIME]`, one of them at least.
fn is_event(event: &str) -> bool {
    let mut parts = event.split_ascii_whitespace().peekable();
    if parts.peek().is_some_and(|part| part.starts_with(|c: char| c.is_ascii_alphabetic())) {
        // Blanks may follow the commas of the days.
        let mut days = String::new();
        while let Some(part) =
            parts.next_if(|part| days.ends_with(',') || days.is_empty() || part.starts_with(','))
        {
            days.push_str(part);
        }
        if !days.split(',').all(is_day_or_range) {
            return false;
        }
    }
    if let Some(date) = parts.next_if(|part| part.contains('-'))
        && !is_date(date)
    {
        return false;
    }
    if let Some(time) = parts.next_if(|_| true)
        && !is_time(time)
    {
        return false;
    }
    parts.next().is_none() || parts.all(|zone| zone == "UTC")
}

fn is_day_or_range(part: &str) -> bool {
    let day = |name: &str| {
        let name = name.to_ascii_lowercase();
        DAYS.iter().any(|(short, long)| *short == name || *long == name)
    };
    match part.split_once("..") {
        Some((first, last)) => day(first) && day(last),
        None => day(part),
    }
}

fn is_date(date: &str) -> bool {
    match date.split('-').collect::<Vec<_>>().as_slice() {
        [year, month, day] => {
            is_list(year, 1970, 2200) && is_list(month, 1, 12) && is_list(day, 1, 31)
        }
        [month, day] => is_list(month, 1, 12) && is_list(day, 1, 31),
        _ => false,
    }
}

/// `H:M[:S]`, or minutes alone.
fn is_time(time: &str) -> bool {
    match time.split(':').collect::<Vec<_>>().as_slice() {
        [minute] => is_list(minute, 0, 59),
        [hour, minute] => is_list(hour, 0, 23) && is_list(minute, 0, 59),
        [hour, minute, second] => {
            is_list(hour, 0, 23) && is_list(minute, 0, 59) && is_list(second, 0, 59)
        }
        _ => false,
    }
}

/// Comma list of `*`, `N`, `N..M`, each with `/STEP`.
fn is_list(list: &str, low: u32, high: u32) -> bool {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u32>().ok().filter(|_| digits)
    };
    let within = |text: &str| number(text).filter(|n| (low..=high).contains(n));
    list.split(',').all(|item| {
        let (range, step) = item.split_once('/').map_or((item, None), |(r, s)| (r, Some(s)));
        let step_fits = step.is_none_or(|step| number(step).is_some_and(|n| n > 0 && n <= high));
        let range_fits = match range.split_once("..") {
            Some((first, last)) => {
                matches!((within(first), within(last)), (Some(a), Some(b)) if a < b)
            }
            None => range == "*" || within(range).is_some(),
        };
        step_fits && range_fits
    })
}

#[cfg(test)]
mod tests {
    use super::super::check_named as check;

    #[test]
    fn events_of_the_manual_pass() {
        for event in [
            "mon,tue,wed,thu,fri",
            "mon..wed",
            "mon..fri 8..17,22:0/15",
            "fri 12..13:5/20",
            "12,14,16,18,20,22:5",
            "*/5",
            "*:*",
            "0/5",
            "sat 02:30",
            "mon..wed 30/10",
            "2021-*-1 00:00",
            "*-1..3-1",
            "daily",
            "sun, mon 21:00",
            "Sat *-1..7 15:00",
        ] {
            assert_eq!(check("pve-calendar-event", event), Ok(()), "{event}");
        }
    }

    #[test]
    fn others_are_refused() {
        for event in
            ["", "mon..", "25:00", "8:60", "foo", "1:2:3:4", "*/0", "mon tue", "5..5", "1-40"]
        {
            let message = check("pve-calendar-event", event).unwrap_err();
            assert!(
                message.starts_with(&format!("invalid calendar event '{event}' - ")),
                "{message}"
            );
        }
        assert_eq!(check("pve-day-of-week", "mon"), Ok(()));
        assert_eq!(check("pve-day-of-week", "Mon").unwrap_err(), "invalid day 'Mon'\n");
    }
}
