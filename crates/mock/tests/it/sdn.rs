//! Virtual networks: what is configured, what runs, and who may change it.

use mock::{Api, Seed};
use serde_json::{Value, json};

use crate::client::{Pve, entry};

const SDN: &str = "/cluster/sdn";

fn zone(pve: &Pve, name: &str, more: &[(&str, &str)]) {
    let given = [&[("zone", name), ("type", "simple")], more].concat();
    pve.post("/cluster/sdn/zones", &given).data();
}

fn vnet(pve: &Pve, name: &str, zone: &str) {
    pve.post("/cluster/sdn/vnets", &[("vnet", name), ("zone", zone)]).data();
}

fn apply(pve: &Pve) {
    assert_eq!(pve.task(pve.put(SDN, &[])), "OK");
}

fn subnets(vnet: &str) -> String {
    format!("/cluster/sdn/vnets/{vnet}/subnets")
}

fn states(pve: &Pve, path: &str, id: &str) -> Vec<String> {
    let rows = pve.get(&format!("{path}?pending=1")).data();
    let text = |row: &Value| {
        format!("{} {}", row[id].as_str().unwrap(), row["state"].as_str().unwrap_or("-"))
    };
    rows.as_array().unwrap().iter().map(text).collect()
}

#[test]
fn from_a_new_zone_to_a_deleted_one() {
    let pve = Pve::instant(Seed::cluster());
    zone(&pve, "lab", &[("ipam", "pve"), ("nodes", "pve2,pve1"), ("mtu", "1400")]);
    vnet(&pve, "web", "lab");
    let given = [("subnet", "192.0.2.0/24"), ("type", "subnet"), ("gateway", "192.0.2.1")];
    pve.post(&subnets("web"), &given).data();

    let zones = "/cluster/sdn/zones";
    assert_eq!(states(&pve, zones, "zone"), ["lab new"]);
    let pending = pve.get(&format!("{zones}/lab?pending=1")).data();
    assert_eq!(pending["pending"], json!({ "ipam": "pve", "nodes": "pve1,pve2", "mtu": 1400 }));
    assert_eq!((&pending["type"], pending.get("mtu")), (&json!("simple"), None));
    assert_eq!(pve.get(&format!("{zones}?running=1")).data(), json!([]));
    assert_eq!(pve.get("/nodes/pve1/sdn/zones").data(), json!([]));

    apply(&pve);
    assert_eq!(states(&pve, zones, "zone"), ["lab -"]);
    assert_eq!(states(&pve, &subnets("web"), "subnet"), ["lab-192.0.2.0-24 -"]);
    let running = pve.get("/nodes/pve1/sdn/zones").data();
    assert_eq!(running, json!([{ "zone": "lab", "status": "available" }]));
    assert_eq!(pve.get("/nodes/pve3/sdn/zones").data(), json!([]));
    let content = pve.get("/nodes/pve2/sdn/zones/lab/content").data();
    assert_eq!(content, json!([{ "vnet": "web", "status": "available" }]));
    let resources = pve.get("/cluster/resources?type=sdn").data();
    let row = entry(&resources, "id", "network/pve1/zone/lab");
    assert_eq!((&row["type"], &row["network"]), (&json!("network"), &json!("lab")));
    let bridges = pve.get("/nodes/pve1/network?type=any_bridge").data();
    assert_eq!(entry(&bridges, "iface", "web")["type"], "vnet");

    pve.put(&format!("{zones}/lab"), &[("mtu", "1300"), ("delete", "nodes")]).data();
    let changed = pve.get(&format!("{zones}/lab?pending=1")).data();
    assert_eq!((&changed["state"], &changed["mtu"]), (&json!("changed"), &json!(1400)));
    assert_eq!(changed["pending"], json!({ "mtu": 1300, "nodes": "deleted" }));
    let diff = pve.get("/cluster/sdn/dry-run?node=pve1").data();
    assert!(diff["interfaces-diff"].as_str().unwrap().contains("+\tmtu 1300"), "{diff}");

    assert_eq!(
        pve.delete(&format!("{zones}/lab")).died(),
        "delete sdn zone object failed: zone lab is used by vnet web"
    );
    let refused = pve.delete("/cluster/sdn/vnets/web");
    assert!(refused.body["message"].as_str().unwrap().contains("if subnets exists"));
    refused.died();
    pve.delete(&format!("{}/lab-192.0.2.0-24", subnets("web"))).data();
    pve.delete("/cluster/sdn/vnets/web").data();
    pve.delete(&format!("{zones}/lab")).data();
    assert_eq!(states(&pve, zones, "zone"), ["lab deleted"]);
    assert_eq!(states(&pve, "/cluster/sdn/vnets", "vnet"), ["web deleted"]);
    assert_eq!(pve.get(&format!("{zones}/lab")).died(), "sdn 'lab' does not exist");
    entry(&pve.get("/nodes/pve1/sdn/zones").data(), "zone", "lab");
    apply(&pve);
    assert_eq!(states(&pve, zones, "zone"), Vec::<String>::new());
    assert_eq!(pve.get("/nodes/pve1/sdn/zones").data(), json!([]));
}

#[test]
fn zones_have_the_options_of_their_type() {
    let pve = Pve::instant(Seed::small());
    let create = |given: &[(&str, &str)]| pve.post("/cluster/sdn/zones", given);
    let of = |kind: &'static str| [("zone", "z1"), ("type", kind)];
    assert_eq!(create(&of("vlan")).died(), "missing value for required option 'bridge'");
    assert_eq!(
        create(&[&of("vlan")[..], &[("bridge", "vmbr0"), ("dhcp", "dnsmasq")]].concat()).died(),
        "unexpected property 'dhcp'"
    );
    let evpn = [("vrf-vxlan", "10"), ("controller", "c1")];
    assert_eq!(
        create(&[&of("evpn")[..], &evpn].concat()).died(),
        "create sdn zone object failed: controller c1 don't exist"
    );
    let vxlan = create(&of("vxlan"));
    let text = vxlan.body["message"].as_str().unwrap().to_owned();
    assert!(text.contains("peers: must have exactly one of peers / fabric defined\n"), "{text}");
    assert_eq!(vxlan.died(), "create sdn zone object failed: 400 Parameter verification failed.");
    let unknown = create(&[&of("simple")[..], &[("ipam", "none")]].concat());
    assert!(unknown.body["message"].as_str().unwrap().contains("ipam: none not existing"));

    let controller = [("controller", "c1"), ("type", "evpn"), ("asn", "65000"), ("peers", "::1")];
    pve.post("/cluster/sdn/controllers", &controller).data();
    create(&[&of("evpn")[..], &evpn].concat()).data();
    let made = pve.get("/cluster/sdn/zones/z1").data();
    assert!(made["mac"].as_str().unwrap().starts_with("BC:24:11:"), "{made}");
    assert_eq!(
        create(&of("simple")).died(),
        "create sdn zone object failed: sdn zone object ID 'z1' already defined"
    );
    assert_eq!(
        pve.delete("/cluster/sdn/controllers/c1").died(),
        "delete sdn controller object failed: controller c1 is used by z1"
    );
    let stale = [("digest", "0000"), ("mtu", "1400")];
    assert_eq!(
        pve.put("/cluster/sdn/zones/z1", &stale).died(),
        "update sdn zone object failed: detected modified configuration - file changed by other \
         user? Try again."
    );
    assert_eq!(
        pve.put("/cluster/sdn/zones/z1", &[("delete", "controller")]).died(),
        "update sdn zone object failed: unable to delete required option 'controller'"
    );
}

#[test]
fn tags_are_of_one_network() {
    let pve = Pve::instant(Seed::small());
    let zones = "/cluster/sdn/zones";
    pve.post(zones, &[("zone", "v1"), ("type", "vlan"), ("bridge", "vmbr0")]).data();
    pve.post(zones, &[("zone", "x1"), ("type", "vxlan"), ("peers", "192.0.2.1")]).data();
    pve.post(zones, &[("zone", "x2"), ("type", "vxlan"), ("peers", "192.0.2.1")]).data();
    zone(&pve, "s1", &[]);
    let why = |vnet: &str, zone: &str, tag: Option<&str>| {
        let mut given = vec![("vnet", vnet), ("zone", zone)];
        given.extend(tag.map(|tag| ("tag", tag)));
        let answer = pve.post("/cluster/sdn/vnets", &given);
        answer.body["message"].as_str().unwrap_or("OK").lines().last().unwrap().to_owned()
    };
    assert_eq!(why("v101", "v1", None), "tag: missing vlan tag");
    assert_eq!(why("v101", "v1", Some("5000")), "tag: vlan tag max value is 4096");
    assert_eq!(why("v101", "v1", Some("101")), "OK");
    assert_eq!(why("v102", "v1", Some("101")), "tag: tag 101 already exist in vnet v101");
    assert_eq!(why("x101", "x1", Some("101")), "OK");
    assert!(why("x102", "x2", Some("101")).contains("already exist in vnet x101 in zone x1"));
    assert_eq!(why("s101", "s1", Some("1")), "tag: vlan tag is not allowed on simple zone");
    assert!(why("n101", "none", None).contains("sdn 'none' does not exist"));
    assert_eq!(why("s101", "s1", None), "OK");
    let subnet = [("subnet", "2001:db8::/64"), ("type", "subnet")];
    pve.post(&subnets("s101"), &subnet).data();
    let moved = pve.put("/cluster/sdn/vnets/s101", &[("zone", "x1"), ("tag", "7")]);
    assert!(moved.body["message"].as_str().unwrap().contains("can't change zone if subnets exist"));
}

#[test]
fn subnets_hold_their_gateway_and_ranges() {
    let pve = Pve::instant(Seed::small());
    zone(&pve, "lab", &[("ipam", "pve"), ("dhcp", "dnsmasq")]);
    vnet(&pve, "web", "lab");
    let why = |more: &[(&str, &str)]| {
        let given = [&[("subnet", "192.0.2.0/24"), ("type", "subnet")][..], more].concat();
        let answer = pve.post(&subnets("web"), &given);
        answer.body["message"].as_str().unwrap_or("OK").lines().last().unwrap().to_owned()
    };
    assert_eq!(
        why(&[("gateway", "198.51.100.1")]),
        "gateway: 198.51.100.1 is not in subnet 192.0.2.0/24"
    );
    let range = |text| [("gateway", "192.0.2.1"), ("dhcp-range", text)];
    assert_eq!(
        why(&range("start-address=192.0.2.9,end-address=192.0.2.5")),
        "dhcp-range: start-address 192.0.2.9 must be smaller than end-address 192.0.2.5"
    );
    assert_eq!(why(&range("start-address=192.0.2.5,end-address=192.0.2.9")), "OK");
    let shown = pve.get(&format!("{}/lab-192.0.2.0-24", subnets("web"))).data();
    assert_eq!((&shown["cidr"], &shown["mask"]), (&json!("192.0.2.0/24"), &json!("24")));
    let ranges = json!([{ "start-address": "192.0.2.5", "end-address": "192.0.2.9" }]);
    assert_eq!(shown["dhcp-range"], ranges);

    let ips = "/cluster/sdn/vnets/web/ips";
    let lease = [("zone", "lab"), ("ip", "192.0.2.7"), ("mac", "BC:24:11:00:00:01")];
    assert_eq!(pve.post(ips, &lease).died(), "can't find any subnet for ip 192.0.2.7");
    apply(&pve);
    pve.post(ips, &lease).data();
    assert_eq!(pve.post(ips, &lease).died(), "IP '192.0.2.7' already exist");
    let leases = pve.get("/cluster/sdn/ipams/pve/status").data();
    assert_eq!(entry(&leases, "ip", "192.0.2.1")["gateway"], json!(1));
    assert_eq!(entry(&leases, "ip", "192.0.2.7")["mac"], "BC:24:11:00:00:01");
    let moved = [("zone", "lab"), ("ip", "192.0.2.8"), ("mac", "BC:24:11:00:00:01")];
    pve.put(ips, &moved).data();
    assert_eq!(pve.get("/cluster/sdn/ipams/pve/status").data().as_array().unwrap().len(), 2);
    let path = format!("{}/lab-192.0.2.0-24", subnets("web"));
    assert_eq!(
        pve.delete(&path).died(),
        "delete sdn subnet object failed: cannot delete subnet '192.0.2.0/24', not empty"
    );
    pve.delete(&format!("{ips}?zone=lab&ip=192.0.2.8")).data();
    pve.delete(&path).data();
}

#[test]
fn who_has_the_lock_changes_alone() {
    let pve = Pve::instant(Seed::small());
    let lock = "/cluster/sdn/lock";
    let token = pve.post(lock, &[]).data();
    let token = token.as_str().unwrap();
    let zones = "/cluster/sdn/zones";
    let given = [("zone", "lab"), ("type", "simple")];
    assert_eq!(
        pve.post(zones, &given).died(),
        "create sdn zone object failed: invalid lock token provided!"
    );
    assert_eq!(
        pve.post(lock, &[]).died(),
        "could not acquire lock for SDN config: invalid lock token provided!"
    );
    pve.post(zones, &[&given[..], &[("lock-token", token)]].concat()).data();
    let rollback = "/cluster/sdn/rollback";
    assert!(pve.post(rollback, &[]).died().contains("invalid lock token"));
    pve.post(rollback, &[("lock-token", token)]).data();
    assert_eq!(pve.get(zones).data(), json!([]));
    assert_eq!(
        pve.put(SDN, &[]).died(),
        "could not commit SDN config: invalid lock token provided!"
    );
    let last = [("lock-token", token), ("release-lock", "1")];
    assert_eq!(pve.task(pve.put(SDN, &last)), "OK");
    pve.post(zones, &given).data();
    assert_eq!(
        pve.post(lock, &[]).died(),
        "could not acquire lock for SDN config: configuration has pending changes"
    );
    pve.post(lock, &[("allow-pending", "1")]).data();
    pve.delete(&format!("{lock}?force=1")).data();
    apply(&pve);
}

#[test]
fn rights_are_of_zones_and_networks() {
    let mut seed = Seed::small();
    seed.user_cfg += "user:u@pve:1:0:::::\nuser:v@pve:1:0:::::\n\
        token:u@pve!ci:0:0::\ntoken:v@pve!ci:0:0::\n\
        acl:1:/sdn/zones/lab:u@pve:PVESDNUser:\nacl:1:/vms/900:u@pve:PVEAdmin:\n\
        acl:1:/storage/local:u@pve:PVEDatastoreUser:\nacl:1:/vms/900:v@pve:PVEAdmin:\n";
    seed.tokens.extend(["u@pve!ci", "v@pve!ci"].map(|id| (id.to_owned(), "s".into())));
    let pve = Pve::instant(seed);
    zone(&pve, "lab", &[]);
    zone(&pve, "other", &[]);
    vnet(&pve, "web", "lab");
    vnet(&pve, "db", "other");
    apply(&pve);
    let guest = |net: &'static str| [("vmid", "900"), ("net0", net)];
    let pve = pve.using("v@pve!ci=s");
    let refused = pve.post("/nodes/pve1/qemu", &guest("virtio,bridge=web"));
    assert_eq!(
        (refused.status, refused.reason.as_str()),
        (403, "Permission check failed (/sdn/zones/lab/web, SDN.Use)")
    );
    let pve = pve.using("u@pve!ci=s");
    assert_eq!(states(&pve, "/cluster/sdn/zones", "zone"), ["lab -"]);
    assert_eq!(states(&pve, "/cluster/sdn/vnets", "vnet"), ["web -"]);
    assert_eq!(pve.get("/cluster/sdn/vnets/db").status, 403);
    assert_eq!(pve.get("/cluster/sdn/vnets/db/firewall/rules").status, 403);
    let refused = pve.delete("/cluster/sdn/vnets/web");
    assert_eq!(refused.reason, "Permission check failed (/sdn/zones/lab/web, SDN.Allocate)");
    assert_eq!(pve.post("/cluster/sdn/zones", &[("zone", "z9"), ("type", "simple")]).status, 403);
    assert_eq!(pve.put(SDN, &[]).status, 403);
    assert_eq!(pve.post("/nodes/pve1/qemu", &guest("virtio,bridge=vmbr0")).status, 403);
    pve.post("/nodes/pve1/qemu", &guest("virtio,bridge=web")).data();
    let bridges = pve.get("/nodes/pve1/network?type=any_bridge").data();
    assert_eq!(bridges.as_array().unwrap().len(), 1, "{bridges}");
}

#[test]
fn nodes_follow_when_the_task_has_ended() {
    let pve = Pve::timed(Seed::small());
    zone(&pve, "lab", &[]);
    vnet(&pve, "web", "lab");
    let upid = pve.put(SDN, &[]).data();
    assert!(upid.as_str().unwrap().contains(":reloadnetworkall::"), "{upid}");
    let status = || pve.get("/nodes/pve1/sdn/zones/lab/content").data()[0].clone();
    assert_eq!(status()["status"], "pending");
    assert_eq!(states(&pve, "/cluster/sdn/zones", "zone"), ["lab -"]);
    pve.advance(5);
    assert_eq!(status(), json!({ "vnet": "web", "status": "available" }));
}

#[test]
fn it_outlives_the_process() {
    let place = tempfile::tempdir().unwrap();
    let start = || {
        let file = Some(place.path().join("state"));
        Pve::with(Seed::small(), |config| config.state_file = file)
    };
    let pve = start();
    zone(&pve, "lab", &[("ipam", "pve")]);
    vnet(&pve, "web", "lab");
    apply(&pve);
    pve.delete("/cluster/sdn/vnets/web").data();
    let token = pve.post("/cluster/sdn/lock", &[("allow-pending", "1")]).data();
    drop(pve);
    let pve = start();
    assert_eq!(states(&pve, "/cluster/sdn/vnets", "vnet"), ["web deleted"]);
    assert_eq!(pve.get("/nodes/pve1/sdn/zones").data()[0]["status"], "available");
    assert!(pve.put(SDN, &[]).died().contains("invalid lock token"));
    let token = [("lock-token", token.as_str().unwrap()), ("release-lock", "1")];
    pve.post("/cluster/sdn/rollback", &token).data();
    assert_eq!(states(&pve, "/cluster/sdn/vnets", "vnet"), ["web -"]);
}

#[test]
fn fabrics_lists_and_maps() {
    let pve = Pve::instant(Seed::cluster());
    let fabrics = "/cluster/sdn/fabrics/fabric";
    let given = [("id", "spine"), ("protocol", "openfabric"), ("ip_prefix", "192.0.2.0/24")];
    pve.post(fabrics, &given).data();
    assert!(pve.post(fabrics, &given).died().ends_with("fabric 'spine' already exists in config"));
    let nodes = "/cluster/sdn/fabrics/node/spine";
    let node = |id: &'static str, ip: &'static str| {
        let interfaces = ("interfaces", "name=eno1");
        pve.post(nodes, &[("node_id", id), ("protocol", "openfabric"), ("ip", ip), interfaces])
    };
    assert!(node("pve1", "198.51.100.1").died().contains("is outside the IP prefix"));
    node("pve1", "192.0.2.1").data();
    assert!(node("pve2", "192.0.2.1").died().contains("duplicated IPs"));
    assert_eq!(states(&pve, fabrics, "id"), ["spine new"]);
    let all = pve.get("/cluster/sdn/fabrics/all").data();
    assert_eq!(all["nodes"][0]["node_id"], "pve1");
    apply(&pve);
    assert_eq!(pve.get("/nodes/pve1/sdn/fabrics/spine/interfaces").data()[0]["name"], "eno1");
    entry(&pve.get("/cluster/resources?type=sdn").data(), "id", "network/pve1/fabric/spine");

    let lists = "/cluster/sdn/prefix-lists";
    pve.post(lists, &[("id", "own"), ("entries", "action=permit,prefix=192.0.2.0/24")]).data();
    let more = [("action", "deny"), ("prefix", "::/0")];
    pve.post(&format!("{lists}/own/entries"), &more).data();
    let entries = pve.get(&format!("{lists}/own/entries")).data();
    assert_eq!((&entries[0]["seq"], &entries[1]["seq"]), (&json!(5), &json!(10)));
    pve.put(&format!("{lists}/own/entries/10"), &[("seq", "1")]).data();
    assert_eq!(pve.get(&format!("{lists}/own/entries/1")).data()["action"], "deny");
    pve.put(&format!("{fabrics}/spine"), &[("protocol", "openfabric"), ("route_filter", "own")])
        .data();
    assert!(pve.delete(&format!("{lists}/own")).died().contains("is used by fabric 'spine'"));

    let maps = "/cluster/sdn/route-maps";
    for order in ["20", "3"] {
        let given = [("route-map-id", "out"), ("order", order), ("action", "permit")];
        pve.post(&format!("{maps}/entries"), &given).data();
    }
    assert_eq!(pve.get(maps).data(), json!([{ "id": "out" }]));
    let entries = pve.get(&format!("{maps}/entries/out")).data();
    assert_eq!((&entries[0]["order"], &entries[1]["order"]), (&json!(3), &json!(20)));
    pve.put(&format!("{maps}/entries/out/entry/3"), &[("action", "deny")]).data();
    assert_eq!(pve.get(&format!("{maps}/entries/out/entry/3")).data()["action"], "deny");
    pve.delete(&format!("{fabrics}/spine")).data();
    assert_eq!(pve.get("/cluster/sdn/fabrics/node").data(), json!([]));
}

#[test]
fn release_8_calls_a_zone_what_it_did() {
    let pve = Pve::instant_of(Api::V8, Seed::small());
    zone(&pve, "lab", &[]);
    apply(&pve);
    let resources = pve.get("/cluster/resources?type=sdn").data();
    assert_eq!(entry(&resources, "id", "sdn/pve1/lab")["sdn"], "lab");
    assert_eq!(pve.post("/cluster/sdn/lock", &[]).status, 501);
    let names = [("ipam", "netbox"), ("type", "netbox"), ("url", "http://n"), ("token", "t")];
    pve.post("/cluster/sdn/ipams", &names).data();
    assert_eq!(pve.get("/cluster/sdn/ipams").data()[1]["ipam"], "pve");
}
