//! One parameter, field or returned value: type, bounds, format.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::formats::Format;
use crate::limits::index_limit;
use crate::pattern::Pattern;

/// The declared type. PVE does not check types it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Kind {
    String,
    Integer,
    Number,
    Boolean,
    Array,
    Object,
    Null,
    Any,
    Unknown,
}

/// A bound, with the text PVE prints in messages (some are strings in the document).
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// As printed.
    pub text: String,
    /// As compared.
    pub value: f64,
}

/// A link of an index answer: `{name}` in `href` is the key of an entry that names the child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Template such as `{vmid}`.
    pub href: String,
    /// `child` everywhere.
    pub rel: String,
}

/// What an object says about keys it does not declare.
#[derive(Debug, Clone, Default)]
pub enum Additional {
    /// Nothing: they are not looked at.
    #[default]
    Unspecified,
    /// Refused.
    Refused,
    /// Allowed.
    Allowed,
    /// Allowed when they fit this.
    Fitting(Box<Property>),
}

/// The keys of an object. Indexed ones are declared once, as `net[n]`.
#[derive(Debug, Clone, Default)]
pub struct Object {
    /// Declared keys.
    pub properties: BTreeMap<String, Property>,
    /// Undeclared keys.
    pub additional: Additional,
}

/// The schema of a value.
#[derive(Debug, Clone, Default)]
pub struct Property {
    /// Declared type; absent on some returned values and array items.
    pub kind: Option<Kind>,
    /// May be left out.
    pub optional: bool,
    /// What PVE uses when it is left out; the JSON type is often wrong (`0` for a boolean).
    pub default: Option<Value>,
    /// Smallest number.
    pub minimum: Option<Bound>,
    /// Largest number.
    pub maximum: Option<Bound>,
    /// Fewest characters.
    pub min_length: Option<usize>,
    /// Most characters.
    pub max_length: Option<usize>,
    /// Allowed values.
    pub enumeration: Option<Vec<String>>,
    /// Pattern of the whole text.
    pub pattern: Option<Pattern>,
    /// Named format or property string.
    pub format: Option<Format>,
    /// Another parameter that must be given too.
    pub requires: Option<String>,
    /// Schema of the elements of an array.
    pub items: Option<Box<Property>>,
    /// Keys of an object.
    pub object: Object,
    /// In a property string: this key is another name of that one.
    pub alias: Option<String>,
    /// In a property string: that key gets the written key as value.
    pub key_alias: Option<String>,
    /// In a property string: the key of a value written without one.
    pub default_key: bool,
    /// Alternatives.
    pub one_of: Vec<Property>,
    /// Values of the type property for which this is meant.
    pub instance_types: Option<Vec<String>>,
    /// The property whose value selects the alternative.
    pub type_property: Option<String>,
    /// How a command line shows it (`bytes`, `duration`, …).
    pub renderer: Option<String>,
    /// Links of an index answer.
    pub links: Vec<Link>,
}

impl Object {
    /// The schema of a key, indexed ones included (`net3` finds `net[n]`).
    #[must_use]
    pub fn property(&self, key: &str) -> Option<&Property> {
        self.properties.get(key).filter(|_| !key.ends_with(INDEXED)).or_else(|| self.indexed(key))
    }

    fn indexed(&self, key: &str) -> Option<&Property> {
        let name = key.trim_end_matches(|c: char| c.is_ascii_digit());
        let digits = key.strip_prefix(name)?;
        if name.is_empty() || digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
            return None;
        }
        let index: u16 = digits.parse().ok()?;
        self.properties.get(&format!("{name}{INDEXED}")).filter(|_| index <= index_limit(name))
    }

    pub(crate) fn from_value(schema: &Value) -> Self {
        let mut properties = properties(schema.get("properties"));
        resolve_cdrom(&mut properties);
        let additional = match schema.get("additionalProperties") {
            None | Some(Value::Null) => Additional::Unspecified,
            Some(nested @ Value::Object(_)) => {
                Additional::Fitting(Box::new(Property::from_value(nested)))
            }
            Some(flag) if is_set(flag) => Additional::Allowed,
            Some(_) => Additional::Refused,
        };
        Self { properties, additional }
    }
}

impl Property {
    /// The schema in a value of the document; unknown keys are passed over.
    pub(crate) fn from_value(schema: &Value) -> Self {
        let text = |key: &str| schema.get(key).and_then(Value::as_str).map(str::to_owned);
        let nested = |key: &str| schema.get(key).filter(|value| value.is_object());
        Self {
            kind: schema.get("type").and_then(Value::as_str).map(kind),
            optional: schema.get("optional").is_some_and(is_set),
            default: schema.get("default").filter(|value| !value.is_null()).cloned(),
            minimum: schema.get("minimum").and_then(bound),
            maximum: schema.get("maximum").and_then(bound),
            min_length: schema.get("minLength").and_then(length),
            max_length: schema.get("maxLength").and_then(length),
            enumeration: schema.get("enum").and_then(words),
            pattern: text("pattern").filter(|text| !text.is_empty()).map(Pattern::new),
            format: schema.get("format").and_then(|format| {
                Format::from_value(format, schema.get("typetext").and_then(Value::as_str))
            }),
            requires: text("requires"),
            items: nested("items").map(|items| Box::new(Self::from_value(items))),
            object: Object::from_value(schema),
            alias: text("alias"),
            key_alias: text("keyAlias"),
            default_key: schema.get("default_key").is_some_and(is_set),
            one_of: list(schema, "oneOf").iter().map(Self::from_value).collect(),
            instance_types: schema.get("instance-types").and_then(words),
            type_property: text("type-property"),
            renderer: text("renderer"),
            links: list(schema, "links").iter().filter_map(link).collect(),
        }
    }
}

/// How indexed keys end in the document.
pub(crate) const INDEXED: &str = "[n]";

/// The fields of a JSON object of schemas.
pub(crate) fn properties(fields: Option<&Value>) -> BTreeMap<String, Property> {
    fields
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::iter)
        .map(|(name, schema)| (name.clone(), Property::from_value(schema)))
        .collect()
}

/// `cdrom` is another name of `ide2`; its format is that of `ide[n]` in the same list.
fn resolve_cdrom(properties: &mut BTreeMap<String, Property>) {
    let ide = properties.get("ide[n]").and_then(|ide| ide.format.clone());
    if let (Some(ide), Some(cdrom)) = (ide, properties.get_mut("cdrom"))
        && cdrom.format.as_ref().is_some_and(|format| format.name() == Some("pve-qm-ide"))
    {
        cdrom.format = Some(ide);
    }
}

fn kind(name: &str) -> Kind {
    match name {
        "string" => Kind::String,
        "integer" => Kind::Integer,
        "number" => Kind::Number,
        "boolean" => Kind::Boolean,
        "array" => Kind::Array,
        "object" => Kind::Object,
        "null" => Kind::Null,
        "any" => Kind::Any,
        _ => Kind::Unknown,
    }
}

fn is_set(flag: &Value) -> bool {
    match flag {
        Value::Bool(flag) => *flag,
        other => crate::value::is_true(other),
    }
}

fn bound(value: &Value) -> Option<Bound> {
    let text = crate::value::scalar_text(value)?.into_owned();
    let value = crate::value::number(&text)?;
    Some(Bound { text, value })
}

fn length(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok()
}

fn words(value: &Value) -> Option<Vec<String>> {
    let words = value.as_array()?.iter();
    Some(words.filter_map(crate::value::scalar_text).map(Into::into).collect())
}

fn list<'v>(schema: &'v Value, key: &str) -> &'v [Value] {
    schema.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn link(link: &Value) -> Option<Link> {
    let text = |key: &str| link.get(key).and_then(Value::as_str).map(str::to_owned);
    Some(Link { href: text("href")?, rel: text("rel").unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Additional, Kind, Object, Property};

    #[test]
    fn strange_spellings_of_the_document_are_read() {
        let property = Property::from_value(&json!({
            "type": "integer", "optional": "1", "minimum": "0", "maximum": 10.5, "enum": null,
            "maxLength": 3, "links": [{"rel": "child", "href": "{id}"}, {}],
        }));
        assert_eq!(property.kind, Some(Kind::Integer));
        assert!(property.optional && property.enumeration.is_none());
        assert_eq!(property.minimum.unwrap().text, "0");
        assert_eq!(property.maximum.unwrap().text, "10.5");
        assert_eq!(property.links.len(), 1);
    }

    #[test]
    fn indexed_keys_have_canonical_numbers_within_the_limit() {
        let object =
            Object::from_value(&json!({"properties": {"net[n]": {}, "ide[n]": {}, "net": {}}}));
        for known in ["net0", "net31", "ide3", "net"] {
            assert!(object.property(known).is_some(), "{known}");
        }
        for unknown in
            ["net32", "net00", "net01", "ide4", "net[n]", "net-1", "7", "net99999", "nét0"]
        {
            assert!(object.property(unknown).is_none(), "{unknown}");
        }
    }

    #[test]
    fn additional_has_four_forms() {
        let of = |value| Object::from_value(&value).additional;
        assert!(matches!(of(json!({})), Additional::Unspecified));
        assert!(matches!(of(json!({"additionalProperties": 0})), Additional::Refused));
        assert!(matches!(of(json!({"additionalProperties": 1})), Additional::Allowed));
        assert!(matches!(
            of(json!({"additionalProperties": {"type": "string"}})),
            Additional::Fitting(_)
        ));
    }

    #[test]
    fn cdrom_takes_the_format_of_ide() {
        let object = Object::from_value(&json!({"properties": {
            "cdrom": {"format": "pve-qm-ide"}, "ide[n]": {"format": {"file": {"default_key": 1}}}}}));
        assert!(object.properties["cdrom"].format.as_ref().unwrap().property_string().is_some());
    }
}
