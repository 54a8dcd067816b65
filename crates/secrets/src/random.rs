//! Secrets made here: 16 bytes of the kernel's generator.
//!
//! There is no second source to fall back on. Without randomness nothing is made, since a
//! guessable secret is worse than a program that does not start.

use std::io;

use rustix::io::retry_on_intr;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::SecretString;

/// 128 random bits as 32 lower-case hexadecimal digits.
///
/// # Errors
/// The kernel gives no random bytes.
pub fn hex() -> io::Result<SecretString> {
    Ok(SecretString::new(digits(random_bytes()?)))
}

/// A UUID of version 4 (RFC 9562 section 5.4), the form of PVE's token secrets: 122 random bits.
///
/// # Errors
/// The kernel gives no random bytes.
pub fn uuid() -> io::Result<SecretString> {
    let mut bytes = random_bytes()?;
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    let mut text = digits(bytes);
    for at in [8, 13, 18, 23] {
        text.insert(at, '-');
    }
    Ok(SecretString::new(text))
}

fn random_bytes() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    let filled = retry_on_intr(|| getrandom(&mut bytes[..], GetRandomFlags::empty()))?;
    // Up to 256 bytes come whole or not at all (getrandom(2)).
    if filled == bytes.len() { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn digits(bytes: [u8; 16]) -> String {
    // At its full size at once: growing would leave copies behind.
    let mut text = String::with_capacity(36);
    for byte in bytes {
        let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
        text.push(digit(byte >> 4));
        text.push(digit(byte & 0xF));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_have_the_form_of_version_4() {
        let uuid = uuid().unwrap();
        let text = uuid.expose();
        assert_eq!(text.len(), 36);
        assert_eq!(text.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&text.as_bytes()[19]), "{text}");
        assert!(text.char_indices().all(|(at, c)| (c == '-') == matches!(at, 8 | 13 | 18 | 23)));
    }

    #[test]
    fn no_two_are_equal() {
        assert_eq!(hex().unwrap().expose().len(), 32);
        assert!(!hex().unwrap().same_as(hex().unwrap().expose()));
        assert!(!uuid().unwrap().same_as(uuid().unwrap().expose()));
    }
}
