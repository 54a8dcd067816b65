//! Which options a section of some type has (`PVE::SectionConfig::check_config`).

use serde_json::{Value, json};

use super::Call;
use crate::failure::Failure;
use crate::state::Fields;

/// Parameters that are no options.
const CONTROL: [&str; 4] = ["delete", "digest", "lock-token", "type"];
/// Options that are sets of nodes: kept in order, each once.
const NODE_SETS: [&str; 2] = ["nodes", "exitnodes"];

/// A type with its options.
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) required: &'static [&'static str],
    pub(super) optional: &'static [&'static str],
}

impl Kind {
    pub(super) fn named<'k>(kinds: &'k [Self], name: &str) -> Option<&'k Self> {
        kinds.iter().find(|kind| kind.name == name)
    }

    /// The options among the parameters of a call that creates the section `id` (whose parameter
    /// is `id_name`).
    pub(super) fn of_new(&self, call: &Call<'_>, id_name: &str) -> Result<Fields, Failure> {
        let mut fields = self.given(call, id_name)?;
        if let Some(missing) = self.required.iter().find(|name| !fields.contains_key(**name)) {
            return Err(Failure::die(format!("missing value for required option '{missing}'")));
        }
        fields.insert("type".to_owned(), json!(self.name));
        Ok(fields)
    }

    /// The section after a call that changes it.
    pub(super) fn changed(
        &self,
        call: &Call<'_>,
        id_name: &str,
        before: &Fields,
    ) -> Result<Fields, Failure> {
        let given = self.given(call, id_name)?;
        let mut fields = before.clone();
        for key in call.list("delete") {
            if self.required.contains(&key.as_str()) {
                return Err(Failure::die(format!("unable to delete required option '{key}'")));
            }
            if !self.optional.contains(&key.as_str()) {
                return Err(Failure::die(format!("no such option '{key}'")));
            }
            if given.contains_key(&key) {
                let text = format!("cannot set and delete property '{key}' at the same time!");
                return Err(Failure::die(text));
            }
            fields.remove(&key);
        }
        fields.extend(given);
        Ok(fields)
    }

    fn given(&self, call: &Call<'_>, id_name: &str) -> Result<Fields, Failure> {
        let mut fields = Fields::new();
        for (key, value) in call.parameters.iter().filter(|(_, value)| !value.is_null()) {
            if CONTROL.contains(&key.as_str()) || key == id_name {
                continue;
            }
            if !self.required.contains(&key.as_str()) && !self.optional.contains(&key.as_str()) {
                return Err(Failure::die(format!("unexpected property '{key}'")));
            }
            fields.insert(key.clone(), normal(key, value));
        }
        Ok(fields)
    }
}

fn normal(key: &str, value: &Value) -> Value {
    let Some(text) = value.as_str().filter(|_| NODE_SETS.contains(&key)) else {
        return value.clone();
    };
    let mut nodes: Vec<&str> =
        text.split([',', ';', ' ', '\0']).filter(|node| !node.is_empty()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    json!(nodes.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_nodes_are_in_order() {
        assert_eq!(normal("nodes", &json!("b;a b")), json!("a,b"));
        assert_eq!(normal("peers", &json!("b,a")), json!("b,a"));
    }
}
