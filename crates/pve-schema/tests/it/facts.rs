//! The shipped facts: complete, without prose, equal to PVE's document where it is at hand.

use std::collections::BTreeSet;

use pve_schema::{Format, FormatRule, Object, Permission, Property, Schema, Verb};
use serde_json::Value;

use crate::shared;

fn schemas() -> [&'static Schema; 2] {
    [Schema::v9(), Schema::v8()]
}

/// Every property of a schema, nested ones included.
fn visit(property: &Property, seen: &mut dyn FnMut(&Property)) {
    seen(property);
    visit_object(&property.object, seen);
    property.items.iter().for_each(|items| visit(items, seen));
    property.one_of.iter().for_each(|variant| visit(variant, seen));
    if let Some(fields) = property.format.as_ref().and_then(Format::property_string) {
        fields.fields().values().for_each(|field| visit(field, seen));
    }
}

fn visit_object(object: &Object, seen: &mut dyn FnMut(&Property)) {
    object.properties.values().for_each(|property| visit(property, seen));
}

#[test]
fn releases_are_complete() {
    let counts = |schema: &Schema| {
        let parameters: usize = schema.methods().map(|m| m.parameters().properties.len()).sum();
        (schema.release().to_owned(), schema.methods().count(), schema.paths().count(), parameters)
    };
    assert_eq!(counts(Schema::v9()), ("9.2.3".to_owned(), 675, 449, 3090));
    assert_eq!(counts(Schema::v8()), ("8.4".to_owned(), 605, 400, 2766));
}

#[test]
fn headers_say_what_the_files_hold() {
    for (facts, schema) in Schema::shipped_facts().into_iter().zip(schemas()) {
        let parameters: usize = schema.methods().map(|m| m.parameters().properties.len()).sum();
        let header = format!(
            "# PVE {} nodes={} methods={} parameters={parameters}",
            schema.release(),
            schema.paths().count(),
            schema.methods().count()
        );
        assert_eq!(facts.lines().next(), Some(header.as_str()));
    }
}

#[test]
fn every_method_decodes_and_every_pattern_compiles() {
    for schema in schemas() {
        let mut patterns = BTreeSet::new();
        for method in schema.methods() {
            assert!(!method.name().is_empty(), "{method:?}");
            assert!(
                method.proxyto().is_none_or(|name| method.parameters().property(name).is_some())
            );
            let mut see = |property: &Property| {
                if let Some(pattern) = &property.pattern {
                    assert!(pattern.compiles(), "{method:?}: {pattern:?}");
                    patterns.insert(pattern.as_str().to_owned());
                }
            };
            visit_object(method.parameters(), &mut see);
            visit(method.returns(), &mut see);
        }
        assert!(patterns.len() >= 58, "{}", patterns.len());
    }
}

#[test]
fn permissions_are_understood() {
    for schema in schemas() {
        let root_only =
            schema.methods().filter(|m| *m.permission() == Permission::RootOnly).count();
        assert_eq!(root_only, 15, "an expression that is not understood counts as root-only");
        let world = schema.methods().filter(|m| *m.permission() == Permission::World).count();
        assert_eq!(world, if schema.release() == "8.4" { 5 } else { 6 });
        assert!(schema.methods().all(|m| *m.permission() != Permission::HandlerDecides));
    }
    let acl = Schema::v9().find("/access/acl").unwrap();
    assert!(acl.method(Verb::Get).unwrap().has_extra_rules());
    let tfa = Schema::v9().find("/access/tfa/root@pam").unwrap();
    assert!(!tfa.method(Verb::Post).unwrap().allow_token());
}

/// In the shipped facts and, where they are at hand, in PVE's documents. An answer names property
/// strings without their grammar, so these have to be known from a parameter.
#[test]
fn every_named_format_is_checked() {
    let documents = ["schema/pve-9.json", "schema/pve-8.json"].into_iter();
    let documents = documents.filter_map(shared::read);
    let documents: Vec<Schema> =
        documents.map(|text| Schema::from_apidoc(&text).unwrap()).collect();
    let (mut checked, mut in_answers) = (BTreeSet::new(), BTreeSet::new());
    for method in schemas().into_iter().chain(&documents).flat_map(Schema::methods) {
        visit_object(method.parameters(), &mut |property| {
            if let Some((name, is_checked)) = named_format(property) {
                assert!(is_checked, "{name} in {} {}", method.verb(), method.path());
                checked.insert(name);
            }
        });
        visit(method.returns(), &mut |property| match named_format(property) {
            Some((name, true)) => drop(checked.insert(name)),
            Some((name, false)) => drop(in_answers.insert(name)),
            None => {}
        });
    }
    assert!(checked.len() > 100, "{} formats", checked.len());
    assert_eq!(in_answers.difference(&checked).collect::<Vec<_>>(), Vec::<&String>::new());
}

/// The name of a property's format, and whether there is a rule for it.
fn named_format(property: &Property) -> Option<(String, bool)> {
    let format = property.format.as_ref()?;
    let is_checked = !matches!(format.rule(), FormatRule::Unchecked);
    Some((format.name()?.to_owned(), is_checked))
}

/// Prose would be somebody's copyrighted text: the only longer texts with blanks are grammars and patterns.
#[test]
fn facts_hold_no_prose() {
    fn look(key: &str, value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) => {
                let words = text.split(' ').filter(|word| word.len() > 1).count();
                if words > 2
                    && !text.split(", ").all(|word| !word.contains(' '))
                    && key != "typetext"
                {
                    found.push(text.clone());
                }
            }
            Value::Array(list) => list.iter().for_each(|value| look(key, value, found)),
            Value::Object(map) => map.iter().for_each(|(key, value)| look(key, value, found)),
            _ => {}
        }
    }
    for facts in Schema::shipped_facts() {
        for line in facts.lines().skip(1) {
            let [verb, _, rest] = line.splitn(3, '\t').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            if verb == "-" {
                continue;
            }
            let mut found = Vec::new();
            look("", &serde_json::from_str(rest).unwrap(), &mut found);
            assert!(found.is_empty(), "{line:.80}: {found:?}");
        }
    }
}

#[test]
fn facts_equal_the_document_they_come_from() {
    for (file, schema) in ["schema/pve-9.json", "schema/pve-8.json"].into_iter().zip(schemas()) {
        let Some(document) = shared::read(file) else {
            continue;
        };
        let document = Schema::from_apidoc(&document).unwrap();
        assert_eq!(document.methods().count(), schema.methods().count());
        assert_eq!(
            document.find("/").unwrap().children().collect::<Vec<_>>(),
            schema.find("/").unwrap().children().collect::<Vec<_>>()
        );
        for path in document.paths() {
            let (theirs, ours) = (document.find(path).unwrap(), schema.find(path).unwrap());
            assert_eq!(
                theirs.children().collect::<Vec<_>>(),
                ours.children().collect::<Vec<_>>(),
                "{path}"
            );
            assert_eq!(
                theirs.verbs().collect::<Vec<_>>(),
                ours.verbs().collect::<Vec<_>>(),
                "{path}"
            );
            for verb in theirs.verbs() {
                let (theirs, ours) = (theirs.method(verb).unwrap(), ours.method(verb).unwrap());
                assert_eq!(digest(theirs.parameters()), digest(ours.parameters()), "{theirs:?}");
                assert_eq!(theirs.permission(), ours.permission());
                let flags = |m: &pve_schema::Method| {
                    (
                        m.name().to_owned(),
                        m.protected(),
                        m.proxyto().map(str::to_owned),
                        m.allow_token(),
                        m.download_allowed(),
                        m.expose_credentials(),
                        m.has_extra_rules(),
                    )
                };
                assert_eq!(flags(theirs), flags(ours));
                assert_eq!(theirs.returns().links, ours.returns().links);
            }
        }
    }
}

/// Everything validation looks at, as text.
fn digest(object: &Object) -> String {
    let mut text = format!("{:?}", object.additional);
    for (name, property) in &object.properties {
        let bare = Property { default: None, ..property.clone() };
        text.push_str(&format!("{name} {bare:?}\n"));
    }
    // Fields nested in property strings have defaults of their own, some of them prose.
    text.split("default: ")
        .map(|part| part.split_once("minimum:").map_or(part, |(_, rest)| rest))
        .collect()
}
