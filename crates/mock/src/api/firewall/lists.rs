//! Aliases and IP sets, what rules may refer to, and the log.

use serde_json::{Map, Value, json};

use super::{Call, read, write};
use crate::failure::{Failure, Outcome, Success};
use crate::object::set_some;
use crate::state::Firewall;
use crate::state::firewall::{CLUSTER, Group, with_digest};

/// Entries of one set or aliases of one file.
const ENTRIES: usize = 10_000;
/// Macros by name, a selection of those that come with the firewall.
const MACROS: [(&str, &str); 12] = [
    ("Ceph", "Ceph Storage Cluster traffic"),
    ("DHCPfwd", "Forwarded DHCP traffic"),
    ("DNS", "Domain Name System traffic"),
    ("FTP", "File Transfer Protocol"),
    ("HTTP", "Hypertext Transfer Protocol (WWW)"),
    ("HTTPS", "Hypertext Transfer Protocol (WWW) over SSL"),
    ("MySQL", "MySQL server"),
    ("NTP", "Network Time Protocol (ntpd)"),
    ("Ping", "ICMP echo request"),
    ("SMTP", "Simple Mail Transfer Protocol"),
    ("SSH", "Secure shell traffic"),
    ("Web", "WWW traffic (HTTP and HTTPS)"),
];

fn name(call: &Call<'_>) -> String {
    call.required("name")
}

pub(super) fn aliases(call: &mut Call<'_>) -> Outcome {
    let empty = Firewall::default();
    Ok(json!(with_digest(read(call, &empty)?.aliases.values()).0).into())
}

pub(super) fn alias(call: &mut Call<'_>) -> Outcome {
    let empty = Firewall::default();
    let found = read(call, &empty)?.aliases.get(&name(call).to_lowercase());
    let alias = found.ok_or_else(|| no_alias(call))?;
    Ok(json!(with_digest([alias]).0.first()).into())
}

fn no_alias(call: &Call<'_>) -> Failure {
    Failure::parameter("name", &format!("no such alias '{}'", name(call)))
}

pub(super) fn create_alias(call: &mut Call<'_>) -> Outcome {
    let (name, alias) = (name(call), super::picked(call, &["name", "cidr", "comment"]));
    let aliases = &mut write(call)?.aliases;
    if aliases.contains_key(&name.to_lowercase()) || aliases.len() >= ENTRIES {
        return Err(Failure::parameter("name", &format!("alias '{name}' already exists")));
    }
    aliases.insert(name.to_lowercase(), alias);
    Ok(Success::default())
}

pub(super) fn update_alias(call: &mut Call<'_>) -> Outcome {
    let empty = Firewall::default();
    let (old, new) = (name(call).to_lowercase(), call.text("rename"));
    let aliases = &read(call, &empty)?.aliases;
    let mut alias = aliases.get(&old).cloned().ok_or_else(|| no_alias(call))?;
    call.unmodified(&with_digest([&alias]).1)?;
    alias.extend(super::picked(call, &["cidr", "comment"]));
    let mut key = old.clone();
    if let Some(new) = new {
        key = new.to_lowercase();
        if key != old && aliases.contains_key(&key) {
            return Err(Failure::parameter("name", &format!("alias '{new}' already exists")));
        }
        alias.insert("name".to_owned(), json!(new));
    }
    let aliases = &mut write(call)?.aliases;
    aliases.remove(&old);
    aliases.insert(key, alias);
    Ok(Success::default())
}

pub(super) fn delete_alias(call: &mut Call<'_>) -> Outcome {
    let key = name(call).to_lowercase();
    let empty = Firewall::default();
    if let Some(alias) = read(call, &empty)?.aliases.get(&key) {
        call.unmodified(&with_digest([alias]).1)?;
    }
    write(call)?.aliases.remove(&key);
    Ok(Success::default())
}

pub(super) fn sets(call: &mut Call<'_>) -> Outcome {
    let empty = Firewall::default();
    let entries = set_entries(read(call, &empty)?);
    Ok(json!(with_digest(&entries).0).into())
}

fn set_entries(firewall: &Firewall) -> Vec<Map<String, Value>> {
    let entry = |(name, set): (&String, &Group)| {
        let mut entry = Map::from_iter([("name".to_owned(), json!(name))]);
        if let Some(comment) = &set.comment {
            entry.insert("comment".to_owned(), json!(comment));
        }
        entry
    };
    firewall.ipsets.iter().map(entry).collect()
}

/// Creates a set, or with `rename` changes the name and comment of one.
pub(super) fn create_set(call: &mut Call<'_>) -> Outcome {
    let (name, rename, comment) = (name(call), call.text("rename"), call.text("comment"));
    let empty = Firewall::default();
    call.unmodified(&with_digest(&set_entries(read(call, &empty)?)).1)?;
    let sets = &mut write(call)?.ipsets;
    let taken = sets.contains_key(&name) && rename.as_ref() != Some(&name);
    if taken || sets.len() >= ENTRIES {
        return Err(Failure::parameter("name", &format!("IPSet '{name}' already exists")));
    }
    let set = match rename {
        Some(old) => {
            let Some(mut set) = sets.remove(&old) else {
                return Err(Failure::parameter("name", &format!("IPSet '{old}' does not exist")));
            };
            set.comment = comment.or(set.comment);
            set
        }
        None => Group { comment, entries: Vec::new() },
    };
    sets.insert(name, set);
    Ok(Success::default())
}

pub(super) fn delete_set(call: &mut Call<'_>) -> Outcome {
    let (name, force) = (name(call), call.flag("force"));
    let sets = &mut write(call)?.ipsets;
    let set = sets.get(&name).ok_or_else(|| no_set(&name))?;
    if !set.entries.is_empty() && !force {
        return Err(Failure::die(format!("IPSet '{name}' is not empty")));
    }
    sets.remove(&name);
    Ok(Success::default())
}

fn no_set(name: &str) -> Failure {
    Failure::die(format!("no such IPSet '{name}'"))
}

fn set<'c>(call: &'c Call<'_>, empty: &'c Firewall) -> Result<&'c Group, Failure> {
    let name = name(call);
    read(call, empty)?.ipsets.get(&name).ok_or_else(|| no_set(&name))
}

pub(super) fn entries(call: &mut Call<'_>) -> Outcome {
    let empty = Firewall::default();
    Ok(json!(with_digest(&set(call, &empty)?.entries).0).into())
}

fn is_of(cidr: &str) -> impl Fn(&Map<String, Value>) -> bool + use<'_> {
    move |entry| entry.get("cidr").and_then(Value::as_str) == Some(cidr)
}

fn no_entry(cidr: &str) -> Failure {
    Failure::parameter("cidr", &format!("no such IP/Network '{cidr}'"))
}

pub(super) fn entry(call: &mut Call<'_>) -> Outcome {
    let empty = Firewall::default();
    let cidr = call.required("cidr");
    let (entries, _) = with_digest(&set(call, &empty)?.entries);
    let found = entries.into_iter().find(is_of(&cidr));
    Ok(json!(found.ok_or_else(|| no_entry(&cidr))?).into())
}

pub(super) fn create_entry(call: &mut Call<'_>) -> Outcome {
    let (name, cidr) = (name(call), call.required("cidr"));
    let entry = super::picked(call, &["cidr", "comment", "nomatch"]);
    let sets = &mut write(call)?.ipsets;
    let set = sets.get_mut(&name).ok_or_else(|| no_set(&name))?;
    if set.entries.iter().any(is_of(&cidr)) || set.entries.len() >= ENTRIES {
        let text = format!("address '{cidr}' already exists");
        return Err(Failure::parameter("cidr", &text));
    }
    set.entries.insert(0, entry);
    Ok(Success::default())
}

pub(super) fn update_entry(call: &mut Call<'_>) -> Outcome {
    let (name, cidr) = (name(call), call.required("cidr"));
    let empty = Firewall::default();
    call.unmodified(&with_digest(&set(call, &empty)?.entries).1)?;
    let more = super::picked(call, &["comment", "nomatch"]);
    let set = write(call)?.ipsets.get_mut(&name).ok_or_else(|| no_set(&name))?;
    let entry = set.entries.iter_mut().find(|entry| is_of(&cidr)(entry));
    entry.ok_or_else(|| no_entry(&cidr))?.extend(more);
    Ok(Success::default())
}

pub(super) fn delete_entry(call: &mut Call<'_>) -> Outcome {
    let (name, cidr) = (name(call), call.required("cidr"));
    let empty = Firewall::default();
    call.unmodified(&with_digest(&set(call, &empty)?.entries).1)?;
    let set = write(call)?.ipsets.get_mut(&name).ok_or_else(|| no_set(&name))?;
    set.entries.retain(|entry| !is_of(&cidr)(entry));
    Ok(Success::default())
}

/// What a source or destination may name: sets as `+name`, aliases by name; the data centre's
/// first, with their scope before the name.
pub(super) fn references(call: &mut Call<'_>) -> Outcome {
    let own = super::scope(call)?;
    let kind = call.text("type");
    let mut scopes = vec![(CLUSTER.to_owned(), "dc")];
    if own != CLUSTER {
        scopes.push((own, "guest"));
    }
    let mut entries = Vec::new();
    for (scope, word) in scopes {
        let Some(firewall) = call.state.firewalls.get(&scope) else { continue };
        if kind.as_deref() != Some("ipset") {
            entries.extend(firewall.aliases.values().map(|alias| {
                let text = alias.get("name").and_then(Value::as_str).unwrap_or_default();
                reference("alias", word, text, &format!("{word}/{text}"), alias.get("comment"))
            }));
        }
        if kind.as_deref() != Some("alias") {
            entries.extend(firewall.ipsets.iter().map(|(text, set)| {
                let comment = set.comment.as_ref().map(|comment| json!(comment));
                reference("ipset", word, text, &format!("+{word}/{text}"), comment.as_ref())
            }));
        }
    }
    Ok(Value::Array(entries).into())
}

fn reference(kind: &str, scope: &str, name: &str, text: &str, comment: Option<&Value>) -> Value {
    let mut entry = json!({ "type": kind, "scope": scope, "name": name, "ref": text });
    set_some(&mut entry, "comment", comment.cloned());
    entry
}

pub(super) fn macros(_call: &mut Call<'_>) -> Outcome {
    let entry = |(name, text): &(&str, &str)| json!({ "macro": name, "descr": text });
    Ok(MACROS.iter().map(entry).collect::<Value>().into())
}

/// A log without a packet.
pub(super) fn log(call: &mut Call<'_>) -> Outcome {
    call.node()?;
    Ok(Success { total: Some(1), ..json!([{ "n": 1, "t": "no content" }]).into() })
}
