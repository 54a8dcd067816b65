//! Arbitrary paths, parameters and property strings: no panic, and what is written reads back.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use pve_schema::{Format, Method, Property, PropertyString, Schema, Verb};
use serde_json::{Value, json};

#[test]
fn paths_are_walked_as_pve_walks_them() {
    let schema = Schema::v9();
    let find = |path: &str| {
        let found = schema.find(path)?;
        Some((
            found.template.to_owned(),
            found.variables.into_iter().map(|(_, value)| value).collect::<Vec<_>>(),
        ))
    };
    let content = "/nodes/{node}/storage/{storage}/content/{volume}".to_owned();
    assert_eq!(
        find("/nodes/pve1/storage/local/content/local:iso/debian.iso"),
        Some((content.clone(), vec!["pve1".into(), "local".into(), "local:iso/debian.iso".into()]))
    );
    assert_eq!(find("nodes//pve1/storage/local/content//a//b/").unwrap().1[2], "a/b");
    assert_eq!(find("/nodes/pve1/qemu/100/config").unwrap().1, ["pve1", "100"]);
    assert_eq!(find("/access/users/a@pve").unwrap().0, "/access/users/{userid}");
    for unknown in [
        "/nope",
        "/version/x",
        "/nodes/a b/status",
        "/nodes/pve1/qemu/100/config/x",
        "/nodes/\u{a0}",
    ] {
        assert_eq!(find(unknown), None, "{unknown}");
    }
    let version = schema.find("/version").unwrap();
    assert!(version.method(Verb::Get).is_some() && version.method(Verb::Delete).is_none());
    let lead_only = schema.find("/nodes/n/storage/s/file-restore").unwrap();
    assert_eq!(lead_only.verbs().count(), 0);
    assert_eq!(lead_only.children().collect::<Vec<_>>(), ["list", "download"]);
}

/// Every distinct property string of both releases.
static PROPERTY_STRINGS: LazyLock<Vec<PropertyString>> = LazyLock::new(|| {
    let mut found = std::collections::BTreeMap::new();
    for method in Schema::v9().methods().chain(Schema::v8().methods()) {
        for property in method.parameters().properties.values() {
            let items = property.items.as_deref();
            for property in [Some(property), items].into_iter().flatten() {
                if let Some(fields) = property.format.as_ref().and_then(Format::property_string) {
                    found.insert(format!("{fields:?}"), fields.clone());
                }
            }
        }
    }
    found.into_values().collect()
});

static METHODS: LazyLock<Vec<&'static Method>> =
    LazyLock::new(|| Schema::v9().methods().chain(Schema::v8().methods()).collect());

const SAMPLES: [&str; 42] = [
    "1",
    "0",
    "on",
    "5",
    "60",
    "100",
    "1500",
    "virtio",
    "vmbr0",
    "local",
    "local:100/vm-100-disk-0.raw",
    "10G",
    "192.0.2.0/24",
    "192.0.2.1",
    "2001:db8::1",
    "2001:db8::/64",
    "BC:24:11:00:00:01",
    "none",
    "host",
    "a=b",
    "all",
    "auto",
    "dhcp",
    "0000:01:00.0",
    "1234:abcd",
    "0x1234",
    "/dev/fuse",
    "/mnt/x",
    "pve1",
    "x y",
    "en-us",
    "3.5",
    "vm:100",
    "mon",
    "std",
    "aes",
    "0644",
    "1;2",
    "acl;entry",
    "YWJj",
    "0x0123456789abcdef",
    "11111111-2222-3333-4444-555555555555",
];

/// Samples that the field does not refuse.
fn fitting(format: &PropertyString, key: &str, field: &Property) -> Vec<String> {
    let words = field.enumeration.iter().flatten().map(String::as_str);
    let fits = |sample: &&str| match format.parse(&format!("{key}={sample}"), "p") {
        Ok(_) => true,
        Err(text) => text.starts_with("format error") && !text.contains(&format!("p.{key}: ")),
    };
    let fitting: Vec<_> =
        SAMPLES.into_iter().chain(words).filter(fits).map(str::to_owned).collect();
    if fitting.is_empty() { vec!["1".to_owned()] } else { fitting }
}

fn plausible(format: &PropertyString, key: &str, field: &Property) -> BoxedStrategy<String> {
    let samples = proptest::sample::select(fitting(format, key, field));
    prop_oneof![12 => samples, 1 => "[ -~]{0,12}", 1 => "(a;b|[0-9]{1,3}|\\PC{1,4})"].boxed()
}

/// Texts of the format: most fields fit, some are left out, some come without key.
fn property_string(format: &PropertyString) -> impl Strategy<Value = String> {
    let parts: Vec<_> = format
        .fields()
        .iter()
        .map(|(key, field)| {
            let weight = if field.optional || field.alias.is_some() { 0.2 } else { 0.95 };
            let (key, is_default) = (key.clone(), field.default_key);
            let part =
                (plausible(format, &key, field), any::<bool>()).prop_map(move |(value, bare)| {
                    if bare && is_default { value } else { format!("{key}={value}") }
                });
            proptest::option::weighted(weight, part)
        })
        .collect();
    parts.prop_map(|parts| parts.into_iter().flatten().collect::<Vec<_>>().join(","))
}

const TEXTS_PER_FORMAT: usize = 200;

#[test]
fn lawful_property_strings_of_every_format_read_back() {
    assert!(PROPERTY_STRINGS.len() >= 60, "{}", PROPERTY_STRINGS.len());
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for format in PROPERTY_STRINGS.iter() {
        let strategy = property_string(format);
        let mut lawful = 0;
        for _ in 0..TEXTS_PER_FORMAT {
            let text = strategy.new_tree(&mut runner).unwrap().current();
            let Ok(fields) = format.parse(&text, "p") else {
                continue;
            };
            let printed = format.print(&fields).unwrap();
            assert_eq!(
                format.parse(&printed, "p").as_ref(),
                Ok(&fields),
                "{text:?} -> {printed:?}"
            );
            assert_eq!(format.print(&fields).unwrap(), printed);
            lawful += 1;
        }
        assert!(lawful > 0, "no lawful text found for {:?}", format.fields().keys());
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        "[a-z0-9:;,=/.@!-]{0,30}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z_-]{0,8}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #[test]
    fn find_takes_any_path(path in "(/?(nodes|cluster|access|storage|content|[^/]{0,6}|\\PC{0,3}))*") {
        for schema in [Schema::v9(), Schema::v8()] {
            if let Some(found) = schema.find(&path) {
                let rebuilt = found.variables.iter().fold(found.template.to_owned(), |path, (name, value)| {
                    path.replacen(&format!("{{{name}}}"), value, 1)
                });
                let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
                prop_assert_eq!(rebuilt, format!("/{}", parts.join("/")));
            }
        }
    }

    #[test]
    fn check_takes_any_parameters(
        index in any::<proptest::sample::Index>(),
        values in proptest::collection::vec(value(), 0..24),
        extra in proptest::collection::btree_map("(net|ide|scsi|mp)?[0-9]{0,3}|\\PC{0,6}", value(), 0..4),
    ) {
        let method = METHODS[index.index(METHODS.len())];
        let mut params = extra;
        params.extend(method.parameters().properties.keys().cloned().zip(values));
        let before = params.clone();
        if method.check(&mut params).is_ok() {
            // What was accepted is accepted again, unchanged.
            let accepted = params.clone();
            prop_assert_eq!(method.check(&mut params), Ok(()), "{:?} {:?}", method, before);
            prop_assert_eq!(params, accepted);
        }
    }

    #[test]
    fn property_strings_take_any_text(index in any::<proptest::sample::Index>(), text in "(\\PC|[,=\n;]){0,40}") {
        let format = &PROPERTY_STRINGS[index.index(PROPERTY_STRINGS.len())];
        if let Ok(fields) = format.parse(&text, "p")
            && let Ok(printed) = format.print(&fields)
        {
            prop_assert_eq!(format.parse(&printed, "p"), Ok(fields));
        }
    }

    #[test]
    fn documents_are_read_or_refused(text in "[\\[\\]{}\":,a-z0-9 ]{0,60}") {
        let _ = Schema::from_apidoc(&text);
    }
}
