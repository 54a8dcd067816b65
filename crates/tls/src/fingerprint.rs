//! SHA-256 of a certificate, in the spelling of PVE.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;

const LENGTH: usize = 32;

/// SHA-256 of a certificate's DER.
///
/// Displayed as PVE and `openssl x509 -fingerprint -sha256` do (`AA:BB:…`, 95 characters); parsed
/// from that or from 64 plain hex digits, in either case.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; LENGTH]);

impl Fingerprint {
    /// The fingerprint of a certificate given as DER.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        let mut bytes = [0; LENGTH];
        for (to, from) in bytes.iter_mut().zip(digest::digest(&digest::SHA256, der).as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

/// The text is no SHA-256 fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a SHA-256 fingerprint: expected 64 hex digits, plain or as AA:BB:…; \
     `openssl x509 -noout -fingerprint -sha256 -in FILE` prints it"
)]
pub struct NotAFingerprint;

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        let pairs: Vec<&[u8]> = match text.len() {
            95 => text.as_bytes().split(|b| *b == b':').collect(),
            64 => text.as_bytes().chunks(2).collect(),
            _ => return Err(NotAFingerprint),
        };
        if pairs.len() != LENGTH {
            return Err(NotAFingerprint);
        }
        let mut bytes = [0; LENGTH];
        for (to, pair) in bytes.iter_mut().zip(pairs) {
            let [high, low] = pair else {
                return Err(NotAFingerprint);
            };
            *to = digit(*high)? << 4 | digit(*low)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, byte) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { ":" };
            write!(f, "{separator}{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

fn digit(byte: u8) -> Result<u8, NotAFingerprint> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(NotAFingerprint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_digest_in_the_spelling_of_pve() {
        let text = Fingerprint::of(b"abc").to_string();
        assert_eq!(
            text,
            "BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23:\
             B0:03:61:A3:96:17:7A:9C:B4:10:FF:61:F2:00:15:AD"
        );
    }

    #[test]
    fn near_misses_are_refused() {
        let good = Fingerprint::of(b"abc").to_string();
        for bad in [
            String::new(),
            good.replace(':', "-"),
            good.replacen("BA:7", "B:A7", 1),
            good.replacen(':', "", 1),
            format!("{good}:"),
            format!(" {}", good.get(1..).unwrap()),
            good.replace(':', "").replace('A', "G"),
            "é".repeat(32),
            ":".repeat(95),
        ] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(NotAFingerprint), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn every_spelling_reads_back(bytes: [u8; 32]) {
            let fingerprint = Fingerprint(bytes);
            let text = fingerprint.to_string();
            for spelling in [text.clone(), text.to_lowercase(), text.replace(':', "")] {
                prop_assert_eq!(spelling.parse::<Fingerprint>(), Ok(fingerprint));
            }
        }

        #[test]
        fn any_text_is_answered(text in ".{0,100}") {
            let _ = text.parse::<Fingerprint>();
        }
    }
}
