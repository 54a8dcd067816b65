//! From the tables of a file to steps.

use std::collections::BTreeMap;
use std::time::Duration;

use pve_schema::{Params, Schema, Verb, check_format};
use secrets::SecretString;

use super::{Action, GuestStep, Power, SeedFile, Size, Step, Steps, TaskStep, VolumeStep};
use crate::document::{Field, FileError, Place, Table, Value};
use crate::limits::{SEED_NODES, SEED_STEPS};
use crate::seed::{GuestKind, Hardware, NodeSeed, Seed};
use crate::state::disk;

type Secrets<'s> = &'s mut dyn FnMut(&str) -> Result<SecretString, String>;

/// Memory of a node for each of its processors, when the file says none.
const MEMORY_PER_CPU: u64 = 4 << 30;
const NODE_DISK: u64 = 100 << 30;
/// Longest age and length of tasks and volumes: ten years.
const AGE: Duration = Duration::from_secs(10 * 366 * 86_400);
/// Types of tasks that nodes have.
const TASK_TYPES: [&str; 33] = [
    "aptupdate",
    "cephcreateosd",
    "download",
    "hamigrate",
    "hastart",
    "hastop",
    "imgcopy",
    "imgdel",
    "migrateall",
    "qmclone",
    "qmconfig",
    "qmcreate",
    "qmdelsnapshot",
    "qmdestroy",
    "qmigrate",
    "qmmove",
    "qmreboot",
    "qmrestore",
    "qmrollback",
    "qmshutdown",
    "qmsnapshot",
    "qmstart",
    "qmstop",
    "startall",
    "stopall",
    "vncproxy",
    "vncshell",
    "vzcreate",
    "vzdump",
    "vzmigrate",
    "vzrestore",
    "vzshutdown",
    "vzstart",
];

pub(super) fn seed(mut file: Table, secrets: Secrets<'_>) -> Result<SeedFile, FileError> {
    let mut seed = Seed { storages: Vec::new(), ..Seed::empty() };
    seed.cluster = file.text("cluster")?;
    let nodes = file.tables("nodes")?;
    if let Some(over) = nodes.get(SEED_NODES) {
        let what = format!("more than {SEED_NODES} nodes");
        return Err(over.place().refused(what, "remove some"));
    }
    if !nodes.is_empty() {
        seed.nodes.clear();
    }
    for table in nodes {
        let at = seed.nodes.len();
        let (place, node) = node(table, at)?;
        if seed.nodes.iter().any(|known| known.name == node.name) {
            let what = format!("a second node {}", node.name);
            return Err(place.refused(what, "give each its own name"));
        }
        seed.nodes.push(node);
    }
    let steps = steps(&mut file, secrets)?;
    file.finish()?;
    Ok(SeedFile { seed, steps: Steps(steps) })
}

/// In the order in which one needs the other.
fn steps(file: &mut Table, secrets: Secrets<'_>) -> Result<Vec<Step>, FileError> {
    let mut steps = Vec::new();
    let storages = file.take("storages").map(Field::list).transpose()?;
    let storages = match storages {
        Some(storages) => storages.into_iter().map(Field::table).collect::<Result<Vec<_>, _>>()?,
        None => {
            steps.push(local_storage(file.place()));
            Vec::new()
        }
    };
    for table in storages {
        steps.push(storage(table)?);
    }
    let calls = [("roles", Verb::Post, "/access/roles"), ("groups", Verb::Post, "/access/groups")];
    for (key, verb, path) in calls {
        for table in file.tables(key)? {
            steps.push(plain(table, verb, path));
        }
    }
    for table in file.tables("users")? {
        steps.push(user(table, secrets)?);
    }
    for table in file.tables("tokens")? {
        steps.push(token(table, secrets)?);
    }
    for table in file.tables("pools")? {
        steps.push(pool(table)?);
    }
    for (key, kind) in [("qemu", GuestKind::Qemu), ("lxc", GuestKind::Lxc)] {
        for table in file.tables(key)? {
            steps.push(guest(table, kind)?);
        }
    }
    for table in file.tables("acl")? {
        steps.push(plain(table, Verb::Put, "/access/acl"));
    }
    for table in file.tables("volumes")? {
        steps.push(volume(table)?);
    }
    for table in file.tables("calls")? {
        steps.push(call(table)?);
    }
    for table in file.tables("tasks")? {
        steps.push(task(table)?);
    }
    match steps.get(SEED_STEPS) {
        Some(over) => {
            Err(over.place.refused(format!("more than {SEED_STEPS} tables"), "remove some"))
        }
        None => Ok(steps),
    }
}

fn node(mut table: Table, at: usize) -> Result<(Place, NodeSeed), FileError> {
    let name = table.required("name")?;
    host_name(&name)?;
    let ip = match table.take("ip") {
        Some(field) => {
            let text = field.text()?;
            let address = text.parse::<std::net::IpAddr>();
            address.map_err(|_| field.place.refused("no IP address", "write 192.0.2.11"))?;
            text
        }
        // Documentation addresses (RFC 5737): nothing answers there.
        None => format!("192.0.2.{}", 11 + at % 240),
    };
    let cpus = table.take("cpus").map(|field| field.number(1, 8192)).transpose()?.unwrap_or(8);
    let memory = table.take("memory").map(|field| bytes(&field)).transpose()?;
    let disk = table.take("disk").map(|field| bytes(&field)).transpose()?;
    let status = word(&mut table, "status", &[("online", true), ("unknown", false)])?;
    table.finish()?;
    let hardware = Hardware {
        cpus: u32::try_from(cpus).unwrap_or(8),
        memory: memory.unwrap_or(cpus * MEMORY_PER_CPU),
        disk: disk.unwrap_or(NODE_DISK),
    };
    let hardware = status.unwrap_or(true).then_some(hardware);
    let place = name.place.clone();
    Ok((place, NodeSeed { name: name.text()?, ip, ssl_fingerprint: None, hardware }))
}

/// As the API checks the node in a path.
fn host_name(field: &Field) -> Result<(), FileError> {
    let at = Schema::v9().find("/nodes/n");
    let method = at.as_ref().and_then(|at| at.method(Verb::Get));
    let property = method.and_then(|method| method.parameters().property("node"));
    let Some(format) = property.and_then(|property| property.format.as_ref()) else {
        return Ok(());
    };
    check_format(format, &field.text()?, "name")
        .map_err(|why| field.place.refused(why.trim().to_owned(), "use a host name"))
}

/// What every node has, for files that name no storages.
fn local_storage(place: &Place) -> Step {
    let text = |text: &str| serde_json::Value::from(text);
    let parameters = Params::from([
        ("type".to_owned(), text("dir")),
        ("path".to_owned(), text("/var/lib/vz")),
        ("content".to_owned(), text("iso,vztmpl,backup")),
    ]);
    let action = Action::Storage { id: "local".to_owned(), parameters, size: Size::Default };
    Step { place: place.clone(), places: BTreeMap::new(), action }
}

/// A table that is the parameters of one call.
fn plain(table: Table, verb: Verb, path: &str) -> Step {
    with(table, |parameters| Action::Call { verb, path: path.to_owned(), parameters })
}

/// What is left of a table are parameters.
fn with(table: Table, action: impl FnOnce(Params) -> Action) -> Step {
    let place = table.place().clone();
    let places = table.places();
    Step { place, places, action: action(parameters(table)) }
}

fn parameters(table: Table) -> Params {
    table.rest().into_iter().map(|(key, field)| (key, field.value.to_json())).collect()
}

fn storage(mut table: Table) -> Result<Step, FileError> {
    let id = table.required("storage")?.text()?;
    let size = match table.take("size") {
        None => Size::Default,
        Some(Field { value: Value::Text(word), .. }) if word == "unknown" => Size::Unknown,
        Some(field) => Size::Bytes(bytes(&field)?),
    };
    Ok(with(table, |parameters| Action::Storage { id, parameters, size }))
}

fn user(mut table: Table, secrets: Secrets<'_>) -> Result<Step, FileError> {
    let id = table.required("userid")?.text()?;
    let password = secret(&mut table, "password", "password_file", secrets)?;
    Ok(with(table, |parameters| Action::User { id, parameters, password }))
}

fn token(mut table: Table, secrets: Secrets<'_>) -> Result<Step, FileError> {
    let user = table.required("userid")?.text()?;
    let name = table.required("tokenid")?.text()?;
    let secret = secret(&mut table, "secret", "secret_file", secrets)?;
    Ok(with(table, |parameters| Action::Token { user, name, parameters, secret }))
}

/// In the file itself, which a test fixture may do, or in one of its own.
fn secret(
    table: &mut Table,
    plain: &'static str,
    file: &'static str,
    secrets: Secrets<'_>,
) -> Result<Option<SecretString>, FileError> {
    let (inline, file) = (table.take(plain), table.take(file));
    match (inline, file) {
        (Some(_), Some(file)) => Err(file.place.refused("a second secret", "keep one of both")),
        (Some(inline), None) => inline.text().map(|text| Some(SecretString::new(text))),
        (None, Some(file)) => secrets(&file.text()?)
            .map(Some)
            .map_err(|why| file.place.refused(why, "name a readable file, from here on")),
        (None, None) => Ok(None),
    }
}

fn pool(mut table: Table) -> Result<Step, FileError> {
    let name = table.required("poolid")?.text()?;
    let comment = table.text("comment")?;
    Ok(with(table, |members| Action::Pool { name, comment, members }))
}

fn guest(mut table: Table, kind: GuestKind) -> Result<Step, FileError> {
    let node = table.required("node")?.text()?;
    let mut powers = vec![("stopped", Power::Stopped), ("running", Power::Running)];
    if kind == GuestKind::Qemu {
        powers.push(("paused", Power::Paused));
    }
    let power = word(&mut table, "status", &powers)?.unwrap_or(Power::Stopped);
    let lock = table.text("lock")?;
    let snapshots = table.tables("snapshots")?.into_iter().map(parameters).collect();
    if let Some(start) = table.take("start") {
        return Err(start.place.refused("a seed is no call", "write status = \"running\""));
    }
    Ok(with(table, |parameters| {
        Action::Guest(Box::new(GuestStep { kind, node, parameters, power, lock, snapshots }))
    }))
}

fn volume(mut table: Table) -> Result<Step, FileError> {
    let (place, places) = (table.place().clone(), table.places());
    let storage = table.required("storage")?.text()?;
    let step = VolumeStep {
        storage,
        node: table.text("node")?,
        name: table.required("volume")?.text()?,
        size: bytes(&table.required("size")?)?,
        notes: table.text("notes")?,
        protected: table.boolean("protected")?.unwrap_or(false),
        age: age(&mut table, "age")?.unwrap_or_default(),
    };
    table.finish()?;
    Ok(Step { place, places, action: Action::Volume(step) })
}

fn task(mut table: Table) -> Result<Step, FileError> {
    let (place, places) = (table.place().clone(), table.places());
    let kind = table.required("type")?;
    let text = kind.text()?;
    let known = TASK_TYPES.iter().find(|known| **known == text).copied();
    let known = known.ok_or_else(|| {
        let remedy = match settings::closest(&TASK_TYPES, &text) {
            Some(meant) => format!("did you mean {meant}?"),
            None => "use one such as qmstart or vzdump".to_owned(),
        };
        kind.place.refused("no type of tasks", remedy)
    })?;
    let exit = table.text("status")?.filter(|status| status != "OK").map_or(Ok(()), Err);
    let log = table.take("log").map(Field::texts).transpose()?.unwrap_or_default();
    let step = TaskStep {
        node: table.text("node")?,
        kind: known,
        id: table.take("id").map(|field| scalar(&field)).transpose()?.unwrap_or_default(),
        user: table.text("user")?.unwrap_or_else(|| "root@pam".to_owned()),
        exit,
        age: age(&mut table, "age")?.unwrap_or_default(),
        takes: age(&mut table, "duration")?.unwrap_or_default(),
        log: log.into_iter().map(|(_, line)| line).collect(),
    };
    table.finish()?;
    Ok(Step { place, places, action: Action::Task(step) })
}

fn call(mut table: Table) -> Result<Step, FileError> {
    let (place, method) = (table.place().clone(), table.required("method")?);
    let verb = Verb::from_http(&method.text()?).filter(|verb| *verb != Verb::Get);
    let refused = || method.place.refused("no verb that changes", "use POST, PUT or DELETE");
    let verb = verb.ok_or_else(refused)?;
    let path = table.required("path")?.text()?;
    let given = table.take("parameters").map(Field::table).transpose()?;
    table.finish()?;
    let to_action = |parameters| Action::Call { verb, path, parameters };
    Ok(match given {
        Some(given) => Step { place, ..with(given, to_action) },
        None => Step { place, places: BTreeMap::new(), action: to_action(Params::new()) },
    })
}

fn word<T: Copy>(
    table: &mut Table,
    key: &'static str,
    words: &[(&str, T)],
) -> Result<Option<T>, FileError> {
    let Some(field) = table.take(key) else { return Ok(None) };
    let text = field.text()?;
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    found.map(Some).ok_or_else(|| {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        field.place.refused("another word", format!("use one of: {}", names.join(", ")))
    })
}

/// A text or a number, as text.
fn scalar(field: &Field) -> Result<String, FileError> {
    match &field.value {
        Value::Integer(number) => Ok(number.to_string()),
        _ => field.text(),
    }
}

/// `"700M"`, or a number of bytes.
fn bytes(field: &Field) -> Result<u64, FileError> {
    let read = disk::bytes(&scalar(field)?).filter(|bytes| i64::try_from(*bytes).is_ok());
    read.ok_or_else(|| field.place.refused("no size", "write \"700M\", \"32G\" or \"1T\""))
}

/// `"90s"`, `"10m"`, `"3h"`, `"2d"`.
fn age(table: &mut Table, key: &'static str) -> Result<Option<Duration>, FileError> {
    const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
    let Some(field) = table.take(key) else { return Ok(None) };
    let text = field.text()?;
    let read = UNITS.iter().find_map(|(unit, seconds)| {
        let count: u64 = text.strip_suffix(*unit)?.parse().ok()?;
        Some(Duration::from_secs(count.checked_mul(*seconds)?))
    });
    let read = read.filter(|age| *age <= AGE);
    read.map(Some).ok_or_else(|| {
        field.place.refused("no time", "write \"90s\", \"10m\", \"3h\" or \"2d\", up to ten years")
    })
}
