#![expect(clippy::needless_pass_by_value, reason = "literals are handed in")]

use serde_json::{Value, json};

use super::{Params, check_parameters};
use crate::property::Object;

fn params(value: Value) -> Params {
    value.as_object().unwrap().clone().into_iter().collect()
}

/// The errors of `given` under `schema`, or what the values became.
fn check(schema: Value, given: Value) -> Result<Value, Value> {
    let mut given = params(given);
    match check_parameters(&Object::from_value(&schema), &mut given) {
        Ok(()) => Ok(json!(given)),
        Err(errors) => Err(json!(errors)),
    }
}

fn one(property: Value, given: Value) -> Result<Value, String> {
    let schema = json!({"additionalProperties": 0, "properties": {"p": property}});
    match check(schema, json!({"p": given})) {
        Ok(values) => Ok(values["p"].clone()),
        Err(errors) => {
            assert_eq!(errors.as_object().unwrap().len(), 1, "{errors}");
            Err(errors["p"].as_str().unwrap_or_else(|| panic!("{errors}")).to_owned())
        }
    }
}

#[test]
fn missing_and_undeclared() {
    let schema = json!({"additionalProperties": 0, "properties": {"a": {"type": "string"}, "b": {"optional": 1}}});
    assert_eq!(
        check(schema.clone(), json!({"x": 1, "": 2})).unwrap_err(),
        json!({"a": super::MISSING, "x": super::UNDECLARED, "_root": super::UNDECLARED})
    );
    assert_eq!(
        check(schema, json!({"a": null, "b": null})).unwrap_err(),
        json!({"a": super::MISSING})
    );
    assert!(check(json!({}), json!({"x": 1})).is_ok(), "unspecified: not looked at");
    assert!(check(json!({"additionalProperties": 1}), json!({"x": 1})).is_ok());
    assert_eq!(
        check(json!({"additionalProperties": {"type": "integer"}}), json!({"x": "y"})).unwrap_err(),
        json!({"x": "type check ('integer') failed - got 'y'"})
    );
}

#[test]
fn types() {
    for (kind, value, text) in [
        ("integer", json!("x"), "type check ('integer') failed - got 'x'"),
        ("integer", json!("1.5"), "type check ('integer') failed - got '1.5'"),
        ("integer", json!(1.5), "type check ('integer') failed - got '1.5'"),
        ("integer", json!(true), "type check ('integer') failed - got JSON::PP::Boolean"),
        ("number", json!("1e"), "type check ('number') failed - got '1e'"),
        ("boolean", json!("true"), "type check ('boolean') failed - got 'true'"),
        ("boolean", json!("2"), "type check ('boolean') failed - got '2'"),
        ("string", json!(["a"]), "type check ('string') failed - got ARRAY"),
        ("string", json!({"a": 1}), "type check ('string') failed - got HASH"),
        ("array", json!({}), "type check ('array') failed"),
        ("array", json!(""), "type check ('array') failed"),
        ("object", json!("x"), "type check ('object') failed"),
        ("null", json!("x"), "type check ('null') failed - value is not null"),
    ] {
        assert_eq!(one(json!({"type": kind}), value).unwrap_err(), text);
    }
    assert!(one(json!({"type": "ip"}), json!("anything")).is_ok(), "types PVE does not know");
    assert!(one(json!({"type": "any"}), json!({"a": []})).is_ok());
    assert!(one(json!({}), json!([1])).is_ok());
}

#[test]
fn accepted_values_get_their_type() {
    for (kind, given, value) in [
        ("boolean", json!("1"), json!(1)),
        ("boolean", json!(false), json!(0)),
        ("boolean", json!(0), json!(0)),
        ("integer", json!("-007"), json!(-7)),
        ("integer", json!("99999999999999999999"), json!("99999999999999999999")),
        ("string", json!("1"), json!("1")),
        ("string", json!(1), json!(1)),
        ("number", json!("1.50"), json!("1.50")),
    ] {
        assert_eq!(one(json!({"type": kind}), given).unwrap(), value);
    }
    let list = json!({"type": "array", "items": {"type": "integer"}});
    assert_eq!(one(list.clone(), json!(["1", 2])).unwrap(), json!([1, 2]));
    assert_eq!(one(list, json!("5")).unwrap(), json!([5]), "forms send one value as a scalar");
}

#[test]
fn bounds_lengths_patterns_enumerations() {
    for (property, value, text) in [
        (
            json!({"type": "integer", "minimum": "0"}),
            json!("-1"),
            "value must have a minimum value of 0",
        ),
        (
            json!({"type": "number", "maximum": 1.5}),
            json!(2),
            "value must have a maximum value of 1.5",
        ),
        (
            json!({"type": "string", "maximum": 5}),
            json!("6"),
            "value must have a maximum value of 5",
        ),
        (
            json!({"type": "string", "maxLength": 2}),
            json!("üüü"),
            "value may only be 2 characters long",
        ),
        (
            json!({"type": "string", "minLength": 2}),
            json!("ü"),
            "value must be at least 2 characters long",
        ),
        (
            json!({"type": "string", "pattern": "a+"}),
            json!("b"),
            "value does not match the regex pattern",
        ),
        (
            json!({"enum": ["a", "b"]}),
            json!("c"),
            "value 'c' does not have a value in the enumeration 'a, b'",
        ),
        (
            json!({"format": "pve-node"}),
            json!("a b"),
            "invalid format - value does not look like a valid node name\n",
        ),
        (
            json!({"pattern": "a", "maxLength": 0, "format": "pve-vmid"}),
            json!("x"),
            "invalid format - value does not look like a valid VM ID\n",
        ),
    ] {
        assert_eq!(one(property, value).unwrap_err(), text);
    }
    assert!(one(json!({"maxLength": 2, "enum": null}), json!("üü")).is_ok());
}

#[test]
fn lists_from_forms_are_joined() {
    let nodes = json!({"type": "string", "format": "pve-node-list"});
    assert_eq!(one(nodes.clone(), json!(["a", "b"])).unwrap(), json!("a,b"));
    assert_eq!(one(nodes, json!([["a"]])).unwrap_err(), "type check ('string') failed - got ARRAY");
    assert_eq!(
        one(json!({"type": "string", "format": "pve-node"}), json!(["a"])).unwrap_err(),
        "type check ('string') failed - got ARRAY"
    );
}

#[test]
fn requires_is_joined_when_two_ask_for_one() {
    let schema = json!({"properties": {"a": {"optional": 1, "requires": "c"}, "b": {"optional": 1, "requires": "c"}, "c": {"optional": 1}}});
    assert!(check(schema.clone(), json!({"a": 1, "c": 1})).is_ok());
    assert_eq!(
        check(schema, json!({"a": 1, "b": 1})).unwrap_err(),
        json!({"c": "missing property - 'a' requires this property\\nmissing property - 'b' requires this property"})
    );
}

#[test]
fn indexed_keys_are_checked() {
    let schema = json!({"additionalProperties": 0, "properties": {"ide[n]": {"type": "integer", "optional": 1}}});
    assert_eq!(check(schema.clone(), json!({"ide0": "7"})).unwrap(), json!({"ide0": 7}));
    assert_eq!(
        check(schema, json!({"ide0": "x", "ide4": "1", "ide[n]": "1"})).unwrap_err(),
        json!({"ide0": "type check ('integer') failed - got 'x'", "ide4": super::UNDECLARED, "ide[n]": super::UNDECLARED})
    );
}

#[test]
fn nested_paths() {
    let schema = json!({"properties": {"list": {"type": "array", "items": {"type": "object",
        "additionalProperties": 0, "properties": {"a": {"type": "integer"}}}}}});
    assert_eq!(
        check(schema, json!({"list": [{"a": "x"}, {"b": 1, "a": 1}, 3]})).unwrap_err(),
        json!({"list[0].a": "type check ('integer') failed - got 'x'", "list[1].b": super::UNDECLARED,
               "list[2]": "type check ('object') failed"})
    );
}

#[test]
fn alternatives_by_type_property() {
    let schema = json!({"additionalProperties": 0, "properties": {
        "kind": {"type": "string"},
        "net": {"type-property": "kind", "oneOf": [
            {"type": "integer", "instance-types": ["num"]},
            {"type": "string", "enum": ["x"], "instance-types": ["word", "other"], "optional": 1}]}}});
    assert!(check(schema.clone(), json!({"kind": "num", "net": "5"})).is_ok());
    assert_eq!(
        check(schema.clone(), json!({"kind": "num", "net": "y"})).unwrap_err(),
        json!({"net": "type check ('integer') failed - got 'y'"})
    );
    assert!(check(schema.clone(), json!({"kind": "word"})).is_ok(), "optional for this type");
    assert!(check(schema.clone(), json!({"kind": "num"})).is_err(), "not for that one");
    assert_eq!(
        check(schema, json!({"kind": "none", "net": "5"})).unwrap_err(),
        json!({"net": super::UNDECLARED})
    );
}

#[test]
fn alternatives_without_type_property() {
    let schema = json!({"properties": {"v": {"oneOf": [{"type": "integer"}, {"enum": ["auto"]}]}}});
    assert!(check(schema.clone(), json!({"v": "5"})).is_ok());
    assert!(check(schema.clone(), json!({"v": "auto"})).is_ok());
    assert!(check(schema, json!({"v": "x"})).is_err());
}
