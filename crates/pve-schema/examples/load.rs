//! Prints how long loading takes: `cargo run --release -p pve-schema --example load`.
#![expect(clippy::print_stdout, reason = "an example talks")]

use std::hint::black_box;
use std::time::Instant;

use pve_schema::{Schema, SchemaError};

fn main() -> Result<(), SchemaError> {
    for facts in Schema::shipped_facts() {
        let start = Instant::now();
        let schema = Schema::from_facts(facts)?;
        let loaded = start.elapsed();
        let start = Instant::now();
        let parameters: usize =
            schema.methods().map(|method| method.parameters().properties.len()).sum();
        let decoded = start.elapsed();
        let start = Instant::now();
        for _ in 0..LOOKUPS {
            black_box(schema.find(black_box("/nodes/pve1/qemu/100/config")));
        }
        println!(
            "PVE {}: {} methods loaded in {loaded:?}; all {parameters} parameters decoded in {decoded:?}; one look-up {:?}",
            schema.release(),
            schema.methods().count(),
            start.elapsed() / LOOKUPS,
        );
    }
    Ok(())
}

const LOOKUPS: u32 = 100_000;
