//! The few fields of a certificate that are shown or judged outside of a handshake: when it is
//! valid, and whose it is (RFC 5280 §4.1). Signatures are rustls' and webpki's business.

use std::fmt::Write as _;

use crate::limits::SUBJECT_MAX;

/// From when to when a certificate is valid, both ends included, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its first second; 0 for one before 1970.
    pub not_before: u64,
    /// Its last second.
    pub not_after: u64,
}

impl Validity {
    /// Whether it is valid at this time.
    #[must_use]
    pub fn holds(&self, unix: u64) -> bool {
        (self.not_before..=self.not_after).contains(&unix)
    }
}

/// What is read of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) validity: Validity,
    /// The subject as RFC 4514 writes it, its most significant part last: `CN=alice,O=Example`.
    /// At most [`SUBJECT_MAX`] bytes.
    pub(crate) subject: String,
}

const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const BMP_STRING: u8 = 0x1e;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;

/// Attribute types by their encoding (RFC 4514 §3, and those that are common besides).
static ATTRIBUTES: [(&[u8], &str); 9] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress"),
];

/// Reads a certificate's DER; `None` when it is not one.
pub(crate) fn facts(der: &[u8]) -> Option<Facts> {
    let (certificate, _) = tagged(der, SEQUENCE)?;
    let (mut tbs, _) = tagged(certificate, SEQUENCE)?;
    if let Some((_, rest)) = tagged(tbs, VERSION) {
        tbs = rest;
    }
    let (_, rest) = tagged(tbs, INTEGER)?;
    let (_, rest) = tagged(rest, SEQUENCE)?; // the signature's algorithm
    let (_, rest) = tagged(rest, SEQUENCE)?; // the issuer
    let (validity, rest) = tagged(rest, SEQUENCE)?;
    let (subject, _) = tagged(rest, SEQUENCE)?;
    let (not_before, validity) = time(validity)?;
    let (not_after, _) = time(validity)?;
    Some(Facts { validity: Validity { not_before, not_after }, subject: name(subject)? })
}

/// One element and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = der.split_first_chunk()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        // Longer ones would exceed every limit on files and handshakes.
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn tagged(der: &[u8], expected: u8) -> Option<(&[u8], &[u8])> {
    element(der).filter(|(tag, ..)| *tag == expected).map(|(_, content, rest)| (content, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`; RFC 5280 §4.1.2.5 allows no other form.
fn time(der: &[u8]) -> Option<(u64, &[u8])> {
    let (tag, text, rest) = element(der)?;
    let digits = text.strip_suffix(b"Z")?;
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0_i64, |sum, digit| {
            digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'))
        })
    };
    let (year, digits) = match tag {
        UTC_TIME => {
            let (year, digits) = digits.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, digits)
        }
        GENERALIZED_TIME => {
            let (year, digits) = digits.split_at_checked(4)?;
            (number(year)?, digits)
        }
        _ => return None,
    };
    let fields: Vec<i64> = digits.chunks(2).map(number).collect::<Option<_>>()?;
    let &[month @ 1..=12, day @ 1..=31, hour @ 0..=23, minute @ 0..=59, second @ 0..=60] =
        fields.as_slice()
    else {
        return None;
    };
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    (digits.len() == 10).then_some((u64::try_from(seconds).unwrap_or(0), rest))
}

/// Days from 1970 to a date of the Gregorian calendar, years counted from March so that the leap
/// day is their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

/// A name; RFC 4514 begins with its last part.
fn name(mut parts: &[u8]) -> Option<String> {
    let mut written: Vec<String> = Vec::new();
    while !parts.is_empty() {
        let (mut set, rest) = tagged(parts, SET)?;
        parts = rest;
        let mut attributes = Vec::new();
        while !set.is_empty() {
            let (attribute, rest) = tagged(set, SEQUENCE)?;
            set = rest;
            let (kind, value) = tagged(attribute, OBJECT_IDENTIFIER)?;
            let (tag, value, _) = element(value)?;
            attributes.push(attribute_text(kind, tag, value));
        }
        written.push(attributes.join("+"));
    }
    written.reverse();
    let mut name = written.join(",");
    let end = (0..=SUBJECT_MAX.min(name.len())).rfind(|at| name.is_char_boundary(*at));
    name.truncate(end.unwrap_or(0));
    Some(name)
}

fn attribute_text(kind: &[u8], tag: u8, value: &[u8]) -> String {
    let mut text = match ATTRIBUTES.iter().find(|(known, _)| *known == kind) {
        Some((_, short)) => format!("{short}="),
        None => {
            let mut hex = String::from("oid:");
            for byte in kind {
                // Writing to a String can not fail.
                let _ = write!(hex, "{byte:02x}");
            }
            hex + "="
        }
    };
    let decoded = if tag == BMP_STRING {
        let units = value
            .chunks_exact(2)
            .map(|pair| pair.iter().fold(0_u16, |sum, byte| sum << 8 | u16::from(*byte)));
        char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    } else {
        String::from_utf8_lossy(value).into_owned()
    };
    for c in decoded.chars() {
        match c {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' => text.extend(['\\', c]),
            // It ends up in log lines.
            c if c.is_control() => text.push('?'),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;
    use crate::{Authority, Identity};

    fn of(identity: &Identity) -> Facts {
        facts(identity.certified().cert.first().unwrap()).unwrap()
    }

    #[test]
    fn validity_is_what_was_issued() {
        for unix in [86_400, 951_782_400, 1_795_000_000, 2_524_608_000, 4_102_444_800] {
            let now = Duration::from_secs(unix);
            let identity = Authority::generate("x", now).unwrap().issue(&["pve1"], now).unwrap();
            let expected = Validity { not_before: unix - 86_400, not_after: unix + 730 * 86_400 };
            assert_eq!(of(&identity).validity, expected, "{unix}");
            assert_eq!(of(&identity).subject, "CN=pve1");
            assert!(expected.holds(unix) && !expected.holds(expected.not_after + 1));
        }
    }

    #[test]
    fn days_of_known_dates() {
        for ((year, month, day), expected) in [
            ((1970, 1, 1), 0),
            ((1969, 12, 31), -1),
            ((2000, 2, 29), 11_016),
            ((2000, 3, 1), 11_017),
            ((2026, 11, 21), 20_778),
            ((2100, 3, 1), 47_541),
        ] {
            assert_eq!(days(year, month, day), expected, "{year}-{month}-{day}");
        }
    }

    #[test]
    fn a_subject_is_written_as_openssl_writes_it_and_holds_no_control() {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in [
            (DnType::OrganizationName, "Example, Inc."),
            (DnType::OrganizationalUnitName, "a+b=c\u{7}\n"),
            (DnType::CommonName, "alice"),
        ] {
            params.distinguished_name.push(kind, value);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let facts = facts(certificate.der()).unwrap();
        assert_eq!(facts.subject, r"CN=alice,OU=a\+b\=c??,O=Example\, Inc.");
    }

    #[test]
    fn a_long_subject_is_cut() {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "é".repeat(SUBJECT_MAX));
        let key = KeyPair::generate().unwrap();
        let subject = facts(params.self_signed(&key).unwrap().der()).unwrap().subject;
        assert!(subject.len() <= SUBJECT_MAX && subject.starts_with("CN=é"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = facts(&bytes);
            let _ = time(&bytes);
            let _ = name(&bytes);
        }

        #[test]
        fn any_damage_is_answered(at in any::<prop::sample::Index>(), to in any::<u8>()) {
            let now = Duration::from_secs(1_795_000_000);
            let identity = Authority::generate("x", now).unwrap().issue(&["pve1"], now).unwrap();
            let mut der = identity.certified().cert.first().unwrap().to_vec();
            let at = at.index(der.len());
            der[at] = to;
            let _ = facts(&der);
            let _ = facts(&der[..at]);
        }
    }
}
