//! The recorded exchanges of a genuine server, directly and through the gate.

use anyhow::{Result, ensure};

#[test]
fn every_record_is_equal_or_listed() -> Result<()> {
    let Some(golden) = e2e::golden::locate() else {
        println!("skipped: no recorded exchanges; set PROXWARD_SHARED to the directory of golden/");
        return Ok(());
    };
    let reports = e2e::golden::run(&golden, None)?;
    ensure!(reports.len() == 2, "one report directly, one through the gate");
    for report in &reports {
        let text = report.to_string();
        ensure!(report.passes(), "{text}");
        println!("{}", text.trim_end().lines().last().unwrap_or_default());
    }
    Ok(())
}
