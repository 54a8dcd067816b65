//! The grammar that PVE prints for a property string, read back into fields.
//!
//! `[[enabled=]<1|0>] [,storage=<storage ID>]`: items are separated by ` ,` or ` [,`; brackets
//! around an item make it optional, brackets around `key=` make it the default key. Written by
//! `PVE::JSONSchema::generate_typetext`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The fields as schema objects of the document; items that are not understood are left out.
pub(crate) fn fields(grammar: &str) -> BTreeMap<String, Map<String, Value>> {
    items(grammar).into_iter().filter_map(field).collect()
}

fn items(grammar: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let mut rest = grammar.trim();
    while !rest.is_empty() {
        let end = [" [,", " ,"].iter().filter_map(|separator| rest.find(separator)).min();
        let (item, tail) = rest.split_at(end.unwrap_or(rest.len()));
        items.push(item.trim());
        rest = tail.trim_start();
    }
    items
}

fn field(item: &str) -> Option<(String, Map<String, Value>)> {
    let (optional, default_key, key, value) = if let Some(inner) = item.strip_prefix("[[") {
        let (key, value) = inner.split_once("=]")?;
        (true, true, key, value.strip_suffix(']')?)
    } else if let Some((key, value)) = required_default(item) {
        (false, true, key, value)
    } else if let Some(inner) = item.strip_prefix('[') {
        let (key, value) = inner.strip_suffix(']')?.trim_start_matches(',').split_once('=')?;
        (true, false, key, value)
    } else {
        let (key, value) = item.trim_start_matches(',').split_once('=')?;
        (false, false, key, value)
    };
    let mut schema = shape(value);
    if optional {
        schema.insert("optional".to_owned(), json!(1));
    }
    if default_key {
        schema.insert("default_key".to_owned(), json!(1));
    }
    Some((key.to_owned(), schema))
}

/// `[type=]<sev-type>`
fn required_default(item: &str) -> Option<(&str, &str)> {
    let (key, value) = item.strip_prefix('[')?.split_once("=]")?;
    let is_key = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    is_key.then_some((key, value))
}

fn shape(value: &str) -> Map<String, Value> {
    let inner = value.strip_prefix('<').and_then(|value| value.strip_suffix('>'));
    let schema = match inner {
        Some("1|0") => json!({"type": "boolean"}),
        Some("integer" | "N") => json!({"type": "integer"}),
        Some("number") => json!({"type": "number"}),
        Some(words) if is_enumeration(words) => {
            json!({"type": "string", "enum": words.split('|').collect::<Vec<_>>()})
        }
        _ if value.starts_with(r"\d") => json!({"type": "integer"}),
        _ => json!({"type": "string"}),
    };
    match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}

fn is_enumeration(words: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
    };
    words.contains('|') && words.split('|').all(word)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::fields;

    #[test]
    fn every_form_of_item_is_read() {
        let fields = fields(
            "[[legacy=]<[acdn]{1,4}>] ,attestation=<1|0> [,order=<device[;device...]>] [,size=<storage ID>]",
        );
        assert_eq!(
            json!(fields["legacy"]),
            json!({"type": "string", "optional": 1, "default_key": 1})
        );
        assert_eq!(json!(fields["attestation"]), json!({"type": "boolean"}));
        assert_eq!(json!(fields["order"]), json!({"type": "string", "optional": 1}));
        assert_eq!(json!(fields["size"]), json!({"type": "string", "optional": 1}));
        assert_eq!(fields.len(), 4);
    }

    #[test]
    fn values_give_the_type() {
        let fields = fields(
            r"[model=]<i6300esb|ib700> [,n=<N>] [,up=\d+] [,scope=([acl];[entry])|none] [,any=<enum>] ",
        );
        assert_eq!(
            json!(fields["model"]),
            json!({"type": "string", "enum": ["i6300esb", "ib700"], "default_key": 1})
        );
        assert_eq!(fields["n"]["type"], "integer");
        assert_eq!(fields["up"]["type"], "integer");
        assert_eq!(fields["scope"]["type"], "string");
        assert_eq!(fields["any"]["type"], "string");
    }

    #[test]
    fn rubbish_gives_nothing() {
        for rubbish in ["", " ", "[", "]]", "[[=", "x", "[,]", "[a=]"] {
            assert!(fields(rubbish).len() <= 1, "{rubbish}");
        }
    }
}
