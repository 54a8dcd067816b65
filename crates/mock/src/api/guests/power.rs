//! `status/start` and its siblings.

use pve_schema::Verb;

use super::{Call, Row, unlocked};
use crate::failure::{Failure, Outcome};
use crate::seed::GuestKind;
use crate::state::{Change, Effect, Guest, What};

pub(in crate::api) const ROWS: &[Row] = &[
    (Verb::Post, "/nodes/{node}/qemu/{vmid}/status/start", power),
    (Verb::Post, "/nodes/{node}/qemu/{vmid}/status/stop", power),
    (Verb::Post, "/nodes/{node}/qemu/{vmid}/status/shutdown", power),
    (Verb::Post, "/nodes/{node}/qemu/{vmid}/status/reboot", power),
    (Verb::Post, "/nodes/{node}/qemu/{vmid}/status/reset", power),
    (Verb::Post, "/nodes/{node}/qemu/{vmid}/status/suspend", power),
    (Verb::Post, "/nodes/{node}/qemu/{vmid}/status/resume", power),
    (Verb::Post, "/nodes/{node}/lxc/{vmid}/status/start", power),
    (Verb::Post, "/nodes/{node}/lxc/{vmid}/status/stop", power),
    (Verb::Post, "/nodes/{node}/lxc/{vmid}/status/shutdown", power),
    (Verb::Post, "/nodes/{node}/lxc/{vmid}/status/reboot", power),
    (Verb::Post, "/nodes/{node}/lxc/{vmid}/status/suspend", power),
    (Verb::Post, "/nodes/{node}/lxc/{vmid}/status/resume", power),
];

/// What an action needs to find, and who says that it is not so: the call or its task.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Anything,
    /// The task of a virtual machine fails; for a container the call is refused.
    Stopped,
    /// As above.
    Running,
    /// The call is refused for both.
    RunningNow,
}

/// A power action: last word of its path, the task's name for virtual machines and containers,
/// the seconds it takes, the state it needs.
struct Action {
    verb: &'static str,
    qemu: &'static str,
    lxc: &'static str,
    seconds: u64,
    needs: Needs,
}

#[rustfmt::skip]
const ACTIONS: [Action; 7] = [
    Action { verb: "start",    qemu: "qmstart",    lxc: "vzstart",    seconds: 1, needs: Needs::Stopped },
    Action { verb: "stop",     qemu: "qmstop",     lxc: "vzstop",     seconds: 1, needs: Needs::Anything },
    Action { verb: "shutdown", qemu: "qmshutdown", lxc: "vzshutdown", seconds: 3, needs: Needs::Running },
    Action { verb: "reboot",   qemu: "qmreboot",   lxc: "vzreboot",   seconds: 3, needs: Needs::RunningNow },
    Action { verb: "reset",    qemu: "qmreset",    lxc: "",           seconds: 1, needs: Needs::RunningNow },
    Action { verb: "suspend",  qemu: "qmsuspend",  lxc: "vzsuspend",  seconds: 1, needs: Needs::RunningNow },
    Action { verb: "resume",   qemu: "qmresume",   lxc: "vzresume",   seconds: 1, needs: Needs::RunningNow },
];

/// Leaves a task and answers its id.
fn power(call: &mut Call<'_>) -> Outcome {
    let guest = call.guest()?.clone();
    let word = call.method.path().rsplit('/').next().unwrap_or_default();
    let Some(action) = ACTIONS.iter().find(|action| action.verb == word) else {
        return super::super::unmodelled::answer(call);
    };
    let name = if guest.kind == GuestKind::Lxc { action.lxc } else { action.qemu };
    let hibernated = word == "resume" && guest.lock() == Some("suspended");
    if !hibernated && let Some(refusal) = refusal(&guest, action) {
        return Err(Failure::die(refusal));
    }
    let skip_lock = skip_lock(call)?;
    let exit = match outcome(&guest, action, skip_lock) {
        Err(_) if hibernated => Ok(()),
        other => other,
    };
    let vmid = guest.vmid;
    let what = match word {
        "suspend" if call.flag("todisk") => What::Hibernate,
        "suspend" => What::Pause(true),
        "resume" if hibernated => What::Wake,
        "resume" => What::Pause(false),
        "reboot" => What::Reboot,
        _ => {
            let running = word == "start" || word == "reset";
            let effect = if word == "start" && guest.lock() == Some("suspended") {
                Effect::Guests(vec![Change { vmid, what: What::Wake }])
            } else {
                Effect::Power { vmid, running }
            };
            let kind = (name, action.seconds);
            return Ok(call.task(&guest.node, kind, &vmid.to_string(), effect, exit));
        }
    };
    Ok(call.guest_task(vmid, (name, action.seconds), None, what, exit))
}

/// What the call itself refuses.
fn refusal(guest: &Guest, action: &Action) -> Option<String> {
    let (noun, vmid) = (guest.noun(), guest.vmid);
    let early = guest.kind == GuestKind::Lxc || action.needs == Needs::RunningNow;
    let is_stop = guest.kind == GuestKind::Lxc && action.verb == "stop";
    match action.needs {
        Needs::Stopped if early && guest.is_running() => {
            Some(format!("{noun} {vmid} already running"))
        }
        Needs::Running | Needs::RunningNow if early && !guest.is_running() => {
            Some(format!("{noun} {vmid} not running"))
        }
        _ if is_stop && !guest.is_running() => Some(format!("{noun} {vmid} not running")),
        _ => None,
    }
}

/// How the task ends.
fn outcome(guest: &Guest, action: &Action, skip_lock: bool) -> Result<(), String> {
    let (noun, vmid) = (guest.noun(), guest.vmid);
    // A machine suspended to disk is resumed by starting it.
    let resumes = action.verb == "start" && guest.lock() == Some("suspended");
    if !skip_lock && !resumes {
        unlocked(guest)?;
    }
    if action.verb == "start" && guest.is_template() {
        return Err(format!("you can't start a {} if it's a template", noun.to_lowercase()));
    }
    match (action.needs, guest.is_running()) {
        (Needs::Stopped, true) => Err(format!("{noun} {vmid} already running")),
        (Needs::Running, false) => Err(format!("{noun} {vmid} not running")),
        _ => Ok(()),
    }
}

/// The parameter `skiplock`, which root alone may use.
pub(super) fn skip_lock(call: &Call<'_>) -> Result<bool, Failure> {
    let wanted = call.flag("skiplock");
    if wanted && call.caller.id() != "root@pam" {
        return Err(Failure::parameter("skiplock", "Only root may use this option."));
    }
    Ok(wanted)
}
