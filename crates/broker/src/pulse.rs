//! pulse-sensor-proxy's methods as verbs.

use broker_api::{Code, Refusal, pulse};
use serde_json::{Map, Value, json};

use crate::serve::Asked;

/// The verb that a line means. Parameters that the original takes and ignores are dropped;
/// others are refused where the verb does not know them.
pub(crate) fn asked(line: pulse::Line) -> Result<Asked, Refusal> {
    let verb = pulse::METHODS.iter().find(|(method, _)| *method == line.method);
    let Some((method, verb)) = verb else {
        // Looked up once more, and paid for, where all unknown verbs are.
        return Ok(Asked { verb: format!("pulse.{}", line.method), params: Map::new() });
    };
    let mut params = line.parameters;
    match *method {
        "get_temperature" => {
            match params.get("node") {
                None => return Err(parameter("missing 'node' parameter")),
                Some(Value::String(node)) if crate::remote::is_node_name(node) => {}
                Some(Value::String(_)) => return Err(parameter("invalid node name")),
                Some(_) => return Err(parameter("'node' parameter must be a string")),
            }
            params.insert("format".to_owned(), json!("lm-sensors"));
        }
        // Any directory of the host: not taken from a client.
        "ensure_cluster_keys" => drop(params.remove("key_dir")),
        _ => {}
    }
    Ok(Asked { verb: (*verb).to_owned(), params })
}

/// The original's shape of a result.
pub(crate) fn shaped(verb: &str, result: Value, params: &Map<String, Value>) -> Value {
    match verb {
        "sensors.read" => {
            let node = params.get("node").cloned().unwrap_or_default();
            // A string that holds JSON, as the original passed on what `sensors -j` printed.
            let text = result.get("sensors").unwrap_or(&result).to_string();
            json!({"node": node, "temperature": text})
        }
        _ => result,
    }
}

fn parameter(text: &str) -> Refusal {
    Refusal::new(Code::InvalidParameter, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(method: &str, parameters: Value) -> Result<Asked, Refusal> {
        let Value::Object(parameters) = parameters else { panic!("an object") };
        asked(pulse::Line { method: method.to_owned(), parameters, correlation_id: None })
    }

    #[test]
    fn methods_become_verbs_with_the_originals_refusals() {
        let asked = line("get_temperature", json!({"node": "pve1"})).unwrap();
        assert_eq!(asked.verb, "sensors.read");
        assert_eq!(Value::Object(asked.params), json!({"node": "pve1", "format": "lm-sensors"}));
        assert_eq!(line("nonsense", json!({})).unwrap().verb, "pulse.nonsense");
        let refused = |params| line("get_temperature", params).err().unwrap().message;
        assert_eq!(refused(json!({})), "missing 'node' parameter");
        assert_eq!(refused(json!({"node": 1})), "'node' parameter must be a string");
        assert_eq!(refused(json!({"node": "-oProxyCommand=x"})), "invalid node name");
        let keys = line("ensure_cluster_keys", json!({"key_dir": "/root/.ssh"})).unwrap();
        assert!(keys.params.is_empty());
    }

    #[test]
    fn a_temperature_is_text_that_holds_json() {
        let params = json!({"node": "pve1"});
        let result = json!({"sensors": {"a": {"b": 1}}, "age_ms": 3});
        let shaped = shaped("sensors.read", result, params.as_object().unwrap());
        assert_eq!(shaped, json!({"node": "pve1", "temperature": "{\"a\":{\"b\":1}}"}));
    }
}
