//! The text of a set of addresses, see [`AddressSet`](crate::AddressSet).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    bounds::{MAX_SET_BYTES, MAX_SET_ENTRIES},
    cidr::{Cidr, prefix},
    class::canonical,
    quote::quoted,
    set::SetError,
    span::Span,
};

/// Which spellings of an address are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Those of PVE's files.
    NetIp,
    /// The standard ones.
    Strict,
}

pub(crate) fn spans(text: &str, dialect: Dialect) -> Result<Vec<Span>, SetError> {
    if text.len() > MAX_SET_BYTES {
        return Err(SetError::TooLarge);
    }
    let mut entries = Vec::new();
    let mut number = 0;
    // trailing commas are nothing, as to Perl's split
    let text = text.trim_end_matches(|c: char| c == ',' || c.is_ascii_whitespace());
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let items = items(part);
        if items.is_empty() {
            return Err(SetError::Empty(number + 1));
        }
        for item in items {
            number += 1;
            if number > MAX_SET_ENTRIES {
                return Err(SetError::TooLarge);
            }
            match item.as_str() {
                "all" => entries.extend(Span::ALL),
                item => entries.push(span(item, number, dialect)?),
            }
        }
    }
    Ok(entries)
}

/// The entries of a part between commas, with the blanks around `-` and `+` taken out.
fn items(part: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for word in part.split_ascii_whitespace() {
        match items.last_mut() {
            Some(item) if item.ends_with(['-', '+']) || word.starts_with(['-', '+']) => {
                item.push_str(word);
            }
            _ => items.push(word.to_owned()),
        }
    }
    items
}

fn span(item: &str, number: usize, dialect: Dialect) -> Result<Span, SetError> {
    let address = |text: &str| {
        let read =
            text.parse().ok().or_else(|| padded_v4(text).filter(|_| dialect == Dialect::NetIp));
        read.ok_or_else(|| SetError::Address(number, quoted(text)))
    };
    let range = |first: IpAddr, last: Option<IpAddr>| {
        let (first, last) = (canonical(first), last.map(canonical));
        last.filter(|last| first.is_ipv4() == last.is_ipv4() && first <= *last)
            .map(|last| Span { first, last })
            .ok_or_else(|| SetError::Range(number, quoted(item)))
    };
    if let Some((first, digits)) = item.split_once('/') {
        let first = address(first)?;
        let network = prefix(digits, dialect == Dialect::NetIp).and_then(|n| Cidr::new(first, n));
        return network.map(Span::from).map_err(|error| SetError::Network(number, error));
    }
    if let Some((first, last)) = item.split_once('-') {
        return range(address(first)?, Some(address(last)?));
    }
    if let Some((first, more)) = item.split_once('+') {
        let first = address(first)?;
        return range(first, beyond(first, more));
    }
    let only = address(item)?;
    range(only, Some(only))
}

/// IPv4 as Net::IP reads it: decimal whatever the zeros in front, missing bytes are zero.
fn padded_v4(text: &str) -> Option<IpAddr> {
    let mut bytes = [0; 4];
    let mut given = text.split('.');
    for (byte, digits) in bytes.iter_mut().zip(given.by_ref()) {
        *byte = digits.parse().ok().filter(|_| all_digits(digits))?;
    }
    given.next().is_none().then(|| IpAddr::from(bytes))
}

fn beyond(first: IpAddr, more: &str) -> Option<IpAddr> {
    let more: u128 = more.parse().ok().filter(|_| all_digits(more))?;
    match first {
        IpAddr::V4(first) => {
            let last = first.to_bits().checked_add(u32::try_from(more).ok()?)?;
            Some(Ipv4Addr::from(last).into())
        }
        IpAddr::V6(first) => Some(Ipv6Addr::from(first.to_bits().checked_add(more)?).into()),
    }
}

/// The standard parsers of numbers take a sign.
fn all_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}
