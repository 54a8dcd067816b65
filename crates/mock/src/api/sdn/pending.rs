//! What differs between a file that runs and the same file as configured
//! (`PVE::Network::SDN::pending_config`).

use serde_json::{Value, json};

use super::file::Sections;
use crate::state::Fields;

/// Members that are shown where they are, not among what is pending.
const IN_PLACE: [&str; 2] = ["type", "vnet"];

/// All sections of both: members as they run; where anything differs, `state`, and the members
/// that will be other ones in `pending`.
pub(super) fn pending(running: &Sections, configured: &Sections) -> Sections {
    let deleted = running.iter().filter(|(id, _)| !configured.contains_key(*id));
    let deleted = deleted.map(|(id, section)| {
        let mut shown = section.clone();
        shown.extend([("state".to_owned(), json!("deleted")), ("pending".to_owned(), json!({}))]);
        (id.clone(), shown)
    });
    let kept = configured.iter().map(|(id, new)| (id.clone(), compared(running.get(id), new)));
    deleted.chain(kept).collect()
}

fn compared(old: Option<&Fields>, new: &Fields) -> Fields {
    let mut shown = old.cloned().unwrap_or_default();
    let mut pending = Fields::new();
    let mut differs = false;
    for key in old.into_iter().flat_map(Fields::keys).filter(|key| !new.contains_key(*key)) {
        pending.insert(key.clone(), json!("deleted"));
        differs = true;
    }
    for (key, value) in new {
        let same = old.and_then(|old| old.get(key)).is_some_and(|old| alike(old, value));
        differs |= !same;
        if IN_PLACE.contains(&key.as_str()) {
            shown.insert(key.clone(), value.clone());
        } else if !same {
            pending.insert(key.clone(), value.clone());
        }
    }
    let state = match old {
        None => "new",
        Some(_) if differs => "changed",
        Some(_) => return shown,
    };
    shown.extend([("state".to_owned(), json!(state)), ("pending".to_owned(), json!(pending))]);
    shown
}

/// Lists are compared whatever their order.
fn alike(one: &Value, other: &Value) -> bool {
    let sorted = |list: &Vec<Value>| {
        let mut texts: Vec<String> = list.iter().map(Value::to_string).collect();
        texts.sort_unstable();
        texts
    };
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => sorted(one) == sorted(other),
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(sections: &[(&str, Value)]) -> Sections {
        let section = |(id, value): &(&str, Value)| {
            ((*id).to_owned(), value.as_object().cloned().unwrap_or_default())
        };
        sections.iter().map(section).collect()
    }

    #[test]
    fn the_four_cases() {
        let running = file(&[
            ("gone", json!({ "type": "vlan", "bridge": "vmbr0" })),
            ("other", json!({ "type": "vlan", "bridge": "vmbr0", "mtu": 1400, "ipam": "pve" })),
            ("same", json!({ "type": "simple", "dhcp-range": ["a", "b"] })),
        ]);
        let configured = file(&[
            ("new", json!({ "type": "simple", "ipam": "pve" })),
            ("other", json!({ "type": "vlan", "bridge": "vmbr1", "ipam": "pve", "dns": "d" })),
            ("same", json!({ "type": "simple", "dhcp-range": ["b", "a"] })),
        ]);
        let shown = pending(&running, &configured);
        let expected = file(&[
            (
                "gone",
                json!({ "type": "vlan", "bridge": "vmbr0", "state": "deleted", "pending": {} }),
            ),
            ("new", json!({ "type": "simple", "state": "new", "pending": { "ipam": "pve" } })),
            (
                "other",
                json!({ "type": "vlan", "bridge": "vmbr0", "mtu": 1400, "ipam": "pve",
                        "state": "changed",
                        "pending": { "bridge": "vmbr1", "mtu": "deleted", "dns": "d" } }),
            ),
            ("same", json!({ "type": "simple", "dhcp-range": ["a", "b"] })),
        ]);
        assert_eq!(shown, expected);
    }
}
