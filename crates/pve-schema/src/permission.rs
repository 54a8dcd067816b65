//! What PVE checks before it runs a method.

use serde_json::Value;

/// The expression of a method, in prefix notation in the API document. Path templates name
/// parameters in braces (`/vms/{vmid}`). `root@pam` passes everything.
///
/// Source: `PVE::RPCEnvironment::check_api2_permissions`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Permission {
    /// Nothing declared: `root@pam` alone.
    #[default]
    RootOnly,
    /// Without credentials too.
    World,
    /// Every authenticated user; handlers often add rules ([`crate::Method::has_extra_rules`]).
    All,
    /// Only prose: PVE itself refuses everybody but `root@pam` then.
    HandlerDecides,
    /// Privileges on one path.
    Perm {
        /// Template of the ACL path.
        path: String,
        /// Names such as `VM.Audit`.
        privileges: Vec<String>,
        /// One of them is enough.
        any: bool,
        /// The check is skipped when this parameter is not given.
        require_param: Option<String>,
    },
    /// All of these.
    And(Vec<Permission>),
    /// One of these.
    Or(Vec<Permission>),
    /// Privileges on the groups of the user in `userid` (`/access/groups/G`), or on
    /// `/access/groups`; with `groups_param` on the groups given in `groups`.
    UserIdGroup {
        /// Names such as `User.Modify`.
        privileges: Vec<String>,
        /// `create` or `update`: how the parameter `groups` is taken into account.
        groups_param: Option<String>,
    },
    /// The user in `userid`: `self` means the caller, `Realm.AllocateUser` that privilege on
    /// `/access/realm/REALM`.
    UserIdParam(String),
    /// The right to change the ACL of this path.
    PermModify {
        /// Template of the ACL path.
        path: String,
    },
}

impl Permission {
    /// The `permissions` of a method. What is not understood becomes [`Permission::RootOnly`].
    pub(crate) fn from_rules(rules: Option<&Value>) -> Self {
        let Some(rules) = rules.filter(|rules| rules.is_object()) else {
            return Self::RootOnly;
        };
        match rules.get("user").and_then(Value::as_str) {
            Some("world") => return Self::World,
            Some("all") => return Self::All,
            _ => {}
        }
        match rules.get("check") {
            Some(check) => Self::from_check(check).unwrap_or_default(),
            None => Self::HandlerDecides,
        }
    }

    fn from_check(check: &Value) -> Option<Self> {
        let [operator, operands @ ..] = check.as_array()?.as_slice() else {
            return None;
        };
        let all = || operands.iter().map(Self::from_check).collect::<Option<Vec<_>>>();
        match (operator.as_str()?, operands) {
            ("and", _) => all().map(Self::And),
            ("or", _) => all().map(Self::Or),
            ("perm", [path, privileges, options @ ..]) => Some(Self::Perm {
                path: path.as_str()?.to_owned(),
                privileges: names(privileges)?,
                any: option(options, "any").is_some_and(is_set),
                require_param: option(options, "require_param").and_then(text),
            }),
            ("userid-group", [privileges, options @ ..]) => Some(Self::UserIdGroup {
                privileges: names(privileges)?,
                groups_param: option(options, "groups_param").and_then(text),
            }),
            ("userid-param", [what]) => text(what).map(Self::UserIdParam),
            ("perm-modify", [path]) => text(path).map(|path| Self::PermModify { path }),
            _ => None,
        }
    }
}

fn names(list: &Value) -> Option<Vec<String>> {
    list.as_array()?.iter().map(text).collect()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// Options follow as name and value in turn.
fn option<'v>(options: &'v [Value], name: &str) -> Option<&'v Value> {
    options.chunks_exact(2).find_map(|pair| match pair {
        [key, value] if key == name => Some(value),
        _ => None,
    })
}

fn is_set(value: &Value) -> bool {
    value.as_i64() == Some(1) || value.as_bool() == Some(true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Permission;

    #[test]
    fn nothing_declared_means_root() {
        assert_eq!(Permission::from_rules(None), Permission::RootOnly);
        assert_eq!(
            Permission::from_rules(Some(&json!({"check": ["xor", 1]}))),
            Permission::RootOnly
        );
        assert_eq!(Permission::from_rules(Some(&json!({"check": []}))), Permission::RootOnly);
        assert_eq!(
            Permission::from_rules(Some(&json!({"described": 1}))),
            Permission::HandlerDecides
        );
    }

    #[test]
    fn expressions_nest() {
        let rules = json!({"check": ["or", ["userid-param", "self"], ["and",
            ["perm", "/vms/{vmid}", ["VM.Audit", "VM.Console"], "any", 1],
            ["perm", "/pool/{pool}", ["Pool.Audit"], "require_param", "pool"]]]});
        let Permission::Or(either) = Permission::from_rules(Some(&rules)) else { panic!("or") };
        assert_eq!(either[0], Permission::UserIdParam("self".to_owned()));
        let Permission::And(both) = &either[1] else { panic!("and") };
        assert!(
            matches!(&both[0], Permission::Perm { any: true, privileges, .. } if privileges.len() == 2)
        );
        assert!(
            matches!(&both[1], Permission::Perm { any: false, require_param: Some(p), .. } if p == "pool")
        );
    }

    #[test]
    fn a_broken_branch_does_not_widen_the_rest() {
        let rules = json!({"check": ["or", ["perm", "/", ["Sys.Audit"]], ["perm"]]});
        assert_eq!(Permission::from_rules(Some(&rules)), Permission::RootOnly);
    }
}
