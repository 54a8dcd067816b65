//! Codes that change every thirty seconds (RFC 6238): six digits of HMAC-SHA-1, which is what
//! authenticator apps make unless they are told otherwise.

use aws_lc_rs::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, Key, sign};

/// Seconds for which a code stands.
const STEP: u64 = 30;

/// Bytes of a secret: as many as the hash has (RFC 4226 §4).
pub(super) const SECRET: usize = 20;

/// The time of a code that is good now: its own thirty seconds or those next to them, for clocks
/// that differ, and none that was used before (`last`).
pub(super) fn verify(secret: &[u8], code: &str, now: u64, last: Option<u64>) -> Option<u64> {
    let time = now / STEP;
    let digits = code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit());
    let code: u32 = code.parse().ok().filter(|_| digits)?;
    // Every one is computed: how long this takes says nothing about the code.
    let good = [time.saturating_sub(1), time, time + 1].map(|at| (at, of(secret, at) == code));
    let mut good = good.into_iter().filter(|(_, good)| *good).map(|(at, _)| at);
    good.find(|at| last.is_none_or(|last| *at > last))
}

/// RFC 4226 §5.3.
fn of(secret: &[u8], time: u64) -> u32 {
    let tag = sign(&Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret), &time.to_be_bytes());
    let tag = tag.as_ref();
    let offset = tag.last().map_or(0, |byte| usize::from(byte & 0xF));
    let bytes = tag.get(offset..offset + 4).and_then(|bytes| bytes.try_into().ok());
    (u32::from_be_bytes(bytes.unwrap_or_default()) & 0x7FFF_FFFF) % 1_000_000
}

/// RFC 4648 §6 without padding, which apps do not want.
pub(super) fn base32(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::new();
    for chunk in bytes.chunks(5) {
        let mut word = [0_u8; 8];
        for (to, from) in word.iter_mut().skip(3).zip(chunk) {
            *to = *from;
        }
        let word = u64::from_be_bytes(word);
        for at in 0..(chunk.len() * 8).div_ceil(5) {
            let index = usize::try_from((word >> (35 - 5 * at)) & 31).unwrap_or_default();
            text.push(LETTERS.get(index).copied().map_or('A', char::from));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238 appendix B, cut to six digits.
    #[test]
    fn as_the_rfc_has_them() {
        let secret = b"12345678901234567890";
        for (now, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_234_567_890, "005924"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(verify(secret, code, now, None), Some(now / STEP));
            assert_eq!(verify(secret, code, now + STEP, None), Some(now / STEP));
            assert_eq!(verify(secret, code, now + 2 * STEP, None), None);
            // Once used, never again.
            assert_eq!(verify(secret, code, now, Some(now / STEP)), None);
        }
        for bad in ["", "28708", "2870820", "28708a", "+87082", "000000"] {
            assert_eq!(verify(secret, bad, 59, None), None, "{bad}");
        }
    }

    #[test]
    fn base32_as_the_rfc_has_it() {
        for (bytes, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
    }
}
