//! `/nodes/{node}/qemu/{vmid}/agent`: no guest of the mock runs an agent.

use pve_schema::Verb;

use super::{Call, Row};
use crate::failure::{Failure, Outcome};
use crate::state::Guest;

macro_rules! rows {
    ($($verb:ident $word:literal),* $(,)?) => {
        &[$((Verb::$verb, concat!("/nodes/{node}/qemu/{vmid}/agent", $word), unavailable)),*]
    };
}

pub(in crate::api) const ROWS: &[Row] = rows![
    Post "", Post "/fsfreeze-freeze", Post "/fsfreeze-status", Post "/fsfreeze-thaw",
    Post "/fstrim", Get "/get-fsinfo", Get "/get-host-name", Get "/get-memory-block-info",
    Get "/get-memory-blocks", Get "/get-osinfo", Get "/get-time", Get "/get-timezone",
    Get "/get-users", Get "/get-vcpus", Get "/info", Get "/network-get-interfaces", Post "/ping",
    Post "/shutdown", Post "/suspend-disk", Post "/suspend-hybrid", Post "/suspend-ram",
    Post "/set-user-password", Post "/exec", Get "/exec-status", Get "/file-read",
    Post "/file-write",
];

/// The first reason a genuine node would give.
fn unavailable(call: &mut Call<'_>) -> Outcome {
    let guest = call.guest()?;
    let text = if !is_enabled(guest) {
        "No QEMU guest agent configured".to_owned()
    } else if guest.is_running() {
        "QEMU guest agent is not running".to_owned()
    } else {
        format!("VM {} is not running", guest.vmid)
    };
    Err(Failure::die(text))
}

/// `agent: 1` or `agent: enabled=1,…`.
pub(super) fn is_enabled(guest: &Guest) -> bool {
    let mut parts = guest.option("agent").unwrap_or_default().split(',');
    parts.any(|part| matches!(part, "1" | "enabled=1"))
}
