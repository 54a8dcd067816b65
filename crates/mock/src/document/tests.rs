use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1 << 16;

fn both(text: &str, form: Form) -> Node {
    let table = read("f", text, form, LIMIT).unwrap();
    let members = table.rest().into_iter();
    let members =
        members.map(|(key, field)| (key, Node { line: field.place.line(), value: field.value }));
    Node { line: 1, value: Value::Table(members.collect()) }
}

fn error(text: &str, form: Form) -> String {
    read("f", text, form, LIMIT).unwrap_err().to_string()
}

#[test]
fn three_ways_to_write_the_same() {
    let toml = both("a = 1\n\n[b]\nc = [\n  'x',\n  true,\n]\nd = 1.5\n", Form::Toml);
    let json =
        both("{\"a\": 1,\n\n\"b\": {\n\"c\": [\n  \"x\",\n  true\n],\n\"d\": 1.5}}", Form::Json);
    let yaml = both("a: 1\n\nb:\n  c:\n  - x\n  - true\n\n  d: 1.5\n", Form::Yaml);
    assert_eq!(toml.value.to_json(), json.value.to_json());
    assert_eq!(toml.value.to_json(), yaml.value.to_json());
    for node in [&toml, &json, &yaml] {
        let Value::Table(members) = &node.value else { panic!("{node:?}") };
        assert_eq!((members[0].1.line, members[1].1.line), (1, 3), "{node:?}");
        let Value::Table(inner) = &members[1].1.value else { panic!("{node:?}") };
        assert_eq!(inner[0].1.line, 4, "{node:?}");
        assert_eq!(inner[1].1.line, 8, "{node:?}");
    }
}

#[test]
fn errors_name_the_line() {
    for (form, text, wanted) in [
        (Form::Toml, "a = 1\nb = ", "f:2: not valid TOML"),
        (Form::Toml, "a = 1\na = 2", "f:2: not valid TOML"),
        (Form::Json, "{\"a\": 1,\n\"b\": }", "f:2: not valid JSON"),
        (
            Form::Json,
            "{\"a\":\n{\"b\": 1,\n\"b\": 2}}",
            "f:3: not valid JSON: the key \"b\" stands twice",
        ),
        (Form::Yaml, "a: 1\nb: [", "f:"),
        (Form::Yaml, "a: 1\na: 2\n", "f:2: not valid YAML"),
        (Form::Yaml, "a: &x 1\nb: *x\n", "f:"),
        (Form::Yaml, "<<: {a: 1}\n", "f:1: not valid YAML"),
        (Form::Json, "[1]", "f:1: expected a table, found a list"),
        (Form::Yaml, "", "f:1: expected a table, found nothing"),
    ] {
        let error = error(text, form);
        assert!(error.starts_with(wanted), "{text}: {error}");
        assert!(error.contains("; ") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn depth_and_size_are_bounded() {
    for form in [Form::Json, Form::Yaml, Form::Toml] {
        let deep = "[".repeat(64) + &"]".repeat(64);
        let text = match form {
            Form::Toml => format!("a = {deep}"),
            _ => format!("{{\"a\": {deep}}}"),
        };
        read("f", &text, form, LIMIT).unwrap_err();
        let long = error(&"#".repeat(LIMIT + 1), form);
        assert!(long.contains("at most"), "{long}");
    }
}

#[test]
fn unknown_keys_are_refused_with_the_one_that_was_meant() {
    let mut table = read("f", "nodes = 1\n[tasks]\nx = 1", Form::Toml, LIMIT).unwrap();
    assert!(table.take("task").is_none() && table.take("nodes").is_some());
    let error = table.finish().unwrap_err();
    assert_eq!(error.to_string(), "f:2: tasks: unknown key; did you mean task?");
    assert_eq!((error.line_number(), error.key()), (2, "tasks"));
}

proptest! {
    #[test]
    fn any_text_is_answered(text in "[\\PC\n]{0,200}") {
        for form in [Form::Toml, Form::Json, Form::Yaml] {
            let _ = read("f", &text, form, LIMIT);
        }
    }

    #[test]
    fn numbers_and_texts_survive(number: i64, text in "\\PC{0,30}") {
        let json = serde_json::json!({ "n": number, "t": text });
        let read = both(&json.to_string(), Form::Json);
        prop_assert_eq!(read.value.to_json(), json);
    }
}
