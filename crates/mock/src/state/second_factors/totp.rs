//! Time-based one-time passwords (RFC 6238) and the `otpauth://` URI that enrols them.

use std::num::{NonZeroU64, ParseIntError};
use std::str::FromStr;

use pve_access::otp::{Hash, from_base32, hotp};
use secrets::SecretBytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::TOTP_WINDOW;
use crate::state::kept_secret::KeptBytes;
use crate::wire::unescape;

const SCHEME: &str = "otpauth://totp/";

/// A shared secret and how codes are made from it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Totp {
    secret: KeptBytes,
    algorithm: Algorithm,
    digits: u8,
    /// Seconds for which one code is shown; never 0.
    period: NonZeroU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
}

/// Why a text is no URI of a one-time password; the texts are the genuine ones.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum UriError {
    #[error("not an otpauth uri")]
    Scheme,
    #[error("missing '?' in otp uri")]
    Query,
    #[error("bad value in otpauth uri")]
    Value,
    #[error("failed to decode otp secret in otpauth url")]
    Base32,
    #[error("missing secret in otpauth url")]
    Secret,
    #[error("unsupported algorithm: {0}")]
    Algorithm(String),
    #[error("unrecognized otpauth uri parameter: {0}")]
    Parameter(String),
    #[error("zero as 'period' value is invalid")]
    Period,
    #[error("{0}")]
    Number(#[from] ParseIntError),
}

impl Totp {
    /// The number of the time step whose code this is, looked for in the step of `now` (seconds
    /// since 1970) and [`TOTP_WINDOW`] steps on both sides.
    pub(crate) fn step_of(&self, code: &str, now: u64) -> Option<i64> {
        let current = i64::try_from(now / self.period).ok()?;
        let window = current.saturating_sub(TOTP_WINDOW)..=current.saturating_add(TOTP_WINDOW);
        window.into_iter().find(|step| self.matches(code, *step))
    }

    fn matches(&self, code: &str, step: i64) -> bool {
        // As the genuine comparison: by number, with the length checked before.
        code.len() == usize::from(self.digits)
            && code.parse().is_ok_and(|code: u64| code == self.code(step))
    }

    fn code(&self, step: i64) -> u64 {
        hotp(self.algorithm.hash(), self.secret.0.expose(), step.cast_unsigned(), self.digits)
    }
}

impl Algorithm {
    fn hash(self) -> Hash {
        match self {
            Self::Sha1 => Hash::Sha1,
            Self::Sha256 => Hash::Sha256,
            Self::Sha512 => Hash::Sha512,
        }
    }
}

impl FromStr for Algorithm {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        match text.to_ascii_uppercase().as_str() {
            "SHA1" => Ok(Self::Sha1),
            "SHA256" => Ok(Self::Sha256),
            "SHA512" => Ok(Self::Sha512),
            _ => Err(UriError::Algorithm(text.to_owned())),
        }
    }
}

/// `otpauth://totp/LABEL?secret=BASE32[&digits=6][&algorithm=SHA1][&period=30][&issuer=…]`. Label
/// and issuer are for the user's device; the server never shows them.
impl FromStr for Totp {
    type Err = UriError;

    fn from_str(uri: &str) -> Result<Self, UriError> {
        let rest = uri.strip_prefix(SCHEME).ok_or(UriError::Scheme)?;
        let (_label, query) = rest.split_once('?').ok_or(UriError::Query)?;
        let mut secret = Vec::new();
        let (mut algorithm, mut digits, mut period) = (Algorithm::Sha1, 6, 30_u64);
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').ok_or(UriError::Value)?;
            let (name, value) = (unescape(name), unescape(value));
            match name.as_str() {
                "secret" => secret = from_base32(&value).ok_or(UriError::Base32)?,
                "algorithm" => algorithm = value.parse()?,
                "digits" => digits = value.parse()?,
                "period" => period = value.parse()?,
                "issuer" => {}
                _ => return Err(UriError::Parameter(name)),
            }
        }
        if secret.is_empty() {
            return Err(UriError::Secret);
        }
        let period = NonZeroU64::new(period).ok_or(UriError::Period)?;
        let secret = KeptBytes(SecretBytes::new(secret));
        Ok(Self { secret, algorithm, digits, period })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use pve_access::otp::base32;

    /// The secret of RFC 6238 appendix B, repeated to the length of the algorithm's output.
    fn reference(algorithm: &str, length: usize) -> Totp {
        let secret: Vec<u8> = b"1234567890".iter().copied().cycle().take(length).collect();
        uri(&secret, algorithm, 8, 30).parse().unwrap()
    }

    fn uri(secret: &[u8], algorithm: &str, digits: u8, period: u64) -> String {
        let secret = base32(secret);
        format!(
            "otpauth://totp/An%20issuer:a%40pve?secret={secret}&issuer=An%20issuer\
             &digits={digits}&algorithm={algorithm}&period={period}"
        )
    }

    #[test]
    fn the_algorithm_is_that_of_the_uri() {
        // RFC 6238 appendix B; all of them are held against it where they are computed.
        for (algorithm, length, code) in
            [("SHA1", 20, "94287082"), ("SHA256", 32, "46119246"), ("sha512", 64, "90693936")]
        {
            assert_eq!(reference(algorithm, length).step_of(code, 59), Some(1), "{algorithm}");
        }
    }

    #[test]
    fn a_code_counts_one_step_early_and_one_late() {
        let totp = reference("SHA1", 20);
        let at = |time| totp.step_of("14050471", time);
        let (first, last) = (1_111_111_110, 1_111_111_139);
        let step = Some(37_037_037);
        assert_eq!((at(first - 30), at(first), at(last), at(last + 30)), (step, step, step, step));
        assert_eq!((at(first - 31), at(last + 31)), (None, None));
        assert_eq!(totp.step_of("94287082", 0), Some(1));
    }

    #[test]
    fn digits_and_period_are_those_of_the_uri() {
        let totp: Totp = uri(b"12345678901234567890", "SHA1", 6, 60).parse().unwrap();
        assert_eq!(totp.step_of("287082", 119), Some(1));
        for wrong in ["94287082", "0287082", "28708", "", "28708x"] {
            assert_eq!(totp.step_of(wrong, 119), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_uri_is_said_in_the_genuine_words() {
        let table = [
            ("otpauth://hotp/a?secret=AA", "not an otpauth uri"),
            ("otpauth://totp/a", "missing '?' in otp uri"),
            ("otpauth://totp/a?", "bad value in otpauth uri"),
            ("otpauth://totp/a?secret=A1", "failed to decode otp secret in otpauth url"),
            ("otpauth://totp/a?digits=6", "missing secret in otpauth url"),
            ("otpauth://totp/a?secret=", "missing secret in otpauth url"),
            ("otpauth://totp/a?secret=AAAA&digits=x", "invalid digit found in string"),
            ("otpauth://totp/a?secret=AAAA&digits=256", "number too large to fit in target type"),
            ("otpauth://totp/a?secret=AAAA&algorithm=MD5", "unsupported algorithm: MD5"),
            ("otpauth://totp/a?secret=AAAA&step=30", "unrecognized otpauth uri parameter: step"),
            ("otpauth://totp/a?secret=AAAA&period=0", "zero as 'period' value is invalid"),
        ];
        for (uri, text) in table {
            assert_eq!(uri.parse::<Totp>().unwrap_err().to_string(), text, "{uri}");
        }
    }

    #[test]
    fn neither_the_secret_nor_its_length_is_printed() {
        assert!(format!("{:?}", reference("SHA1", 20)).contains("Secret(…)"));
    }

    proptest! {
        #[test]
        fn a_written_uri_reads_back(
            secret in prop::collection::vec(any::<u8>(), 1..70),
            algorithm in prop::sample::select(vec!["SHA1", "SHA256", "SHA512"]),
            digits in any::<u8>(),
            period in 1..u64::MAX,
        ) {
            let totp: Totp = uri(&secret, algorithm, digits, period).parse().unwrap();
            prop_assert_eq!(totp.secret.0.expose(), &secret);
            prop_assert_eq!(totp.algorithm, algorithm.parse().unwrap());
            prop_assert_eq!((totp.digits, totp.period.get()), (digits, period));
        }

        #[test]
        fn any_text_and_any_code_are_taken(
            text in "(otpauth://totp/)?\\PC{0,8}[?]?(secret=[A-Z2-7=%]{0,9}|\\PC{0,8}=\\PC{0,8}|&){0,4}",
            code in "\\PC{0,12}",
            now in any::<u64>(),
        ) {
            if let Ok(totp) = text.parse::<Totp>() {
                totp.step_of(&code, now);
            }
        }

        #[test]
        fn the_code_of_a_step_is_found_in_it(
            secret in prop::collection::vec(any::<u8>(), 1..70),
            digits in 6..=10_u8,
            now in 0..u64::from(u32::MAX),
        ) {
            let totp: Totp = uri(&secret, "SHA256", digits, 30).parse().unwrap();
            let step = i64::try_from(now / 30).unwrap();
            let code = format!("{:0width$}", totp.code(step), width = usize::from(digits));
            let found = totp.step_of(&code, now).unwrap();
            prop_assert!((step - 1..=step).contains(&found), "{found} {step}");
        }
    }
}
