//! Methods without a handler: their answer is the emptiest value of the described result.

use pve_schema::{Kind, Property, Verb};
use serde_json::{Value, json};

use super::Call;
use crate::failure::{Outcome, Success};
use crate::format::index;

/// An index lists its children, a list is empty, an object has no members; changes answer null.
pub(super) fn answer(call: &mut Call<'_>) -> Outcome {
    if call.method.verb() == Verb::Get
        && let Some(key) = child_key(call.method.returns())
    {
        // A child in braces stands for things that are created; there are none.
        let words = call.matched.children().filter(|name| !name.starts_with('{'));
        let mut names: Vec<&str> = words.collect();
        names.sort_unstable();
        return Ok(index(key, names).into());
    }
    let data = match call.method.returns().kind {
        Some(Kind::Array) => json!([]),
        Some(Kind::Object) => json!({}),
        Some(Kind::Integer | Kind::Number | Kind::Boolean) => json!(0),
        Some(Kind::String) if call.method.verb() == Verb::Get => json!(""),
        _ => Value::Null,
    };
    Ok(Success::from(data))
}

/// The member that names a child in an index whose children are fixed words.
fn child_key(returns: &Property) -> Option<&str> {
    let href = returns.links.first()?.href.strip_prefix('{')?;
    href.strip_suffix('}').filter(|key| matches!(*key, "name" | "subdir" | "id" | "method" | "cmd"))
}
