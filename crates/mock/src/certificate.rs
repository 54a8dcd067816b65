//! What `certificates/info` tells of a certificate (RFC 5280), read from its DER.

use base64::Engine as _;
use serde_json::{Value, json};
use tls::der::{self, BIT_STRING, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE, SET};

use crate::object::set_some;

const VERSION: u8 = 0xA0;
const EXTENSIONS: u8 = 0xA3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

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
        let mut fields = Reader::new(der).within(SEQUENCE)?.within(SEQUENCE)?;
        if fields.peek() == Some(VERSION) {
            fields.take(VERSION)?;
        }
        fields.take(INTEGER)?;
        fields.take(SEQUENCE)?;
        let issuer = distinguished(fields.within(SEQUENCE)?)?;
        let mut validity = fields.within(SEQUENCE)?;
        let (not_before, not_after) = (validity.time()?, validity.time()?);
        let subject = distinguished(fields.within(SEQUENCE)?)?;
        let key = key(fields.within(SEQUENCE)?);
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
fn distinguished(mut sets: Reader<'_>) -> Option<String> {
    let mut shown = String::new();
    while let Some(mut set) = sets.within(SET) {
        let mut pair = set.within(SEQUENCE)?;
        let name = der::attribute(pair.take(OBJECT_IDENTIFIER)?).unwrap_or("?");
        let (_, value) = pair.any()?;
        shown += &format!("/{name}={}", String::from_utf8_lossy(value));
    }
    Some(shown)
}

fn key(mut key: Reader<'_>) -> Option<(&'static str, usize)> {
    let mut algorithm = key.within(SEQUENCE)?;
    let id = algorithm.take(OBJECT_IDENTIFIER)?;
    if id != RSA {
        return (algorithm.take(OBJECT_IDENTIFIER)? == P256).then_some(("id-ecPublicKey", 256));
    }
    let bits = key.take(BIT_STRING)?.get(1..)?;
    let modulus = Reader::new(bits).within(SEQUENCE)?.take(INTEGER)?;
    let leading = modulus.iter().take_while(|byte| **byte == 0).count();
    Some(("rsaEncryption", (modulus.len() - leading) * 8))
}

fn alternative_names(content: &[u8]) -> Option<Vec<String>> {
    let (mut extensions, mut names) = (Reader::new(content).within(SEQUENCE)?, Vec::new());
    while let Some(mut extension) = extensions.within(SEQUENCE) {
        if extension.take(OBJECT_IDENTIFIER)? != SUBJECT_ALT_NAME {
            continue;
        }
        let mut value = extension.any()?;
        if value.0 != OCTET_STRING {
            value = extension.any()?;
        }
        let mut entries = Reader::new(value.1).within(SEQUENCE)?;
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
