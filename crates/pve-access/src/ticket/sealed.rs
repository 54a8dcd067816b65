//! The form all tickets share.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrets::SecretString;

use super::{TicketError, Verified};
use crate::lenient_base64;
use crate::limits::MAX_TICKET_BYTES;
use crate::{SigningKey, TicketKeys};

/// Issues `PREFIX:[PAYLOAD:]TIME::SIGNATURE`.
pub(super) fn seal(
    key: &SigningKey,
    prefix: &str,
    payload: Option<&str>,
    aad: Option<&str>,
    now: u64,
) -> Result<SecretString, TicketError> {
    let time = u32::try_from(now).map_err(|_| TicketError::Unissuable)?;
    let plain = match payload {
        Some(payload) if payload.is_empty() || payload.contains(char::is_whitespace) => {
            return Err(TicketError::Unissuable);
        }
        Some(payload) => format!("{prefix}:{}:{time:08X}", escaped(payload)),
        None => format!("{prefix}:{time:08X}"),
    };
    let signature = key.sign(signed(&plain, aad).as_bytes())?;
    Ok(SecretString::new(format!("{plain}::{}", STANDARD.encode(signature))))
}

/// Verifies form, signature, age, and that the key was in use then, in this order.
pub(super) fn open(
    keys: &impl TicketKeys,
    prefix: &str,
    text: &str,
    aad: Option<&str>,
    accepted_age: &Range<i64>,
    now: u64,
) -> Result<Verified, TicketError> {
    if text.len() > MAX_TICKET_BYTES {
        return Err(TicketError::TooLong);
    }
    let (plain, signature) = split(text, prefix).ok_or(TicketError::Malformed)?;
    let (message, signature) = (signed(plain, aad), lenient_base64::decode(signature));
    let mut candidates = keys.candidates(now);
    let (key, signed_then) = candidates
        .find(|(key, _)| key.verifies(message.as_bytes(), &signature))
        .ok_or(TicketError::Signature)?;
    let (payload, issued) = content(plain, prefix).ok_or(TicketError::Malformed)?;
    let age = judged_age(u64::from(issued), now, accepted_age, &signed_then)?;
    Ok(Verified { payload, issued: u64::from(issued), age, key: key.id() })
}

/// The age in seconds, if it is accepted. Both ranges are exclusive at both ends.
pub(super) fn judged_age(
    issued: u64,
    now: u64,
    accepted: &Range<i64>,
    signed_then: &Range<i64>,
) -> Result<i64, TicketError> {
    let signed = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    let age = signed(now).saturating_sub(signed(issued));
    let within = |range: &Range<i64>| range.start < age && age < range.end;
    match age {
        _ if age <= accepted.start => Err(TicketError::Future(age)),
        _ if age >= accepted.end => Err(TicketError::Expired(age)),
        _ if !within(signed_then) => Err(TicketError::KeyNotInUse(age)),
        _ => Ok(age),
    }
}

/// `^(PREFIX:\S+)::([^:\s]+)$`
fn split<'t>(text: &'t str, prefix: &str) -> Option<(&'t str, &'t str)> {
    let (plain, signature) = text.rsplit_once("::")?;
    let body = plain.strip_prefix(prefix)?.strip_prefix(':')?;
    let well_formed = !body.is_empty()
        && !signature.is_empty()
        && !signature.contains(':')
        && !text.contains(char::is_whitespace);
    well_formed.then_some((plain, signature))
}

/// `PREFIX:(?:(\S+):)?([A-Z0-9]{8})$`, with hex digits only.
fn content(plain: &str, prefix: &str) -> Option<(String, u32)> {
    let body = plain.strip_prefix(prefix)?.strip_prefix(':')?;
    let (payload, time) = body.rsplit_once(':').unwrap_or(("", body));
    Some((unescaped(payload)?, hex_time(time)?))
}

/// Eight upper-case hex digits.
pub(crate) fn hex_time(text: &str) -> Option<u32> {
    let digit = |b: u8| matches!(b, b'0'..=b'9' | b'A'..=b'F');
    let well_formed = text.len() == 8 && text.bytes().all(digit);
    well_formed.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

fn signed(plain: &str, aad: Option<&str>) -> String {
    match aad {
        Some(aad) => format!("{plain}:{aad}"),
        None => plain.to_owned(),
    }
}

fn escaped(payload: &str) -> String {
    payload.replace('%', "%25").replace(':', "%3A")
}

/// Decodes every `%XX`; `None` when the result is not UTF-8.
fn unescaped(payload: &str) -> Option<String> {
    let mut parts = payload.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let byte = part.get(..2).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        match byte.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend(part.bytes().skip(2));
            }
            None => {
                bytes.push(b'%');
                bytes.extend(part.bytes());
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_are_decoded_once() {
        assert_eq!(unescaped("a%3ab%25%4").as_deref(), Some("a:b%%4"));
        assert_eq!(unescaped("%ff"), None);
    }

    #[test]
    fn times_are_eight_upper_case_digits() {
        assert_eq!(hex_time("6B00D053"), Some(1_795_215_443));
        for text in ["6b00d053", "6B00D05", "+B00D053", "6B00D0534", "GGGGGGGG"] {
            assert_eq!(hex_time(text), None, "{text}");
        }
    }

    #[test]
    fn the_last_double_colon_separates_the_signature() {
        assert_eq!(split("PVE:a:::s", "PVE"), Some(("PVE:a:", "s")));
        assert_eq!(split("PVEVNC:6B00D053::s", "PVE"), None);
    }

    proptest! {
        #[test]
        fn escaping_round_trips(payload in any::<String>()) {
            prop_assert_eq!(unescaped(&escaped(&payload)), Some(payload));
        }

        #[test]
        fn any_text_is_taken(text in any::<String>()) {
            unescaped(&text);
            content(&format!("PVE:{text}"), "PVE");
        }
    }
}
