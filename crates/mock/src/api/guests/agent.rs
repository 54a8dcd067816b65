//! `/nodes/{node}/qemu/{vmid}/agent`. No system runs in a guest of the mock; what it would say of
//! itself is made from its configuration, so that clients who wait for an address get one.

use std::time::Duration;

use pve_schema::Verb;
use serde_json::{Value, json};

use super::cloudinit::hardware_address;
use super::{Call, Row};
use crate::failure::{Failure, Outcome, Success};
use crate::state::{Guest, What};

macro_rules! rows {
    ($($handler:ident: $($verb:ident $word:literal),*;)*) => {
        &[$($((Verb::$verb, concat!("/nodes/{node}/qemu/{vmid}/agent", $word), $handler)),*),*]
    };
}

pub(in crate::api) const ROWS: &[Row] = rows![
    generic: Post "";
    answer: Post "/fsfreeze-freeze", Post "/fsfreeze-status", Post "/fsfreeze-thaw",
        Post "/fstrim", Get "/get-fsinfo", Get "/get-host-name", Get "/get-memory-block-info",
        Get "/get-memory-blocks", Get "/get-osinfo", Get "/get-time", Get "/get-timezone",
        Get "/get-users", Get "/get-vcpus", Get "/info", Get "/network-get-interfaces",
        Post "/ping";
    power: Post "/shutdown", Post "/suspend-disk", Post "/suspend-hybrid", Post "/suspend-ram";
    done: Post "/set-user-password", Post "/file-write";
    nothing: Post "/exec", Get "/exec-status", Get "/file-read";
];

/// Version of the agent it says it is.
const VERSION: &str = "10.0.2";

/// The guest, when an agent would answer; else the first reason a genuine node would give.
fn reached<'c>(call: &'c Call<'_>) -> Result<&'c Guest, Failure> {
    let guest = call.guest()?;
    if !is_enabled(guest) {
        return Err(Failure::die("No QEMU guest agent configured"));
    }
    if !guest.is_running() {
        return Err(Failure::die(format!("VM {} is not running", guest.vmid)));
    }
    if guest.paused {
        return Err(Failure::die("QEMU guest agent is not running"));
    }
    Ok(guest)
}

/// `agent: 1` or `agent: enabled=1,…`.
pub(super) fn is_enabled(guest: &Guest) -> bool {
    let mut parts = guest.option("agent").unwrap_or_default().split(',');
    parts.any(|part| matches!(part, "1" | "enabled=1"))
}

/// The command stands in the parameters.
fn generic(call: &mut Call<'_>) -> Outcome {
    let word = call.required("command");
    if matches!(word.as_str(), "shutdown" | "suspend-disk" | "suspend-hybrid" | "suspend-ram") {
        return act(call, &word);
    }
    tell(call, &word)
}

fn answer(call: &mut Call<'_>) -> Outcome {
    let word = call.method.path().rsplit('/').next().unwrap_or_default();
    tell(call, word)
}

fn tell(call: &mut Call<'_>, word: &str) -> Outcome {
    let now = call.now();
    let guest = reached(call)?;
    Ok(json!({ "result": said(guest, word, now) }).into())
}

fn said(guest: &Guest, word: &str, now: Duration) -> Value {
    match word {
        "network-get-interfaces" => interfaces(guest),
        "get-host-name" => json!({ "host-name": guest.name() }),
        "get-osinfo" => json!({
            "id": "debian", "name": "Debian GNU/Linux", "pretty-name": "Debian GNU/Linux 13 (trixie)",
            "version": "13 (trixie)", "version-id": "13", "machine": "x86_64",
            "kernel-release": "6.12.48+deb13-amd64", "kernel-version": "#1 SMP PREEMPT_DYNAMIC",
        }),
        "get-time" => json!(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)),
        "get-timezone" => json!({ "zone": "UTC", "offset": 0 }),
        "get-vcpus" => (0..guest.processors())
            .map(|id| json!({ "logical-id": id, "online": true, "can-offline": id > 0 }))
            .collect(),
        "get-fsinfo" => json!([{
            "name": "sda1", "mountpoint": "/", "type": "ext4", "disk": [],
            "total-bytes": 4_u64 << 30, "used-bytes": 1_u64 << 30,
        }]),
        "get-users" | "get-memory-blocks" => json!([]),
        "get-memory-block-info" => json!({ "size": 128 << 20 }),
        "info" => json!({ "version": VERSION, "supported_commands": [] }),
        "fsfreeze-status" => json!("thawed"),
        "fsfreeze-freeze" | "fsfreeze-thaw" => json!(1),
        "fstrim" => json!({ "paths": [{ "path": "/", "trimmed": 0, "minimum": 0 }] }),
        _ => json!({}),
    }
}

/// Loopback, and each network card with the address that cloud-init was to give it, or one of
/// its own.
fn interfaces(guest: &Guest) -> Value {
    let address = |ip: &str, prefix: u8| {
        let kind = if ip.contains(':') { "ipv6" } else { "ipv4" };
        json!({ "ip-address": ip, "ip-address-type": kind, "prefix": prefix })
    };
    let statistics = json!({
        "rx-bytes": 0, "rx-dropped": 0, "rx-errs": 0, "rx-packets": 0,
        "tx-bytes": 0, "tx-dropped": 0, "tx-errs": 0, "tx-packets": 0,
    });
    let mut found = vec![json!({
        "name": "lo", "hardware-address": "00:00:00:00:00:00", "statistics": statistics,
        "ip-addresses": [address("127.0.0.1", 8), address("::1", 128)],
    })];
    for (key, card) in guest.config() {
        let index = key.strip_prefix("net").and_then(|index| index.parse::<u8>().ok());
        let (Some(index), Some(card)) = (index, card.as_str()) else { continue };
        let given = guest.option(&format!("ipconfig{index}")).unwrap_or_default();
        let given = given.split(',').find_map(|part| part.strip_prefix("ip=")?.split_once('/'));
        let own = format!("198.51.100.{}", 2 + (guest.vmid + u32::from(index)) % 250);
        let (ip, prefix) = given.unwrap_or((&own, "24"));
        found.push(json!({
            "name": format!("eth{index}"), "statistics": statistics,
            "hardware-address": hardware_address(card).unwrap_or_default().to_ascii_lowercase(),
            "ip-addresses": [address(ip, prefix.parse().unwrap_or(24))],
        }));
    }
    Value::Array(found)
}

/// What the agent does to the guest as a whole.
fn power(call: &mut Call<'_>) -> Outcome {
    let word = call.method.path().rsplit('/').next().unwrap_or_default();
    act(call, word)
}

fn act(call: &mut Call<'_>, word: &str) -> Outcome {
    let vmid = reached(call)?.vmid;
    let what = match word {
        "shutdown" => What::Run(false),
        "suspend-ram" => What::Pause(true),
        _ => What::Hibernate,
    };
    let now = call.now();
    call.state.apply(crate::state::Change { vmid, what }, now);
    Ok(json!({ "result": null }).into())
}

/// Accepted, and without an effect that could be seen.
fn done(call: &mut Call<'_>) -> Outcome {
    reached(call)?;
    let is_file = call.method.path().ends_with("/file-write");
    Ok(if is_file { Success::default() } else { json!({ "result": {} }).into() })
}

/// There is no system in which a program or a file could be.
fn nothing(call: &mut Call<'_>) -> Outcome {
    reached(call)?;
    let text = match call.method.path().rsplit('/').next() {
        Some("exec") => "Agent error: Failed to create child process (No such file or directory)",
        Some("exec-status") => "Agent error: PID 0 does not exist",
        _ => "Agent error: failed to open file: No such file or directory",
    };
    Err(Failure::die(text))
}
