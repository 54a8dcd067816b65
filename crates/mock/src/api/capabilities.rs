//! `/nodes/{node}/capabilities/qemu`: what a machine can be made of, a selection.

use pve_schema::Verb;
use serde_json::{Value, json};

use super::{Call, Row};
use crate::failure::Outcome;

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/nodes/{node}/capabilities/qemu/cpu", processors),
    (Verb::Get, "/nodes/{node}/capabilities/qemu/machines", machines),
];

/// Models of processors with their vendors.
const PROCESSORS: [(&str, &str); 12] = [
    ("EPYC", "AuthenticAMD"),
    ("EPYC-Milan", "AuthenticAMD"),
    ("EPYC-Rome", "AuthenticAMD"),
    ("Haswell", "GenuineIntel"),
    ("Icelake-Server", "GenuineIntel"),
    ("Skylake-Server", "GenuineIntel"),
    ("host", "default"),
    ("kvm64", "default"),
    ("max", "default"),
    ("qemu64", "default"),
    ("x86-64-v2-AES", "default"),
    ("x86-64-v3", "default"),
];
const TYPES: [(&str, &str); 2] = [("pc", "i440fx"), ("q35", "q35")];
const VERSIONS: [&str; 4] = ["10.1", "10.0", "9.2", "9.0"];

fn processors(call: &mut Call<'_>) -> Outcome {
    call.node()?;
    let row =
        |(name, vendor): &(&str, &str)| json!({ "name": name, "vendor": vendor, "custom": 0 });
    Ok(PROCESSORS.iter().map(row).collect::<Value>().into())
}

fn machines(call: &mut Call<'_>) -> Outcome {
    call.node()?;
    let rows = TYPES.iter().flat_map(|(short, kind)| {
        VERSIONS.iter().map(move |version| {
            let name = if *short == "pc" { "pc-i440fx" } else { "pc-q35" };
            json!({ "id": format!("{name}-{version}"), "type": kind, "version": version })
        })
    });
    Ok(rows.collect::<Value>().into())
}
