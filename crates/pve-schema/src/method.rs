//! One method of the API: a verb on a path.

use std::borrow::Cow;
use std::fmt;
use std::sync::OnceLock;

use serde_json::Value;

use crate::check::{Errors, Params, check_parameters};
use crate::permission::Permission;
use crate::property::{Additional, Object, Property};

/// The four verbs PVE knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Reads.
    Get,
    /// Creates or acts.
    Post,
    /// Changes.
    Put,
    /// Removes.
    Delete,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Get, Self::Post, Self::Put, Self::Delete];

    /// The verb of an HTTP method name, upper case as on the wire.
    #[must_use]
    pub fn from_http(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == name)
    }

    /// As in HTTP.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }

    /// As `pvesh` calls it.
    #[must_use]
    pub fn cli_name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "create",
            Self::Put => "set",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Methods that declare no `properties` at all; PVE then checks nothing, although additional ones
/// are refused in word. The document drops empty properties, so it looks the same for methods
/// that declare `{}` and do check. Sources: recorded answers (ticket), the methods' Perl modules.
const LOOSE: [(Verb, &str); 4] = [
    (Verb::Get, "/access/ticket"),
    (Verb::Get, "/cluster/firewall"),
    (Verb::Get, "/cluster/notifications/matcher-field-values"),
    (Verb::Put, "/cluster/sdn"),
];

/// A method. Identify it by verb and path: names are not unique (`index`).
pub struct Method {
    verb: Verb,
    path: String,
    raw: Cow<'static, str>,
    facts: OnceLock<Facts>,
}

#[derive(Default)]
struct Facts {
    name: String,
    parameters: Object,
    returns: Property,
    permission: Permission,
    extra_rules: bool,
    protected: bool,
    proxyto: Option<String>,
    allow_token: bool,
    download_allowed: bool,
    expose_credentials: bool,
}

impl Method {
    /// `raw` is the JSON of the method; it is decoded on first use.
    pub(crate) fn new(verb: Verb, path: String, raw: Cow<'static, str>) -> Self {
        Self { verb, path, raw, facts: OnceLock::new() }
    }

    /// The verb.
    #[must_use]
    pub fn verb(&self) -> Verb {
        self.verb
    }

    /// The path template (`/nodes/{node}/status`).
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// PVE's name of the handler.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.facts().name
    }

    /// Parameters, path variables included.
    #[must_use]
    pub fn parameters(&self) -> &Object {
        &self.facts().parameters
    }

    /// What it answers in `data`.
    #[must_use]
    pub fn returns(&self) -> &Property {
        &self.facts().returns
    }

    /// Who may call it.
    #[must_use]
    pub fn permission(&self) -> &Permission {
        &self.facts().permission
    }

    /// The document has rules in prose beyond [`Method::permission`]: the handler checks more.
    #[must_use]
    pub fn has_extra_rules(&self) -> bool {
        self.facts().extra_rules
    }

    /// Executed by the root daemon.
    #[must_use]
    pub fn protected(&self) -> bool {
        self.facts().protected
    }

    /// The parameter that names the node to forward to.
    #[must_use]
    pub fn proxyto(&self) -> Option<&str> {
        self.facts().proxyto.as_deref()
    }

    /// API tokens may call it.
    #[must_use]
    pub fn allow_token(&self) -> bool {
        self.facts().allow_token
    }

    /// It may answer raw bytes.
    #[must_use]
    pub fn download_allowed(&self) -> bool {
        self.facts().download_allowed
    }

    /// The handler gets the caller's credentials.
    #[must_use]
    pub fn expose_credentials(&self) -> bool {
        self.facts().expose_credentials
    }

    /// Checks parameters as PVE does before it runs the method. When all fit, booleans become
    /// 1 or 0 and integers numbers; defaults are not filled in.
    ///
    /// # Errors
    /// Parameter to PVE's text, for the `errors` of a 400 answer.
    pub fn check(&self, given: &mut Params) -> Result<(), Errors> {
        check_parameters(self.parameters(), given)
    }

    fn facts(&self) -> &Facts {
        self.facts.get_or_init(|| {
            // What cannot be read stays closed: root alone, no token, nothing declared.
            let mut facts = serde_json::from_str(&self.raw)
                .map(|value| Facts::from_value(&value))
                .unwrap_or_default();
            if LOOSE.contains(&(self.verb, self.path.as_str())) {
                facts.parameters.additional = Additional::Unspecified;
            }
            facts
        })
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Method({} {})", self.verb, self.path)
    }
}

impl Facts {
    fn from_value(method: &Value) -> Self {
        let is_set = |key: &str| method.get(key).is_some_and(crate::value::is_true);
        let text = |key: &str| method.get(key).and_then(Value::as_str).map(str::to_owned);
        let permissions = method.get("permissions");
        Self {
            name: text("name").unwrap_or_default(),
            parameters: method.get("parameters").map(Object::from_value).unwrap_or_default(),
            returns: method.get("returns").map(Property::from_value).unwrap_or_default(),
            permission: Permission::from_rules(permissions),
            extra_rules: permissions.is_some_and(|rules| {
                rules.get("described").is_some() || rules.get("description").is_some()
            }),
            protected: is_set("protected"),
            proxyto: text("proxyto"),
            allow_token: method.get("allowtoken").is_none_or(crate::value::is_true),
            download_allowed: is_set("download_allowed"),
            expose_credentials: is_set("expose_credentials"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Method, Permission, Verb};

    #[test]
    fn unreadable_methods_stay_closed() {
        let method = Method::new(Verb::Get, "/x".to_owned(), "{".into());
        assert_eq!(*method.permission(), Permission::RootOnly);
        assert!(!method.allow_token());
    }

    #[test]
    fn tokens_are_allowed_unless_refused() {
        let of = |raw: &'static str| Method::new(Verb::Get, "/x".to_owned(), raw.into());
        assert!(of("{}").allow_token());
        assert!(!of(r#"{"allowtoken": 0}"#).allow_token());
    }

    #[test]
    fn verbs_have_two_names() {
        assert_eq!(Verb::from_http("PUT"), Some(Verb::Put));
        assert_eq!(Verb::from_http("put"), None);
        assert_eq!(Verb::Post.cli_name(), "create");
    }
}
