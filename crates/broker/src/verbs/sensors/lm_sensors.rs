//! The output of `sensors -j`: made from chips, and read, with the faults of real versions.

use serde_json::{Map, Value, json};

use super::hwmon::Chip;

/// As `sensors -j` prints it: chip → adapter and features → subfeatures. Values that could not be
/// read are left out, as it does; a chip that sleeps has its adapter alone.
pub(crate) fn sensors_j(chips: &[Chip]) -> Value {
    let chip = |chip: &Chip| {
        let mut members = Map::new();
        members.insert("Adapter".to_owned(), json!(chip.adapter));
        for feature in &chip.features {
            let values = feature.values.iter().filter_map(|(name, value)| {
                let value = value.ok()?;
                Some((name.clone(), json!(value)))
            });
            members.insert(feature.label.clone(), Value::Object(values.collect()));
        }
        (chip.name.clone(), Value::Object(members))
    };
    Value::Object(chips.iter().map(chip).collect())
}

/// Reads what a node's `sensors -j` printed: strict JSON where it is, else mended. Known faults:
/// lines `ERROR: Can't get value of subfeature …` between the others (lm-sensors issue 121) and
/// missing commas between chips (3.5). `None` when there is nothing to be had.
pub(crate) fn read_output(text: &str) -> Option<Value> {
    let object = |text: &str| serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
    if let Some(value) = object(text) {
        return Some(value);
    }
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("ERROR"));
    let mut mended = String::with_capacity(text.len());
    for line in lines {
        // A value or an object, then a new member without a comma between.
        let before = mended.trim_end();
        let ends = before.ends_with('}') || before.ends_with(|c: char| c.is_ascii_digit());
        if ends && line.trim_start().starts_with('"') {
            mended.truncate(before.len());
            mended.push(',');
        }
        // A comma, then the end: the member behind it was an error.
        let before = mended.trim_end();
        if before.ends_with(',') && line.trim_start().starts_with('}') {
            mended.truncate(before.len() - 1);
        }
        mended.push_str(line);
        mended.push('\n');
    }
    object(&mended)
}

#[cfg(test)]
mod tests {
    use super::super::hwmon::tests::Tree;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_form_is_that_of_sensors() {
        let tree = Tree::new();
        tree.chip(
            0,
            "platform",
            "coretemp.0",
            &[
                ("name", "coretemp"),
                ("temp1_label", "Package id 0"),
                ("temp1_input", "45000"),
                ("temp1_max", "x"),
            ],
        );
        let expected = json!({"coretemp-isa-0000": {"Adapter": "ISA adapter", "Package id 0": {"temp1_input": 45.0}}});
        assert_eq!(sensors_j(&tree.read(&[])), expected);
    }

    #[test]
    fn output_of_real_versions_is_read() {
        let pretty = "{\n   \"acpitz-acpi-0\":{\n      \"Adapter\": \"ACPI interface\",\n      \"temp1\":{\n         \"temp1_input\": 27.800\n      }\n   }\n}\n";
        assert!(read_output(pretty).is_some() && read_output("{}") == Some(json!({})));
        let errors = "{\n   \"a\":{\n      \"Adapter\": \"x\",\nERROR: Can't get value of subfeature temp1_input: Can't read\n      \"temp1\":{\n      },\n      \"temp2\":{\n         \"temp2_input\": 3.0,\nERROR: Can't get value of subfeature temp2_max: I/O error\n      }\n   }\n}\n";
        assert_eq!(
            read_output(errors),
            Some(json!({"a": {"Adapter": "x", "temp1": {}, "temp2": {"temp2_input": 3.0}}}))
        );
        let commas = "{\n   \"a\":{\n      \"t\":{\n         \"t_input\": 1.0\n         \"t_max\": 2.0\n      }\n   }\n   \"b\":{\n      \"Adapter\": \"x\"\n   }\n}\n";
        assert_eq!(
            read_output(commas),
            Some(json!({"a": {"t": {"t_input": 1.0, "t_max": 2.0}}, "b": {"Adapter": "x"}}))
        );
        for none in ["", "No sensors found!", "[1]", "{\"a\":"] {
            assert_eq!(read_output(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_judged(text in "([{}\":,0-9.a \n]|ERROR x\n){0,80}") {
            if let Some(value) = read_output(&text) {
                prop_assert!(value.is_object());
            }
        }
    }
}
