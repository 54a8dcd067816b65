//! Values that a server makes up and a client sends back later: ids, recovery keys, task ids.
//! What the recorded server handed out is replaced in later requests by what the server under
//! test handed out in its place. Tickets stay: they verify with the recorded key.

use std::collections::BTreeMap;

use serde_json::Value;

use super::client::Answer;
use super::compare::made_up;

/// The marks of values that are replaced.
const KINDS: [&str; 3] = ["<uuid", "<upid", "<recovery"];

/// Recorded values with ours, each pair of one length.
#[derive(Debug, Default)]
pub(super) struct Substitutes {
    pairs: BTreeMap<String, String>,
}

impl Substitutes {
    /// Notes what both servers handed out in the same place of an answer.
    pub(super) fn learn(&mut self, recorded: &Value, answer: &Answer) {
        let text = recorded.pointer("/body/text").and_then(Value::as_str).unwrap_or_default();
        let both = (serde_json::from_str(text), serde_json::from_slice(&answer.body));
        if let (Ok(recorded), Ok(ours)) = both {
            self.pair(&recorded, &ours);
        }
    }

    /// The request with our values; its length stays.
    pub(super) fn apply(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        for (recorded, ours) in &self.pairs {
            for spelling in SPELLINGS {
                replace(&mut bytes, spelling(recorded).as_bytes(), spelling(ours).as_bytes());
            }
        }
        bytes
    }

    fn pair(&mut self, recorded: &Value, ours: &Value) {
        match (recorded, ours) {
            (Value::Object(recorded), Value::Object(ours)) => {
                let both =
                    recorded.iter().filter_map(|(name, value)| Some((value, ours.get(name)?)));
                both.for_each(|(recorded, ours)| self.pair(recorded, ours));
            }
            // Entries of a list that Perl took from a hash have no place; texts have.
            (Value::Array(recorded), Value::Array(ours)) if recorded.len() == ours.len() => {
                let both = recorded.iter().zip(ours).filter(|(one, _)| one.is_string());
                both.for_each(|(recorded, ours)| self.pair(recorded, ours));
            }
            (Value::String(recorded), Value::String(ours)) => {
                let mark = made_up("", recorded);
                let replaced = mark.as_ref().is_some_and(|mark| {
                    KINDS.iter().any(|kind| mark.starts_with(kind)) && recorded.len() == ours.len()
                });
                if replaced && made_up("", ours) == mark {
                    self.pairs.insert(recorded.clone(), ours.clone());
                }
            }
            _ => {}
        }
    }
}

/// How clients write a value in a path, a query or a form.
const SPELLINGS: [fn(&str) -> String; 3] = [
    |value| value.to_owned(),
    |value| value.replace(':', "%3A"),
    |value| value.replace(':', "%3A").replace('@', "%40"),
];

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    if from.len() != to.len() || from.is_empty() {
        return;
    }
    let places: Vec<usize> = bytes
        .windows(from.len())
        .enumerate()
        .filter_map(|(at, window)| (window == from).then_some(at))
        .collect();
    for at in places {
        if let Some(place) = bytes.get_mut(at..at + to.len()) {
            place.copy_from_slice(to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn learned(recorded: &Value, ours: &Value) -> Substitutes {
        let mut substitutes = Substitutes::default();
        let body = ours.to_string().into_bytes();
        let answer = Answer { line: String::new(), headers: Vec::new(), body };
        substitutes.learn(&json!({ "body": { "text": recorded.to_string() } }), &answer);
        substitutes
    }

    fn applied(substitutes: &Substitutes, request: &str) -> String {
        String::from_utf8(substitutes.apply(request.as_bytes().to_vec())).unwrap()
    }

    #[test]
    fn recovery_keys_are_paired_by_their_place() {
        let substitutes = learned(
            &json!({"data": {"recovery": ["adbe-7c56-ef65-3f40", "cb23-4c4a-206d-bc18"]}}),
            &json!({"data": {"recovery": ["0000-0000-0000-0001", "0000-0000-0000-0002"]}}),
        );
        let request = "password=recovery%3Acb23-4c4a-206d-bc18";
        assert_eq!(applied(&substitutes, request), "password=recovery%3A0000-0000-0000-0002");
    }

    #[test]
    fn task_ids_are_replaced_in_every_spelling() {
        let recorded = "UPID:pve1:00005B10:000532E2:6B00CF32:vzdump:9:ops@pve:";
        let ours = "UPID:pve1:00000001:00000002:6B00CF32:vzdump:9:ops@pve:";
        let substitutes = learned(&json!({ "data": recorded }), &json!({ "data": ours }));
        for spelling in SPELLINGS {
            let request = format!("GET /tasks/{}/log", spelling(recorded));
            assert_eq!(
                applied(&substitutes, &request),
                format!("GET /tasks/{}/log", spelling(ours))
            );
        }
    }

    #[test]
    fn other_texts_stay() {
        let substitutes = learned(&json!({"data": "alice"}), &json!({"data": "other"}));
        assert_eq!(applied(&substitutes, "alice"), "alice");
    }
}
