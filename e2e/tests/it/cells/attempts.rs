//! The two probes, inside and outside, line by line.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

use super::range::{Range, has_node, modes, other_majors, source};
use crate::program::Ended;

/// What an attempt came to: it did something, or this error.
type Results = BTreeMap<(String, String), String>;

/// Errors by which something is refused, and not merely wrong.
const REFUSALS: [&str; 18] = [
    "EPERM",
    "EACCES",
    "ENOENT",
    "ENOSYS",
    "EROFS",
    "EXDEV",
    "EBADF",
    "EINVAL",
    "ECONNREFUSED",
    "EHOSTUNREACH",
    "ENETUNREACH",
    "EAFNOSUPPORT",
    "ENOTFOUND",
    "ERR_DLOPEN_FAILED",
    "TIMEOUT",
    "NOTHING",
    "UVWASI_ENOENT",
    "ERR_SYSTEM_ERROR",
];

/// Controls that the machine at hand may refuse by itself, so that nothing is proved by them.
const UNPROVEN: [(&str, &str); 9] = [
    ("6", "process 1 of a container or virtual machine may be another's"),
    ("8", "descriptor 9 is what the harness left open"),
    ("27", "secretmem is a boot option"),
    ("31", "some machines have no /dev/mem"),
    ("32", "some kernels have no sysrq"),
    ("72", "a container may forbid namespaces"),
    ("78", "process 1 may be another's"),
    ("87", "modules, kexec and swap may be left out of the kernel"),
    ("92", "port access may be left out of the kernel"),
];

#[test]
fn native() -> Result<()> {
    let range = Range::new()?;
    let probe = range.native_probe()?;
    let probe = probe.to_str().unwrap_or_default();
    let outside = results(&range.control(&[probe])?)?;
    ensure!(outside.len() > 150, "the control made {} attempts", outside.len());
    let mut found = Vec::new();
    for mode in modes()? {
        let inside = results(&range.probe(mode, &[], &[probe])?)?;
        found.extend(faults(mode, &inside, &outside));
    }
    ensure!(found.is_empty(), "{}", found.join("\n"));
    Ok(())
}

#[test]
fn js() -> Result<()> {
    match has_node() {
        true => js_by("node"),
        false => Ok(()),
    }
}

#[test]
fn js_in_other_majors() -> Result<()> {
    other_majors().iter().try_for_each(|program| js_by(program).with_context(|| program.clone()))
}

fn js_by(node: &str) -> Result<()> {
    let range = Range::new()?;
    range.add_on()?;
    std::fs::copy(source("probes.js"), range.dir.join("probes.js"))?;
    let answering = range.udp[0].try_clone()?;
    let answer = std::thread::spawn(move || {
        let mut bytes = [0; 16];
        // One answer for the control and one for each mode; then it is over.
        answering.set_read_timeout(Some(std::time::Duration::from_secs(40))).ok();
        while let Ok((length, from)) = answering.recv_from(&mut bytes) {
            if length == 0 {
                return;
            }
            let _ = answering.send_to(&bytes[..length], from);
        }
    });
    let outside = results(&range.control(&[node, "probes.js"])?)?;
    ensure!(range.outside.join("loaded").exists(), "the control did not load the add-on");
    std::fs::remove_file(range.outside.join("loaded"))?;
    ensure!(outside.len() > 60, "the control made {} attempts", outside.len());
    let open = format!("127.0.0.1:{}", range.open_port()?);
    let udp = format!("127.0.0.1:{}/udp", range.udp[0].local_addr()?.port());
    let mut found = Vec::new();
    for mode in modes()? {
        let options = ["--connect", &open, "--connect", &udp];
        let inside = results(&range.probe(mode, &options, &[node, "probes.js"])?)?;
        found.extend(faults(mode, &inside, &outside));
    }
    range.udp[1].send_to(&[], range.udp[0].local_addr()?)?;
    answer.join().ok();
    ensure!(found.is_empty(), "{}", found.join("\n"));
    ensure!(!range.outside.join("loaded").exists(), "an add-on's constructor ran");
    Ok(())
}

fn results(ended: &Ended) -> Result<Results> {
    ensure!(ended.code == Some(0), "{ended}");
    let mut results = Results::new();
    for line in ended.stdout.lines() {
        let mut fields = line.split('\t');
        if let (Some(id), Some(name), Some(result)) = (fields.next(), fields.next(), fields.next())
        {
            results.insert((id.to_owned(), name.to_owned()), result.to_owned());
        }
    }
    Ok(results)
}

/// What got through, what has to work and does not, and what no control proves.
fn faults(mode: &str, inside: &Results, outside: &Results) -> Vec<String> {
    let mut faults = Vec::new();
    for ((id, name), control) in outside {
        let fault = |what: &str| format!("{mode}: case {id}, {name}: {what}");
        let Some(result) = inside.get(&(id.clone(), name.clone())) else {
            faults.push(fault("was not tried"));
            continue;
        };
        let works = name.starts_with('+');
        let unproven = UNPROVEN.iter().any(|(case, _)| case == id);
        let refused_outside = ["EPERM", "EACCES", "ENOSYS"].contains(&control.as_str());
        if works && (result != "did" || control != "did") {
            faults.push(fault(&format!("has to work; inside {result}, outside {control}")));
        } else if !works && result == "did" {
            faults.push(fault("got through"));
        } else if !works && !REFUSALS.contains(&result.as_str()) {
            faults.push(fault(&format!("ended with {result}")));
        } else if !works
            && !unproven
            && (refused_outside || control == result && control != "EBADF")
        {
            faults.push(fault(&format!("proves nothing: {control} outside, {result} inside")));
        }
    }
    faults
}
