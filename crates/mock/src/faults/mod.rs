//! Faults on demand: rules that make calls slow, fail or break, so that a client's handling of a
//! bad day can be tested.
//!
//! A file of rules is read ([`Faults::parse`]), checked against the API schema (a rule that no
//! method can meet is a mistake, not a rule), and then asked once for every authenticated call
//! ([`Armed::decide`]). Waiting happens before the call and holds no lock; what the effect does
//! to the call or its answer is up to the server.

mod effect;
mod inject;
mod pattern;
mod read;
mod wording;

use std::sync::{Mutex, PoisonError};

use pve_schema::{PathMatch, Schema, Verb};

pub(crate) use effect::Delivery;
use effect::{Effect, Injected, Span};
pub(crate) use inject::{Verdict, meet};
use pattern::Pattern;

use crate::document::{self, FileError, Form, Place};
use crate::limits::FAULT_FILE_BYTES;

/// Rules in their order. The default has none.
#[derive(Debug, Default, Clone)]
pub struct Faults {
    seed: u64,
    rules: Vec<Rule>,
}

/// When something happens, and what.
#[derive(Debug, Clone)]
struct Rule {
    place: Place,
    /// Empty for every verb.
    verbs: Vec<Verb>,
    path: Pattern,
    /// User or full token id; a user stands for its tokens too.
    user: Option<String>,
    /// 0 to 1.
    probability: f64,
    /// Calls that are let pass first.
    after: u64,
    /// How often it happens; `None` always.
    times: Option<u64>,
    latency: Option<Span>,
    effect: Effect,
}

impl Faults {
    /// Reads a file of rules, at most 1 MiB; `name` is what errors call it. The file is described in
    /// `docs/guides/mock-in-ci.md`.
    ///
    /// # Errors
    /// [`FileError`]: an unknown key, a wrong value, with its line.
    pub fn parse(name: &str, text: &str, form: Form) -> Result<Self, FileError> {
        read::faults(document::read(name, text, form, FAULT_FILE_BYTES)?)
    }

    /// Rules as they were read.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether nothing can happen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Refuses rules that no method of the API can meet.
    pub(crate) fn arm(self, schema: &Schema) -> Result<Armed, FileError> {
        for rule in &self.rules {
            rule.check(schema)?;
        }
        let seed = self.seed;
        let state = |at| Counter { random: Random::new(seed, at), ..Counter::default() };
        let counters = (0..self.rules.len()).map(state).collect();
        Ok(Armed { rules: self.rules, counters: Mutex::new(counters) })
    }
}

impl Rule {
    fn check(&self, schema: &Schema) -> Result<(), FileError> {
        let methods = schema.methods();
        let on_path: Vec<_> = methods.filter(|method| self.path.can_match(method.path())).collect();
        if on_path.is_empty() {
            let what = format!("the path {} is none of API {}", self.path, schema.release());
            let remedy = "write it as the schema does, without /api2/json; * stands for one part, \
                          ** for any number";
            return Err(self.place.refused(what, remedy));
        }
        let takes = |verb: Verb| self.verbs.is_empty() || self.verbs.contains(&verb);
        let mut met = on_path.iter().filter(|method| takes(method.verb())).peekable();
        if met.peek().is_none() {
            let verbs: std::collections::BTreeSet<String> =
                on_path.iter().map(|method| method.verb().to_string()).collect();
            let verbs: Vec<String> = verbs.into_iter().collect();
            let what = format!("{} has no such verb", self.path);
            return Err(self.place.refused(what, format!("it has {}", verbs.join(", "))));
        }
        if self.effect.needs_guest() && !met.any(|method| method.path().contains("/{vmid}")) {
            let what = format!("a guest's lock, and {} leads to no guest", self.path);
            return Err(self.place.refused(what, "use lock = \"cluster\", or another path"));
        }
        Ok(())
    }

    fn meets(&self, verb: Verb, at: &PathMatch<'_>, user: &str) -> bool {
        let of_user = |wanted: &String| {
            let rest = user.strip_prefix(wanted.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('!'))
        };
        (self.verbs.is_empty() || self.verbs.contains(&verb))
            && self.user.as_ref().is_none_or(of_user)
            && (!self.effect.needs_guest() || at.variable("vmid").is_some())
            && self.path.matches(at)
    }
}

/// Rules that fit a schema, with what they have done so far.
#[derive(Debug)]
pub(crate) struct Armed {
    rules: Vec<Rule>,
    counters: Mutex<Vec<Counter>>,
}

#[derive(Debug, Default)]
struct Counter {
    seen: u64,
    done: u64,
    random: Random,
}

impl Armed {
    /// Whether there is nothing to ask.
    pub(crate) fn is_idle(&self) -> bool {
        self.rules.is_empty()
    }

    /// What happens to a call: the first rule that meets it and is due. Every rule that is asked
    /// counts the call, so that `after` counts calls and not luck.
    pub(crate) fn decide(&self, verb: Verb, at: &PathMatch<'_>, user: &str) -> Option<Injected> {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        for (rule, counter) in self.rules.iter().zip(counters.iter_mut()) {
            if !rule.meets(verb, at, user) || !counter.due(rule) {
                continue;
            }
            let latency = rule.latency.map(|span| span.pick(counter.random.next()));
            let rule_line = rule.place.to_string();
            return Some(Injected { rule: rule_line, latency, effect: rule.effect.clone() });
        }
        None
    }
}

impl Counter {
    fn due(&mut self, rule: &Rule) -> bool {
        self.seen += 1;
        if self.seen <= rule.after || rule.times.is_some_and(|times| self.done >= times) {
            return false;
        }
        let happens = rule.probability >= 1.0 || self.random.next() < rule.probability;
        self.done += u64::from(happens);
        happens
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): a sequence for each rule, the same in every run.
#[derive(Debug, Default)]
struct Random(u64);

impl Random {
    fn new(seed: u64, rule: usize) -> Self {
        let rule = u64::try_from(rule).unwrap_or(0);
        Self(seed ^ rule.wrapping_mul(0xD1B5_4A32_D192_ED03))
    }

    /// From 0 to below 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let high = u32::try_from((z ^ (z >> 31)) >> 32).unwrap_or(0);
        f64::from(high) / 4_294_967_296.0
    }
}

#[cfg(test)]
mod tests;
