//! Parameters in a query or a body, decoded as `decode_urlencoded` and `decode_json` do.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::limits::PARAMETERS;

/// Why a JSON body can not be parameters; the text is the genuine server's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct JsonFault(pub(crate) String);

/// Reads `a=b&c;d=e`: both separators, `+` is a blank, percent-decoded once, bad escapes stay.
///
/// What follows from Perl's `split`: an empty piece in the middle is a parameter with an empty
/// name, `a=` and `a` hold null, and a repeated name becomes an array.
pub(crate) fn form(text: &[u8]) -> BTreeMap<String, Value> {
    let mut parameters: BTreeMap<String, Value> = BTreeMap::new();
    let pieces: Vec<&[u8]> = text.split(|byte| matches!(byte, b'&' | b';')).collect();
    let used = pieces.iter().rposition(|piece| !piece.is_empty()).map_or(0, |last| last + 1);
    for piece in pieces.into_iter().take(used.min(PARAMETERS)) {
        let (name, value) = parameter(piece);
        let value = match (parameters.remove(&name), value) {
            (Some(Value::Array(mut list)), Some(value)) => {
                list.push(value);
                Value::Array(list)
            }
            (Some(first), Some(value)) if !first.is_null() => Value::Array(vec![first, value]),
            (_, value) => value.unwrap_or(Value::Null),
        };
        parameters.insert(name, value);
    }
    parameters
}

/// Reads a JSON body; only an object can hold parameters.
pub(crate) fn json_object(text: &[u8]) -> Result<BTreeMap<String, Value>, JsonFault> {
    // The genuine texts end in the place in the Perl source, which clients do see.
    const DECODE: &str = "at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 917.\n";
    const MERGE: &str = "at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 957.\n";
    match serde_json::from_slice(text) {
        Ok(Value::Object(object)) => Ok(object.into_iter().collect()),
        Ok(_) => Err(JsonFault(format!("Not a HASH reference {MERGE}"))),
        Err(error) => {
            let offset =
                error.column().saturating_sub(usize::from(!error.is_eof())).min(text.len());
            let rest = String::from_utf8_lossy(text.get(offset..).unwrap_or_default());
            let rest = if rest.is_empty() { "(end of string)" } else { &rest };
            Err(JsonFault(format!(
                "malformed JSON string, neither tag, array, object, number, string or atom, \
                 at character offset {offset} (before \"{rest}\") {DECODE}"
            )))
        }
    }
}

fn parameter(piece: &[u8]) -> (String, Option<Value>) {
    let mut fields: Vec<&[u8]> = piece.split(|&byte| byte == b'=').collect();
    while fields.last().is_some_and(|field| field.is_empty()) {
        fields.pop();
    }
    let mut fields = fields.into_iter();
    let name = decode(fields.next().unwrap_or_default());
    let value = fields.next().map(|raw| Value::String(lossy(&decode(raw))));
    (lossy(&name), value)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn decode(raw: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (byte, escaped(*byte, tail)) {
            (_, Some((value, after))) => {
                decoded.push(value);
                rest = after;
            }
            (b'+', None) => decoded.push(b' '),
            (_, None) => decoded.push(*byte),
        }
    }
    decoded
}

/// The byte that `%` and two digits stand for, and what follows them.
fn escaped(first: u8, tail: &[u8]) -> Option<(u8, &[u8])> {
    let (b'%', [high, low, after @ ..]) = (first, tail) else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some((digit(*high)? << 4 | digit(*low)?, after))
}

/// A path percent-decoded once, as `uri_unescape` does before any routing.
pub(crate) fn unescape(path: &str) -> String {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match escaped(*byte, tail) {
            Some((value, after)) => {
                decoded.push(value);
                rest = after;
            }
            None => decoded.push(*byte),
        }
    }
    lossy(&decoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(text: &str) -> Value {
        Value::Object(form(text.as_bytes()).into_iter().collect())
    }

    #[test]
    fn both_separators_blanks_and_escapes() {
        assert_eq!(read("a=1&b=x+y;c=%41%zz"), json!({"a": "1", "b": "x y", "c": "A%zz"}));
    }

    #[test]
    fn what_perls_split_leaves() {
        assert_eq!(read("a=&b&c==x"), json!({"a": null, "b": null, "c": ""}));
        assert_eq!(read("comment=%zz&&=&%"), json!({"comment": "%zz", "": null, "%": null}));
        assert_eq!(read("a=1&&&"), json!({"a": "1"}));
        assert_eq!(read(""), json!({}));
    }

    #[test]
    fn repeats_become_arrays_and_null_overwrites() {
        assert_eq!(read("a=1&a=2&a=3"), json!({"a": ["1", "2", "3"]}));
        assert_eq!(read("a=1&a"), json!({"a": null}));
    }

    #[test]
    fn json_faults_have_the_genuine_texts() {
        let fault = json_object(b"{\"comment\": ").unwrap_err().0;
        assert!(fault.contains("at character offset 12 (before \"(end of string)\")"), "{fault}");
        assert!(json_object(b"[1]").unwrap_err().0.starts_with("Not a HASH reference"));
        assert_eq!(json_object(b"{\"a\":1}").unwrap()["a"], json!(1));
    }

    #[test]
    fn a_path_is_decoded_once() {
        assert_eq!(unescape("/api2/json%2Fversion/%2541"), "/api2/json/version/%41");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            form(&bytes);
            let _ = json_object(&bytes);
        }

        #[test]
        fn encoded_pairs_read_back(pairs in prop::collection::btree_map("[a-z]{1,8}", "\\PC{1,20}", 0..8)) {
            let text: Vec<String> = pairs
                .iter()
                .map(|(k, v)| k.clone() + "=" + &v.bytes().map(|b| format!("%{b:02x}")).collect::<String>())
                .collect();
            let read = form(text.join("&").as_bytes());
            prop_assert_eq!(read.len(), pairs.len());
            for (name, value) in pairs {
                prop_assert_eq!(read.get(&name), Some(&Value::String(value)));
            }
        }
    }
}
