//! Secrets made here: 16 bytes of the kernel's generator.
//!
//! There is no second source to fall back on. Without randomness nothing is made, since a
//! guessable secret is worse than a program that does not start.

use std::io;

use rustix::io::retry_on_intr;
use rustix::rand::{GetRandomFlags, getrandom};

use zeroize::Zeroize as _;

use crate::{Secret, SecretString};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// 128 random bits as 32 lower-case hexadecimal digits.
///
/// # Errors
/// The kernel gives no random bytes.
pub fn hex() -> io::Result<SecretString> {
    let digits = digits::<32>()?;
    Ok(SecretString::new(String::from_utf8_lossy(digits.expose()).into_owned()))
}

/// `N` lower-case hexadecimal digits, 256 at most, of which each is 4 random bits: for whoever
/// needs several secrets at once, as every draw is a call of the kernel.
///
/// # Errors
/// The kernel gives no random bytes.
pub fn digits<const N: usize>() -> io::Result<Secret<[u8; N]>> {
    const { assert!(N <= 256, "more may come in parts (getrandom(2))") };
    let mut digits = [0; N];
    fill(&mut digits)?;
    for digit in &mut digits {
        *digit = DIGITS.get(usize::from(*digit & 0xF)).copied().unwrap_or_default();
    }
    let secret = Secret::new(digits);
    digits.zeroize();
    Ok(secret)
}

/// A UUID of version 4 (RFC 9562 section 5.4), the form of PVE's token secrets: 122 random bits.
///
/// # Errors
/// The kernel gives no random bytes.
pub fn uuid() -> io::Result<SecretString> {
    let mut bytes = [0; 16];
    fill(&mut bytes)?;
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    // At its full size at once: growing would leave copies behind.
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for nibble in [byte >> 4, byte & 0xF] {
            text.push(DIGITS.get(usize::from(nibble)).copied().unwrap_or_default().into());
        }
    }
    Ok(SecretString::new(text))
}

fn fill(bytes: &mut [u8]) -> io::Result<()> {
    let filled = retry_on_intr(|| getrandom(&mut *bytes, GetRandomFlags::empty()))?;
    // Up to 256 bytes come whole or not at all (getrandom(2)).
    if filled == bytes.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
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
        assert!(digits::<96>().unwrap().expose().iter().all(|digit| DIGITS.contains(digit)));
        assert!(DIGITS.iter().all(|digit| digits::<256>().unwrap().expose().contains(digit)));
        assert_eq!(hex().unwrap().expose().len(), 32);
        assert!(!hex().unwrap().same_as(hex().unwrap().expose()));
        assert!(!uuid().unwrap().same_as(uuid().unwrap().expose()));
    }
}
