//! Interfaces of a node: what waits, and what is in force.

use mock::Seed;
use serde_json::{Value, json};

use crate::client::{Pve, entry};

const PATH: &str = "/nodes/pve1/network";

#[test]
fn a_bridge_waits_for_the_reload() {
    let pve = Pve::instant(Seed::small());
    assert_eq!(entry(&pve.get(PATH).data(), "iface", "vmbr0")["type"], "bridge");
    let bridge = [("iface", "vmbr1"), ("type", "bridge"), ("cidr", "198.51.100.1/24")];
    pve.post(PATH, &[&bridge[..], &[("bridge_vlan_aware", "1")]].concat()).data();
    assert_eq!(pve.post(PATH, &bridge).wrong("iface"), "interface already exists");
    let listed = pve.get(PATH);
    assert!(listed.body["changes"].as_str().unwrap().contains("+iface vmbr1 inet static"));
    let local = |name: &str| {
        let rows = pve.get("/nodes/pve1/sdn/zones/localnetwork/bridges").data();
        rows.as_array().unwrap().iter().any(|row| row["name"] == name)
    };
    assert!(local("vmbr0") && !local("vmbr1"));
    assert_eq!(pve.task(pve.put(PATH, &[])), "OK");
    assert_eq!(pve.get(PATH).body.get("changes"), None::<&Value>);
    assert!(local("vmbr1"));
    let shown = pve.get(&format!("{PATH}/vmbr1")).data();
    assert_eq!((&shown["address"], &shown["netmask"]), (&json!("198.51.100.1"), &json!("24")));

    let change = [("type", "bridge"), ("gateway", "198.51.100.254")];
    assert_eq!(
        pve.put(&format!("{PATH}/vmbr1"), &change).wrong("gateway"),
        "Default gateway already exists on interface 'vmbr0'."
    );
    pve.put(&format!("{PATH}/vmbr1"), &[("type", "bridge"), ("delete", "cidr")]).data();
    assert_eq!(pve.get(&format!("{PATH}/vmbr1")).data()["method"], "manual");
    pve.delete(PATH).data();
    assert_eq!(pve.get(&format!("{PATH}/vmbr1")).data()["method"], "static");
    pve.delete(&format!("{PATH}/vmbr1")).data();
    assert_eq!(pve.get(&format!("{PATH}/vmbr1")).wrong("iface"), "interface does not exist");
}

#[test]
fn lists_have_what_was_asked_for() {
    let pve = Pve::instant(Seed::small());
    let names = |filter: &str| -> Vec<String> {
        let rows = pve.get(&format!("{PATH}?type={filter}")).data();
        let rows = rows.as_array().unwrap().iter();
        rows.map(|row| row["iface"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("eth"), ["eno1"]);
    assert_eq!(names("any_local_bridge"), ["vmbr0"]);
    assert_eq!(names("vnet"), Vec::<String>::new());
    assert_eq!(names("include_sdn"), ["eno1", "vmbr0"]);
}
