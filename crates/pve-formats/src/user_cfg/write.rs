//! Writing the file, byte for byte as PVE does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{Acl, Grants, Keys, UserConfig, Vocabulary};
use crate::perl::{encode_text, is_list_separator, optional};

/// A value in the model can not be written without becoming another line, field or item.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("user.cfg not written: {what} {value:?} contains a separator of the file; correct it")]
pub struct WriteError {
    /// Which field.
    pub what: &'static str,
    /// Its value.
    pub value: String,
}

impl UserConfig {
    /// The canonical text: everything sorted, predefined roles and entries of `root@pam` left
    /// out, entries of a path merged by propagate flag and role list.
    pub fn write(&self, vocabulary: &Vocabulary) -> Result<String, WriteError> {
        let mut out = String::new();
        self.write_users(&mut out)?;
        out.push('\n');
        for (name, group) in &self.groups {
            let (name, users) = (field("group", name)?, list("group member", &group.users)?);
            line(&mut out, &["group", name, &users, &encoded(&group.comment)]);
        }
        out.push('\n');
        self.write_pools(&mut out)?;
        out.push('\n');
        for (name, privileges) in &self.roles {
            if (vocabulary.is_predefined_role)(name) {
                continue;
            }
            let (name, privileges) = (field("role", name)?, list("privilege", privileges)?);
            line(&mut out, &["role", name, &privileges]);
        }
        out.push('\n');
        for (path, acl) in &self.acl {
            write_acl(&mut out, path.as_str(), acl)?;
        }
        Ok(out)
    }

    fn write_users(&self, out: &mut String) -> Result<(), WriteError> {
        for (id, user) in &self.users {
            let id = field("user", id)?;
            let keys = user.keys.as_ref().map(|Keys(keys)| keys.expose().as_str());
            line(
                out,
                &[
                    "user",
                    id,
                    flag(user.enable),
                    &user.expire.to_string(),
                    &encoded(&user.firstname),
                    &encoded(&user.lastname),
                    // Neither of the two is encoded by PVE.
                    field("e-mail", truthy_or_blank(user.email.as_deref()))?,
                    &encoded(&user.comment),
                    secret_field("keys", truthy_or_blank(keys))?,
                ],
            );
            for (name, token) in &user.tokens {
                let full = format!("{id}!{}", field("token", name)?);
                let expire = token.expire.to_string();
                let comment = encoded(&token.comment);
                line(out, &["token", &full, &expire, flag(token.privsep), &comment]);
            }
        }
        Ok(())
    }

    fn write_pools(&self, out: &mut String) -> Result<(), WriteError> {
        for (name, pool) in &self.pools {
            // Sorted as text: 1000 comes before 200.
            let vms: BTreeSet<String> = pool.vms.iter().map(u64::to_string).collect();
            let (vms, storage) = (list("guest", &vms)?, list("storage", &pool.storage)?);
            let comment = encoded(&pool.comment);
            line(out, &["pool", field("pool", name)?, &comment, &vms, &storage]);
        }
        Ok(())
    }
}

/// Subjects by role list, for each propagate flag.
type Merged = [BTreeMap<String, BTreeSet<String>>; 2];

fn write_acl(out: &mut String, path: &str, acl: &Acl) -> Result<(), WriteError> {
    let mut merged = Merged::default();
    for (name, grants) in &acl.groups {
        merge(&mut merged, &format!("@{name}"), grants)?;
    }
    // root@pam has every right without an entry.
    for (name, grants) in acl.users.iter().filter(|(name, _)| *name != "root@pam") {
        merge(&mut merged, name, grants)?;
    }
    for (name, grants) in &acl.tokens {
        merge(&mut merged, name, grants)?;
    }
    for (propagate, by_roles) in ["0", "1"].into_iter().zip(&merged) {
        for (roles, subjects) in by_roles {
            line(out, &["acl", propagate, path, &list("ACL subject", subjects)?, roles]);
        }
    }
    Ok(())
}

fn merge(merged: &mut Merged, subject: &str, grants: &Grants) -> Result<(), WriteError> {
    let [final_only, propagated] = merged;
    for (flag, by_roles) in [(false, final_only), (true, propagated)] {
        let roles = grants.iter().filter(|(_, propagate)| **propagate == flag);
        let roles = list("ACL role", roles.map(|(role, _)| role))?;
        if !roles.is_empty() {
            by_roles.entry(roles).or_default().insert(subject.to_owned());
        }
    }
    Ok(())
}

fn line(out: &mut String, fields: &[&str]) {
    for field in fields {
        out.push_str(field);
        out.push(':');
    }
    out.push('\n');
}

fn flag(value: bool) -> &'static str {
    if value { "1" } else { "0" }
}

fn encoded(text: &Option<String>) -> String {
    text.as_deref().and_then(optional).map(encode_text).unwrap_or_default()
}

fn truthy_or_blank(text: Option<&str>) -> &str {
    text.and_then(optional).unwrap_or_default()
}

/// A field that is written as it is.
fn field<'t>(what: &'static str, text: &'t str) -> Result<&'t str, WriteError> {
    match text.contains([':', '\n']) {
        true => Err(WriteError { what, value: text.to_owned() }),
        false => Ok(text),
    }
}

/// The same for a field whose value must not show in the error.
fn secret_field<'t>(what: &'static str, text: &'t str) -> Result<&'t str, WriteError> {
    field(what, text).map_err(|_| WriteError { what, value: "(hidden)".to_owned() })
}

fn list<'t>(
    what: &'static str,
    items: impl IntoIterator<Item = &'t String>,
) -> Result<String, WriteError> {
    let mut out = String::new();
    for item in items {
        if item.contains(|c| c == '\0' || is_list_separator(c)) {
            return Err(WriteError { what, value: item.clone() });
        }
        let comma = if out.is_empty() { "" } else { "," };
        // Writing to a String can not fail.
        let _ = write!(out, "{comma}{}", field(what, item)?);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user_cfg::User;
    use proptest::prelude::*;
    use proptest::string::string_regex;

    const VOCABULARY: Vocabulary = Vocabulary {
        is_privilege: |name| matches!(name, "VM.Audit" | "VM.Console"),
        is_predefined_role: |name| matches!(name, "NoAccess" | "PVEAuditor"),
    };

    fn rewritten(text: &str) -> String {
        UserConfig::parse(text, &VOCABULARY).unwrap().config.write(&VOCABULARY).unwrap()
    }

    #[test]
    fn an_empty_file_has_the_section_breaks_and_root() {
        assert_eq!(rewritten(""), "user:root@pam:1:0::::::\n\n\n\n\n");
    }

    #[test]
    fn roles_that_widen_predefined_ones_are_dropped() {
        assert!(!rewritten("role:PVEAuditor:VM.Console\n").contains("role:"));
    }

    #[test]
    fn entries_are_merged_by_flag_and_roles() {
        let text = "user:a@pve:1\ngroup:g:\nrole:r:VM.Audit\n\
                    acl:1:/vms:@g:r\nacl:1:/vms:a@pve:r\nacl:0:/vms:a@pve:PVEAuditor\n\
                    acl:1:/:root@pam:r\n";
        let acl = "acl:0:/vms:a@pve:PVEAuditor:\nacl:1:/vms:@g,a@pve:r:\n";
        assert!(rewritten(text).ends_with(&format!("role:r:VM.Audit:\n\n{acl}")));
    }

    #[test]
    fn a_value_can_not_smuggle_a_line() {
        let user = User { email: Some("a\nuser:x@pve:1".to_owned()), ..User::default() };
        let mut config = UserConfig::default();
        config.users.insert("a@pve".to_owned(), user);
        assert_eq!(config.write(&VOCABULARY).unwrap_err().what, "e-mail");

        let mut config = UserConfig::default();
        config.groups.entry("g".to_owned()).or_default().users.insert("a,b@pve".to_owned());
        assert_eq!(config.write(&VOCABULARY).unwrap_err().what, "group member");
    }

    /// Lines that are mostly right, so that the interesting branches are reached.
    fn any_line() -> impl Strategy<Value = String> {
        let text = "([ -9;-~é]{0,5}|(%[0-9A-F]{2}| |x){0,4})";
        let user = "(root@pam|a@pve|b@pve|c@x-y)";
        let roles = "(r,|NoAccess ){0,3}";
        let shapes = [
            format!("user:{user}:[01]:[0-9]{{0,3}}:{text}:{text}:[a-z@.]{{0,4}}:{text}:x?:"),
            format!("token:(a@pve|root@pam)!(ci|mon):[0-9]{{0,2}}:[01]?:{text}:"),
            format!("group:(g|h):({user},){{0,3}}:{text}:"),
            format!("pool:(p|p/q|p/q/r):{text}:([0-9]{{1,3}},){{0,3}}:(local,)?(nfs,)?:"),
            "role:(r|s|PVEAuditor):(VM.Audit,)?(VM.Console)?:".to_owned(),
            format!("acl:[01]:/(vms|pool/p|a/0|)/?:({user},|@g,|a@pve!ci ){{0,3}}:{roles}:"),
            ".{0,20}".to_owned(),
        ];
        let shapes = shapes.map(|shape| string_regex(&shape).unwrap().boxed());
        prop::strategy::Union::new(shapes)
    }

    /// The configuration without what is not meant to survive a rewrite.
    fn lasting(mut config: UserConfig) -> UserConfig {
        config.roles.retain(|name, _| !(VOCABULARY.is_predefined_role)(name));
        let tokens = config.users.iter().flat_map(|(user, data)| {
            data.tokens.keys().map(move |token| format!("{user}!{token}"))
        });
        let tokens: BTreeSet<String> = tokens.collect();
        for acl in config.acl.values_mut() {
            acl.users.remove("root@pam");
            // A later line for the user took its tokens, but not their entries.
            acl.tokens.retain(|token, _| tokens.contains(token));
        }
        config.acl.retain(|_, acl| !acl.is_empty());
        config
    }

    proptest! {
        #[test]
        fn written_text_reads_the_same(lines in prop::collection::vec(any_line(), 0..24)) {
            let text = lines.join("\n");
            let config = UserConfig::parse(&text, &VOCABULARY).unwrap().config;
            let Ok(written) = config.write(&VOCABULARY) else {
                return Ok(());
            };
            let again = UserConfig::parse(&written, &VOCABULARY).unwrap().config;
            let lasting = lasting(config);
            prop_assert_eq!(lasting.write(&VOCABULARY), again.write(&VOCABULARY));
            prop_assert_eq!(again, lasting);
        }

        #[test]
        fn any_text_is_taken(text in any::<String>()) {
            let _ = UserConfig::parse(&text, &VOCABULARY);
        }
    }
}
