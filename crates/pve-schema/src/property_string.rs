//! Property strings: `virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1`.
//!
//! Parts are separated by commas, which nothing escapes; blank parts are passed over. The first
//! `=` splits a part; one part may come without key and sets the default key. An alias renames,
//! and with a key alias the written key becomes the value of another field (`virtio=…` sets
//! `model` and `macaddr`). Source: `PVE::JSONSchema::{parse,print}_property_string`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::check::{Errors, check_object, join_errors, typed};
use crate::named_strings::{self, CrossCheck};
use crate::property::{Additional, Kind, Object, Property, properties};
use crate::typetext;
use crate::value::{chomp, parse_boolean, scalar_text};

/// Fields by name: booleans as JSON booleans, integers as numbers, the rest as text.
pub type Fields = BTreeMap<String, Value>;

/// The fields a property string may have.
#[derive(Debug, Clone)]
pub struct PropertyString {
    object: Object,
    cross_check: Option<CrossCheck>,
}

impl PropertyString {
    /// Fields of a format that the document spells out.
    pub(crate) fn from_fields(fields: &Value) -> Self {
        let object =
            Object { properties: properties(Some(fields)), additional: Additional::Refused };
        Self { object, cross_check: None }
    }

    /// Fields of a named format: from the grammar, refined by what is known of it.
    pub(crate) fn named(name: &str, grammar: Option<&str>) -> Option<Self> {
        if let Some(fields) = named_strings::definition(name) {
            return Some(Self::from_fields(&fields));
        }
        let Value::Object(refinement) = named_strings::refinement(name)? else {
            return None;
        };
        let mut fields = typetext::fields(grammar?);
        for (field, patch) in refinement {
            if let (Some(schema), Value::Object(patch)) = (fields.get_mut(&field), patch) {
                schema.extend(patch);
            }
        }
        let fields: Map<String, Value> =
            fields.into_iter().map(|(name, schema)| (name, Value::Object(schema))).collect();
        let cross_check = named_strings::cross_check(name);
        Some(Self { cross_check, ..Self::from_fields(&Value::Object(fields)) })
    }

    /// The fields, aliases included.
    #[must_use]
    pub fn fields(&self) -> &BTreeMap<String, Property> {
        &self.object.properties
    }

    /// The field that a value without key sets.
    #[must_use]
    pub fn default_key(&self) -> Option<&str> {
        self.object
            .properties
            .iter()
            .find(|(_, field)| field.default_key)
            .map(|(key, _)| key.as_str())
    }

    /// Reads and checks.
    ///
    /// # Errors
    /// PVE's text, with a final newline; wrong fields are listed as `PATH.FIELD: TEXT` lines.
    pub fn parse(&self, text: &str, path: &str) -> Result<Fields, String> {
        let mut raw = self.split(text)?;
        let mut errors = Errors::new();
        check_object(&self.object, &raw, path, &mut errors);
        if !errors.is_empty() {
            return Err(join_errors("format error\n", &errors));
        }
        for (key, value) in &mut raw {
            if let Some(field) = self.object.properties.get(key) {
                *value = typed_field(field, std::mem::take(value));
            }
        }
        let fields = raw.into_iter().collect();
        if let Some(cross_check) = self.cross_check {
            cross_check(&fields)?;
        }
        Ok(fields)
    }

    /// Writes in PVE's order: default key, required fields, the others, each sorted by name.
    ///
    /// # Errors
    /// A field that is not in the format, or a value that cannot be written (comma, newline,
    /// empty, nested).
    pub fn print(&self, fields: &Fields) -> Result<String, String> {
        let mut parts = Vec::new();
        let mut done = BTreeSet::new();
        let default = self.default_key();
        let is_required = |key: &str| self.object.properties.get(key).is_some_and(|f| !f.optional);
        let required = fields.keys().map(String::as_str).filter(|key| is_required(key));
        let order = default.into_iter().chain(required).chain(fields.keys().map(String::as_str));
        for key in order {
            let Some(value) = fields.get(key) else {
                continue;
            };
            if !done.insert(key) {
                continue;
            }
            let value = written(key, value)?;
            if let Some((partner, alias)) = self.combined(key, &value)
                && let Some(partner_value) = fields.get(partner)
                && !done.contains(partner)
            {
                parts.push(format!("{alias}={}", written(partner, partner_value)?));
                done.insert(partner);
                continue;
            }
            if self.object.properties.get(key).is_none_or(|field| field.alias.is_some()) {
                return Err(format!("invalid key '{key}'\n"));
            }
            // A value that would be read as `key=value` or passed over needs its key.
            let bare = Some(key) == default && !value.contains('=') && !value.trim().is_empty();
            parts.push(if bare { value } else { format!("{key}={value}") });
        }
        Ok(parts.join(","))
    }

    /// The field written behind this value, when it is one of the written keys of a key alias.
    fn combined(&self, key: &str, value: &str) -> Option<(&str, String)> {
        let field = self.object.properties.get(value)?;
        let partner = field.alias.as_deref()?;
        (field.key_alias.as_deref() == Some(key)).then(|| (partner, value.to_owned()))
    }

    fn split(&self, text: &str) -> Result<Map<String, Value>, String> {
        let mut fields = Map::new();
        let mut bare_seen: Option<&str> = None;
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            match part.split_once('=') {
                Some((key, value)) => self.keyed(&mut fields, key, value)?,
                None => {
                    if let Some(key) = bare_seen {
                        return Err(duplicate(key));
                    }
                    let key = self.default_key().ok_or(NO_DEFAULT_KEY)?;
                    if fields.get(key).is_some_and(crate::value::is_true) {
                        return Err(duplicate(key));
                    }
                    bare_seen = Some(key);
                    fields.insert(key.to_owned(), Value::String(part.to_owned()));
                }
            }
        }
        Ok(fields)
    }

    fn keyed(&self, fields: &mut Map<String, Value>, key: &str, value: &str) -> Result<(), String> {
        let value = chomp(value);
        if key.is_empty() || value.is_empty() || value.contains('\n') {
            return Err("missing key in comma-separated list property\n".to_owned());
        }
        if fields.contains_key(key) {
            return Err(duplicate(key));
        }
        let mut name = key;
        let mut field = self.object.properties.get(key);
        if let Some(Property { alias: Some(alias), key_alias, .. }) = field {
            if let Some(key_alias) = key_alias {
                if fields.contains_key(key_alias) {
                    return Err(format!("key alias '{key_alias}' is already defined\n"));
                }
                fields.insert(key_alias.clone(), Value::String(key.to_owned()));
            }
            if fields.contains_key(alias) {
                return Err(format!("key '{alias}' is already defined (via alias)\n"));
            }
            name = alias;
            field = self.object.properties.get(alias);
        }
        let Some(field) = field else {
            return Err(format!("invalid key in comma-separated list property: {name}\n"));
        };
        let boolean = parse_boolean(value).filter(|_| field.kind == Some(Kind::Boolean));
        let value = boolean.map_or_else(|| value.to_owned(), |on| u8::from(on).to_string());
        fields.insert(name.to_owned(), Value::String(value));
        Ok(())
    }
}

const NO_DEFAULT_KEY: &str = "value without key, but schema does not define a default key\n";

fn duplicate(key: &str) -> String {
    format!("duplicate key in comma-separated list property: {key}\n")
}

fn typed_field(field: &Property, value: Value) -> Value {
    match field.kind {
        Some(Kind::Boolean) => Value::Bool(crate::value::is_true(&value)),
        _ => typed(field, value),
    }
}

fn written(key: &str, value: &Value) -> Result<String, String> {
    let text = match value {
        Value::Bool(on) => u8::from(*on).to_string(),
        other => scalar_text(other)
            .ok_or_else(|| format!("value of {key} is not a scalar\n"))?
            .into_owned(),
    };
    if text.contains(',') {
        return Err(format!("illegal value with commas for {key}\n"));
    }
    if text.is_empty() || text.contains('\n') {
        return Err(format!("value of {key} is empty or has a line break\n"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::PropertyString;

    fn nic() -> PropertyString {
        PropertyString::from_fields(&json!({
            "model": {"type": "string", "enum": ["e1000", "virtio"], "default_key": 1},
            "macaddr": {"type": "string", "format": "mac-addr", "optional": 1},
            "virtio": {"alias": "macaddr", "keyAlias": "model"},
            "e1000": {"alias": "macaddr", "keyAlias": "model"},
            "bridge": {"type": "string", "format": "pve-bridge-id", "optional": 1},
            "firewall": {"type": "boolean", "optional": 1},
            "mtu": {"type": "integer", "minimum": 1, "optional": 1},
        }))
    }

    #[test]
    fn key_aliases_and_booleans() {
        let fields = nic()
            .parse("virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=on, ,mtu=1500", "net0")
            .unwrap();
        assert_eq!(
            json!(fields),
            json!({"model": "virtio", "macaddr": "BC:24:11:00:00:01", "bridge": "vmbr0", "firewall": true, "mtu": 1500})
        );
        assert_eq!(
            nic().print(&fields).unwrap(),
            "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1,mtu=1500"
        );
        let fields = nic().parse("bridge=vmbr0,virtio", "net0").unwrap();
        assert_eq!(nic().print(&fields).unwrap(), "virtio,bridge=vmbr0");
    }

    #[test]
    fn messages_are_pves() {
        for (text, message) in [
            ("virtio,foo=1", "invalid key in comma-separated list property: foo\n"),
            ("virtio,e1000", "duplicate key in comma-separated list property: model\n"),
            ("virtio,mtu=1,mtu=2", "duplicate key in comma-separated list property: mtu\n"),
            ("virtio,virtio=BC:24:11:00:00:01", "key alias 'model' is already defined\n"),
            ("virtio,mtu=", "missing key in comma-separated list property\n"),
            ("=x", "missing key in comma-separated list property\n"),
            ("virtio,mtu=0", "format error\nnet0.mtu: value must have a minimum value of 1\n"),
            ("mtu=5", "format error\nnet0.model: property is missing and it is not optional\n"),
            (
                "rtl,bridge=a b",
                "format error\nnet0.bridge: invalid format - invalid bridge ID 'a b'\n\n\
                 net0.model: value 'rtl' does not have a value in the enumeration 'e1000, virtio'\n",
            ),
        ] {
            assert_eq!(nic().parse(text, "net0").unwrap_err(), message, "{text}");
        }
        let bare = PropertyString::from_fields(&json!({"a": {"optional": 1}}));
        assert_eq!(
            bare.parse("x", "p").unwrap_err(),
            "value without key, but schema does not define a default key\n"
        );
    }

    #[test]
    fn a_default_value_with_an_equals_sign_keeps_its_key() {
        let drive =
            PropertyString::from_fields(&json!({"file": {"default_key": 1}, "b": {"optional": 1}}));
        let fields = drive.parse("file=a=b", "x").unwrap();
        assert_eq!(drive.print(&fields).unwrap(), "file=a=b");
    }

    #[test]
    fn unwritable_values_are_refused() {
        let fields = |value| [("bridge".to_owned(), value)].into_iter().collect();
        for bad in [json!("a,b"), json!(""), json!("a\nb"), json!(null), json!([])] {
            assert!(nic().print(&fields(bad)).is_err());
        }
        assert!(nic().print(&[("nope".to_owned(), json!(1))].into_iter().collect()).is_err());
    }

    #[test]
    fn grammars_give_checked_fields() {
        let prune =
            PropertyString::named("prune-backups", Some("[keep-all=<1|0>] [,keep-last=<N>]"))
                .unwrap();
        assert!(prune.parse("keep-last=3", "p").is_ok());
        assert_eq!(
            prune.parse("keep-last=-1", "p").unwrap_err(),
            "format error\np.keep-last: value must have a minimum value of 0\n"
        );
        assert_eq!(
            prune.parse("keep-all=yes,keep-last=1", "p").unwrap_err(),
            "keep-all cannot be set together with other options.\n"
        );
        assert!(PropertyString::named("prune-backups", None).is_none());
        assert!(PropertyString::named("pve-node-list", Some("<string>")).is_none());
    }
}
