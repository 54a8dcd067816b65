//! The policy's own calls.

use pve_access::{Privilege, Privileges};
use serde_json::json;

use super::json_answer;
use crate::audit::Act;
use crate::body::{AnswerBody, Source};
use crate::head::Answer;
use crate::login::{Kind, Params, Shape};
use crate::policy::Proof;
use crate::record::Record;
use crate::refusal::Refusal;
use crate::stack::{Asked, whole};

/// Who may change what the gate does may say that a change is good.
const MODIFY: &str = "Sys.Modify";

/// `GET /proxward/api/policy`: what is on trial.
pub(super) async fn status(asked: &Asked<'_>) -> Result<Answer<AnswerBody>, Refusal> {
    require(asked, MODIFY).await?;
    let shared = &asked.peer.worker.shared;
    let status = shared.policy.status(shared.clock.monotonic());
    Ok(json_answer(&json!({ "data": status })))
}

/// `POST /proxward/api/policy/confirm` with `id`: over a connection made after the change, by
/// somebody whom the new rules let through and Proxmox VE knows.
pub(super) async fn confirm(
    asked: &Asked<'_>,
    record: &mut Record,
    body: &mut dyn Source,
) -> Result<Answer<AnswerBody>, Refusal> {
    require(asked, MODIFY).await?;
    let id = parameter(asked, body, "id").await?;
    let shared = &asked.peer.worker.shared;
    let proof = Proof::Connection(asked.peer.accepted);
    let confirmed = shared.policy.confirm(&id, &proof, shared.clock.monotonic()).await;
    confirmed.map_err(|error| {
        record.failed(&error);
        Refusal::NotConfirmed(error.to_string())
    })?;
    asked.record(Act::PolicyConfirmed, &id);
    Ok(json_answer(&json!({ "data": { "confirmed": id } })))
}

/// Refuses a caller without a privilege at `/`, as Proxmox VE says with the caller's credential.
async fn require(asked: &Asked<'_>, privilege: &'static str) -> Result<(), Refusal> {
    let Asked { peer, parts, caller, .. } = *asked;
    let held = peer.worker.shared.permissions.of(peer, caller, parts, "/").await;
    let held = held.map_err(|unknown| unknown.refusal(Refusal::Privilege(privilege)))?;
    let wanted: Privileges = Privilege::parse(privilege).into_iter().collect();
    match !wanted.is_empty() && held.contains_all(wanted) {
        true => Ok(()),
        false => Err(Refusal::Privilege(privilege)),
    }
}

/// A parameter of a form or of JSON, in query or body.
pub(super) async fn parameter(
    asked: &Asked<'_>,
    body: &mut dyn Source,
    name: &str,
) -> Result<String, Refusal> {
    let kind = Kind::of(asked.parts).ok_or(Refusal::ContentType)?;
    let bytes = whole(asked.peer, body).await?;
    let params = Params::read((kind, Shape::LOGIN), &bytes, asked.parts.uri.query());
    let params = params.map_err(|_| Refusal::Parameters)?;
    let value = params.one(name).map(|value| String::from_utf8_lossy(value).into_owned());
    value.ok_or(Refusal::Parameters)
}
