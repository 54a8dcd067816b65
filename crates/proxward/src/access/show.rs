//! Answers as text and JSON.

use std::collections::BTreeMap;

use pve_access::{AccountError, Basis, Entry, Explanation, Permissions, Standing, Subject};
use serde_json::{Value, json};

use crate::cli::Format;
use crate::exit::{Exit, Stop};
use crate::output::result;

pub(super) struct Verdict<'a> {
    pub(super) subject: &'a Subject,
    pub(super) path: &'a str,
    pub(super) allowed: bool,
    pub(super) missing: Vec<&'a str>,
    pub(super) account: Option<AccountError>,
}

/// Yes is exit code 0, no is 1 with the reason.
pub(super) fn can(verdict: &Verdict<'_>, format: Format) -> Result<(), Stop> {
    let Verdict { subject, path, allowed, missing, account } = verdict;
    match format {
        Format::Text => {
            if *allowed {
                result(&format!("yes: {subject} may, at {path}"));
            }
        }
        Format::Json => result(
            &json!({
                "subject": subject.as_str(),
                "path": path,
                "allowed": allowed,
                "missing": missing,
                "account": account.map(|error| error.to_string()),
            })
            .to_string(),
        ),
    }
    match (*allowed, account) {
        (true, _) => Ok(()),
        (false, Some(error)) => Err(Stop::say(Exit::No, format!("no: {subject}: {error}"))),
        (false, None) => {
            let missing = missing.join(", ");
            Err(Stop::say(Exit::No, format!("no: {subject} lacks {missing} at {path}")))
        }
    }
}

pub(super) fn explanation(
    explanation: &Explanation,
    account: Option<AccountError>,
    format: Format,
) {
    match format {
        Format::Json => {
            let mut value = explanation_json(explanation);
            if let Some(members) = value.as_object_mut() {
                members.insert("account".to_owned(), json!(account.map(|e| e.to_string())));
            }
            result(&value.to_string());
        }
        Format::Text => {
            if let Some(error) = account {
                result(&format!(
                    "{}: {error}, so nothing of this is in force",
                    explanation.subject
                ));
            }
            for line in explanation_text(explanation) {
                result(&line);
            }
        }
    }
}

pub(super) fn effective(
    subject: &Subject,
    paths: &BTreeMap<String, Permissions>,
    account: Option<AccountError>,
    format: Format,
) {
    match format {
        Format::Json => result(
            &json!({
                "subject": subject.as_str(),
                "account": account.map(|error| error.to_string()),
                "paths": paths,
            })
            .to_string(),
        ),
        Format::Text => {
            if let Some(error) = account {
                result(&format!("{subject}: {error}, so nothing of this is in force"));
            }
            if paths.is_empty() {
                result(&format!("{subject} has no rights"));
            }
            let width = paths.keys().map(String::len).max().unwrap_or_default();
            for (path, permissions) in paths {
                result(&format!("{path:width$}  {}", privileges(*permissions)));
            }
        }
    }
}

/// Why each rule gives rights, as text and as the word of the JSON answer.
fn basis(basis: Basis) -> (&'static str, &'static str) {
    match basis {
        Basis::Root => ("root", "root@pam has every right"),
        Basis::Entries => ("entries", "by the entries of the list"),
        Basis::Owner => ("owner", "a token without privilege separation has its owner's rights"),
        Basis::EntriesAndOwner => {
            ("entries_and_owner", "a token with privilege separation has what both have")
        }
        Basis::NoToken => ("no_token", "there is no such token"),
    }
}

/// What became of an entry: the word, and the path that did it.
fn standing(standing: &Standing) -> (&'static str, Option<&str>) {
    match standing {
        Standing::InForce => ("in_force", None),
        Standing::NotPropagated => ("not_propagated", None),
        Standing::Outranked => ("outranked", None),
        Standing::Replaced(by) => ("replaced", Some(by)),
        Standing::NoAccess(by) => ("no_access", Some(by)),
    }
}

fn explanation_json(explanation: &Explanation) -> Value {
    let entries = explanation.entries.iter().map(|entry| {
        let (standing, by) = standing(&entry.standing);
        json!({
            "line": entry.line,
            "at": entry.at,
            "given_to": entry.given_to,
            "role": entry.role,
            "propagate": entry.propagate,
            "pool": entry.pool,
            "standing": standing,
            "by": by,
        })
    });
    let mut value = json!({
        "subject": explanation.subject.as_str(),
        "path": explanation.path,
        "basis": basis(explanation.basis).0,
        "entries": entries.collect::<Vec<_>>(),
        "permissions": explanation.permissions,
    });
    if let (Some(owner), Some(members)) = (&explanation.owner, value.as_object_mut()) {
        members.insert("owner".to_owned(), explanation_json(owner));
    }
    value
}

fn explanation_text(explanation: &Explanation) -> Vec<String> {
    let Explanation { subject, path, entries, owner, permissions, .. } = explanation;
    let mut lines = vec![format!("{subject} at {path}: {}", basis(explanation.basis).1)];
    lines.extend(entries.iter().map(entry_text));
    if entries.is_empty() && matches!(explanation.basis, Basis::Entries | Basis::EntriesAndOwner) {
        lines.push("  no entry on the way to this path".to_owned());
    }
    if let Some(owner) = owner {
        lines.extend(explanation_text(owner).iter().map(|line| format!("  {line}")));
    }
    lines.push(match permissions.held.is_empty() {
        true => "  = nothing".to_owned(),
        false => format!("  = {}", privileges(*permissions)),
    });
    lines
}

fn entry_text(entry: &Entry) -> String {
    let Entry { at, line, given_to, role, propagate, pool, .. } = entry;
    let line = line.map_or_else(String::new, |line| format!("line {line}: "));
    let flag = if *propagate { "" } else { ", not below it" };
    let pool = pool.as_ref().map_or_else(String::new, |pool| format!(", through pool {pool}"));
    let fate = match &entry.standing {
        Standing::InForce => "in force".to_owned(),
        Standing::NotPropagated => "does not reach this path".to_owned(),
        Standing::Outranked => "outranked by the subject's own entry there".to_owned(),
        Standing::Replaced(by) => format!("replaced by entries at {by}"),
        Standing::NoAccess(by) => format!("removed by NoAccess at {by}"),
    };
    format!("  {line}{role} for {given_to} at {at}{flag}{pool}: {fate}")
}

/// Names in order, those that propagate marked.
fn privileges(permissions: Permissions) -> String {
    let names = permissions
        .iter()
        .map(|(privilege, propagate)| format!("{privilege}{}", if propagate { "*" } else { "" }));
    names.collect::<Vec<_>>().join(" ")
}
