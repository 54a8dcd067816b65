//! A fault meets a call: before it, instead of it, or in its answer.

use pve_schema::PathMatch;

use super::effect::{Delivery, Effect, Injected};
use super::wording::lock_text;
use crate::auth::Caller;
use crate::failure::Failure;
use crate::format::Format;
use crate::pipeline;
use crate::shared::Shared;
use crate::wire::{Head, Response};

/// What is left of a call.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It happens.
    Call {
        /// The tasks it starts fail with this text.
        doom: Option<String>,
        /// How its answer leaves, when not as ever.
        delivery: Option<Delivery>,
    },
    /// This is answered instead.
    Instead(Response),
    /// The connection ends instead.
    Drop,
}

/// Asks the rules for an authenticated call, waits as long as one says, and tells what is left.
/// What is no method of the API meets no rule.
pub(crate) async fn meet(shared: &Shared, head: &Head, caller: &Caller) -> Verdict {
    let untouched = Verdict::Call { doom: None, delivery: None };
    let faults = shared.faults();
    if faults.is_idle() {
        return untouched;
    }
    let Some((format, path, verb)) = pipeline::addressed(head) else { return untouched };
    let Some(at) = shared.schema().find(&path) else { return untouched };
    if at.method(verb).is_none() {
        return untouched;
    }
    let Some(injected) = faults.decide(verb, &at, caller.id()) else { return untouched };
    let Injected { rule, latency, effect } = injected;
    let waits = latency.map(|time| time.as_millis());
    tracing::warn!(
        fault = effect.name(),
        rule,
        latency_ms = waits,
        method = head.method,
        path,
        user = caller.id(),
        "fault"
    );
    if let Some(latency) = latency {
        tokio::time::sleep(latency).await;
    }
    match effect {
        Effect::Nothing => untouched,
        Effect::Task(text) => Verdict::Call { doom: Some(text), delivery: None },
        Effect::Answer(delivery) => Verdict::Call { doom: None, delivery: Some(delivery) },
        Effect::DropRequest => Verdict::Drop,
        effect => Verdict::Instead(answer(format, &path, &at, &effect)),
    }
}

/// Locks and 500 are what a method dies of, in the format's envelope; other statuses are not of
/// the API's making, and those from 595 on come without a body, as pveproxy passes them on.
fn answer(format: Format, path: &str, at: &PathMatch<'_>, effect: &Effect) -> Response {
    match effect {
        Effect::Status { code: 500, reason } => {
            format.render(path, Err(Failure::die(reason.as_str())))
        }
        Effect::Status { code: code @ 595.., reason } => Response::bare(*code, reason),
        Effect::Status { code, reason } => Response::error(*code, reason),
        Effect::Lock(lock) => {
            let vmid = at.variable("vmid").unwrap_or_default();
            format.render(path, Err(Failure::die(lock_text(lock, at.template, vmid))))
        }
        _ => Response::bare(500, "Internal Server Error"),
    }
}
