//! What stock clients do one after the other: fetch an image, boot a machine from it, wait for
//! its address, keep it available, look after the nodes.

use mock::Seed;
use serde_json::{Value, json};

use crate::client::{Pve, entry};

#[test]
fn a_fetched_image_is_there_when_its_task_has_ended() {
    let pve = Pve::timed(Seed::small());
    let url = "https://images.example.org/debian.img";
    let known = pve.get(&format!("/nodes/pve1/query-url-metadata?url={url}")).data();
    let path = "/nodes/pve1/storage/local";
    let image = [("content", "iso"), ("filename", "debian.img"), ("url", url)];
    let upid = pve.post(&format!("{path}/download-url"), &image).data();
    assert!(upid.as_str().unwrap().contains(":download:debian.img:"), "{upid}");
    let listed = || pve.get(&format!("{path}/content?content=iso")).data();
    assert_eq!(listed(), json!([]));
    pve.advance(10);
    assert_eq!(entry(&listed(), "volid", "local:iso/debian.img")["size"], known["size"]);
    let again = pve.post(&format!("{path}/download-url"), &image);
    let upid = again.data();
    pve.advance(10);
    let status = pve.get(&format!("/nodes/pve1/tasks/{}/status", upid.as_str().unwrap())).data();
    let text = status["exitstatus"].as_str().unwrap();
    assert!(text.starts_with("refusing to override existing file '/var/lib/vz"), "{text}");
    let odd = [("content", "iso"), ("filename", "x.exe"), ("url", url)];
    assert_eq!(
        pve.post(&format!("{path}/download-url"), &odd).wrong("filename"),
        "wrong file extension"
    );
    let wrong = [("content", "iso"), ("filename", "x.iso"), ("url", "file:///etc/passwd")];
    assert!(!pve.post(&format!("{path}/download-url"), &wrong).wrong("url").is_empty());
}

#[test]
fn templates_are_on_offer() {
    let pve = Pve::instant(Seed::small());
    let offered = pve.get("/nodes/pve1/aplinfo").data();
    let template = offered[0]["template"].as_str().unwrap();
    let fetch =
        |name: &str| pve.post("/nodes/pve1/aplinfo", &[("storage", "local"), ("template", name)]);
    assert_eq!(fetch("none.tar.gz").wrong("template"), "no such template");
    assert_eq!(pve.task(fetch(template)), "OK");
    let content = pve.get("/nodes/pve1/storage/local/content?content=vztmpl").data();
    entry(&content, "volid", &format!("local:vztmpl/{template}"));
}

#[test]
fn a_running_machine_with_an_agent_has_an_address() {
    let pve = Pve::instant(Seed::small());
    let machine = [
        ("vmid", "900"),
        ("name", "web"),
        ("agent", "enabled=1"),
        ("net0", "virtio=BC:24:11:00:00:09,bridge=vmbr0"),
        ("ipconfig0", "ip=192.0.2.9/24,gw=192.0.2.1"),
        ("ide2", "local-lvm:cloudinit"),
        ("ciuser", "admin"),
        ("sshkeys", "ssh-ed25519%20AAAA%20a%40b%0A"),
    ];
    assert_eq!(pve.task(pve.post("/nodes/pve1/qemu", &machine)), "OK");
    let path = "/nodes/pve1/qemu/900";
    let asked = format!("{path}/agent/network-get-interfaces");
    assert_eq!(pve.get(&asked).died(), "VM 900 is not running");
    pve.post(&format!("{path}/status/start"), &[]).data();
    let found = pve.get(&asked).data()["result"].clone();
    let card = entry(&found, "name", "eth0");
    assert_eq!(card["hardware-address"], "bc:24:11:00:00:09");
    assert_eq!(card["ip-addresses"][0]["ip-address"], "192.0.2.9");
    assert_eq!(pve.post(&format!("{path}/agent/ping"), &[]).data(), json!({ "result": {} }));
    let host = pve.get(&format!("{path}/agent/get-host-name")).data();
    assert_eq!(host["result"]["host-name"], "web");
    assert!(pve.post(&format!("{path}/agent/exec"), &[("command", "ls")]).died().contains("child"));

    let user = pve.get(&format!("{path}/cloudinit/dump?type=user")).data();
    let user = user.as_str().unwrap();
    assert!(
        user.contains("user: admin\n") && user.contains("  - ssh-ed25519 AAAA a@b\n"),
        "{user}"
    );
    let network = pve.get(&format!("{path}/cloudinit/dump?type=network")).data();
    assert!(network.as_str().unwrap().contains("address: '192.0.2.9/24'"), "{network}");
    let options = pve.get(&format!("{path}/cloudinit")).data();
    assert_eq!(entry(&options, "key", "ciuser")["value"], "admin");
    pve.put(&format!("{path}/cloudinit"), &[]).data();
    assert_eq!(pve.put("/nodes/pve1/qemu/100/cloudinit", &[]).died(), "no cloudinit drive defined");
    pve.post(&format!("{path}/agent/shutdown"), &[]).data();
    assert_eq!(pve.get(&format!("{path}/status/current")).data()["status"], "stopped");
}

#[test]
fn rules_are_about_managed_guests() {
    let pve = Pve::instant(Seed::cluster());
    let rules = "/cluster/ha/rules";
    let rule = |id: &str, more: &[(&str, &str)]| {
        pve.post(rules, &[&[("rule", id), ("resources", "vm:100")][..], more].concat())
    };
    let near = [("type", "node-affinity"), ("nodes", "pve1:2,pve2")];
    assert_eq!(
        rule("near", &near).died(),
        "create ha rule failed: cannot use unmanaged resource(s) vm:100."
    );
    pve.post("/cluster/ha/resources", &[("sid", "100")]).data();
    pve.post("/cluster/ha/resources", &[("sid", "101")]).data();
    assert_eq!(rule("near", &near[..1]).died(), "missing value for required option 'nodes'");
    assert_eq!(
        rule("near", &[("type", "node-affinity"), ("nodes", "pve9")]).died(),
        "create ha rule failed: cannot use non-existant node(s) pve9."
    );
    rule("near", &near).data();
    assert_eq!(rule("near", &near).died(), "create ha rule failed: HA rule 'near' already defined");
    let twice = rule("too", &near);
    assert_eq!((twice.status, twice.reason.as_str()), (400, "Rule 'too' is invalid."));
    let apart = [
        ("rule", "apart"),
        ("type", "resource-affinity"),
        ("affinity", "negative"),
        ("resources", "vm:100,vm:101"),
    ];
    pve.post(rules, &apart).data();
    let shown = pve.get(&format!("{rules}/near")).data();
    assert_eq!((&shown["resources"], &shown["strict"]), (&json!("vm:100"), &json!(0)));
    let of_both = pve.get(&format!("{rules}?resource=vm:101")).data();
    assert_eq!(of_both.as_array().unwrap().len(), 1);
    let change = [("type", "node-affinity"), ("nodes", "pve3"), ("delete", "comment")];
    pve.put(&format!("{rules}/near"), &change).data();
    assert_eq!(pve.get(&format!("{rules}/near")).data()["nodes"], "pve3");
    pve.delete("/cluster/ha/resources/vm:100").data();
    let left = pve.get(rules).data();
    assert_eq!((left.as_array().unwrap().len(), &left[0]["resources"]), (1, &json!("vm:101")));
    pve.delete(&format!("{rules}/apart")).data();
    assert_eq!(pve.get(&format!("{rules}/apart")).died(), "no such ha rule 'apart'");
}

#[test]
fn guests_of_all_nodes_act_together() {
    let pve = Pve::instant(Seed::cluster());
    let running = |vmid: &str| {
        let rows = pve.get("/cluster/resources?type=vm").data();
        entry(&rows, "vmid", vmid)["status"].clone()
    };
    let path = "/cluster/bulk-action/guest";
    assert_eq!(pve.task(pve.post(&format!("{path}/shutdown"), &[])), "OK");
    assert_eq!((running("100"), running("101")), (json!("stopped"), json!("stopped")));
    assert_eq!(pve.task(pve.post(&format!("{path}/start"), &[("vms", "101")])), "OK");
    assert_eq!((running("100"), running("101")), (json!("stopped"), json!("running")));
    let moved = [("vms", "100"), ("target", "pve3")];
    assert_eq!(pve.task(pve.post(&format!("{path}/migrate"), &moved)), "OK");
    let rows = pve.get("/cluster/resources?type=vm").data();
    assert_eq!(entry(&rows, "vmid", "100")["node"], "pve3");
}

#[test]
fn nodes_say_what_runs_on_them_and_with_whom() {
    let pve = Pve::instant(Seed::cluster());
    let path = "/nodes/pve2/services";
    let state = |name: &str| pve.get(&format!("{path}/{name}/state")).data()["state"].clone();
    assert_eq!(entry(&pve.get(path).data(), "service", "pveproxy")["state"], "running");
    assert_eq!(pve.task(pve.post(&format!("{path}/postfix/stop"), &[])), "OK");
    assert_eq!((state("postfix"), state("cron")), (json!("dead"), json!("running")));
    pve.post(&format!("{path}/postfix/start"), &[]).data();
    assert_eq!(state("postfix"), "running");
    assert_eq!(pve.get("/cluster/config/nodes").data().as_array().unwrap().len(), 3);
    let join = pve.get("/cluster/config/join").data();
    assert_eq!(
        (&join["preferred_node"], &join["nodelist"][1]["name"]),
        (&json!("pve1"), &json!("pve2"))
    );
    let machines = pve.get("/nodes/pve1/capabilities/qemu/machines").data();
    assert!(machines.as_array().unwrap().iter().any(|row: &Value| row["type"] == "q35"));

    let alone = Pve::instant(Seed::small());
    assert_eq!(
        alone.get("/cluster/config/join").died(),
        "node is not in a cluster, no join info available!"
    );
}
