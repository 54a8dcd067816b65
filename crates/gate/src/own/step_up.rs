//! `POST /proxward/api/step-up` with `otp`: shows a code to the gate.

use serde_json::json;

use super::json_answer;
use super::policy::parameter;
use crate::audit::Act;
use crate::body::{AnswerBody, Source};
use crate::caller::Caller;
use crate::head::Answer;
use crate::login::{Attempt, Begun, Channel, Outcome};
use crate::policy::Shown;
use crate::refusal::Refusal;
use crate::stack::Asked;

/// A wrong code counts, delays, locks and bans as a wrong second factor at a login does.
pub(super) async fn show(
    asked: &Asked<'_>,
    body: &mut dyn Source,
) -> Result<Answer<AnswerBody>, Refusal> {
    let Caller::Session { session, .. } = asked.caller else { return Err(Refusal::NoSession) };
    let code = parameter(asked, body, "otp").await?;
    let shared = &asked.peer.worker.shared;
    let attempt = Attempt::new(Channel::Tfa, asked.client, Some(&session.user));
    let permit = match shared.logins.begin(&attempt) {
        Begun::Pass(permit) => permit,
        Begun::Refused(refused) => {
            shared.logins.refuse(&attempt, refused).await;
            return Err(Refusal::WrongCode);
        }
    };
    let shown = shared.step_ups.show(&session.user, session.id, code.trim(), asked.now).await;
    let shown = shown.map_err(|_| Refusal::NotStored)?;
    let outcome = match shown {
        Shown::Good => Outcome::Success,
        Shown::Wrong => Outcome::Failure,
        Shown::NotEnrolled => Outcome::Undecided,
    };
    shared.logins.end(permit, &attempt, outcome).await;
    match shown {
        Shown::Good => {
            asked.record(Act::StepUpUsed, &session.id.short());
            Ok(json_answer(&json!({ "data": null })))
        }
        Shown::Wrong => Err(Refusal::WrongCode),
        Shown::NotEnrolled => Err(Refusal::NotEnrolled),
    }
}
