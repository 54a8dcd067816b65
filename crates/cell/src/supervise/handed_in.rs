//! Listening sockets that whoever started the supervisor left open for it (sd_listen_fds(3)).

use std::os::fd::OwnedFd;

use super::BuildError;
use crate::layer::Layer;
use crate::plan::{PlanError, Planned as _};
use crate::sys::descriptor;

/// First number of handed-in descriptors.
const FIRST: i32 = 3;
/// Most of them.
const MOST: i32 = 16;

/// Takes over the sockets that `LISTEN_FDS` announces, when `LISTEN_PID` is this process or is not
/// there. Called once, before anything is opened.
///
/// # Errors
///
/// A number that is none, or a descriptor that is not open.
pub fn handed_in_listeners() -> Result<Vec<OwnedFd>, BuildError> {
    let Ok(count) = std::env::var("LISTEN_FDS") else { return Ok(Vec::new()) };
    let for_us =
        std::env::var("LISTEN_PID").map_or(true, |pid| pid == std::process::id().to_string());
    if !for_us {
        return Ok(Vec::new());
    }
    let count = count.parse::<i32>().ok().filter(|count| (0..=MOST).contains(count));
    let count =
        count.ok_or_else(|| PlanError::new(Layer::Plan, "LISTEN_FDS is no number up to 16"))?;
    let take = |number: i32| {
        descriptor::take(number)
            .planned(Layer::Plan, format_args!("descriptor {number} of LISTEN_FDS"))
    };
    Ok((FIRST..FIRST + count).map(take).collect::<Result<_, PlanError>>()?)
}
