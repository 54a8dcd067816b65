//! What has to be shown before a call is passed on: a second factor at the login, or a code of
//! one shown to the gate a short while ago.

use std::sync::LazyLock;

use pve_schema::Verb;

use super::pattern::Pattern;
use super::rule::{Applies, Effect, Matcher, Question, bit};
use super::rules::{Fault, matcher, name, not_here};
use super::settings::RuleSettings;
use crate::limits::STEP_UP_MINUTES;

/// Minutes for which a code is good, unless something else is written.
const WITHIN: u64 = 10;

/// A condition under which something is demanded.
#[derive(Clone, Debug)]
pub(super) struct Demand {
    pub(super) name: String,
    pub(super) matcher: Matcher,
}

/// Somebody whose login has to pass a second factor.
#[derive(Clone, Debug)]
pub(super) struct SecondFactor(pub(super) Demand);

/// A call that needs a code.
#[derive(Clone, Debug)]
pub(super) struct StepUp {
    pub(super) demand: Demand,
    /// Seconds for which it is good.
    within: u64,
}

/// Calls that somebody without a second factor needs to get one, each with its reason. What
/// names a user is for the caller's own account only.
#[rustfmt::skip]
const TO_ENROL: [(&str, &str, &str); 12] = [
    ("GET", "/version", "the interface asks for it first"),
    ("GET", "/access/permissions", "what the interface shows"),
    ("GET", "/access/domains", "the login's list of realms"),
    ("GET", "/access/ticket", "says nothing"),
    ("POST", "/access/ticket", "logs in again, with the factor"),
    ("GET", "/access/tfa", "lists factors"),
    ("GET", "/access/tfa/{userid}", "lists one's own factors"),
    ("POST", "/access/tfa/{userid}", "adds a factor to one's own account"),
    ("GET", "/access/tfa/{userid}/{id}", "shows one's own factor"),
    ("GET", "/access/users/{userid}/tfa", "says whether there is one"),
    ("POST", "/proxward/logout", "ends the session"),
    ("GET", "/proxward/permissions", "what the caller may do"),
];

static ENROLMENT: LazyLock<Vec<(Verb, Pattern)>> = LazyLock::new(|| {
    let row = |(verb, path, _): &(&str, &str, &str)| {
        Some((Verb::from_http(verb)?, Pattern::parse(path).ok()?))
    };
    TO_ENROL.iter().filter_map(row).collect()
});

impl Demand {
    pub(super) fn compile(list: &str, at: usize, entry: &RuleSettings) -> Result<Self, Fault> {
        if entry.effect.is_some() {
            return Err(Fault("effect", "not here; leave it out".to_owned()));
        }
        not_here(entry)?;
        Ok(Self { name: name(entry, list, at)?, matcher: matcher(entry)? })
    }

    /// Somebody who is not known shows nothing, and gets nowhere without a login. An API token
    /// is made by somebody who was asked: it is asked for nothing unless tokens are named.
    fn applies(&self, asked: &Question<'_>) -> Applies {
        let Some(who) = asked.who else { return Applies::No };
        if who.token.is_some() && self.matcher.who.tokens.is_empty() {
            return Applies::No;
        }
        self.matcher.applies(asked, Effect::Deny)
    }
}

impl SecondFactor {
    /// Whether the call is refused for want of a second factor.
    pub(super) fn demands(&self, asked: &Question<'_>) -> Applies {
        if asked.factors.second || is_enrolment(asked) {
            return Applies::No;
        }
        self.0.applies(asked)
    }
}

impl StepUp {
    pub(super) fn compile(at: usize, entry: &RuleSettings) -> Result<Self, Fault> {
        let minutes = entry.within_minutes.unwrap_or(WITHIN);
        if !(1..=STEP_UP_MINUTES).contains(&minutes) {
            let what = format!("{minutes}; write minutes from 1 to {STEP_UP_MINUTES}");
            return Err(Fault("within_minutes", what));
        }
        let plain = RuleSettings { within_minutes: None, ..entry.clone() };
        let demand = Demand::compile("step_up", at, &plain)?;
        Ok(Self { demand, within: minutes * 60 })
    }

    /// Whether the call is refused until a code is shown. How to show one is never refused.
    pub(super) fn demands(&self, asked: &Question<'_>) -> Applies {
        let fresh = asked.factors.stepped_up.is_some_and(|at| {
            // A clock that was set back must not make a code good for ever.
            at <= asked.now && asked.now - at < self.within
        });
        let own = asked.path.get(0) == Some("proxward");
        let login = asked.method == Verb::Post && asked.path.path() == "/access/ticket";
        if fresh || own || login {
            return Applies::No;
        }
        self.demand.applies(asked)
    }
}

/// Whether the call is needed to get a second factor.
fn is_enrolment(asked: &Question<'_>) -> bool {
    ENROLMENT.iter().any(|(verb, pattern)| {
        let own = pattern.variable(asked.path, "userid");
        bit(*verb) == bit(asked.method)
            && pattern.matches(asked.path, Effect::Allow)
            && own.is_none_or(|user| asked.who.is_some_and(|who| who.user == user))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::OnceCell;

    use crate::login::Params;
    use crate::policy::accounts::Accounts;
    use crate::policy::pattern::Segments;
    use crate::policy::rule::{Factors, Given, Who};
    use crate::policy::{Decision, PolicySettings};

    const NOW: u64 = 1_000_000;

    fn decide(text: &str, call: &str, user: &str, factors: Factors) -> String {
        let rules = serde_json::from_str::<PolicySettings>(text).unwrap().check().unwrap();
        let (verb, path) = call.split_once(' ').unwrap();
        let (accounts, none) = (Accounts::parse("").unwrap(), Params::default());
        let segments = Segments::of(path).unwrap();
        let asked = Question {
            method: Verb::from_http(verb).unwrap(),
            path: &segments,
            who: Some(Who {
                user: user.split('!').next().unwrap(),
                token: user.contains('!').then_some(user),
            }),
            client: "192.0.2.1".parse().unwrap(),
            now: NOW,
            accounts: &accounts,
            params: Given::All(&none),
            factors,
            found: OnceCell::new(),
        };
        match rules.decide(&asked, false) {
            Decision::Allow(_) => "allow".to_owned(),
            Decision::SecondFactor(name) => format!("tfa {name}"),
            Decision::StepUp(name) => format!("step up {name}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn rows_are_calls_that_exist() {
        assert_eq!(ENROLMENT.len(), TO_ENROL.len());
        for (verb, path, _) in TO_ENROL.iter().filter(|(_, path, _)| !path.starts_with("/proxward"))
        {
            let found = pve_schema::Schema::v9().find(path).unwrap();
            assert!(found.method(Verb::from_http(verb).unwrap()).is_some(), "{verb} {path}");
        }
    }

    #[test]
    fn a_second_factor_is_demanded_but_for_getting_one() {
        let text =
            r#"{"user_cfg":"/dev/null","tfa":[{"name":"admins","roles":["Administrator"]}]}"#;
        let without = |call, user| decide(text, call, user, Factors::default());
        assert_eq!(without("GET /nodes", "root@pam"), "tfa admins");
        assert_eq!(without("GET /nodes", "a@pve"), "allow");
        assert_eq!(without("GET /nodes", "root@pam!ci"), "allow");
        assert_eq!(without("POST /access/tfa/root@pam", "root@pam"), "allow");
        assert_eq!(without("POST /access/tfa/a@pve", "root@pam"), "tfa admins");
        assert_eq!(without("DELETE /access/tfa/root@pam/x", "root@pam"), "tfa admins");
        assert_eq!(without("POST /proxward/logout", "root@pam"), "allow");
        let with = Factors { second: true, stepped_up: None };
        assert_eq!(decide(text, "GET /nodes", "root@pam", with), "allow");
        let tokens = r#"{"tfa":[{"tokens":["root@pam!*"]}]}"#;
        assert_eq!(decide(tokens, "GET /nodes", "root@pam!ci", Factors::default()), "tfa tfa 1");
    }

    #[test]
    fn a_code_is_good_for_a_while() {
        let text = r#"{"step_up":[{"methods":["DELETE"],"within_minutes":5}]}"#;
        let shown =
            |at| decide(text, "DELETE /x", "a@pve", Factors { second: true, stepped_up: at });
        assert_eq!(shown(None), "step up step_up 1");
        assert_eq!(shown(Some(NOW - 299)), "allow");
        assert_eq!(shown(Some(NOW - 300)), "step up step_up 1");
        assert_eq!(shown(Some(NOW + 1)), "step up step_up 1");
        assert_eq!(decide(text, "GET /x", "a@pve", Factors::default()), "allow");
        for bad in [
            r#"{"step_up":[{"within_minutes":0}]}"#,
            r#"{"step_up":[{"effect":"deny"}]}"#,
            r#"{"tfa":[{"within_minutes":1}]}"#,
        ] {
            serde_json::from_str::<PolicySettings>(bad).unwrap().check().unwrap_err();
        }
    }
}
