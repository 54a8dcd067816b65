//! `/pools`: guests and storages under one name.

use pve_access::user_cfg::{Pool, UserConfig};
use pve_schema::Verb;
use serde_json::{Value, json};

use super::{Call, Row};
use crate::failure::{Failure, Outcome, Success};
use crate::object::{set, set_some};

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/pools", list),
    (Verb::Post, "/pools", create),
    (Verb::Put, "/pools", update),
    (Verb::Delete, "/pools", delete),
    (Verb::Get, "/pools/{poolid}", show),
    (Verb::Put, "/pools/{poolid}", update),
    (Verb::Delete, "/pools/{poolid}", delete),
];

fn list(call: &mut Call<'_>) -> Outcome {
    if let Some(name) = call.text("poolid") {
        call.needs(&format!("/pool/{name}"), "Pool.Audit")?;
        let mut entry = pool(call, &name)?;
        set(&mut entry, "poolid", name);
        return Ok(json!([entry]).into());
    }
    let mut pools = Vec::new();
    for (name, pool) in &call.state.accounts.config().pools {
        if !call.may(&format!("/pool/{name}"), &["Pool.Audit"]) {
            continue;
        }
        let mut entry = json!({ "poolid": name });
        set_some(&mut entry, "comment", pool.comment.clone());
        pools.push(entry);
    }
    Ok(json!(pools).into())
}

fn show(call: &mut Call<'_>) -> Outcome {
    Ok(pool(call, &call.required("poolid"))?.into())
}

fn pool(call: &Call<'_>, name: &str) -> Result<Value, Failure> {
    let Some(pool) = call.state.accounts.config().pools.get(name) else {
        return Err(missing(name));
    };
    let kind = call.text("type");
    let wants = |one: &str| kind.as_deref().is_none_or(|kind| kind == one);
    let ids = pool.vms.iter().filter_map(|vmid| u32::try_from(*vmid).ok());
    let guests = ids.filter_map(|vmid| call.state.guests.get(&vmid));
    let guests = guests.filter(|guest| wants(guest.kind_name()));
    let mut members: Vec<Value> = guests
        .map(|guest| json!(super::cluster::guest_row(call.state, guest, call.now())))
        .collect();
    if wants("storage") {
        let storages = pool.storage.iter().filter_map(|id| call.state.storages.get(id));
        members.extend(storages.map(|storage| storage.resource(&call.state.local)));
    }
    let mut entry = json!({ "members": members });
    set_some(&mut entry, "comment", pool.comment.clone());
    Ok(entry)
}

fn missing(name: &str) -> Failure {
    Failure::die(format!("pool '{name}' does not exist"))
}

fn create(call: &mut Call<'_>) -> Outcome {
    let name = call.required("poolid");
    let comment = call.text("comment").filter(|comment| !comment.is_empty());
    call.state.accounts.change(|config| {
        if config.pools.contains_key(&name) {
            return Err(failed("create pool", &format!("pool '{name}' already exists")));
        }
        if let Some((parent, _)) = name.rsplit_once('/')
            && !config.pools.contains_key(parent)
        {
            let text = format!("parent '{parent}' of pool '{name}' does not exist");
            return Err(failed("create pool", &text));
        }
        config.pools.insert(name, Pool { comment, ..Pool::default() });
        Ok(())
    })?;
    Ok(Success::default())
}

/// `lock_user_config` puts what was being done before the reason.
fn failed(doing: &str, why: &str) -> Failure {
    Failure::die(format!("{doing} failed: {why}"))
}

fn update(call: &mut Call<'_>) -> Outcome {
    let name = call.required("poolid");
    let (vms, storages) = (call.list("vms"), call.list("storage"));
    let paths = vms.iter().map(|id| (format!("/vms/{id}"), "VM.Allocate"));
    let paths =
        paths.chain(storages.iter().map(|id| (format!("/storage/{id}"), "Datastore.Allocate")));
    for (path, privilege) in paths {
        if !call.may(&path, &["Permissions.Modify", privilege]) {
            let text = format!("{path}, Permissions.Modify|{privilege}");
            return Err(Failure::permission(&text));
        }
    }
    let (remove, may_move) = (call.flag("delete"), call.flag("allow-move"));
    let comment = call.text("comment");
    call.state.accounts.change(|config| {
        let change = Change { name: &name, remove, may_move };
        change.apply(config, comment, &vms, &storages).map_err(|text| failed("update pools", &text))
    })?;
    Ok(Success::default())
}

struct Change<'c> {
    name: &'c str,
    remove: bool,
    may_move: bool,
}

impl Change<'_> {
    fn apply(
        &self,
        config: &mut UserConfig,
        comment: Option<String>,
        vms: &[String],
        storages: &[String],
    ) -> Result<(), String> {
        for id in vms {
            self.guest(config, id)?;
        }
        let name = self.name;
        let pool = config.pools.get_mut(name);
        let pool = pool.ok_or_else(|| format!("pool '{name}' does not exist"))?;
        if comment.is_some() {
            pool.comment = comment;
        }
        for id in storages {
            let changed =
                if self.remove { pool.storage.remove(id) } else { pool.storage.insert(id.clone()) };
            if !changed {
                let word = if self.remove { "not" } else { "already" };
                return Err(format!("Storage '{id}' is {word} a pool member"));
            }
        }
        Ok(())
    }

    /// A guest stands in one pool at most.
    fn guest(&self, config: &mut UserConfig, id: &str) -> Result<(), String> {
        let name = self.name;
        let vmid: u64 = id.parse().map_err(|_| format!("VM {id} is not a pool member"))?;
        let current = config.pool_of(vmid).map(str::to_owned);
        if !config.pools.contains_key(name) {
            return Err(format!("pool '{name}' does not exist"));
        }
        match (current.as_deref(), self.remove) {
            (Some(pool), true) if pool == name => {}
            (_, true) => return Err(format!("VM {vmid} is not a pool member")),
            (Some(pool), false) if pool == name => {
                return Err(format!("VM {vmid} is already a pool member"));
            }
            (Some(pool), false) if !self.may_move => {
                return Err(format!("VM {vmid} belongs already to pool '{pool}'"));
            }
            (_, false) => {}
        }
        for pool in config.pools.values_mut() {
            pool.vms.remove(&vmid);
        }
        if let Some(pool) = config.pools.get_mut(name).filter(|_| !self.remove) {
            pool.vms.insert(vmid);
        }
        Ok(())
    }
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let name = call.required("poolid");
    let Some(pool) = call.state.accounts.config().pools.get(&name) else {
        return Err(failed("delete pool", &format!("pool '{name}' does not exist")));
    };
    let ids = pool.vms.iter().filter_map(|vmid| u32::try_from(*vmid).ok());
    let mut guests = ids.filter(|vmid| call.state.guests.contains_key(vmid));
    if let Some(vmid) = guests.next() {
        let text = format!("pool '{name}' is not empty (contains VM {vmid})");
        return Err(failed("delete pool", &text));
    }
    let mut storages = pool.storage.iter().filter(|id| call.state.storages.contains_key(*id));
    if let Some(id) = storages.next() {
        let text = format!("pool '{name}' is not empty (contains storage '{id}')");
        return Err(failed("delete pool", &text));
    }
    if call.state.accounts.config().subpools(&name).next().is_some() {
        let text = format!("pool '{name}' is not empty (contains pools)");
        return Err(failed("delete pool", &text));
    }
    let path = format!("/pool/{name}");
    call.state.accounts.change(|config| {
        config.pools.remove(&name);
        config.acl.retain(|at, _| at.as_str() != path);
        Ok(())
    })?;
    Ok(Success::default())
}
