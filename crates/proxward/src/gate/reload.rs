//! A new configuration for a gate that runs.

use std::fmt::Write as _;

use ::gate::{InForce, Proposed, Running, in_force};
use settings::Document;

use crate::cli::Gate;
use crate::config;
use crate::exit::Stop;

/// Reads everything anew and puts into force what can be, or keeps the former whole. Returns what
/// to tell the operator.
pub(crate) fn reload(running: &Running, arguments: &Gate, former: &mut Document) -> String {
    match attempt(running, arguments) {
        Ok((document, proposed)) => {
            let mut told = told(&document, &document.changed(former));
            if let Some(Proposed { id, within }) = proposed {
                let _ = write!(
                    told,
                    "; the policy is taken back in {} s unless `proxward gate confirm {id}` comes",
                    within.as_secs()
                );
            }
            *former = document;
            told
        }
        Err(stop) => {
            let why = stop.to_string();
            let why = secrets::mask::text(&why);
            format!("gate: not reloaded, the former configuration stays in force: {why}")
        }
    }
}

fn attempt(running: &Running, arguments: &Gate) -> Result<(Document, Option<Proposed>), Stop> {
    let document = super::document(arguments)?;
    let checked = config::gate(&document)?;
    let reloaded = running.reload(&checked).map_err(Stop::usage)?;
    Ok((document, reloaded.policy))
}

/// What is in force now, and what waits, each with its place.
fn told(document: &Document, changed: &[String]) -> String {
    let of = |when: InForce| -> Vec<String> {
        let keys = changed.iter().filter(|key| in_force(key) == Some(when));
        keys.map(|key| format!("{key} ({})", document.origin(key))).collect()
    };
    let (now, later) = (of(InForce::AtOnce), of(InForce::AfterRestart));
    let trial = of(InForce::OnTrial);
    let mut text = match now.is_empty() {
        true => "gate: reloaded".to_owned(),
        false => format!("gate: reloaded; in force now: {}", now.join(", ")),
    };
    if !trial.is_empty() {
        let _ = write!(text, "; on trial: {}", trial.join(", "));
    }
    if !later.is_empty() {
        let _ = write!(text, "; needs a restart: {}", later.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use settings::Layers;

    fn document(text: &str) -> Document {
        Layers::new(&["gate"]).text("gate.toml", text).load().unwrap()
    }

    #[test]
    fn each_change_is_told_with_its_place() {
        let former =
            document("[gate]\nlisten = ['127.0.0.1:1']\nworkers = 2\naddress_policy = 'allow'\n");
        let next =
            document("[gate]\nlisten = ['127.0.0.1:1']\nworkers = 3\n\n[gate.tls]\nmin = '1.3'\n");
        assert_eq!(
            told(&next, &next.changed(&former)),
            "gate: reloaded; in force now: gate.address_policy (default), gate.tls.min (gate.toml:6); \
             needs a restart: gate.workers (gate.toml:3)"
        );
        assert_eq!(told(&next, &next.changed(&next)), "gate: reloaded");
    }
}
