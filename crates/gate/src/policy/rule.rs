//! One rule: whom and what it is about. Conditions are checked from the cheapest on.

use std::cell::OnceCell;
use std::net::IpAddr;

use netpolicy::AddressSet;
use pve_schema::{Kind, PathMatch, Schema, Verb};
use serde::{Deserialize, Serialize};

use super::accounts::Accounts;
use super::glob::glob;
use super::pattern::{Pattern, Segments, is_open_node};
use super::times::Window;
use super::values::Values;
use crate::login::Params;

/// What a rule does with what it is about.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Passed on; Proxmox VE judges it.
    Allow,
    /// Refused.
    Deny,
}

/// Who asks, as far as it is known. That a ticket or token is genuine, Proxmox VE says: who
/// claims to be somebody else gets nothing from it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Who<'q> {
    /// `name@realm`; of a token, its owner.
    pub(crate) user: &'q str,
    /// `name@realm!token`.
    pub(crate) token: Option<&'q str>,
}

/// A call to be judged.
pub(crate) struct Question<'q> {
    pub(crate) method: Verb,
    pub(crate) path: &'q Segments<'q>,
    /// None: nobody yet. Rules about somebody are not about nobody.
    pub(crate) who: Option<Who<'q>>,
    pub(crate) client: IpAddr,
    /// In seconds since 1970.
    pub(crate) now: u64,
    pub(crate) accounts: &'q Accounts,
    pub(crate) params: Given<'q>,
    pub(crate) factors: Factors,
    /// Looked up at the first rule that needs it.
    pub(crate) found: OnceCell<Option<PathMatch<'static>>>,
}

/// What the caller has shown besides a password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Factors {
    /// The login passed a second factor.
    pub(crate) second: bool,
    /// When a code was shown to the gate, in seconds since 1970.
    pub(crate) stepped_up: Option<u64>,
}

/// Parameters of query and body, as far as they are known.
#[derive(Clone, Copy)]
pub(crate) enum Given<'q> {
    /// Not read yet.
    Unread,
    /// Of the query; those in the body come too late to be judged (an upload).
    Partly(&'q Params),
    /// All of them.
    All(&'q Params),
}

/// Whether a rule is about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applies {
    Yes,
    No,
    /// That depends on parameters nobody has read yet.
    NeedsParameters,
}

/// The conditions of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Matcher {
    /// One bit for each of [`Verb::ALL`]; none: any.
    pub(super) methods: u8,
    pub(super) pattern: Option<Pattern>,
    pub(super) params: Vec<(String, Values)>,
    pub(super) who: Identity,
    pub(super) networks: Option<AddressSet>,
    pub(super) except_networks: Option<AddressSet>,
    pub(super) times: Vec<Window>,
}

/// Whom an entry is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(super) users: Vec<String>,
    pub(super) groups: Vec<String>,
    pub(super) roles: Vec<String>,
    pub(super) tokens: Vec<String>,
    pub(super) except_users: Vec<String>,
    pub(super) except_groups: Vec<String>,
}

impl Matcher {
    /// Whether this is about the call. What is not known counts as fitting for a denial and as
    /// not fitting for a permission.
    #[inline]
    pub(crate) fn applies(&self, asked: &Question<'_>, effect: Effect) -> Applies {
        // Most entries are about other calls, which two comparisons tell.
        let other = self.pattern.as_ref().is_some_and(|pattern| pattern.is_of_others(asked.path));
        match other || !self.is_method(asked.method) {
            true => Applies::No,
            false => self.fits(asked, effect),
        }
    }

    /// Apart, so that the two comparisons alone are what a walk over the rules consists of.
    #[inline(never)]
    fn fits(&self, asked: &Question<'_>, effect: Effect) -> Applies {
        let about = self.pattern.as_ref().is_none_or(|pattern| pattern.matches(asked.path, effect))
            && self.is_client(asked.client)
            && self.who.holds(asked)
            && (self.times.is_empty() || self.times.iter().any(|time| time.holds(asked.now)));
        if !about {
            return Applies::No;
        }
        for (name, values) in &self.params {
            match self.parameter(asked, effect, name, values) {
                Applies::Yes => {}
                other => return other,
            }
        }
        Applies::Yes
    }

    pub(super) fn is_method(&self, method: Verb) -> bool {
        self.methods == 0 || self.methods & bit(method) != 0
    }

    fn is_client(&self, client: IpAddr) -> bool {
        self.networks.as_ref().is_none_or(|networks| networks.contains(client))
            && !self.except_networks.as_ref().is_some_and(|networks| networks.contains(client))
    }

    /// A name stands for all of its values: for a denial one has to fit, for a permission each.
    fn parameter(
        &self,
        asked: &Question<'_>,
        effect: Effect,
        name: &str,
        values: &Values,
    ) -> Applies {
        let found = asked.found.get_or_init(|| Schema::v9().find(&asked.path.path()));
        let mut fits = Fits::new(effect);
        let own = self.pattern.as_ref().and_then(|pattern| pattern.variable(asked.path, name));
        let named = found.iter().flat_map(|found| &found.variables);
        let mut of_path = false;
        for (have, value) in named.filter(|(have, _)| glob(name, have)) {
            of_path |= *have == name;
            let open = effect == Effect::Deny && is_open_node(have, value);
            fits.add(open || values.hold(value, false));
        }
        if let Some(value) = own {
            fits.add(values.hold(&value, false));
        }
        // Proxmox VE refuses another value of a name that the path has; and a denial that the
        // path bears out needs no body.
        if of_path || (effect == Effect::Deny && fits.some) {
            return if fits.answer(true) { Applies::Yes } else { Applies::No };
        }
        let (params, whole) = match asked.params {
            Given::Unread => return Applies::NeedsParameters,
            Given::Partly(params) => (params, false),
            Given::All(params) => (params, true),
        };
        for (have, value) in params.iter() {
            let Ok(have) = std::str::from_utf8(have) else { continue };
            if !glob(name, have) {
                continue;
            }
            let value = String::from_utf8_lossy(value);
            let open = effect == Effect::Deny && is_open_node(have, &value);
            fits.add(open || values.hold(&value, is_truth(asked, found.as_ref(), have, effect)));
        }
        if fits.answer(whole) { Applies::Yes } else { Applies::No }
    }
}

/// Whether a parameter is a truth by the schema; what it does not know may be one.
fn is_truth(
    asked: &Question<'_>,
    found: Option<&PathMatch<'static>>,
    name: &str,
    effect: Effect,
) -> bool {
    let method = found.and_then(|found| found.method(asked.method));
    let property = method.and_then(|method| method.parameters().property(name));
    match property {
        Some(property) => property.kind == Some(Kind::Boolean),
        None => effect == Effect::Deny,
    }
}

/// Values seen so far.
struct Fits {
    effect: Effect,
    some: bool,
    all: bool,
}

impl Fits {
    fn new(effect: Effect) -> Self {
        Self { effect, some: false, all: true }
    }

    fn add(&mut self, fits: bool) {
        self.some |= fits;
        self.all &= fits;
    }

    /// `whole`: there are no further values that nobody has seen.
    fn answer(&self, whole: bool) -> bool {
        match self.effect {
            Effect::Deny => self.some || !whole,
            Effect::Allow => self.some && self.all && whole,
        }
    }
}

impl Identity {
    fn holds(&self, asked: &Question<'_>) -> bool {
        let wanted = [&self.users, &self.groups, &self.roles, &self.tokens];
        let given = wanted.iter().any(|list| !list.is_empty());
        let excepted = !self.except_users.is_empty() || !self.except_groups.is_empty();
        if !given && !excepted {
            return true;
        }
        let Some(who) = asked.who else { return false };
        let user = |list: &[String]| list.iter().any(|have| glob(have, who.user));
        let group =
            |list: &[String]| list.iter().any(|group| asked.accounts.is_member(who.user, group));
        let role = || self.roles.iter().any(|role| asked.accounts.holds_role(&who, role));
        let token = |token: &str| self.tokens.iter().any(|have| glob(have, token));
        (self.users.is_empty() || user(&self.users))
            && (self.groups.is_empty() || group(&self.groups))
            && (self.roles.is_empty() || role())
            && (self.tokens.is_empty() || who.token.is_some_and(token))
            && !user(&self.except_users)
            && !group(&self.except_groups)
    }

    /// Whether `user.cfg` is needed to answer.
    pub(super) fn needs_accounts(&self) -> bool {
        !self.groups.is_empty() || !self.roles.is_empty() || !self.except_groups.is_empty()
    }
}

pub(super) fn bit(method: Verb) -> u8 {
    1 << (method as u8)
}
