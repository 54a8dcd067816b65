//! Validation, in the order and with the texts of `PVE::JSONSchema::check_prop` and `check_object`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::formats::check_format;
use crate::property::{Additional, INDEXED, Kind, Object, Property};
use crate::value::{chomp, is_integer, is_true, number, reference, scalar_text};

/// Parameters as PVE sees them: form values are strings, repeated ones arrays, values of a JSON
/// body keep their type. Path variables are parameters too.
pub type Params = BTreeMap<String, Value>;

/// Parameter (`net0`, `a.b`, `list[0]`; `_root` for an empty name) to PVE's text.
pub type Errors = BTreeMap<String, String>;

/// Checks the parameters of a method and, when all fit, gives booleans and integers their type.
pub(crate) fn check_parameters(schema: &Object, params: &mut Params) -> Result<(), Errors> {
    for (key, value) in params.iter_mut() {
        if let Some(property) = schema.property(key) {
            accept_form_shape(property, value);
        }
    }
    let mut errors = Errors::new();
    check_object(schema, params, "", &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    for (key, value) in params {
        if let Some(property) = schema.property(key) {
            *value = typed(property, std::mem::take(value));
        }
    }
    Ok(())
}

/// A boolean becomes 1 or 0, an integer a number when it fits 64 bits; elements of arrays alike.
pub(crate) fn typed(property: &Property, value: Value) -> Value {
    match (property.kind, value) {
        (Some(Kind::Boolean), Value::Bool(on)) => u8::from(on).into(),
        (Some(Kind::Boolean), scalar @ (Value::String(_) | Value::Number(_))) => {
            u8::from(is_true(&scalar)).into()
        }
        (Some(Kind::Integer), Value::String(text)) => {
            let parsed = chomp(&text).parse::<i64>();
            parsed.map_or(Value::String(text), Value::from)
        }
        (Some(Kind::Array), Value::Array(elements)) => match &property.items {
            Some(items) => elements.into_iter().map(|element| typed(items, element)).collect(),
            None => Value::Array(elements),
        },
        (_, value) => value,
    }
}

/// `HEAD` followed by one line for each wrong field, as PVE's exceptions print.
pub(crate) fn join_errors(head: &str, errors: &Errors) -> String {
    let lines: String = errors.iter().map(|(path, text)| format!("{path}: {text}\n")).collect();
    format!("{head}{lines}")
}

pub(crate) fn check_object(schema: &Object, object: &impl Keys, path: &str, errors: &mut Errors) {
    for (key, property) in &schema.properties {
        // Indexed keys are all optional; those given are checked below.
        if !key.ends_with(INDEXED) {
            let instance = instance_type(property, object);
            check_property(property, object.value(key), &below(path, key), instance, errors);
        }
    }
    for (key, value) in object.entries() {
        let key_path = below(path, key);
        if let Some(property) = schema.property(key) {
            let instance = instance_type(property, object);
            if !schema.properties.contains_key(key) {
                check_property(property, defined(Some(value)), &key_path, instance, errors);
            }
            if let Some(requires) = &property.requires
                && object.value(requires).is_none()
            {
                let text = format!("missing property - '{key_path}' requires this property");
                add(errors, &below(path, requires), &text);
            }
            if has_alternative(property, instance) {
                continue;
            }
        }
        match &schema.additional {
            Additional::Refused => add(errors, &key_path, UNDECLARED),
            Additional::Fitting(other) => {
                check_property(other, defined(Some(value)), &key_path, None, errors);
            }
            Additional::Unspecified | Additional::Allowed => {}
        }
    }
}

/// An object of either map type, with null as not given.
pub(crate) trait Keys {
    fn value(&self, key: &str) -> Option<&Value>;
    fn entries(&self) -> impl Iterator<Item = (&String, &Value)>;
}

impl Keys for Params {
    fn value(&self, key: &str) -> Option<&Value> {
        defined(self.get(key))
    }

    fn entries(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.iter()
    }
}

impl Keys for Map<String, Value> {
    fn value(&self, key: &str) -> Option<&Value> {
        defined(self.get(key))
    }

    fn entries(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.iter()
    }
}

const MISSING: &str = "property is missing and it is not optional";
const UNDECLARED: &str =
    "property is not defined in schema and the schema does not allow additional properties";

fn check_property(
    property: &Property,
    value: Option<&Value>,
    path: &str,
    instance: Option<&Value>,
    errors: &mut Errors,
) {
    let mut optional_here = false;
    if !property.one_of.is_empty() {
        optional_here = check_alternatives(property, value, path, instance, errors);
    } else if instance.is_some_and(is_true) && property.instance_types.is_none() {
        return add(errors, path, "missing 'instance-types'");
    }
    let Some(value) = value else {
        let spared = property.optional || property.alias.is_some() || optional_here;
        if !spared && property.kind != Some(Kind::Null) {
            add(errors, path, MISSING);
        }
        return;
    };
    if let Err(text) = check_kind(property.kind, value) {
        return add(errors, path, &text);
    }
    match value {
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                if let Some(items) = &property.items {
                    let element_path = format!("{path}[{index}]");
                    check_property(items, defined(Some(element)), &element_path, None, errors);
                }
            }
        }
        Value::Object(object) => {
            let Object { properties, additional } = &property.object;
            if !properties.is_empty() || !matches!(additional, Additional::Unspecified) {
                check_object(&property.object, object, path, errors);
            }
        }
        scalar => {
            let text = scalar_text(scalar).unwrap_or_default();
            if let Err(message) = check_scalar(property, &text, path) {
                add(errors, path, &message);
            }
        }
    }
}

/// The alternatives of a `oneOf`; says whether the value may be missing.
fn check_alternatives(
    property: &Property,
    value: Option<&Value>,
    path: &str,
    instance: Option<&Value>,
    errors: &mut Errors,
) -> bool {
    if property.type_property.is_none() {
        let fits = |alternative: &Property| {
            let mut inner = Errors::new();
            check_property(alternative, value, path, None, &mut inner);
            if inner.is_empty() { Ok(()) } else { Err(inner) }
        };
        let mut refusals = Vec::new();
        for alternative in &property.one_of {
            match fits(alternative) {
                Ok(()) => return false,
                Err(inner) => refusals.extend(inner),
            }
        }
        for (inner_path, text) in refusals {
            add(errors, &inner_path, &text);
        }
        return false;
    }
    let Some(instance) = instance.filter(|instance| is_true(instance)) else {
        return true;
    };
    let mut optional = true;
    for alternative in &property.one_of {
        if is_meant_for(alternative, instance) {
            optional = alternative.optional;
            check_property(alternative, value, path, None, errors);
        }
    }
    optional
}

fn has_alternative(property: &Property, instance: Option<&Value>) -> bool {
    let fits = |alternative: &Property| {
        alternative.instance_types.is_none()
            || instance.is_some_and(|instance| is_meant_for(alternative, instance))
    };
    property.one_of.is_empty() || property.one_of.iter().any(fits)
}

fn is_meant_for(alternative: &Property, instance: &Value) -> bool {
    let instance = scalar_text(instance);
    let types = alternative.instance_types.iter().flatten();
    types.into_iter().any(|name| Some(name.as_str()) == instance.as_deref())
}

fn instance_type<'o>(property: &Property, object: &'o impl Keys) -> Option<&'o Value> {
    object.value(property.type_property.as_deref()?)
}

fn check_kind(kind: Option<Kind>, value: &Value) -> Result<(), String> {
    let failed = |name: &str| Err(format!("type check ('{name}') failed"));
    let name = match kind {
        None | Some(Kind::Any) => return Ok(()),
        Some(Kind::Null) => return Err("type check ('null') failed - value is not null".to_owned()),
        Some(Kind::Array) => {
            return if value.is_array() { Ok(()) } else { failed("array") };
        }
        Some(Kind::Object) => {
            return if value.is_object() { Ok(()) } else { failed("object") };
        }
        Some(Kind::String) => "string",
        Some(Kind::Integer) => "integer",
        Some(Kind::Number) => "number",
        Some(Kind::Boolean) => "boolean",
        // Types PVE does not know take any scalar; its name does not matter for the rest.
        Some(Kind::Unknown) => "unknown",
    };
    if let Some(reference) = reference(value) {
        if kind == Some(Kind::Boolean) && value.is_boolean() {
            return Ok(());
        }
        return Err(format!("type check ('{name}') failed - got {reference}"));
    }
    let text = scalar_text(value).unwrap_or_default();
    let fits = match kind {
        Some(Kind::Integer) => is_integer(&text),
        Some(Kind::Number) => number(&text).is_some(),
        Some(Kind::Boolean) => text == "1" || text == "0",
        _ => true,
    };
    if fits { Ok(()) } else { Err(format!("type check ('{name}') failed - got '{text}'")) }
}

fn check_scalar(property: &Property, text: &str, path: &str) -> Result<(), String> {
    if let Some(format) = &property.format {
        check_format(format, text, path).map_err(|cause| format!("invalid format - {cause}"))?;
    }
    if property.pattern.as_ref().is_some_and(|pattern| !pattern.matches(text)) {
        return Err("value does not match the regex pattern".to_owned());
    }
    if let Some(max) = property.max_length.filter(|max| text.chars().count() > *max) {
        return Err(format!("value may only be {max} characters long"));
    }
    if let Some(min) = property.min_length.filter(|min| text.chars().count() < *min) {
        return Err(format!("value must be at least {min} characters long"));
    }
    if let Some(number) = number(text) {
        if let Some(max) = property.maximum.as_ref().filter(|max| number > max.value) {
            return Err(format!("value must have a maximum value of {}", max.text));
        }
        if let Some(min) = property.minimum.as_ref().filter(|min| number < min.value) {
            return Err(format!("value must have a minimum value of {}", min.text));
        }
    }
    match &property.enumeration {
        Some(values) if !values.iter().any(|value| value == text) => Err(format!(
            "value '{text}' does not have a value in the enumeration '{}'",
            values.join(", ")
        )),
        _ => Ok(()),
    }
}

/// Forms cannot tell one value from a list: a repeated key where a `-list` format is declared is
/// joined, a single one where an array is declared becomes one element (unless Perl calls it false).
fn accept_form_shape(property: &Property, value: &mut Value) {
    let is_list = property.format.as_ref().and_then(|format| format.name());
    let is_list = is_list.is_some_and(|name| name.ends_with("-list"));
    match value {
        Value::Array(elements) if property.kind == Some(Kind::String) && is_list => {
            let texts: Option<Vec<_>> = elements.iter().map(scalar_text).collect();
            if let Some(texts) = texts {
                *value = Value::String(texts.join(","));
            }
        }
        Value::String(_) | Value::Number(_)
            if property.kind == Some(Kind::Array) && is_true(value) =>
        {
            *value = Value::Array(vec![value.take()]);
        }
        _ => {}
    }
}

fn defined(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null())
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn add(errors: &mut Errors, path: &str, text: &str) {
    let path = if path.is_empty() { "_root" } else { path };
    errors
        .entry(path.to_owned())
        // Backslash and n, not a line break: PVE joins with a single-quoted Perl string.
        .and_modify(|earlier| *earlier = format!("{earlier}\\n{text}"))
        .or_insert_with(|| text.to_owned());
}

#[cfg(test)]
mod tests;
