//! Methods without a handler of their own, and which they are.

use pve_schema::{Schema, Verb};

use super::{Call, HANDLERS};
use crate::failure::Outcome;

/// Answers from the schema and the kept objects.
pub(super) fn answer(call: &mut Call<'_>) -> Outcome {
    super::generic::answer(call)
}

/// Methods that have parameters or results of their own but no handler. Indexes of fixed
/// children need none.
pub(crate) fn list(schema: &Schema) -> Vec<(Verb, String)> {
    let missing = schema.methods().filter(|method| {
        let path = method.path();
        let is_index = method.verb() == Verb::Get
            && schema.find(path).is_some_and(|at| {
                let mut children = at.children().peekable();
                children.peek().is_some() && children.all(|name| !name.starts_with('{'))
            });
        !is_index && !HANDLERS.contains_key(&(method.verb(), path))
    });
    let mut missing: Vec<(Verb, String)> =
        missing.map(|method| (method.verb(), method.path().to_owned())).collect();
    missing.sort_by(|a, b| a.1.cmp(&b.1).then(a.0.cmp(&b.0)));
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_holds_what_has_no_handler() {
        let missing = list(Schema::v9());
        assert!(missing.iter().any(|(_, path)| path == "/nodes/{node}/ceph/osd"));
        assert!(!missing.iter().any(|(_, path)| path == "/nodes/{node}/qemu"));
        assert!(!missing.contains(&(Verb::Get, "/nodes/{node}".to_owned())));
    }
}
