//! The few fields of a certificate that are shown or judged outside of a handshake: when it is
//! valid, and whose it is (RFC 5280 §4.1). Signatures are rustls' and webpki's business.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::der::{
    self, BMP_STRING, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE, SET,
};
use crate::limits::{NAMES_MAX, SUBJECT_MAX};

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
    /// For which hosts it is: DNS names and addresses, at most [`NAMES_MAX`].
    pub(crate) names: Vec<String>,
}

const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// `subjectAltName` (RFC 5280 §4.2.1.6), and the two of its kinds that are hosts.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

/// Reads a certificate's DER; `None` when it is not one.
pub(crate) fn facts(der: &[u8]) -> Option<Facts> {
    let mut tbs = Reader::new(der).within(SEQUENCE)?.within(SEQUENCE)?;
    if tbs.peek() == Some(VERSION) {
        tbs.take(VERSION)?;
    }
    tbs.take(INTEGER)?;
    tbs.take(SEQUENCE)?; // the signature's algorithm
    tbs.take(SEQUENCE)?; // the issuer
    let mut validity = tbs.within(SEQUENCE)?;
    let (not_before, not_after) = (validity.time()?, validity.time()?);
    let subject = name(tbs.within(SEQUENCE)?)?;
    let names = names(tbs).unwrap_or_default();
    Some(Facts { validity: Validity { not_before, not_after }, subject, names })
}

/// The hosts, from what follows the subject. None where none are named.
fn names(mut rest: Reader<'_>) -> Option<Vec<String>> {
    let mut extensions = loop {
        match rest.any()? {
            (EXTENSIONS, content) => break Reader::new(content).within(SEQUENCE)?,
            _ => continue,
        }
    };
    while let Some(mut extension) = extensions.within(SEQUENCE) {
        if extension.take(OBJECT_IDENTIFIER)? == ALTERNATIVE_NAMES {
            // Between them may stand whether it is critical.
            let value = loop {
                match extension.any()? {
                    (OCTET_STRING, value) => break value,
                    _ => continue,
                }
            };
            let mut hosts = Reader::new(value).within(SEQUENCE)?;
            let all =
                std::iter::from_fn(|| hosts.any()).filter_map(|(tag, value)| host(tag, value));
            return Some(all.take(NAMES_MAX).collect());
        }
    }
    None
}

fn host(tag: u8, value: &[u8]) -> Option<String> {
    match tag {
        // It ends up in log lines.
        DNS_NAME if value.iter().all(u8::is_ascii_graphic) => {
            Some(String::from_utf8_lossy(value).into_owned())
        }
        IP_ADDRESS => {
            let four = <[u8; 4]>::try_from(value).map(IpAddr::from).ok();
            let address = four.or_else(|| <[u8; 16]>::try_from(value).map(IpAddr::from).ok());
            address.map(|address| address.to_string())
        }
        _ => None,
    }
}

/// A name; RFC 4514 begins with its last part.
fn name(mut parts: Reader<'_>) -> Option<String> {
    let mut written: Vec<String> = Vec::new();
    while !parts.is_empty() {
        let mut set = parts.within(SET)?;
        let mut attributes = Vec::new();
        while !set.is_empty() {
            let mut attribute = set.within(SEQUENCE)?;
            let kind = attribute.take(OBJECT_IDENTIFIER)?;
            let (tag, value) = attribute.any()?;
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
    let mut text = match der::attribute(kind) {
        Some(short) => format!("{short}="),
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
            assert_eq!(of(&identity).names, ["pve1"]);
            assert!(expected.holds(unix) && !expected.holds(expected.not_after + 1));
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
    fn names_are_hosts_and_addresses() {
        let now = Duration::from_secs(1_795_000_000);
        let authority = Authority::generate("x", now).unwrap();
        let names = ["pve1.example", "192.0.2.10", "2001:db8::10"];
        assert_eq!(of(&authority.issue(&names, now).unwrap()).names, names);
        let key = KeyPair::generate().unwrap();
        let nameless = CertificateParams::default().self_signed(&key).unwrap();
        assert!(facts(nameless.der()).unwrap().names.is_empty());
        assert_eq!(host(DNS_NAME, b"a\nb"), None);
        assert_eq!(host(IP_ADDRESS, &[1, 2, 3]), None);
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
            let _ = name(Reader::new(&bytes));
            let _ = names(Reader::new(&bytes));
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
