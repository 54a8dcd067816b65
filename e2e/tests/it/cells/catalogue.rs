//! Is every case of the catalogue tried, by something that exists?

use anyhow::{Context as _, Result, ensure};

use super::range::source;

/// Sources that hold the named tests.
const TESTS: [&str; 5] = [
    include_str!("lifecycle.rs"),
    include_str!("limits.rs"),
    include_str!("network.rs"),
    include_str!("visible.rs"),
    include_str!("warm.rs"),
];
const CASES: i64 = 130;

#[test]
fn every_case_is_tried_by_something_that_exists() -> Result<()> {
    let text = std::fs::read_to_string(source("catalogue.toml"))?;
    let table: toml::Table = toml::from_str(&text)?;
    let cases = table.get("cases").and_then(toml::Value::as_array).context("no cases")?;
    let native = std::fs::read_to_string(source("probes.c"))?;
    let js = std::fs::read_to_string(source("probes.js"))?;
    let mut numbers = Vec::new();
    for case in cases {
        let field = |at: usize| case.get(at).context("a case has number, title, by");
        let number = field(0)?.as_integer().context("a number")?;
        let title = field(1)?.as_str().context("a title")?;
        let by = field(2)?.as_str().context("by whom")?;
        numbers.push(number);
        if let Some(reason) = by.strip_prefix("not: ") {
            ensure!(!reason.is_empty(), "case {number}, {title}: no reason");
            continue;
        }
        for one in by.split(' ') {
            let exists = match one {
                // Case 69 is the netlink socket that no rule can be changed without; 108 is all
                // of the native probe.
                "native" if [69, 108].contains(&number) => true,
                "native" => native.contains(&format!("P(\"{number}\",")),
                "js" => js.contains(&format!("  [{number}, ")),
                test => TESTS.iter().any(|text| text.contains(&format!("fn {test}()"))),
            };
            ensure!(exists, "case {number}, {title}: {one} does not try it");
        }
    }
    ensure!(
        numbers == (1..=CASES).collect::<Vec<_>>(),
        "the cases are not 1 to {CASES}, once each"
    );
    Ok(())
}
