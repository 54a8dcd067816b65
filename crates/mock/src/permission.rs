//! The permission expressions of the API schema, applied to a caller
//! (`PVE::RPCEnvironment::check_api2_permissions`).

use pve_access::{Privilege, Subject};
use pve_schema::{Method, Params, Permission};
use serde_json::Value;

use crate::auth::Caller;
use crate::failure::Failure;
use crate::state::State;

/// Refuses with the genuine text when `caller` may not run `method` with these parameters.
pub(crate) fn check(
    state: &State,
    method: &Method,
    caller: &Caller,
    parameters: &Params,
) -> Result<(), Failure> {
    let permission = method.permission();
    if matches!(permission, Permission::World) {
        return Ok(());
    }
    let Some(subject) = caller.subject() else {
        return Err(Failure::permission("user != null"));
    };
    if subject.is_root() {
        return Ok(());
    }
    Check { state, subject, parameters }.expression(permission)
}

struct Check<'a> {
    state: &'a State,
    subject: &'a Subject,
    parameters: &'a Params,
}

impl Check<'_> {
    fn expression(&self, permission: &Permission) -> Result<(), Failure> {
        match permission {
            Permission::World | Permission::All => Ok(()),
            Permission::RootOnly => Err(Failure::permission("user != root@pam")),
            Permission::HandlerDecides => Err(Failure::permission("")),
            Permission::And(parts) => parts.iter().try_for_each(|part| self.expression(part)),
            Permission::Or(parts) => {
                let passed = parts.iter().any(|part| self.expression(part).is_ok());
                if passed { Ok(()) } else { Err(Failure::permission("")) }
            }
            Permission::Perm { path, privileges, any, require_param } => {
                let skipped = require_param.as_ref().is_some_and(|name| self.text(name).is_none());
                if skipped { Ok(()) } else { self.perm(&self.filled(path), privileges, *any) }
            }
            Permission::UserIdParam(test) => self.userid_param(test),
            Permission::UserIdGroup { privileges, groups_param } => {
                self.userid_group(privileges, groups_param.as_deref())
            }
            Permission::PermModify { path } => self.perm_modify(&self.filled(path)),
        }
    }

    fn perm(&self, path: &str, privs: &[String], any: bool) -> Result<(), Failure> {
        let granted = self.state.accounts.privileges(self.subject, path);
        let has = |name: &String| Privilege::parse(name).is_some_and(|one| granted.contains(one));
        if any {
            if privs.iter().any(has) {
                return Ok(());
            }
            return Err(Failure::permission(&format!("{path}, {}", privs.join("|"))));
        }
        match privs.iter().find(|name| !has(name)) {
            None => Ok(()),
            Some(missing) => Err(Failure::permission(&format!("{path}, {missing}"))),
        }
    }

    fn userid_param(&self, test: &str) -> Result<(), Failure> {
        let userid = self.text("userid").unwrap_or_default();
        let user = userid.parse::<identity::UserId>().map_err(|_| {
            Failure::die(format!("value '{userid}' does not look like a valid user name"))
        })?;
        if test == "self" {
            self.existing(userid)?;
            return if self.subject.as_str() == userid {
                Ok(())
            } else {
                Err(Failure::permission(""))
            };
        }
        self.perm(&format!("/access/realm/{}", user.realm()), &[test.to_owned()], false)
    }

    /// The right on a group of the user, or on all groups. A new user's groups stand in the
    /// parameters; without any, the right on `/access/groups` is needed.
    fn userid_group(&self, privs: &[String], groups_param: Option<&str>) -> Result<(), Failure> {
        let userid = self.text("userid").unwrap_or_default();
        if groups_param != Some("create") {
            self.existing(userid)?;
        }
        let groups: Vec<String> = match groups_param {
            Some(_) => self.list("groups"),
            None => self.state.accounts.groups_of(userid),
        };
        let allowed =
            |group: &String| self.perm(&format!("/access/groups/{group}"), privs, true).is_ok();
        if groups_param.is_none() && groups.iter().any(allowed) {
            return Ok(());
        }
        if groups_param == Some("create") && !groups.is_empty() {
            let path = |group: &String| format!("/access/groups/{group}");
            return groups.iter().try_for_each(|group| self.perm(&path(group), privs, true));
        }
        if self.perm("/access/groups", privs, true).is_ok() {
            return Ok(());
        }
        let member_of_allowed = self.state.accounts.groups_of(userid).iter().any(allowed);
        if member_of_allowed && groups.iter().all(allowed) {
            return Ok(());
        }
        Err(Failure::permission(&format!("/access/groups, {}", privs.join("|"))))
    }

    /// Changing access rules takes `Permissions.Modify`, or a right to delegate below a storage,
    /// guest or pool; the handler then limits the roles.
    fn perm_modify(&self, path: &str) -> Result<(), Failure> {
        let delegating = [
            ("/storage/", "Datastore.Allocate"),
            ("/vms/", "VM.Allocate"),
            ("/pool/", "Pool.Allocate"),
        ];
        let mut privs = vec!["Permissions.Modify".to_owned()];
        let extra = delegating.iter().find(|(prefix, _)| path.starts_with(prefix));
        privs.extend(extra.map(|(_, name)| (*name).to_owned()));
        self.perm(path, &privs, true)
    }

    fn existing(&self, userid: &str) -> Result<(), Failure> {
        if self.state.accounts.exists(userid) {
            return Ok(());
        }
        Err(Failure::die(format!("no such user ('{userid}')")))
    }

    /// `/vms/{vmid}` with the parameters' values in it.
    fn filled(&self, template: &str) -> String {
        let mut path = String::with_capacity(template.len());
        let mut rest = template;
        while let Some((before, tail)) = rest.split_once('{') {
            path.push_str(before);
            let (name, tail) = tail.split_once('}').unwrap_or((tail, ""));
            path.push_str(&self.shown(name));
            rest = tail;
        }
        path.push_str(rest);
        path
    }

    fn shown(&self, name: &str) -> String {
        match self.parameters.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).and_then(Value::as_str)
    }

    fn list(&self, name: &str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        let parts = text.split([',', ';', ' ', '\0']);
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }
}
