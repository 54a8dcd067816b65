//! What `certificates/info` tells of a certificate (RFC 5280), read from its DER.

use base64::Engine as _;
use serde_json::{Value, json};

use crate::object::set_some;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const VERSION: u8 = 0xA0;
const EXTENSIONS: u8 = 0xA3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

/// Names of attributes that distinguished names use, by the bytes of their ids.
const ATTRIBUTES: [(&[u8], &str); 6] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1D, 0x11];
const RSA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 1];
const P256: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 3, 1, 7];

/// The entry for the first certificate of a PEM text; `None` when it is none.
pub(crate) fn info(filename: &str, pem: &str, fingerprint: &str) -> Option<Value> {
    let (_, rest) = pem.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
    let packed: String = body.split_whitespace().collect();
    let der = base64::engine::general_purpose::STANDARD.decode(packed).ok()?;
    let facts = Facts::read(&der)?;
    let mut entry = json!({
        "filename": filename,
        "fingerprint": fingerprint,
        "issuer": facts.issuer,
        "subject": facts.subject,
        "notbefore": facts.not_before,
        "notafter": facts.not_after,
        "san": facts.names,
        "pem": format!("-----BEGIN CERTIFICATE-----{body}-----END CERTIFICATE-----\n"),
    });
    let key = facts.key;
    set_some(&mut entry, "public-key-type", key.map(|(kind, _)| kind));
    set_some(&mut entry, "public-key-bits", key.map(|(_, bits)| bits));
    Some(entry)
}

struct Facts {
    issuer: String,
    subject: String,
    not_before: u64,
    not_after: u64,
    names: Vec<String>,
    key: Option<(&'static str, usize)>,
}

impl Facts {
    fn read(der: &[u8]) -> Option<Self> {
        let mut certificate = Reader(Reader(der).take(SEQUENCE)?);
        let mut fields = Reader(certificate.take(SEQUENCE)?);
        if fields.peek() == Some(VERSION) {
            fields.take(VERSION)?;
        }
        fields.take(INTEGER)?;
        fields.take(SEQUENCE)?;
        let issuer = distinguished(fields.take(SEQUENCE)?)?;
        let mut validity = Reader(fields.take(SEQUENCE)?);
        let (not_before, not_after) = (time(validity.any()?)?, time(validity.any()?)?);
        let subject = distinguished(fields.take(SEQUENCE)?)?;
        let key = key(fields.take(SEQUENCE)?);
        let mut names = Vec::new();
        while let Some((tag, content)) = fields.any() {
            if tag == EXTENSIONS {
                names = alternative_names(content).unwrap_or_default();
            }
        }
        Some(Self { issuer, subject, not_before, not_after, names, key })
    }
}

/// `/O=…/CN=…`, the form of OpenSSL's one-line names.
fn distinguished(content: &[u8]) -> Option<String> {
    let (mut sets, mut shown) = (Reader(content), String::new());
    while let Some((SET, set)) = sets.any() {
        let mut pair = Reader(Reader(set).take(SEQUENCE)?);
        let id = pair.take(OBJECT_ID)?;
        let (_, value) = pair.any()?;
        let name = ATTRIBUTES.iter().find(|(known, _)| *known == id).map_or("?", |(_, name)| name);
        shown += &format!("/{name}={}", String::from_utf8_lossy(value));
    }
    Some(shown)
}

fn key(content: &[u8]) -> Option<(&'static str, usize)> {
    let mut key = Reader(content);
    let mut algorithm = Reader(key.take(SEQUENCE)?);
    let id = algorithm.take(OBJECT_ID)?;
    if id != RSA {
        return (algorithm.take(OBJECT_ID)? == P256).then_some(("id-ecPublicKey", 256));
    }
    let bits = key.take(BIT_STRING)?.get(1..)?;
    let modulus = Reader(Reader(bits).take(SEQUENCE)?).take(INTEGER)?;
    let leading = modulus.iter().take_while(|byte| **byte == 0).count();
    Some(("rsaEncryption", (modulus.len() - leading) * 8))
}

fn alternative_names(content: &[u8]) -> Option<Vec<String>> {
    let (mut extensions, mut names) = (Reader(Reader(content).take(SEQUENCE)?), Vec::new());
    while let Some((SEQUENCE, extension)) = extensions.any() {
        let mut extension = Reader(extension);
        if extension.take(OBJECT_ID)? != SUBJECT_ALT_NAME {
            continue;
        }
        let mut value = extension.any()?;
        if value.0 != OCTET_STRING {
            value = extension.any()?;
        }
        let mut entries = Reader(Reader(value.1).take(SEQUENCE)?);
        while let Some((tag, name)) = entries.any() {
            match tag {
                DNS_NAME => names.push(String::from_utf8_lossy(name).into_owned()),
                IP_ADDRESS => names.extend(address(name)),
                _ => {}
            }
        }
    }
    Some(names)
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(four).to_string());
    }
    let sixteen = <[u8; 16]>::try_from(bytes).ok()?;
    Some(std::net::Ipv6Addr::from(sixteen).to_string())
}

/// Seconds since 1970 of a `UTCTime` (two digits of the year) or `GeneralizedTime`.
fn time((tag, content): (u8, &[u8])) -> Option<u64> {
    let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    let number = |text: &str| text.parse::<u64>().ok();
    let (year, rest) = if tag == UTC_TIME {
        let (year, rest) = text.split_at_checked(2)?;
        let year = number(year)?;
        (if year < 50 { 2000 + year } else { 1900 + year }, rest)
    } else {
        let (year, rest) = text.split_at_checked(4)?;
        (number(year)?, rest)
    };
    let mut pairs = (0..5).map(|at| number(rest.get(2 * at..2 * at + 2)?));
    let mut next = || pairs.next()?;
    let (month, day) = (next()?, next()?);
    let (hour, minute, second) = (next()?, next()?, next()?);
    let days = telemetry::days_since_1970(year, month, day)?;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// Reads elements of DER (X.690) one after the other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.any().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }

    fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match usize::from(*first) {
            short @ 0..0x80 => (short, rest),
            long => {
                let (bytes, rest) = rest.split_at_checked(long - 0x80)?;
                if bytes.len() > 4 {
                    return None;
                }
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn facts_of_an_issued_certificate() {
        let now = telemetry::Clock::system().unix();
        let authority = tls::Authority::generate("test authority", now).unwrap();
        let identity = authority.issue(&["127.0.0.1", "pve1.example"], now).unwrap();
        let entry = info("pve-ssl.pem", &identity.certificate_pem(), "AA:BB").unwrap();
        assert!(entry["issuer"].as_str().unwrap().contains("/CN=test authority"), "{entry}");
        assert_eq!(entry["public-key-type"], "id-ecPublicKey");
        assert_eq!(entry["public-key-bits"], 256);
        let names = entry["san"].as_array().unwrap();
        assert!(names.contains(&json!("127.0.0.1")) && names.contains(&json!("pve1.example")));
        let until = Duration::from_secs(entry["notafter"].as_u64().unwrap());
        assert!(until > now && entry["notbefore"].as_u64().unwrap() <= now.as_secs());
    }

    #[test]
    fn both_forms_of_time() {
        assert_eq!(time((UTC_TIME, b"261120224836Z")), Some(0x6B00_CE44));
        assert_eq!(time((0x18, b"20261120224836Z")), Some(0x6B00_CE44));
        assert_eq!(time((UTC_TIME, b"991231235959Z")), Some(946_684_799));
        assert_eq!(time((UTC_TIME, b"2611202248")), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(der: Vec<u8>) {
            Facts::read(&der);
            let coded = base64::engine::general_purpose::STANDARD.encode(&der);
            let pem = format!("-----BEGIN CERTIFICATE-----\n{coded}\n-----END CERTIFICATE-----\n");
            info("x", &pem, "");
        }
    }
}
