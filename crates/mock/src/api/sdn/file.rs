//! SDN's files of sections: as they are configured, and as they run.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::Call;
use super::pending::pending;
use crate::failure::Failure;
use crate::state::{Fields, Objects, sha1_hex};

/// Sections by id.
pub(super) type Sections = BTreeMap<String, Fields>;

/// Settings that hold what was applied last: its `version`, and sections by file and id.
pub(super) const RUNNING: &str = "/cluster/sdn";
/// Sections of one file.
const SECTIONS: usize = 10_000;

/// One file. The sections as configured are objects of the collection `at`.
pub(super) struct File {
    pub(super) at: &'static str,
    /// The member for the id in answers, and the parameter for it in calls.
    pub(super) id: &'static str,
    /// Its name in what runs.
    pub(super) name: &'static str,
    /// What an unknown id is answered; `{}` is the id.
    pub(super) unknown: &'static str,
}

pub(super) const ZONES: File = File {
    at: "/cluster/sdn/zones",
    id: "zone",
    name: "zones",
    unknown: "sdn '{}' does not exist",
};
pub(super) const VNETS: File = File {
    at: "/cluster/sdn/vnets",
    id: "vnet",
    name: "vnets",
    unknown: "sdn vnet '{}' does not exist",
};
pub(super) const SUBNETS: File = File {
    at: "/cluster/sdn/subnets",
    id: "subnet",
    name: "subnets",
    unknown: "sdn subnet '{}' does not exist",
};
pub(super) const CONTROLLERS: File = File {
    at: "/cluster/sdn/controllers",
    id: "controller",
    name: "controllers",
    unknown: "sdn '{}' does not exist",
};
pub(super) const FABRICS: File = File {
    at: "/cluster/sdn/fabrics/fabric",
    id: "id",
    name: "fabrics",
    unknown: "fabric '{}' does not exist in configuration",
};
/// By fabric and node, with a slash between.
pub(super) const FABRIC_NODES: File = File {
    at: "/cluster/sdn/fabrics/node",
    id: "node_id",
    name: "fabric-nodes",
    unknown: "node '{}' does not exist",
};
pub(super) const PREFIX_LISTS: File = File {
    at: "/cluster/sdn/prefix-lists",
    id: "id",
    name: "prefix-lists",
    unknown: "prefix list '{}' does not exist",
};
/// By route map and order, with a slash between.
pub(super) const ROUTE_MAPS: File = File {
    at: "/cluster/sdn/route-maps/entries",
    id: "route-map-id",
    name: "route-maps",
    unknown: "route map entry '{}' does not exist",
};
/// Never pending.
pub(super) const IPAMS: File = File {
    at: "/cluster/sdn/ipams",
    id: "ipam",
    name: "ipams",
    unknown: "sdn '{}' does not exist",
};
/// Never pending.
pub(super) const DNS: File =
    File { at: "/cluster/sdn/dns", id: "dns", name: "dns", unknown: "sdn '{}' does not exist" };

/// What `PUT /cluster/sdn` copies.
pub(super) const APPLIED: [&File; 8] =
    [&ZONES, &VNETS, &SUBNETS, &CONTROLLERS, &FABRICS, &FABRIC_NODES, &PREFIX_LISTS, &ROUTE_MAPS];

/// Which form of a file a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    Configured,
    Running,
    Pending,
}

impl View {
    pub(super) fn of(call: &Call<'_>) -> Self {
        match (call.flag("pending"), call.flag("running")) {
            (true, _) => Self::Pending,
            (false, true) => Self::Running,
            (false, false) => Self::Configured,
        }
    }
}

impl File {
    pub(super) fn sections(&self, objects: &Objects, view: View) -> Sections {
        match view {
            View::Configured => self.configured(objects),
            View::Running => self.running(objects),
            View::Pending => pending(&self.running(objects), &self.configured(objects)),
        }
    }

    pub(super) fn configured(&self, objects: &Objects) -> Sections {
        let listed = objects.list(self.at);
        listed.map(|(id, fields)| (id.clone(), fields.clone())).collect()
    }

    pub(super) fn running(&self, objects: &Objects) -> Sections {
        let file = objects.settings(RUNNING).and_then(|running| running.get(self.name));
        let sections = file.and_then(Value::as_object).into_iter().flatten();
        let sections =
            sections.filter_map(|(id, one)| Some((id.clone(), one.as_object()?.clone())));
        sections.collect()
    }

    /// The section as configured, or the failure that names it.
    pub(super) fn existing<'o>(
        &self,
        objects: &'o Objects,
        id: &str,
    ) -> Result<&'o Fields, Failure> {
        objects.find(self.at, id).ok_or_else(|| self.missing(id))
    }

    pub(super) fn missing(&self, id: &str) -> Failure {
        Failure::die(self.unknown.replace("{}", id))
    }

    /// Adds or replaces a section.
    pub(super) fn write(
        &self,
        objects: &mut Objects,
        id: &str,
        fields: Fields,
    ) -> Result<(), Failure> {
        if objects.find(self.at, id).is_none() && objects.count(self.at) >= SECTIONS {
            return Err(Failure::die(format!("more than {SECTIONS} sections")));
        }
        objects.insert(self.at, id, fields);
        Ok(())
    }

    /// The digest of the file as configured.
    pub(super) fn digest(&self, objects: &Objects) -> String {
        let sections = objects.list(self.at);
        let text: Map<String, Value> =
            sections.map(|(id, one)| (id.clone(), Value::Object(one.clone()))).collect();
        sha1_hex(Value::Object(text).to_string().as_bytes())
    }

    /// A section as answers show it: with its id, and with the digest of what is configured.
    pub(super) fn shown(
        &self,
        objects: &Objects,
        view: View,
        id: &str,
        mut section: Fields,
    ) -> Fields {
        section.insert(self.id.to_owned(), json!(id));
        if view == View::Configured {
            section.insert("digest".to_owned(), json!(self.digest(objects)));
        }
        section
    }
}

/// A text member of a section.
pub(super) fn text<'f>(section: &'f Fields, key: &str) -> Option<&'f str> {
    section.get(key).and_then(Value::as_str)
}

/// A flag of a section.
pub(super) fn flag(section: &Fields, key: &str) -> bool {
    section.get(key).is_some_and(|value| *value == json!(1) || *value == json!(true))
}
