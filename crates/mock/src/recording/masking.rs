//! What must not reach a file.

use secrets::mask;
use serde_json::Value;

/// Names that are secret below one path only; elsewhere they are too many other things. Passwords,
/// tickets, tokens and the like are found by `secrets::mask` wherever they stand.
const SECRET_BELOW: [(&str, &[&str]); 6] = [
    // Codes of second factors, recovery keys, and the challenge that a login is in.
    ("/access/tfa", &["value", "recovery", "challenge"]),
    ("/access/openid", &["code", "state", "redirect-url"]),
    // The credentials of a DNS provider, in base64.
    ("/cluster/acme/plugins", &["data"]),
    ("/subscription", &["key"]),
    ("/certificates/custom", &["key"]),
    // What is typed into a guest.
    ("/agent/", &["input-data", "content"]),
];

/// Masks in place.
pub(super) fn value(path: &str, value: &mut Value) {
    mask::json(value);
    for (below, names) in SECRET_BELOW {
        if path.contains(below) {
            hide(names, value);
        }
    }
}

fn hide(names: &[&str], value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| hide(names, item)),
        Value::Object(members) => {
            for (name, member) in members {
                if names.contains(&name.as_str()) && !member.is_null() {
                    *member = Value::from(mask::MARK);
                } else {
                    hide(names, member);
                }
            }
        }
        _ => {}
    }
}

/// A body: JSON by its members, other text by what looks secret. What holds no secret stays as it
/// is, byte for byte.
pub(super) fn body(path: &str, text: &str) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(parsed) => {
            let mut masked = parsed.clone();
            value(path, &mut masked);
            if masked == parsed { text.to_owned() } else { masked.to_string() }
        }
        Err(_) => mask::text(text).into_owned(),
    }
}
