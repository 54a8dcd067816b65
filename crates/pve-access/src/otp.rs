//! One-time passwords: the codes of RFC 4226, which RFC 6238 counts by time, and the Base32 of
//! RFC 4648 section 6 in which apps get their secrets.
//!
//! Which step of time a code belongs to, and whether it was used before, is the caller's matter.

use aws_lc_rs::hmac;

/// Most digits of a code: it is made of 31 bits (RFC 4226 section 5.3).
const MOST_DIGITS: u8 = 10;

const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What a code is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// What apps use unless they are told otherwise.
    Sha1,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

/// The code for a counter (RFC 4226 section 5.3), of at most ten digits.
pub fn hotp(hash: Hash, secret: &[u8], counter: u64, digits: u8) -> u64 {
    let algorithm = match hash {
        Hash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Hash::Sha256 => hmac::HMAC_SHA256,
        Hash::Sha512 => hmac::HMAC_SHA512,
    };
    let tag = hmac::sign(&hmac::Key::new(algorithm, secret), &counter.to_be_bytes());
    let tag = tag.as_ref();
    let offset = tag.last().map_or(0, |byte| usize::from(byte & 0x0F));
    // The shortest tag has 20 bytes, of which the last offset leaves four.
    let word = tag.get(offset..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
    let value = u64::from(u32::from_be_bytes(word) & 0x7FFF_FFFF);
    value % 10_u64.pow(u32::from(digits.min(MOST_DIGITS)))
}

/// Base32 without padding, which apps do not want.
pub fn base32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity((bytes.len() * 8).div_ceil(5));
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

/// Reads Base32 in either case, with or without padding; left-over bits are dropped. None for
/// any other symbol.
pub fn from_base32(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut held) = (Vec::with_capacity(text.len() * 5 / 8), 0_u32, 0_u32);
    for symbol in text.trim_end_matches('=').bytes() {
        let value = match symbol.to_ascii_uppercase() {
            letter @ b'A'..=b'Z' => letter - b'A',
            digit @ b'2'..=b'7' => digit - b'2' + 26,
            _ => return None,
        };
        bits = bits << 5 | u32::from(value);
        held += 5;
        if held >= 8 {
            held -= 8;
            bytes.extend(u8::try_from(bits >> held & 0xFF));
        }
        bits &= 0xFFF;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 4226 appendix D.
    #[test]
    fn codes_of_a_counter() {
        let codes = [
            755_224, 287_082, 359_152, 969_429, 338_314, 254_676, 287_922, 162_583, 399_871,
            520_489,
        ];
        for (counter, code) in (0..).zip(codes) {
            assert_eq!(hotp(Hash::Sha1, b"12345678901234567890", counter, 6), code);
        }
    }

    /// RFC 6238 appendix B, whose secrets are as long as their hash.
    #[test]
    fn codes_of_a_time() {
        let secret =
            |length| b"1234567890".iter().copied().cycle().take(length).collect::<Vec<_>>();
        let code = |hash, length, time: u64| hotp(hash, &secret(length), time / 30, 8);
        #[rustfmt::skip]
        let table = [
            (59,             94_287_082, 46_119_246, 90_693_936),
            (1_111_111_109,   7_081_804, 68_084_774, 25_091_201),
            (1_111_111_111,  14_050_471, 67_062_674, 99_943_326),
            (1_234_567_890,  89_005_924, 91_819_424, 93_441_116),
            (2_000_000_000,  69_279_037, 90_698_825, 38_618_901),
            (20_000_000_000, 65_353_130, 77_737_706, 47_863_826),
        ];
        for (time, sha1, sha256, sha512) in table {
            assert_eq!(code(Hash::Sha1, 20, time), sha1, "{time}");
            assert_eq!(code(Hash::Sha256, 32, time), sha256, "{time}");
            assert_eq!(code(Hash::Sha512, 64, time), sha512, "{time}");
        }
    }

    /// RFC 4648 section 10.
    #[test]
    fn base32_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "MY======"),
            ("fo", "MZXQ===="),
            ("foo", "MZXW6==="),
            ("foob", "MZXW6YQ="),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI======"),
        ] {
            assert_eq!(base32(bytes.as_bytes()), text.trim_end_matches('='));
            assert_eq!(from_base32(&text.to_lowercase()).as_deref(), Some(bytes.as_bytes()));
        }
        for bad in ["A1", "A=A", "É"] {
            assert_eq!(from_base32(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(bytes: Vec<u8>) {
            prop_assert_eq!(from_base32(&base32(&bytes)), Some(bytes));
        }

        #[test]
        fn any_text_is_read_and_any_secret_makes_a_code(text: String, counter: u64, digits: u8) {
            let secret = from_base32(&text).unwrap_or_default();
            prop_assert!(hotp(Hash::Sha256, &secret, counter, digits) <= u64::from(u32::MAX >> 1));
        }
    }
}
