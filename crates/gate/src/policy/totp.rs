//! Codes that change every thirty seconds (RFC 6238): six digits of HMAC-SHA-1, which is what
//! authenticator apps make unless they are told otherwise.

use pve_access::otp::{Hash, hotp};

/// Seconds for which a code stands.
const STEP: u64 = 30;

const DIGITS: u8 = 6;

/// Bytes of a secret: as many as the hash has (RFC 4226 §4).
pub(super) const SECRET: usize = 20;

/// The time of a code that is good now: its own thirty seconds or those next to them, for clocks
/// that differ, and none that was used before (`last`).
pub(super) fn verify(secret: &[u8], code: &str, now: u64, last: Option<u64>) -> Option<u64> {
    let time = now / STEP;
    let digits =
        code.len() == usize::from(DIGITS) && code.bytes().all(|byte| byte.is_ascii_digit());
    let code: u64 = code.parse().ok().filter(|_| digits)?;
    // Every one is computed: how long this takes says nothing about the code.
    let good = [time.saturating_sub(1), time, time + 1]
        .map(|at| (at, hotp(Hash::Sha1, secret, at, DIGITS) == code));
    let mut good = good.into_iter().filter(|(_, good)| *good).map(|(at, _)| at);
    good.find(|at| last.is_none_or(|last| *at > last))
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
}
