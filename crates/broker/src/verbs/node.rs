//! This node: uptime, load, memory, kernel (proc(5)).

use std::path::Path;

use broker_api::{Code, Refusal};
use serde_json::{Map, Value, json};

/// As `/proc` has it below `root`.
pub(super) fn status(root: &Path) -> Result<Value, Refusal> {
    let read = |path: &str| {
        std::fs::read_to_string(root.join(path))
            .map_err(|error| Refusal::new(Code::Unavailable, format!("/{path}: {error}")))
    };
    let (uptime, load, memory) =
        (read("proc/uptime")?, read("proc/loadavg")?, read("proc/meminfo")?);
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<f64>().ok());
    let mut words = load.split_ascii_whitespace();
    let load = json!([number(words.next()), number(words.next()), number(words.next())]);
    let memory: Map<String, Value> = memory.lines().filter_map(memory_row).collect();
    let cpus = read("proc/stat")?.lines().filter(|line| is_cpu(line)).count();
    Ok(json!({
        "node": own_name(root), "uptime_s": number(uptime.split_ascii_whitespace().next()),
        "load": load, "memory_bytes": memory, "cpus": cpus,
        "kernel": read("proc/sys/kernel/osrelease")?.trim(),
    }))
}

/// The host's name without its domain.
pub(super) fn own_name(root: &Path) -> String {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let name = read("proc/sys/kernel/hostname").or_else(|| read("etc/hostname"));
    let name = name.unwrap_or_default();
    let name = name.trim().split('.').next().unwrap_or_default();
    if name.is_empty() { "localhost".to_owned() } else { name.to_ascii_lowercase() }
}

/// `MemTotal:  24684084 kB`, for the few that matter.
fn memory_row(line: &str) -> Option<(String, Value)> {
    const WANTED: [(&str, &str); 5] = [
        ("MemTotal", "total"),
        ("MemAvailable", "available"),
        ("MemFree", "free"),
        ("SwapTotal", "swap_total"),
        ("SwapFree", "swap_free"),
    ];
    let (name, rest) = line.split_once(':')?;
    let (_, name) = WANTED.iter().find(|(theirs, _)| *theirs == name)?;
    let kilobytes: u64 = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(((*name).to_owned(), json!(kilobytes.saturating_mul(1024))))
}

fn is_cpu(line: &str) -> bool {
    line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proc_says() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert_eq!(status(root.path()).unwrap_err().code, Code::Unavailable);
        write("proc/uptime", "12.50 3.0\n");
        write("proc/loadavg", "0.5 1 2 1/2 3\n");
        write("proc/meminfo", "MemTotal:  2 kB\nBuffers: 9 kB\nSwapFree: x kB\n");
        write("proc/stat", "cpu  1\ncpu0 1\ncpu1 1\nctxt 1\n");
        write("proc/sys/kernel/osrelease", "6.8.12-pve\n");
        write("proc/sys/kernel/hostname", "PVE1.example.com\n");
        let expected = json!({
            "node": "pve1", "uptime_s": 12.5, "load": [0.5, 1.0, 2.0],
            "memory_bytes": {"total": 2048}, "cpus": 2, "kernel": "6.8.12-pve",
        });
        assert_eq!(status(root.path()).unwrap(), expected);
    }
}
