//! The methods that are modelled, as one table. Everything else answers from the schema.

mod access;
mod backup;
mod bulk_action;
mod capabilities;
mod cluster;
mod cluster_log;
mod consoles;
mod content;
mod download;
mod firewall;
mod generic;
mod generic_names;
mod guests;
mod ha;
mod ha_rules;
mod host;
mod membership;
mod network;
mod nodes;
mod parameters;
mod pools;
mod replication;
mod rrd;
mod sdn;
mod section_options;
mod services;
mod storage;
mod storage_definitions;
mod tasks;
pub(crate) mod unmodelled;
mod vzdump;

pub(crate) use guests::owner_of_volume;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use pve_access::Keyring;
use pve_schema::{Method, Params, PathMatch, Schema, Verb};
use serde_json::Value;

use crate::auth::Caller;
use crate::failure::Outcome;
use crate::format::index;
use crate::shared::Shared;
use crate::state::State;

/// One checked call: the caller has the rights and the parameters are valid.
pub(crate) struct Call<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) shared: &'a Shared,
    pub(crate) caller: &'a Caller,
    pub(crate) method: &'a Method,
    pub(crate) matched: &'a PathMatch<'a>,
    pub(crate) parameters: Params,
    /// Present for methods that make or check tickets, unless no key could be made.
    pub(crate) keys: Option<Arc<Keyring>>,
}

impl Call<'_> {
    pub(crate) fn now(&self) -> Duration {
        self.shared.clock.unix()
    }
}

type Handler = fn(&mut Call<'_>) -> Outcome;
/// Verb, path as the schema writes it, handler.
type Row = (Verb, &'static str, Handler);

const TABLES: &[&[Row]] = &[
    access::ROWS,
    access::domains::ROWS,
    backup::ROWS,
    bulk_action::ROWS,
    capabilities::ROWS,
    cluster::ROWS,
    cluster_log::ROWS,
    consoles::ROWS,
    content::ROWS,
    download::ROWS,
    guests::ROWS,
    guests::agent::ROWS,
    guests::bulk::ROWS,
    guests::clone::ROWS,
    guests::cloudinit::ROWS,
    guests::config::ROWS,
    guests::create::ROWS,
    guests::destroy::ROWS,
    guests::disks::ROWS,
    guests::migrate::ROWS,
    guests::power::ROWS,
    guests::snapshots::ROWS,
    ha::ROWS,
    ha_rules::ROWS,
    host::ROWS,
    membership::ROWS,
    network::ROWS,
    nodes::ROWS,
    pools::ROWS,
    replication::ROWS,
    rrd::ROWS,
    services::ROWS,
    storage::ROWS,
    storage_definitions::ROWS,
    tasks::ROWS,
    vzdump::ROWS,
    &[(Verb::Get, "/version", nodes::api_version)],
];

fn rows() -> impl Iterator<Item = &'static Row> {
    TABLES.iter().chain(&firewall::TABLES).chain(&sdn::TABLES).flat_map(|table| table.iter())
}

static HANDLERS: LazyLock<HashMap<(Verb, &'static str), Handler>> =
    LazyLock::new(|| rows().map(|(verb, path, handler)| ((*verb, *path), *handler)).collect());

/// Runs the handler of the method.
pub(crate) fn dispatch(mut call: Call<'_>) -> Outcome {
    match HANDLERS.get(&(call.method.verb(), call.method.path())) {
        Some(handler) => handler(&mut call),
        None => unmodelled::answer(&mut call),
    }
}

/// `GET /`, which the API document does not hold as a method.
pub(crate) fn root_index(schema: &Schema) -> Value {
    let roots = schema.find("/").into_iter().flat_map(|root| root.children());
    index("subdir", roots)
}

/// Whether the method needs the ticket key, which may still be in the making.
pub(crate) fn signs(method: &Method) -> bool {
    let (verb, path) = (method.verb(), method.path());
    (verb, path) == (Verb::Post, "/access/ticket") || consoles::signs(verb, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn every_row_is_a_method_of_the_schema_and_stands_once() {
        let schema = Schema::v9();
        for (verb, path, _) in rows() {
            let known =
                schema.methods().any(|method| method.verb() == *verb && method.path() == *path);
            assert!(known, "{verb} {path}");
        }
        assert_eq!(rows().count(), HANDLERS.len());
    }
}
