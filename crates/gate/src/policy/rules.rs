//! The rules in force, and what they say of a call.

use std::path::PathBuf;

use netpolicy::AddressSet;
use pve_schema::{Schema, Verb};

use super::demand::{Demand, SecondFactor, StepUp};
use super::pattern::Pattern;
use super::profile::{PROFILES, Profile, Row};
use super::rule::{Applies, Effect, Identity, Matcher, Question, bit};
use super::settings::{PolicySettings, RuleSettings, SchemaMode};
use super::times::Window;
use super::values::Values;
use crate::limits::{POLICY_BYTES, POLICY_LIST, POLICY_NAME, POLICY_RULES};

/// Where PVE keeps users, groups and the access list.
const USER_CFG: &str = "/etc/pve/user.cfg";

/// Runs other calls, which no rule would see.
const EXECUTE: &str = "/nodes/*/execute";

/// Rules, compiled. The default has none and restricts nothing.
#[derive(Clone, Debug, Default)]
pub struct PolicyRules {
    pub(super) settings: PolicySettings,
    rules: Vec<Rule>,
    profiles: Vec<Profile>,
    second_factor: Vec<SecondFactor>,
    step_up: Vec<StepUp>,
    denied_by_default: bool,
    /// About the call that runs others, unless it is allowed.
    guard: Option<Pattern>,
}

#[derive(Clone, Debug)]
struct Rule {
    /// As the administrator calls it, or `rule 3`.
    name: String,
    effect: Effect,
    matcher: Matcher,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Decision<'r> {
    Allow(By<'r>),
    Deny(By<'r>),
    /// The login has to pass a second factor.
    SecondFactor(&'r str),
    /// A code has to be shown to the gate.
    StepUp(&'r str),
    /// Ask again when they are read.
    NeedsParameters,
}

/// Who decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum By<'r> {
    Rule(&'r str),
    Profile(&'static str, &'static Row),
    /// The call that runs others is not allowed.
    Execute,
    /// No rule was about it.
    Default,
}

impl PolicySettings {
    /// Compiles the rules; the error is the key below `gate.policy` and what is wrong.
    ///
    /// # Errors
    /// The first value at fault.
    pub fn check(&self) -> Result<PolicyRules, (String, String)> {
        let all = [
            ("rule", &self.rule),
            ("profile", &self.profile),
            ("tfa", &self.tfa),
            ("step_up", &self.step_up),
        ];
        for (key, list) in all {
            if list.len() > POLICY_RULES {
                return Err((key.to_owned(), format!("more than {POLICY_RULES}; join some")));
            }
        }
        let mut rules = Vec::with_capacity(self.rule.len());
        for (at, entry) in self.rule.iter().enumerate() {
            rules.push(Rule::compile(at, entry).map_err(|fault| fault.under("rule", at))?);
        }
        let mut profiles = Vec::new();
        for name in &self.profiles {
            profiles.push(
                profile(name, Matcher::default()).map_err(|what| ("profiles".to_owned(), what))?,
            );
        }
        for (at, entry) in self.profile.iter().enumerate() {
            compile_profile(entry, &mut profiles).map_err(|fault| fault.under("profile", at))?;
        }
        let mut second_factor = Vec::new();
        for (at, entry) in self.tfa.iter().enumerate() {
            let demand =
                Demand::compile("tfa", at, entry).map_err(|fault| fault.under("tfa", at))?;
            second_factor.push(SecondFactor(demand));
        }
        let mut step_up = Vec::new();
        for (at, entry) in self.step_up.iter().enumerate() {
            step_up.push(StepUp::compile(at, entry).map_err(|fault| fault.under("step_up", at))?);
        }
        let written = serde_json::to_vec(self).map_or(usize::MAX, |written| written.len());
        if written > POLICY_BYTES {
            return Err((
                "rule".to_owned(),
                format!("more than {POLICY_BYTES} bytes in all; use groups"),
            ));
        }
        if self.release.is_some_and(|release| ![8, 9].contains(&release)) {
            return Err(("release".to_owned(), "write 8 or 9".to_owned()));
        }
        let denied_by_default = self.default == Some(Effect::Deny);
        let demands = !second_factor.is_empty() || !step_up.is_empty();
        let in_force = denied_by_default || demands || !rules.is_empty() || !profiles.is_empty();
        let guarded = in_force && self.allow_execute != Some(true);
        let guard = guarded.then(|| Pattern::parse(EXECUTE).ok()).flatten();
        let settings = self.clone();
        Ok(PolicyRules {
            settings,
            rules,
            profiles,
            second_factor,
            step_up,
            denied_by_default,
            guard,
        })
    }
}

impl PolicyRules {
    /// Whether nothing is asked of any request.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
            && self.profiles.is_empty()
            && self.second_factor.is_empty()
            && self.step_up.is_empty()
            && !self.denied_by_default
            && self.schema() == SchemaMode::Off
    }

    /// What they were compiled from.
    #[must_use]
    pub fn settings(&self) -> &PolicySettings {
        &self.settings
    }

    /// What is done about what the schema does not know.
    pub(crate) fn schema(&self) -> SchemaMode {
        self.settings.schema.unwrap_or(SchemaMode::Off)
    }

    /// The schema of the release that is fronted.
    pub(crate) fn release(&self) -> &'static Schema {
        if self.settings.release == Some(8) { Schema::v8() } else { Schema::v9() }
    }

    /// The file with groups and roles, where any rule asks for them.
    pub(crate) fn user_cfg(&self) -> Option<PathBuf> {
        let profiles = self.profiles.iter().map(|profile| &profile.scope);
        let second = self.second_factor.iter().map(|entry| &entry.0.matcher);
        let step_up = self.step_up.iter().map(|entry| &entry.demand.matcher);
        let rules = self.rules.iter().map(|rule| &rule.matcher);
        let mut matchers = rules.chain(profiles).chain(second).chain(step_up);
        let path = || self.settings.user_cfg.clone().unwrap_or_else(|| USER_CFG.into());
        matchers.any(|matcher| matcher.who.needs_accounts()).then(path)
    }

    /// Judges a call. `opens` says that it needs no credential, because it gives one: the
    /// default does not deny that, or nobody could log in.
    pub(crate) fn decide(&self, asked: &Question<'_>, opens: bool) -> Decision<'_> {
        for profile in &self.profiles {
            match profile.denies(asked) {
                Ok(None) => {}
                Ok(Some(row)) => return Decision::Deny(By::Profile(profile.table.name, row)),
                Err(_) => return Decision::NeedsParameters,
            }
        }
        let guarded = self.guard.as_ref().filter(|_| asked.method == Verb::Post);
        if guarded.is_some_and(|pattern| pattern.matches(asked.path, Effect::Deny)) {
            return Decision::Deny(By::Execute);
        }
        match self.first(asked, opens) {
            allowed @ Decision::Allow(_) => self.demands(asked).unwrap_or(allowed),
            other => other,
        }
    }

    /// The first rule that is about the call, or the default.
    fn first(&self, asked: &Question<'_>, opens: bool) -> Decision<'_> {
        for rule in &self.rules {
            match rule.matcher.applies(asked, rule.effect) {
                Applies::No => {}
                Applies::NeedsParameters => return Decision::NeedsParameters,
                Applies::Yes => {
                    let by = By::Rule(&rule.name);
                    return match rule.effect {
                        Effect::Allow => Decision::Allow(by),
                        Effect::Deny => Decision::Deny(by),
                    };
                }
            }
        }
        match self.denied_by_default && !opens {
            true => Decision::Deny(By::Default),
            false => Decision::Allow(By::Default),
        }
    }

    /// What has to be shown before an allowed call is passed on.
    fn demands(&self, asked: &Question<'_>) -> Option<Decision<'_>> {
        for entry in &self.second_factor {
            match entry.demands(asked) {
                Applies::No => {}
                Applies::Yes => return Some(Decision::SecondFactor(&entry.0.name)),
                Applies::NeedsParameters => return Some(Decision::NeedsParameters),
            }
        }
        for entry in &self.step_up {
            match entry.demands(asked) {
                Applies::No => {}
                Applies::Yes => return Some(Decision::StepUp(&entry.demand.name)),
                Applies::NeedsParameters => return Some(Decision::NeedsParameters),
            }
        }
        None
    }
}

impl By<'_> {
    /// For the log and, where it denies, for the client.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Rule(name) => format!("rule '{name}'"),
            Self::Profile(name, row) => format!("profile '{name}', as it {}", row.reason),
            Self::Execute => "allow_execute = false, as it runs calls that no rule sees".to_owned(),
            Self::Default => "the default".to_owned(),
        }
    }
}

/// What is wrong with an entry, and at which of its keys.
pub(super) struct Fault(pub(super) &'static str, pub(super) String);

impl Fault {
    fn under(self, list: &str, at: usize) -> (String, String) {
        let Self(key, what) = self;
        let dot = if key.is_empty() { "" } else { "." };
        (format!("{list}[{at}]{dot}{key}"), what)
    }
}

impl Rule {
    fn compile(at: usize, entry: &RuleSettings) -> Result<Self, Fault> {
        let what = || Fault("effect", "not set; write \"deny\" or \"allow\"".to_owned());
        let effect = entry.effect.ok_or_else(what)?;
        not_here(entry)?;
        Ok(Self { name: name(entry, "rule", at)?, effect, matcher: matcher(entry)? })
    }
}

fn compile_profile(entry: &RuleSettings, into: &mut Vec<Profile>) -> Result<(), Fault> {
    if entry.profiles.is_empty() {
        return Err(Fault("profiles", format!("not set; {}", known())));
    }
    if entry.effect.is_some() {
        return Err(Fault("effect", "a profile only denies; leave it out".to_owned()));
    }
    if entry.within_minutes.is_some() {
        return Err(Fault("within_minutes", "a profile has none; leave it out".to_owned()));
    }
    let calls = entry.path.is_some() || !entry.params.is_empty() || !entry.methods.is_empty();
    if calls {
        let what = "a profile is for every call; say for whom, where from and when";
        return Err(Fault("path", what.to_owned()));
    }
    let scope = matcher(entry)?;
    for name in &entry.profiles {
        into.push(profile(name, scope.clone()).map_err(|what| Fault("profiles", what))?);
    }
    Ok(())
}

fn profile(name: &str, scope: Matcher) -> Result<Profile, String> {
    Profile::named(name, scope).ok_or_else(|| format!("{name:?}; {}", known()))
}

fn known() -> String {
    let names: Vec<_> = PROFILES.iter().map(|table| table.name).collect();
    format!("write some of {}", names.join(", "))
}

/// Refuses keys of other lists.
pub(super) fn not_here(entry: &RuleSettings) -> Result<(), Fault> {
    if !entry.profiles.is_empty() {
        let what = "not here; write an entry [[gate.policy.profile]]";
        return Err(Fault("profiles", what.to_owned()));
    }
    if entry.within_minutes.is_some() {
        let what = "not here; write an entry [[gate.policy.step_up]]";
        return Err(Fault("within_minutes", what.to_owned()));
    }
    Ok(())
}

/// The name that an entry has, or its place.
pub(super) fn name(entry: &RuleSettings, list: &str, at: usize) -> Result<String, Fault> {
    let Some(name) = &entry.name else { return Ok(format!("{list} {}", at + 1)) };
    let known = |c: char| c.is_ascii_alphanumeric() || "._- ".contains(c);
    if name.is_empty() || name.len() > POLICY_NAME || !name.chars().all(known) {
        let what =
            format!("{name:?}; write at most {POLICY_NAME} letters, digits, . _ - and blanks");
        return Err(Fault("name", what));
    }
    Ok(name.clone())
}

/// The conditions of an entry.
pub(super) fn matcher(entry: &RuleSettings) -> Result<Matcher, Fault> {
    let mut methods = 0;
    for word in &entry.methods {
        let verb = Verb::from_http(word);
        let what = || Fault("methods", format!("{word:?}; write GET, POST, PUT or DELETE"));
        methods |= bit(verb.ok_or_else(what)?);
    }
    let pattern = entry.path.as_deref().map(Pattern::parse).transpose();
    let params = entry.params.iter().map(|(name, values)| {
        let values = Values::parse(values);
        let values = values.map_err(|what| Fault("params", format!("{name}: {what}")))?;
        Ok((name.clone(), values))
    });
    let times = entry.times.iter().map(|text| Window::parse(text));
    Ok(Matcher {
        methods,
        pattern: pattern.map_err(|what| Fault("path", what))?,
        params: params.collect::<Result<_, _>>()?,
        who: identity(entry)?,
        networks: networks("networks", &entry.networks)?,
        except_networks: networks("except_networks", &entry.except_networks)?,
        times: times.collect::<Result<_, _>>().map_err(|what| Fault("times", what))?,
    })
}

fn identity(entry: &RuleSettings) -> Result<Identity, Fault> {
    let lists = [
        ("users", &entry.users, "name@realm or *@realm"),
        ("tokens", &entry.tokens, "name@realm!token or *"),
        ("except_users", &entry.except_users, "name@realm or *@realm"),
        ("groups", &entry.groups, "names of groups"),
        ("roles", &entry.roles, "names of roles"),
        ("except_groups", &entry.except_groups, "names of groups"),
    ];
    for (key, list, what) in lists {
        if list.len() > POLICY_LIST {
            return Err(Fault(key, format!("more than {POLICY_LIST}; use a group")));
        }
        let is_user = key.ends_with("users");
        let fits = |word: &String| {
            !word.is_empty() && (!is_user || word.contains('@') || word.contains('*'))
        };
        if let Some(word) = list.iter().find(|word| !fits(word)) {
            return Err(Fault(key, format!("{word:?}; write {what}")));
        }
    }
    Ok(Identity {
        users: entry.users.clone(),
        groups: entry.groups.clone(),
        roles: entry.roles.clone(),
        tokens: entry.tokens.clone(),
        except_users: entry.except_users.clone(),
        except_groups: entry.except_groups.clone(),
    })
}

fn networks(key: &'static str, list: &[String]) -> Result<Option<AddressSet>, Fault> {
    if list.is_empty() {
        return Ok(None);
    }
    let set = AddressSet::strict(&list.join(","));
    set.map(Some).map_err(|error| Fault(key, error.to_string()))
}

#[cfg(test)]
mod tests;
