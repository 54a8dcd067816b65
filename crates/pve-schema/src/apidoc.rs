//! The API document of a node: a list of nodes, each with methods and children.

use serde_json::Value;

use crate::method::Verb;
use crate::schema::{Builder, SchemaError};

/// Reads the first JSON list of the text, so that both `apidoc.js` and plain JSON work.
pub(crate) fn read(text: &str, builder: &mut Builder) -> Result<(), SchemaError> {
    let list = text.find('[').and_then(|at| text.get(at..)).ok_or_else(|| refused("no list"))?;
    let mut values = serde_json::Deserializer::from_str(list).into_iter::<Value>();
    match values.next() {
        Some(Ok(Value::Array(roots))) => {
            roots.iter().try_for_each(|node| read_node(node, Builder::ROOT, builder))
        }
        Some(Err(cause)) => Err(refused(&cause.to_string())),
        _ => Err(refused("no list")),
    }
}

/// Depth is bounded by that of the JSON reader.
fn read_node(node: &Value, parent: usize, builder: &mut Builder) -> Result<(), SchemaError> {
    let name = node.get("text").and_then(Value::as_str).filter(|name| !name.contains('/'));
    let name = name.ok_or_else(|| refused("a node without text"))?;
    let index = builder.child(parent, name)?;
    for (verb, method) in node.get("info").and_then(Value::as_object).into_iter().flatten() {
        let known = Verb::from_http(verb).filter(|_| method.is_object());
        let verb = known.ok_or_else(|| refused(&format!("an unknown verb at {name}")))?;
        builder.method(index, verb, method.to_string().into());
    }
    let children = node.get("children").and_then(Value::as_array);
    children.into_iter().flatten().try_for_each(|child| read_node(child, index, builder))
}

fn refused(reason: &str) -> SchemaError {
    SchemaError::Document(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use crate::method::Verb;
    use crate::schema::{Schema, SchemaError};

    #[test]
    fn script_and_json_are_read() {
        let json = r#"[{"path":"/v","text":"v","leaf":1,"info":{"GET":{"name":"version"}}}]"#;
        for text in [json.to_owned(), format!("const apiSchema = {json};\nlet x = [];\n")] {
            let schema = Schema::from_apidoc(&text).unwrap();
            assert_eq!(schema.find("/v").unwrap().method(Verb::Get).unwrap().name(), "version");
            assert_eq!(schema.release(), "unknown");
        }
    }

    #[test]
    fn other_documents_are_refused() {
        for text in
            ["", "{}", "[", "[1]", r#"[{"text":"a/b"}]"#, r#"[{"text":"a","info":{"PATCH":{}}}]"#]
        {
            assert!(matches!(Schema::from_apidoc(text), Err(SchemaError::Document(_))), "{text}");
        }
    }
}
