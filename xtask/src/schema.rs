//! `cargo xtask schema APIDOC.json OUT [RELEASE]`: an API document reduced to its facts.
//!
//! The document of a PVE node (`/pve-docs/api-viewer/apidoc.js`) carries prose under a copyleft
//! licence; names, types, bounds, formats and permissions are interface facts. This keeps the
//! facts only, one method a line, so that a new release shows up as a readable diff:
//!
//! ```text
//! # PVE 9.2.3 nodes=449 methods=675 parameters=3090
//! -<TAB>/nodes/{node}<TAB>qemu lxc ceph …          children in the order index answers list them
//! GET<TAB>/nodes/{node}/status<TAB>{…}             the method, compact JSON, keys sorted
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value};

/// Writes the facts of one API document; without RELEASE the one OUT already names is kept.
///
/// # Errors
/// Wrong arguments, unreadable files, a document that is not an API tree.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let (document, out, release) = match args {
        [document, out] => (document, out, release_of(out)?),
        [document, out, release] => (document, out, release.clone()),
        _ => bail!("usage: cargo xtask schema APIDOC.json OUT [RELEASE]"),
    };
    let text = fs::read_to_string(document).with_context(|| format!("read {document}"))?;
    let tree: Value = serde_json::from_str(&text).with_context(|| format!("parse {document}"))?;
    fs::write(out, facts(&tree, &release)?).with_context(|| format!("write {out}"))
}

/// The named formats whose fields exist nowhere but in the grammar of `typetext`.
const GRAMMARS: [&str; 17] = [
    "backup-fleecing",
    "backup-performance",
    "proxmox-remote",
    "prune-backups",
    "pve-qemu-sev-fmt",
    "pve-qemu-tdx-fmt",
    "pve-qm-boot",
    "pve-qm-cicustom",
    "pve-qm-hostpci",
    "pve-qm-ipconfig",
    "pve-qm-rng",
    "pve-qm-smbios1",
    "pve-qm-watchdog",
    "pve-startup-order",
    "pve-tfa-config",
    "pve-vm-cpu-conf",
    "realm-sync-options",
];

/// Keys of a property that are copied as they are.
const COPIED: [&str; 16] = [
    "additionalProperties",
    "alias",
    "default_key",
    "enum",
    "instance-types",
    "keyAlias",
    "links",
    "maxLength",
    "maximum",
    "minLength",
    "minimum",
    "pattern",
    "renderer",
    "requires",
    "type",
    "type-property",
];

#[derive(Default)]
struct Lines {
    /// (path, verb or `-`) to the rest of the line; the order of the map is the order of the file.
    rows: BTreeMap<(String, String), String>,
    nodes: usize,
    methods: usize,
    parameters: usize,
}

fn release_of(out: &str) -> Result<String> {
    let text = fs::read_to_string(out)
        .with_context(|| format!("{out} does not exist yet: give RELEASE as third argument"))?;
    let release = text.lines().next().and_then(|line| line.strip_prefix("# PVE "));
    match release.and_then(|rest| rest.split(' ').next()) {
        Some(release) => Ok(release.to_owned()),
        None => bail!("{out} names no release: give RELEASE as third argument"),
    }
}

fn facts(tree: &Value, release: &str) -> Result<String> {
    let roots = tree.as_array().context("the document is not a list of nodes")?;
    let mut lines = Lines::default();
    lines.rows.insert(("/".to_owned(), "-".to_owned()), child_names(roots)?);
    for node in roots {
        collect(node, &mut lines)?;
    }
    let Lines { rows, nodes, methods, parameters } = lines;
    let mut text =
        format!("# PVE {release} nodes={nodes} methods={methods} parameters={parameters}\n");
    for ((path, verb), rest) in rows {
        writeln!(text, "{verb}\t{path}\t{rest}")?;
    }
    Ok(text)
}

fn collect(node: &Value, lines: &mut Lines) -> Result<()> {
    let path = text_of(node, "path")?.to_owned();
    lines.nodes += 1;
    for (verb, method) in node.get("info").and_then(Value::as_object).into_iter().flatten() {
        let method = method.as_object().with_context(|| format!("{verb} {path}"))?;
        lines.methods += 1;
        lines.parameters += method
            .get("parameters")
            .and_then(|parameters| parameters.get("properties"))
            .and_then(Value::as_object)
            .map_or(0, Map::len);
        let reduced = serde_json::to_string(&reduce_method(method))?;
        lines.rows.insert((path.clone(), verb.clone()), reduced);
    }
    let children = node.get("children").and_then(Value::as_array);
    if let Some(children) = children.filter(|children| !children.is_empty()) {
        lines.rows.insert((path, "-".to_owned()), child_names(children)?);
        for child in children {
            collect(child, lines)?;
        }
    }
    Ok(())
}

fn child_names(children: &[Value]) -> Result<String> {
    let names: Result<Vec<&str>> = children.iter().map(|child| text_of(child, "text")).collect();
    Ok(names?.join(" "))
}

fn text_of<'v>(node: &'v Value, key: &str) -> Result<&'v str> {
    let text = node.get(key).and_then(Value::as_str);
    text.with_context(|| format!("a node without {key}"))
}

fn reduce_method(method: &Map<String, Value>) -> Value {
    let mut kept = Map::new();
    for key in ["name", "proxyto"] {
        if let Some(text @ Value::String(_)) = method.get(key) {
            kept.insert(key.to_owned(), text.clone());
        }
    }
    for key in ["protected", "download_allowed", "expose_credentials"] {
        if is_set(method.get(key)) {
            kept.insert(key.to_owned(), 1.into());
        }
    }
    if method.get("allowtoken").is_some_and(|allow| !is_set(Some(allow))) {
        kept.insert("allowtoken".to_owned(), 0.into());
    }
    for key in ["parameters", "returns"] {
        if let Some(schema) = method.get(key) {
            kept.insert(key.to_owned(), reduce_schema(schema));
        }
    }
    if let Some(Value::Object(permissions)) = method.get("permissions") {
        let mut rules = Map::new();
        for key in ["check", "user"] {
            if let Some(rule) = permissions.get(key) {
                rules.insert(key.to_owned(), rule.clone());
            }
        }
        // The text itself is prose; that there are rules beyond the expression is a fact.
        if permissions.contains_key("description") {
            rules.insert("described".to_owned(), 1.into());
        }
        kept.insert("permissions".to_owned(), Value::Object(rules));
    }
    Value::Object(kept)
}

fn reduce_schema(schema: &Value) -> Value {
    let Value::Object(schema) = schema else {
        return schema.clone();
    };
    let mut kept = Map::new();
    for key in COPIED {
        match schema.get(key) {
            None | Some(Value::Null) => {}
            Some(nested @ Value::Object(_)) => {
                kept.insert(key.to_owned(), reduce_schema(nested));
            }
            Some(value) => {
                kept.insert(key.to_owned(), value.clone());
            }
        }
    }
    if is_set(schema.get("optional")) {
        kept.insert("optional".to_owned(), 1.into());
    }
    if let Some(default) = schema.get("default").filter(|default| !is_prose(default)) {
        kept.insert("default".to_owned(), default.clone());
    }
    if let Some(items) = schema.get("items") {
        kept.insert("items".to_owned(), reduce_schema(items));
    }
    if let Some(Value::Object(properties)) = schema.get("properties") {
        kept.insert("properties".to_owned(), reduce_map(properties));
    }
    if let Some(Value::Array(variants)) = schema.get("oneOf") {
        let variants = variants.iter().map(reduce_schema).collect();
        kept.insert("oneOf".to_owned(), Value::Array(variants));
    }
    match schema.get("format") {
        Some(Value::Object(fields)) => {
            kept.insert("format".to_owned(), reduce_map(fields));
        }
        Some(Value::String(name)) => {
            kept.insert("format".to_owned(), name.clone().into());
            let grammar = schema.get("typetext").filter(|_| GRAMMARS.contains(&name.as_str()));
            if let Some(grammar) = grammar {
                kept.insert("typetext".to_owned(), grammar.clone());
            }
        }
        _ => {}
    }
    Value::Object(kept)
}

fn reduce_map(properties: &Map<String, Value>) -> Value {
    Value::Object(
        properties.iter().map(|(name, schema)| (name.clone(), reduce_schema(schema))).collect(),
    )
}

fn is_set(flag: Option<&Value>) -> bool {
    match flag {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::Number(number)) => number.as_i64() != Some(0),
        Some(Value::String(text)) => !text.is_empty() && text != "0",
        _ => false,
    }
}

/// Some defaults are explanations (`same as user`); lists of words and pairs of words are values.
fn is_prose(default: &Value) -> bool {
    let Some(text) = default.as_str().filter(|text| text.contains(' ')) else {
        return default.is_null();
    };
    let word = |part: &str| part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let list = text.split(", ").all(word);
    let pair = text.split(' ').count() == 2 && text.split(' ').all(word);
    !(list || pair)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{facts, is_prose, reduce_schema};

    #[test]
    fn prose_is_dropped_and_facts_stay() {
        let schema = json!({
            "type": "string", "description": "Some words.", "optional": "1", "enum": null,
            "format": "pve-qm-rng", "typetext": "[source=]<a|b>", "default": "same as user",
            "verbose_description": "More words.", "title": "T", "maxLength": 3,
        });
        assert_eq!(
            reduce_schema(&schema),
            json!({"type": "string", "optional": 1, "format": "pve-qm-rng",
                   "typetext": "[source=]<a|b>", "maxLength": 3})
        );
    }

    #[test]
    fn a_property_may_be_called_description() {
        let schema = json!({"properties": {"description": {"type": "string", "optional": 0}}});
        assert_eq!(
            reduce_schema(&schema),
            json!({"properties": {"description": {"type": "string"}}})
        );
    }

    #[test]
    fn values_are_told_from_explanations() {
        for value in ["email profile", "posixaccount, person, user", "local", "1"] {
            assert!(!is_prose(&json!(value)), "{value}");
        }
        for prose in ["same as user", "1 (autogenerated)", "Unlimited for users, 5 for other users"]
        {
            assert!(is_prose(&json!(prose)), "{prose}");
        }
    }

    #[test]
    fn lines_are_sorted_and_children_keep_their_order() {
        let tree = json!([{"path": "/b", "text": "b", "leaf": 0,
            "info": {"POST": {"name": "x", "method": "POST"}, "GET": {"name": "i", "method": "GET"}},
            "children": [{"path": "/b/z", "text": "z", "leaf": 1}, {"path": "/b/a", "text": "a", "leaf": 1}]}]);
        assert_eq!(
            facts(&tree, "9.9").unwrap(),
            "# PVE 9.9 nodes=3 methods=2 parameters=0\n-\t/\tb\n-\t/b\tz a\n\
             GET\t/b\t{\"name\":\"i\"}\nPOST\t/b\t{\"name\":\"x\"}\n"
        );
    }
}
