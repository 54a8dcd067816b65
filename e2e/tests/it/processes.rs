//! What the system tells about the processes of a group.

use std::path::Path;

use anyhow::Result;

/// The ids of all living processes of a group.
pub(crate) fn of_group(group: u32) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        if group_of(&entry.path()) == Some(group) {
            found.push(entry.file_name().display().to_string());
        }
    }
    Ok(found)
}

/// All that a group's processes show of their command lines and environments, a word a line.
pub(crate) fn shown_of_group(group: u32) -> Result<Vec<u8>> {
    let mut shown = Vec::new();
    for pid in of_group(group)? {
        for name in ["cmdline", "environ"] {
            shown.extend(std::fs::read(Path::new("/proc").join(&pid).join(name))?);
        }
    }
    let lines = shown.into_iter().map(|byte| if byte == 0 { b'\n' } else { byte });
    Ok(lines.collect())
}

/// The ids of all living processes in whose command line a text stands.
pub(crate) fn naming(text: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        // Others end meanwhile, and a zombie has none.
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if line.windows(text.len()).any(|part| part == text.as_bytes()) {
            found.push(entry.file_name().display().to_string());
        }
    }
    Ok(found)
}

/// Field 5 of `/proc/PID/stat` (proc_pid_stat(5)). The name, field 2, is in parentheses and may
/// hold blanks and parentheses itself. Zombies are gone but for their parent's question.
fn group_of(dir: &Path) -> Option<u32> {
    let stat = std::fs::read_to_string(dir.join("stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    let group = fields.nth(1)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(group)
}
