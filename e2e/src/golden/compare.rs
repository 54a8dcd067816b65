//! When an answer equals the recorded one.

use std::io::Read as _;

use base64::Engine as _;
use serde_json::{Map, Value};

use super::client::Answer;
use super::replay::Leg;

/// Headers whose values are times.
const DATES: [&str; 3] = ["date", "expires", "last-modified"];
/// Headers that belong to one hop (RFC 9110 section 7.6.1), so the gate sends its own.
const HOP_BY_HOP: [&str; 4] = ["connection", "keep-alive", "transfer-encoding", "upgrade"];
/// Members that hold a time, a process id or a counter of the machine.
const MACHINE_NUMBERS: [&str; 10] =
    ["uptime", "starttime", "endtime", "time", "created", "pid", "pstart", "localtime", "uid", "n"];

/// The first difference between an answer and the recorded one, in words.
pub(super) fn difference(leg: Leg, recorded: &Value, answer: &Answer) -> Option<String> {
    let recorded_head = head(recorded);
    if recorded_head.0 != answer.line {
        return Some(format!("status line {:?}, recorded {:?}", answer.line, recorded_head.0));
    }
    let body = Body::recorded(recorded, &recorded_head.1);
    let length_counts = body.length_counts() && length_is_true(recorded, &recorded_head.1);
    if let Some(text) = headers(leg, &recorded_head.1, &answer.headers, length_counts) {
        return Some(text);
    }
    body.difference(&answer.headers, &answer.body)
}

/// False when addresses in a recorded body were replaced after the recording: no server could
/// answer with that body and the old length.
fn length_is_true(recorded: &Value, headers: &[(String, String)]) -> bool {
    let text = recorded.pointer("/body/text").and_then(Value::as_str);
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    match (text, length) {
        (Some(text), Some((_, length))) => *length == text.len().to_string(),
        _ => true,
    }
}

/// Status line and headers, from their members or from the text of a head.
fn head(recorded: &Value) -> (String, Vec<(String, String)>) {
    if let Some(text) = recorded.get("head").and_then(Value::as_str) {
        let mut lines = text.split("\r\n").filter(|line| !line.is_empty());
        let line = lines.next().unwrap_or_default().to_owned();
        let headers = lines.filter_map(|line| line.split_once(": "));
        return (line, headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
    }
    let line = recorded.get("line").and_then(Value::as_str).unwrap_or_default().to_owned();
    let headers = recorded.get("headers").cloned().unwrap_or_default();
    (line, serde_json::from_value(headers).unwrap_or_default())
}

fn headers(
    leg: Leg,
    recorded: &[(String, String)],
    answered: &[(String, String)],
    length_counts: bool,
) -> Option<String> {
    let wanted = normal_headers(leg, recorded, length_counts);
    let found = normal_headers(leg, answered, length_counts);
    match leg {
        Leg::Direct if wanted != found => Some(format!("headers {found:?}, recorded {wanted:?}")),
        // The gate adds headers of its own; none of the recorded ones may be lost or changed.
        Leg::Gate => wanted
            .iter()
            .find(|header| !found.contains(header))
            .map(|header| format!("header {header:?} is missing in {found:?}")),
        Leg::Direct => None,
    }
}

fn normal_headers(
    leg: Leg,
    headers: &[(String, String)],
    length_counts: bool,
) -> Vec<(String, String)> {
    let kept = headers.iter().filter(|(name, _)| {
        let name = name.to_ascii_lowercase();
        let hop = leg == Leg::Gate && HOP_BY_HOP.contains(&name.as_str());
        !hop && (length_counts || name != "content-length")
    });
    kept.map(|(name, value)| {
        let lower = name.to_ascii_lowercase();
        let value = if DATES.contains(&lower.as_str()) { "<date>" } else { value };
        (if leg == Leg::Gate { lower } else { name.clone() }, value.to_owned())
    })
    .collect()
}

/// A recorded body, as far as the record holds it.
enum Body {
    /// Page or asset whose text is not stored.
    Omitted,
    Json {
        value: Value,
        encoded: bool,
    },
    /// `key=value` lines in random order.
    Lines(Vec<String>),
    Bytes(Vec<u8>),
}

impl Body {
    fn recorded(recorded: &Value, headers: &[(String, String)]) -> Self {
        let body = recorded.get("body").unwrap_or(&Value::Null);
        if body.get("omitted").is_some() {
            return Self::Omitted;
        }
        let bytes = match (body.get("text"), body.get("base64")) {
            (Some(Value::String(text)), _) => text.clone().into_bytes(),
            (_, Some(Value::String(coded))) => {
                base64::engine::general_purpose::STANDARD.decode(coded).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        Self::read(headers, bytes)
    }

    fn read(headers: &[(String, String)], bytes: Vec<u8>) -> Self {
        let value = |wanted: &str| {
            let found = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map_or("", |(_, value)| value.as_str())
        };
        let encoding = value("Content-Encoding");
        let plain = decoded(encoding, bytes);
        if value("Content-Type").starts_with("application/json")
            && let Ok(mut json) = serde_json::from_slice(&plain)
        {
            normalise(&mut json, "");
            return Self::Json { value: json, encoded: !encoding.is_empty() };
        }
        if value("Content-Type").starts_with("application/x-virt-viewer") {
            let text = String::from_utf8_lossy(&plain).into_owned();
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            return Self::Lines(lines);
        }
        Self::Bytes(plain)
    }

    /// Whether the recorded length can be expected: not when the text is unknown, compressed, or
    /// holds values that the server made up.
    fn length_counts(&self) -> bool {
        match self {
            Self::Omitted => false,
            Self::Json { value, encoded } => !encoded && !value.to_string().contains("\"<"),
            Self::Lines(_) | Self::Bytes(_) => true,
        }
    }

    fn difference(&self, headers: &[(String, String)], answer: &[u8]) -> Option<String> {
        match (self, Self::read(headers, answer.to_vec())) {
            (Self::Omitted, _) => None,
            (Self::Json { value: wanted, .. }, Self::Json { value: found, .. }) => {
                (*wanted != found).then(|| format!("body {found}, recorded {wanted}"))
            }
            (Self::Lines(wanted), Self::Lines(found)) => {
                (*wanted != found).then(|| format!("body {found:?}, recorded {wanted:?}"))
            }
            (Self::Bytes(wanted), Self::Bytes(found)) => (*wanted != found).then(|| {
                let (found, wanted) =
                    (String::from_utf8_lossy(&found), String::from_utf8_lossy(wanted));
                format!("body {found:?}, recorded {wanted:?}")
            }),
            _ => Some("body of another kind".to_owned()),
        }
    }
}

fn decoded(encoding: &str, bytes: Vec<u8>) -> Vec<u8> {
    let mut plain = Vec::new();
    let read = match encoding {
        "gzip" => flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut plain),
        "deflate" => flate2::read::ZlibDecoder::new(bytes.as_slice()).read_to_end(&mut plain),
        _ => return bytes,
    };
    if read.is_ok() { plain } else { bytes }
}

/// Replaces what a server makes up by a mark in angle brackets, and sorts lists of objects.
fn normalise(value: &mut Value, name: &str) {
    match value {
        Value::Object(object) => {
            let pairs = std::mem::take(object).into_iter().map(|(name, mut value)| {
                normalise(&mut value, &name);
                (name, value)
            });
            *object = pairs.collect::<Map<_, _>>();
        }
        Value::Array(list) => {
            list.iter_mut().for_each(|entry| normalise(entry, name));
            if list.iter().all(Value::is_object) || name == "members" || name == "groups" {
                list.sort_by_key(Value::to_string);
            }
        }
        Value::Number(_) if MACHINE_NUMBERS.contains(&name) => *value = Value::from("<number>"),
        Value::String(text) => {
            if let Some(mark) = made_up(name, text) {
                *value = Value::String(mark);
            }
        }
        _ => {}
    }
}

/// The mark for a text that a server makes up: signatures, digests, ids; whom they are for stays.
pub(super) fn made_up(name: &str, text: &str) -> Option<String> {
    if name == "CSRFPreventionToken" {
        return Some("<csrf>".to_owned());
    }
    if name == "content" {
        let mut kinds: Vec<&str> = text.split(',').collect();
        kinds.sort_unstable();
        return Some(kinds.join(","));
    }
    if name == "digest" && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some("<digest>".to_owned());
    }
    if let Some((subject, _)) = text.split_once("::").filter(|_| text.starts_with("PVE")) {
        let (whom, _time) = subject.rsplit_once(':')?;
        return Some(format!("<ticket {whom}>"));
    }
    if let Some(rest) = text.strip_prefix("UPID:") {
        let mut parts = rest.split(':');
        let node = parts.next()?;
        let subject: Vec<&str> = parts.skip(3).collect();
        return Some(format!("<upid {node} {}>", subject.join(" ")));
    }
    let is_uuid = text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    if is_uuid {
        return Some("<uuid>".to_owned());
    }
    let is_recovery_key = text.len() == 19
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 9 | 14 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    is_recovery_key.then(|| "<recovery key>".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn normal(mut value: Value) -> Value {
        normalise(&mut value, "");
        value
    }

    #[test]
    fn what_a_server_makes_up_is_equal_and_whom_it_is_for_is_not() {
        let one = normal(json!({"ticket": "PVE:a@pve:6B00CE44::AAAA", "pid": 1}));
        assert_eq!(one, normal(json!({"ticket": "PVE:a@pve:6B00CE45::BBBB", "pid": 2})));
        assert_ne!(one, normal(json!({"ticket": "PVE:b@pve:6B00CE44::AAAA", "pid": 1})));
        let task = normal(json!("UPID:pve1:00005B10:000532E2:6B00CF32:vzdump:999:ops@pve:"));
        assert_eq!(task, normal(json!("UPID:pve1:1:2:3:vzdump:999:ops@pve:")));
        assert_ne!(task, normal(json!("UPID:pve1:1:2:3:vzdump:998:ops@pve:")));
    }

    #[test]
    fn lists_of_objects_have_no_order_and_lists_of_texts_do() {
        assert_eq!(normal(json!([{"a": 1}, {"a": 2}])), normal(json!([{"a": 2}, {"a": 1}])));
        assert_ne!(normal(json!(["a", "b"])), normal(json!(["b", "a"])));
    }

    #[test]
    fn numbers_and_texts_differ() {
        assert_ne!(normal(json!({"privsep": 1})), normal(json!({"privsep": "1"})));
    }
}
