//! The lock of the configuration as a whole: `/cluster/sdn/lock`.
//!
//! Who holds it names its token with every change; without one nobody needs a token.

use pve_schema::Verb;
use serde_json::json;

use super::super::{Call, Row};
use super::file::{APPLIED, View};
use crate::failure::{Failure, Outcome, Success};
use crate::state::random_uuid;

pub(super) const ROWS: &[Row] =
    &[(Verb::Post, "/cluster/sdn/lock", acquire), (Verb::Delete, "/cluster/sdn/lock", release)];

/// Settings with the token while it is held.
const LOCK: &str = "/cluster/sdn/lock";

/// Makes a change under the lock. `what` stands before the text of every failure, an exception's
/// too, which is only a text from then on (`PVE::Network::SDN::lock_sdn_config`).
pub(super) fn locked(
    call: &mut Call<'_>,
    what: &str,
    change: impl FnOnce(&mut Call<'_>) -> Outcome,
) -> Outcome {
    let done = match held(call) {
        true => Err(Failure::die("invalid lock token provided!")),
        false => change(call),
    };
    done.map_err(|failure| within(what, &failure))
}

/// Gives the lock back after a change when that was asked for. The default that the schema names
/// does not count: the genuine handler reads the parameter alone.
pub(super) fn release_if_asked(call: &mut Call<'_>) {
    if call.text("lock-token").is_some() && call.flag("release-lock") {
        call.state.objects.settings_mut(LOCK).clear();
    }
}

/// Whether someone else has it.
fn held(call: &Call<'_>) -> bool {
    let token = call.state.objects.settings(LOCK).and_then(|lock| lock.get("token"));
    token
        .and_then(|token| token.as_str())
        .is_some_and(|token| call.text("lock-token").as_deref() != Some(token))
}

fn within(what: &str, failure: &Failure) -> Failure {
    let code = match failure {
        Failure::Exception { code, .. } => format!("{code} "),
        Failure::Die(_) => String::new(),
    };
    let errors = failure.errors().into_iter().flatten();
    let errors: String = errors.map(|(name, text)| format!("{name}: {text}\n")).collect();
    Failure::Die(format!("{what}: {code}{}{errors}", failure.message()))
}

fn acquire(call: &mut Call<'_>) -> Outcome {
    locked(call, "could not acquire lock for SDN config", |call| {
        let waits = APPLIED.iter().any(|file| {
            let mut sections = file.sections(&call.state.objects, View::Pending).into_values();
            sections.any(|section| section.contains_key("pending"))
        });
        if waits && !call.flag("allow-pending") {
            return Err(Failure::die("configuration has pending changes"));
        }
        let token = token(call);
        call.state.objects.settings_mut(LOCK).insert("token".to_owned(), json!(token));
        Ok(json!(token).into())
    })
}

/// A UUID that begins with the time (RFC 9562 §5.7).
fn token(call: &Call<'_>) -> String {
    let millis = call.now().as_millis() & 0xFFFF_FFFF_FFFF;
    let random = random_uuid();
    let (high, low) = (millis >> 16, millis & 0xFFFF);
    format!("{high:08x}-{low:04x}-7{}", random.get(15..).unwrap_or_default())
}

fn release(call: &mut Call<'_>) -> Outcome {
    if call.flag("force") {
        call.state.objects.settings_mut(LOCK).clear();
        return Ok(Success::default());
    }
    locked(call, "could not release lock", |call| {
        call.state.objects.settings_mut(LOCK).clear();
        Ok(Success::default())
    })
}
