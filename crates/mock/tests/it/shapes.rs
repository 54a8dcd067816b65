//! Every answer has the shape that the schema describes for it.
//!
//! What can be created is created first, with values made from the schema, so that the paths of
//! objects are there to be read.

use std::collections::BTreeMap;

use mock::{Api, Seed};
use pve_schema::{Format, Kind, Method, Property, Schema, Verb, parse_boolean};
use serde_json::Value;

use crate::client::Pve;

/// What path variables and parameters are given: by name, else by format.
const VALUES: &[(&str, &str)] = &[
    ("CIDR", "192.0.2.0/24"),
    ("FullRangeCIDR", "192.0.2.0/24"),
    ("IPorCIDR", "192.0.2.1"),
    ("IPorCIDRorAlias", "192.0.2.1"),
    ("action", "ACCEPT"),
    ("address", "192.0.2.1"),
    ("cidr", "192.0.2.7"),
    ("command", "echo"),
    ("config-keys", "global:a"),
    ("contact", "a@example.org"),
    ("controller", "ctl1"),
    ("disk", "/dev/sda"),
    ("ds", "cpu"),
    ("email", "a@example.org"),
    ("epoch", "1"),
    ("fabric", "fab1"),
    ("fabric_id", "fab1"),
    ("flag", "noout"),
    ("id", "100-0"),
    ("interfaces", "name=eth0"),
    ("ip", "192.0.2.1"),
    ("ipam", "pve"),
    ("key", "a2V5"),
    ("name", "x1name"),
    ("node", "pve1"),
    ("node_id", "pve1"),
    ("nodes", "pve1"),
    ("order", "1"),
    ("osdid", "0"),
    ("path", "/srv"),
    ("pid", "1"),
    ("poolid", "production"),
    ("port", "5900"),
    ("pos", "0"),
    ("pve-acme-domain", "a.example.org"),
    ("pve-calendar-event", "daily"),
    ("pve-ha-resource-id", "vm:100"),
    ("pve-ha-resource-or-vm-id", "vm:100"),
    ("pve-node", "pve1"),
    ("pve-userid", "root@pam"),
    ("pve-vmid", "100"),
    ("pve-volume-id", "local:iso/a.iso"),
    ("realm", "pve"),
    ("roleid", "shape"),
    ("route-map-id", "map1"),
    ("service", "pveproxy"),
    ("sid", "vm:100"),
    ("snapname", "snap1"),
    ("storage", "local"),
    ("subnet", "192.0.2.0/24"),
    ("target", "pve2"),
    ("timeframe", "hour"),
    ("tokenid", "ci"),
    ("url_seq", "5"),
    ("url", "https://example.org/a"),
    ("userid", "root@pam"),
    ("vg", "pve"),
    ("vmid", "100"),
    ("vnet", "vnet1"),
    ("vncticket", "x"),
    ("volume", "local:iso/a.iso"),
    ("zone", "zone1"),
];

/// The same where a path needs something else: start of the path, name, value.
const AT: &[(&str, &str, &str)] = &[
    ("/nodes/{node}/lxc", "vmid", "200"),
    ("/nodes/{node}/ceph", "name", "x1name"),
    ("/nodes/{node}/ceph", "action", "stop"),
    ("/nodes/{node}/ceph", "service", "osd"),
    ("/cluster/sdn/route-maps", "action", "permit"),
    ("/cluster/sdn/prefix-lists", "action", "permit"),
    ("/nodes/{node}/ceph/cmd-safety", "id", "0"),
    ("/cluster/backup", "id", "job1"),
    ("/cluster/jobs", "id", "job1"),
    ("/cluster/mapping/dir", "map", "node=pve1,path=/srv"),
    ("/cluster/mapping/pci", "map", "node=pve1,path=0000:00:1f.0,id=8086:1234"),
    ("/cluster/mapping/usb", "map", "node=pve1,id=8086:1234"),
    ("/cluster/mapping", "id", "map1"),
    ("/cluster/metrics", "id", "metric1"),
    ("/cluster/sdn/fabrics", "id", "fab1"),
    ("/cluster/sdn", "id", "list1"),
    ("/cluster/acme", "id", "plugin1"),
];

/// What is not answered with 200 here, and why. A path that answers has to leave the list.
const NOT_READ: &[(&str, &str)] = &[
    ("/access/tfa/{userid}/{id}", "no factor was registered"),
    ("/cluster/acme/account/{name}", "for root@pam itself, not for a token"),
    ("/cluster/backup-info", "for root@pam itself, not for a token"),
    ("/cluster/sdn/vnets/{vnet}/firewall", "for root@pam itself, not for a token"),
    ("/cluster/ha/groups", "release 9 has rules instead"),
    ("/cluster/ha/groups/{group}", "release 9 has rules instead"),
    ("/nodes/{node}/lxc/{vmid}/mtunnelwebsocket", "needs a ticket"),
    ("/nodes/{node}/lxc/{vmid}/vncwebsocket", "needs a ticket"),
    ("/nodes/{node}/qemu/{vmid}/mtunnelwebsocket", "needs a ticket"),
    ("/nodes/{node}/qemu/{vmid}/vncwebsocket", "needs a ticket"),
    ("/nodes/{node}/vncwebsocket", "needs a ticket"),
    ("/nodes/{node}/qemu/{vmid}/agent/exec-status", "no program was started"),
    ("/nodes/{node}/qemu/{vmid}/agent/file-read", "no file is in a guest"),
    ("/nodes/{node}/storage/{storage}/content/{volume}", "the seed holds no such file"),
];

/// Answers of PVE itself that are not as its schema describes.
const GENUINE: &[(&str, &str)] = &[
    // `undef` of a user without tokens, as recorded.
    ("/access/users/{userid}", "data.tokens: null is no Some(Object)"),
];

#[test]
fn every_answer_has_its_described_shape() {
    for (api, schema) in [(Api::V9, Schema::v9()), (Api::V8, Schema::v8())] {
        let is_listed = |path: &str| {
            let of_9_only = path.starts_with("/cluster/ha/groups");
            let fits = |listed: &str| {
                listed == path || (listed.ends_with('/') && path.starts_with(listed))
            };
            NOT_READ.iter().any(|(listed, _)| fits(listed))
                && !(of_9_only && schema.release() == "8.4")
        };
        let pve = Pve::instant_of(api, Seed::cluster());
        let known = create(&pve, schema);
        let (mut read, mut faults) = (0, Vec::new());
        for method in schema.methods().filter(|method| method.verb() == Verb::Get) {
            let path = filled(method.path(), &known);
            let query = parameters(method);
            let query: Vec<String> =
                query.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let answer = pve.get(&format!("{path}?{}", query.join("&")));
            match (answer.status, is_listed(method.path())) {
                (200, false) => {}
                (200, true) => faults.push(format!("{} is read after all", method.path())),
                (_, true) => continue,
                _ => {
                    faults.push(format!("{path} {} {}", answer.status, answer.reason));
                    continue;
                }
            }
            read += 1;
            let mut wrong = Vec::new();
            check(&answer.body["data"], method.returns(), "data", &mut wrong);
            wrong.retain(|what| !GENUINE.contains(&(method.path(), what)));
            faults.extend(wrong.iter().map(|what| format!("{}: {what}", method.path())));
        }
        assert!(faults.is_empty(), "{} of {read}:\n{}", schema.release(), faults.join("\n"));
        assert!(read > 250, "{read} paths");
    }
}

/// Virtual networks that go together, which values made from the schema would not.
const NETWORKS: [(&str, &[(&str, &str)]); 7] = [
    (
        "controllers",
        &[("controller", "ctl1"), ("type", "evpn"), ("asn", "65000"), ("peers", "192.0.2.9")],
    ),
    ("zones", &[("zone", "zone1"), ("type", "evpn"), ("controller", "ctl1"), ("vrf-vxlan", "9")]),
    ("vnets", &[("vnet", "vnet1"), ("zone", "zone1"), ("tag", "10")]),
    ("vnets/vnet1/subnets", &[("subnet", "192.0.2.0/24"), ("type", "subnet")]),
    (
        "fabrics/fabric",
        &[("id", "fab1"), ("protocol", "openfabric"), ("ip_prefix", "192.0.2.0/24")],
    ),
    (
        "fabrics/node/fab1",
        &[
            ("node_id", "pve1"),
            ("protocol", "openfabric"),
            ("ip", "192.0.2.1"),
            ("interfaces", "name=eno1"),
        ],
    ),
    ("prefix-lists", &[("id", "list1"), ("entries", "action=permit,prefix=192.0.2.0/24")]),
];

/// Creates what can be created; what it is called by the template of its path.
fn create(pve: &Pve, schema: &Schema) -> BTreeMap<String, String> {
    pve.put("/nodes/pve1/qemu/100/config", &[("agent", "1")]).data();
    pve.post("/nodes/pve1/qemu/100/status/stop", &[]).data();
    pve.post("/nodes/pve1/qemu/100/status/start", &[]).data();
    let upid = pve.post("/nodes/pve1/qemu", &[("vmid", "900")]).data();
    let upid = ("/nodes/{node}/tasks/{upid}".to_owned(), upid.as_str().unwrap().to_owned());
    // The id of a subnet is made of its zone and address.
    let subnet = "/cluster/sdn/vnets/{vnet}/subnets/{subnet}".to_owned();
    let mut known = BTreeMap::from([upid]);
    for (path, given) in NETWORKS {
        // Release 8 has not all of them.
        let answer = pve.post(&format!("/cluster/sdn/{path}"), given);
        assert!(matches!(answer.status, 200 | 501), "{path} {}", answer.reason);
    }
    pve.put("/cluster/sdn", &[]).data();
    pve.post("/cluster/ha/resources", &[("sid", "vm:100")]).data();
    let rule = [("rule", "x1"), ("type", "node-affinity"), ("nodes", "pve1")];
    pve.post("/cluster/ha/rules", &[&rule[..], &[("resources", "vm:100")]].concat());
    let mut methods: Vec<&Method> = schema.methods().filter(|m| m.verb() == Verb::Post).collect();
    methods.sort_by_key(|method| method.path().len());
    for method in methods {
        let own = method.path().rsplit_once("/{").map(|(_, name)| name.trim_end_matches('}'));
        let own = own.filter(|name| !name.contains('/'));
        let child = child_variable(schema, method);
        let Some(id) = child.as_deref().or(own) else { continue };
        let mut parameters = parameters(method);
        if child.is_some() {
            let property = &method.parameters().properties[id];
            parameters.insert(id.to_owned(), plausible(method, id, property));
        }
        let pairs: Vec<(&str, &str)> =
            parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let answer = pve.post(&filled(method.path(), &known), &pairs);
        if let (200, Some(id)) = (answer.status, child.and_then(|id| parameters.remove_entry(&id)))
        {
            known.insert(format!("{}/{{{}}}", method.path(), id.0), id.1);
        }
    }
    known.insert(subnet, "zone1-192.0.2.0-24".to_owned());
    known
}

/// The variable of the object that a `POST` creates below its path.
fn child_variable(schema: &Schema, method: &Method) -> Option<String> {
    let prefix = format!("{}/{{", method.path());
    let child = schema.methods().find(|m| m.path().starts_with(&prefix))?;
    let variable = child.path()[prefix.len()..].split('}').next()?.to_owned();
    method.parameters().properties.contains_key(&variable).then_some(variable)
}

/// The path with what was created, what stands in the tables, or else `x1`.
fn filled(template: &str, known: &BTreeMap<String, String>) -> String {
    let (mut path, mut so_far) = (String::new(), String::new());
    for part in template.split('/').skip(1) {
        so_far = format!("{so_far}/{part}");
        let variable = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        let value = variable.map_or(part.to_owned(), |name| {
            let created = known.get(&so_far).map(String::as_str);
            created.or_else(|| given(template, name)).unwrap_or("x1").to_owned()
        });
        path = format!("{path}/{}", value.replace('/', "%2F"));
    }
    path
}

/// The parameters that have to be given besides those of the path.
fn parameters(method: &Method) -> BTreeMap<String, String> {
    let needed = method.parameters().properties.iter().filter(|(name, property)| {
        !property.optional && !method.path().contains(&format!("{{{name}}}"))
    });
    needed.map(|(name, property)| (name.clone(), plausible(method, name, property))).collect()
}

fn plausible(method: &Method, name: &str, property: &Property) -> String {
    let format = property.format.as_ref().and_then(Format::name).unwrap_or_default();
    let format = format.strip_suffix("-list").unwrap_or(format);
    let word = property.enumeration.as_ref().and_then(|words| words.first());
    let named = given(method.path(), name).or(word.map(String::as_str));
    let by_format = named.or_else(|| given("", format)).map(str::to_owned);
    by_format.unwrap_or_else(|| match property.kind {
        Some(Kind::Integer | Kind::Number) => {
            property.minimum.as_ref().map_or("1".to_owned(), |bound| bound.text.clone())
        }
        Some(Kind::Boolean) => "1".to_owned(),
        _ => "x1xxxx".to_owned(),
    })
}

fn given(path: &str, name: &str) -> Option<&'static str> {
    let at = AT.iter().find(|(start, key, _)| *key == name && path.starts_with(start));
    let any = || VALUES.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    at.map(|(.., value)| *value).or_else(any)
}

fn check(value: &Value, property: &Property, at: &str, wrong: &mut Vec<String>) {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        _ => String::new(),
    };
    let scalar = !value.is_object() && !value.is_array() && !value.is_null();
    let fits = match property.kind {
        None | Some(Kind::Any | Kind::Unknown) => true,
        Some(Kind::Null) => value.is_null(),
        Some(Kind::Object) => value.is_object(),
        Some(Kind::Array) => value.is_array(),
        Some(Kind::String) => scalar,
        Some(Kind::Boolean) => parse_boolean(&text).is_some(),
        Some(Kind::Integer) => text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok(),
        Some(Kind::Number) => text.parse::<f64>().is_ok(),
    };
    if !fits {
        let shown: String = value.to_string().chars().take(60).collect();
        wrong.push(format!("{at}: {shown} is no {:?}", property.kind));
        return;
    }
    if let Some(words) = &property.enumeration
        && scalar
        && !words.contains(&text)
    {
        wrong.push(format!("{at}: {text} is none of {words:?}"));
    }
    if let (Some(items), Value::Array(list)) = (&property.items, value) {
        for item in list {
            check(item, items, &format!("{at}[]"), wrong);
        }
    }
    if let Value::Object(members) = value {
        for (name, property) in &property.object.properties {
            match members.get(name) {
                // What has alternatives is there for some of the types only.
                None if property.optional || name.ends_with("[n]") => {}
                None if !property.one_of.is_empty() => {}
                None => wrong.push(format!("{at}.{name} is missing")),
                Some(value) => check(value, property, &format!("{at}.{name}"), wrong),
            }
        }
    }
}
