//! Reference material beside the repository; tests say so and pass when it is absent.

use std::path::PathBuf;

/// A file of the reference material, or `None` (said on stderr) when it is not there.
pub(crate) fn read(file: &str) -> Option<String> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let root = std::env::var_os("PROXWARD_SHARED").map_or_else(beside, PathBuf::from);
    let text = std::fs::read_to_string(root.join(file)).ok();
    if text.is_none() {
        eprintln!("skipped: no {file} in {}; set PROXWARD_SHARED", root.display());
    }
    text
}
