//! The parameters of a call, read as pveproxy reads them (`decode_urlencoded`, `decode_json`)
//! and written anew: Proxmox VE then judges the very names and values that the gate judged.
//! Logins are read so, and calls that a rule of the policy judges by their parameters.

use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use crate::credential::escape;
use crate::head::Parts;
use crate::limits::CALL_PARAMETERS;

/// What parameters may be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// How many.
    most: usize,
    /// Whether a JSON value may be a list, which a form writes as a repeated name.
    lists: bool,
}

impl Shape {
    /// Of a login: the calls have fewer than twenty, and no lists.
    pub(crate) const LOGIN: Self = Self { most: 64, lists: false };
    /// Of any call.
    pub(crate) const CALL: Self = Self { most: CALL_PARAMETERS, lists: true };
}

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
    pub(crate) fn read(
        (kind, shape): (Kind, Shape),
        body: &[u8],
        query: Option<&str>,
    ) -> Result<Self, Unreadable> {
        let mut params = match kind {
            _ if body.is_empty() => Vec::new(),
            Kind::Form => form(body, shape)?,
            Kind::Json => json(body, shape)?,
        };
        if let Some(query) = query.filter(|query| !query.is_empty()) {
            let query = form(query.as_bytes(), shape)?;
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

    /// Names with their values; a name without one is left out, as Proxmox VE leaves it out.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().filter_map(|(name, value)| Some((name.as_slice(), value.as_deref()?)))
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
        let length = |(name, value): &Pair| name.len() + value.as_ref().map_or(0, Vec::len) + 4;
        // Room for some bytes that are escaped, too.
        let mut text = Vec::with_capacity(self.0.iter().map(length).sum::<usize>() + 32);
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
    let params = Params(form(query.as_bytes(), Shape::LOGIN).ok()?);
    params.one(name).map(<[u8]>::to_vec)
}

/// `a=b&c;d=e`. By Perl's `split`, what follows a second `=` is lost, and so are empty values
/// and what is empty at the end.
fn form(text: &[u8], shape: Shape) -> Result<Vec<Pair>, Unreadable> {
    let end = text.iter().rposition(|byte| !matches!(byte, b'&' | b';')).map_or(0, |last| last + 1);
    let text = text.get(..end).unwrap_or_default();
    let mut params = Vec::new();
    if text.is_empty() {
        return Ok(params);
    }
    for piece in text.split(|byte| matches!(byte, b'&' | b';')) {
        if params.len() == shape.most {
            return Err(Unreadable);
        }
        let used = piece.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
        let mut fields = piece.get(..used).unwrap_or_default().split(|byte| *byte == b'=');
        let name = decode(fields.next().unwrap_or_default());
        params.push((name, fields.next().map(decode)));
    }
    Ok(params)
}

/// An object whose values are texts, numbers, truths or nothing; lists of these where they may
/// be. An empty list is refused: a form can not say it.
fn json(text: &[u8], shape: Shape) -> Result<Vec<Pair>, Unreadable> {
    let object: Map<String, Value> = serde_json::from_slice(text).map_err(|_| Unreadable)?;
    let mut pairs = Vec::with_capacity(object.len());
    for (name, value) in object {
        let name = name.into_bytes();
        match value {
            _ if name == CACHE_BREAKER => {}
            Value::Null => pairs.push((name, None)),
            Value::Array(values) if shape.lists && !values.is_empty() => {
                for value in values {
                    pairs.push((name.clone(), Some(scalar(value)?)));
                }
            }
            value => pairs.push((name, Some(scalar(value)?))),
        }
        if pairs.len() > shape.most {
            return Err(Unreadable);
        }
    }
    Ok(pairs)
}

fn scalar(value: Value) -> Result<Vec<u8>, Unreadable> {
    match value {
        Value::Bool(truth) => Ok(u8::from(truth).to_string().into_bytes()),
        Value::Number(number) => Ok(number.to_string().into_bytes()),
        Value::String(text) => Ok(text.into_bytes()),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(Unreadable),
    }
}

fn decode(raw: &[u8]) -> Vec<u8> {
    if !raw.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        return raw.to_vec();
    }
    let blanks: Vec<u8> = raw.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    crate::edge::unescape(&blanks)
}

/// Percent-encodes what has a meaning of its own in a form or a query.
pub(crate) fn encode(text: &mut Vec<u8>, value: &[u8]) {
    let mut rest = value;
    while let Some(at) = rest.iter().position(|byte| !is_unreserved(*byte)) {
        let Some((plain, [odd, after @ ..])) = rest.split_at_checked(at) else { break };
        text.extend_from_slice(plain);
        escape(text, *odd);
        rest = after;
    }
    text.extend_from_slice(rest);
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn params(body: &str, query: Option<&str>) -> Params {
        Params::read((Kind::Form, Shape::LOGIN), body.as_bytes(), query).unwrap()
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
        let read = |text: &str| Params::read((Kind::Json, Shape::LOGIN), text.as_bytes(), None);
        let object = read(r#"{"a":"x y","b":1,"c":true,"d":null,"_dc":[1]}"#).unwrap();
        assert_eq!(written(&object), "a=x%20y&b=1&c=1&d");
        for bad in ["[1]", "{", r#"{"a":{}}"#, r#"{"a":[1]}"#] {
            assert_eq!(read(bad), Err(Unreadable), "{bad}");
        }
        assert_eq!(read(""), Ok(Params::default()));
    }

    #[test]
    fn lists_become_repeated_names() {
        let read = |text: &str| Params::read((Kind::Json, Shape::CALL), text.as_bytes(), None);
        let params = read(r#"{"a":["x",1,true],"b":"y"}"#).unwrap();
        assert_eq!(written(&params), "a=x&a=1&a=1&b=y");
        let pairs: Vec<_> = params.iter().map(|(name, _)| name).collect();
        assert_eq!(pairs, [b"a", b"a", b"a", b"b"]);
        for bad in [r#"{"a":[]}"#, r#"{"a":[[1]]}"#, r#"{"a":[null]}"#, r#"{"a":{"b":1}}"#] {
            assert_eq!(read(bad), Err(Unreadable), "{bad}");
        }
    }

    #[test]
    fn too_many_are_refused() {
        let text = "a=1&".repeat(65) + "b=1";
        assert_eq!(
            Params::read((Kind::Form, Shape::LOGIN), text.as_bytes(), None),
            Err(Unreadable)
        );
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
            if let Ok(first) = Params::read((Kind::Form, Shape::CALL), &body, None) {
                let again = Params::read((Kind::Form, Shape::CALL), &first.write(), None).unwrap();
                prop_assert_eq!(first, again);
            }
        }

        #[test]
        fn json_is_read_without_panic(body in "[\\[{}\",:a0 ]{0,30}") {
            let _ = Params::read((Kind::Json, Shape::CALL), body.as_bytes(), None);
        }
    }
}
