//! The parameters of a login, read as pveproxy reads them (`decode_urlencoded`, `decode_json`)
//! and written anew: Proxmox VE then judges the very names and values that the gate judged.

use http::header::CONTENT_TYPE;
use http::request::Parts;
use serde_json::{Map, Value};

use crate::credential::escape;

/// Most parameters of one call. The login calls have fewer than twenty.
const PARAMETERS: usize = 64;

/// Parameter that pveproxy drops before anything reads it.
const CACHE_BREAKER: &[u8] = b"_dc";

/// How a body is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Form,
    Json,
}

/// Names and values in their order; a name may be repeated, a value may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Params(Vec<Pair>);

type Pair = (Vec<u8>, Option<Vec<u8>>);

/// The parameters are too many, or hold what no parameter of a login can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

impl Kind {
    /// As pveproxy decides it: by how Content-Type begins. None: it refuses the request.
    pub(crate) fn of(parts: &Parts) -> Option<Self> {
        let Some(value) = parts.headers.get(CONTENT_TYPE) else { return Some(Self::Form) };
        let value = value.as_bytes();
        if value.is_empty() || value.starts_with(b"application/x-www-form-urlencoded") {
            return Some(Self::Form);
        }
        value.starts_with(b"application/json").then_some(Self::Json)
    }
}

impl Params {
    /// Of a body and a query, which overrides it name by name.
    pub(crate) fn read(kind: Kind, body: &[u8], query: Option<&str>) -> Result<Self, Unreadable> {
        let mut params = match kind {
            _ if body.is_empty() => Vec::new(),
            Kind::Form => form(body)?,
            Kind::Json => json(body)?,
        };
        if let Some(query) = query.filter(|query| !query.is_empty()) {
            let query = form(query.as_bytes())?;
            params.retain(|(name, _)| query.iter().all(|(have, _)| have != name));
            params.extend(query);
        }
        params.retain(|(name, _)| name != CACHE_BREAKER);
        Ok(Self(params))
    }

    /// The value of a name that stands there once.
    pub(crate) fn one(&self, name: &str) -> Option<&[u8]> {
        let mut found = self.0.iter().filter(|(have, _)| have == name.as_bytes());
        let (_, value) = found.next()?;
        value.as_deref().filter(|_| found.next().is_none())
    }

    /// Whether the name is there at all.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(have, _)| have == name.as_bytes())
    }

    /// Puts another value in the place of the one with this name.
    pub(crate) fn set(&mut self, name: &str, to: &[u8]) {
        for (_, value) in self.0.iter_mut().filter(|(have, _)| have == name.as_bytes()) {
            *value = Some(to.to_vec());
        }
    }

    /// As a form.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for (at, (name, value)) in self.0.iter().enumerate() {
            if at > 0 {
                text.push(b'&');
            }
            encode(&mut text, name);
            match value.as_deref() {
                // An empty piece at the end would be none.
                None if name.is_empty() => text.push(b'='),
                None => {}
                // To Perl, `a=` has no value; that of `a==-` is empty.
                Some(b"") => text.extend_from_slice(b"==-"),
                Some(value) => {
                    text.push(b'=');
                    encode(&mut text, value);
                }
            }
        }
        text
    }
}

/// The value of a name in a query, if it stands there once.
pub(crate) fn query_value(query: &str, name: &str) -> Option<Vec<u8>> {
    let params = Params(form(query.as_bytes()).ok()?);
    params.one(name).map(<[u8]>::to_vec)
}

/// `a=b&c;d=e`. By Perl's `split`, what follows a second `=` is lost, and so are empty values
/// and what is empty at the end.
fn form(text: &[u8]) -> Result<Vec<Pair>, Unreadable> {
    let end = text.iter().rposition(|byte| !matches!(byte, b'&' | b';')).map_or(0, |last| last + 1);
    let text = text.get(..end).unwrap_or_default();
    let mut params = Vec::new();
    if text.is_empty() {
        return Ok(params);
    }
    for piece in text.split(|byte| matches!(byte, b'&' | b';')) {
        if params.len() == PARAMETERS {
            return Err(Unreadable);
        }
        let used = piece.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
        let mut fields = piece.get(..used).unwrap_or_default().split(|byte| *byte == b'=');
        let name = decode(fields.next().unwrap_or_default());
        params.push((name, fields.next().map(decode)));
    }
    Ok(params)
}

/// An object whose values are texts, numbers, truths or nothing.
fn json(text: &[u8]) -> Result<Vec<Pair>, Unreadable> {
    let object: Map<String, Value> = serde_json::from_slice(text).map_err(|_| Unreadable)?;
    if object.len() > PARAMETERS {
        return Err(Unreadable);
    }
    let pairs = object.into_iter().map(|(name, value)| {
        let value = match value {
            Value::Null => None,
            Value::Bool(truth) => Some(u8::from(truth).to_string()),
            Value::Number(number) => Some(number.to_string()),
            Value::String(text) => Some(text),
            _ if name.as_bytes() == CACHE_BREAKER => None,
            Value::Array(_) | Value::Object(_) => return Err(Unreadable),
        };
        Ok((name.into_bytes(), value.map(String::into_bytes)))
    });
    pairs.collect()
}

fn decode(raw: &[u8]) -> Vec<u8> {
    let blanks: Vec<u8> = raw.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    crate::edge::unescape(&blanks)
}

/// Percent-encodes what has a meaning of its own in a form or a query.
pub(crate) fn encode(text: &mut Vec<u8>, value: &[u8]) {
    for byte in value {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            text.push(*byte);
        } else {
            escape(text, *byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn params(body: &str, query: Option<&str>) -> Params {
        Params::read(Kind::Form, body.as_bytes(), query).unwrap()
    }

    fn written(params: &Params) -> String {
        String::from_utf8(params.write()).unwrap()
    }

    #[test]
    fn as_perl_splits() {
        assert_eq!(
            written(&params("username=a%40pve&password=x+y;realm=pve", None)),
            "username=a%40pve&password=x%20y&realm=pve"
        );
        assert_eq!(written(&params("a=&b&c==x&d=1=2&&&", None)), "a&b&c==-&d=1");
        assert_eq!(written(&params("&a=%zz&=", None)), "=&a=%25zz&=");
        assert_eq!(params("", None), Params::default());
    }

    #[test]
    fn the_query_overrides_name_by_name() {
        let both = params("username=a&password=p&_dc=1", Some("username=b&_dc=2"));
        assert_eq!(written(&both), "password=p&username=b");
        assert_eq!(both.one("username"), Some(b"b".as_slice()));
    }

    #[test]
    fn a_repeated_name_has_no_one_value() {
        let twice = params("username=a&username=b", None);
        assert_eq!(twice.one("username"), None);
        assert_eq!(written(&twice), "username=a&username=b");
    }

    #[test]
    fn json_becomes_a_form() {
        let read = |text: &str| Params::read(Kind::Json, text.as_bytes(), None);
        let object = read(r#"{"a":"x y","b":1,"c":true,"d":null,"_dc":[1]}"#).unwrap();
        assert_eq!(written(&object), "a=x%20y&b=1&c=1&d");
        for bad in ["[1]", "{", r#"{"a":{}}"#, r#"{"a":[1]}"#] {
            assert_eq!(read(bad), Err(Unreadable), "{bad}");
        }
        assert_eq!(read(""), Ok(Params::default()));
    }

    #[test]
    fn too_many_are_refused() {
        let text = "a=1&".repeat(65) + "b=1";
        assert_eq!(Params::read(Kind::Form, text.as_bytes(), None), Err(Unreadable));
    }

    #[test]
    fn values_can_be_replaced() {
        let mut params = params("username=a&password=old", None);
        params.set("password", b"n&w");
        assert_eq!(written(&params), "username=a&password=n%26w");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(body in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(first) = Params::read(Kind::Form, &body, None) {
                let again = Params::read(Kind::Form, &first.write(), None).unwrap();
                prop_assert_eq!(first, again);
            }
        }

        #[test]
        fn json_is_read_without_panic(body in "[\\[{}\",:a0 ]{0,30}") {
            let _ = Params::read(Kind::Json, body.as_bytes(), None);
        }
    }
}
