//! Sets of ports.

use std::{fmt, str::FromStr};

use crate::{bounds::MAX_PORT_RANGES, quote::quoted};

/// Ports, as a list of `443` and `8000-8010`, separated by commas or blanks; `any` for all.
///
/// Port 0 is none: to a kernel it means "choose one". Kept sorted and merged, which is how it is
/// written back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PortSet(Vec<(u16, u16)>);

/// Why text is no set of ports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Neither a port nor a range.
    #[error("{0} is not a port (1 to 65535) or a range such as 8000-8010")]
    Port(String),
    /// Nothing at all.
    #[error("no port given: name ports, or write 'any'")]
    Empty,
    /// More than [`MAX_PORT_RANGES`].
    #[error("more than {MAX_PORT_RANGES} port ranges: merge some")]
    TooMany,
}

impl PortSet {
    /// All ports.
    #[must_use]
    pub fn any() -> Self {
        Self(vec![(1, u16::MAX)])
    }

    /// This port alone; no port at all for 0.
    #[must_use]
    pub fn one(port: u16) -> Self {
        Self(if port == 0 { Vec::new() } else { vec![(port, port)] })
    }

    /// Whether `port` is in the set.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|&(first, last)| first <= port && port <= last)
    }

    /// Whether every port is in the set.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0 == [(1, u16::MAX)]
    }

    /// First and last port of each range, in order.
    pub fn ranges(&self) -> impl Iterator<Item = (u16, u16)> + '_ {
        self.0.iter().copied()
    }
}

impl FromStr for PortSet {
    type Err = PortError;

    fn from_str(text: &str) -> Result<Self, PortError> {
        if text.trim() == "any" {
            return Ok(Self::any());
        }
        let mut ranges = Vec::new();
        for item in text.split([',', ' ']).filter(|item| !item.is_empty()) {
            if ranges.len() == MAX_PORT_RANGES {
                return Err(PortError::TooMany);
            }
            ranges.push(range(item).ok_or_else(|| PortError::Port(quoted(item)))?);
        }
        if ranges.is_empty() {
            return Err(PortError::Empty);
        }
        Ok(Self(merged(ranges)))
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_any() {
            return f.write_str("any");
        }
        for (i, (first, last)) in self.ranges().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
        }
        Ok(())
    }
}

/// A port as digits only (`u16::from_str` takes a sign) and not 0.
pub(crate) fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

fn range(item: &str) -> Option<(u16, u16)> {
    let (first, last) = item.split_once('-').unwrap_or((item, item));
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some((first, last))
}

fn merged(mut ranges: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_merges_refuses() {
        let set: PortSet = "8000-8010, 443,8005-8020 8021".parse().unwrap();
        assert_eq!(set.to_string(), "443,8000-8021");
        assert!(set.contains(443) && set.contains(8021) && !set.contains(8022) && !set.contains(0));
        assert_eq!("1-65535".parse::<PortSet>().unwrap(), PortSet::any());
        assert!(!PortSet::one(0).contains(0));
        for text in ["", " ,", "0", "65536", "+80", "80-", "-80", "90-80", "1-2-3", "http", "0x50"]
        {
            text.parse::<PortSet>().unwrap_err();
        }
        let many = (0..=MAX_PORT_RANGES).map(|i| (i * 2 + 1).to_string()).collect::<Vec<_>>();
        assert_eq!(many.join(",").parse::<PortSet>(), Err(PortError::TooMany));
    }

    proptest! {
        #[test]
        fn same_as_the_list(pairs in proptest::collection::vec((1..300u16, 0..40u16), 1..12), probe in 0..400u16) {
            let text = pairs.iter().map(|(a, n)| format!("{a}-{}", a + n)).collect::<Vec<_>>().join(",");
            let set: PortSet = text.parse().unwrap();
            let naive = pairs.iter().any(|(a, n)| (*a..=a + n).contains(&probe));
            prop_assert_eq!(set.contains(probe), naive);
            prop_assert_eq!(set.to_string().parse::<PortSet>().unwrap(), set);
        }

        #[test]
        fn never_panics(text in "[0-9, -]{0,40}|.*") {
            let _ = text.parse::<PortSet>();
        }
    }
}
