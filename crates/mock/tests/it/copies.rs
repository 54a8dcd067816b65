//! Snapshots, clones, templates, migration, and many guests at once.

use mock::Seed;
use serde_json::json;

use crate::client::{Pve, START, entry};
use crate::guests::{VM, create};

#[test]
fn snapshots_form_a_chain_and_roll_back() {
    let pve = Pve::instant(Seed::small());
    create(&pve);
    let path = format!("{VM}/snapshot");
    assert_eq!(pve.task(pve.post(&path, &[("snapname", "one"), ("description", "first")])), "OK");
    pve.put(&format!("{VM}/config"), &[("cores", "7")]).data();
    assert_eq!(pve.task(pve.post(&path, &[("snapname", "two")])), "OK");
    assert_eq!(
        pve.task(pve.post(&path, &[("snapname", "two")])),
        "snapshot name 'two' already used"
    );
    assert_eq!(
        pve.post(&path, &[("snapname", "current")]).died(),
        "unable to use snapshot name 'current' (reserved name)"
    );
    let list = pve.get(&path).data();
    assert_eq!(entry(&list, "name", "two")["parent"], "one");
    assert_eq!(entry(&list, "name", "one")["snaptime"], json!(START));
    assert_eq!(entry(&list, "name", "current")["parent"], "two");
    assert_eq!(pve.get(&format!("{path}/one/config")).data()["cores"], json!(2));
    assert_eq!(pve.get(&format!("{path}/none/config")).died(), "snapshot 'none' does not exist");
    assert_eq!(pve.task(pve.post(&format!("{path}/one/rollback"), &[])), "OK");
    assert_eq!(pve.get(&format!("{VM}/config")).data()["cores"], json!(2));
    assert_eq!(entry(&pve.get(&path).data(), "name", "current")["parent"], "one");
    assert_eq!(pve.task(pve.delete(&format!("{path}/one"))), "OK");
    assert_eq!(entry(&pve.get(&path).data(), "name", "two").get("parent"), None);
    assert_eq!(pve.task(pve.delete(&format!("{path}/one"))), "snapshot 'one' does not exist");
}

#[test]
fn clones_are_guests_of_their_own() {
    let pve = Pve::instant(Seed::small());
    create(&pve);
    let clone = |more: &[(&str, &str)]| {
        let mut parameters = vec![("newid", "901")];
        parameters.extend(more);
        pve.post(&format!("{VM}/clone"), &parameters)
    };
    assert_eq!(
        clone(&[("full", "0")]).died(),
        "Linked clone feature is not supported for drive 'scsi0'"
    );
    assert_eq!(pve.task(clone(&[("name", "copy")])), "OK");
    let (old, new) =
        (pve.get(&format!("{VM}/config")).data(), pve.get("/nodes/pve1/qemu/901/config").data());
    assert_eq!((&new["name"], &new["cores"]), (&json!("copy"), &json!(2)));
    assert_eq!(new["scsi0"], "local-lvm:vm-901-disk-0,discard=on,size=32G");
    assert_ne!(new["net0"], old["net0"]);
    assert_ne!(new["vmgenid"], old["vmgenid"]);
    assert_eq!(clone(&[]).died(), "unable to create VM 901 - VM 901 already exists on node 'pve1'");
}

#[test]
fn templates_start_nothing() {
    let pve = Pve::instant(Seed::small());
    create(&pve);
    assert_eq!(pve.task(pve.post(&format!("{VM}/template"), &[])), "OK");
    assert_eq!(
        pve.get(&format!("{VM}/config")).data()["scsi0"],
        "local-lvm:base-900-disk-0,discard=on,size=32G"
    );
    let resources = pve.get("/cluster/resources?type=vm").data();
    assert_eq!(entry(&resources, "vmid", "900")["template"], json!(1));
    assert_eq!(
        pve.task(pve.post(&format!("{VM}/status/start"), &[])),
        "you can't start a vm if it's a template"
    );
    assert_eq!(
        pve.post(&format!("{VM}/template"), &[]).died(),
        "you can't convert a template to a template"
    );
}

#[test]
fn a_migrated_guest_stands_on_the_other_node() {
    let pve = Pve::instant(Seed::cluster());
    let path = "/nodes/pve1/qemu/100/migrate";
    assert_eq!(pve.post(path, &[("target", "pve1")]).wrong("target"), "target is local node.");
    assert_eq!(pve.post(path, &[("target", "pve9")]).died(), "no such cluster node 'pve9'");
    assert_eq!(
        pve.post(path, &[("target", "pve2")]).died(),
        "can't migrate running VM without --online"
    );
    assert_eq!(
        pve.task(pve.post(path, &[("target", "pve2"), ("online", "1")])),
        "migration aborted"
    );
    let moving = [("target", "pve2"), ("online", "1"), ("with-local-disks", "1")];
    assert_eq!(pve.task(pve.post(path, &moving)), "OK");
    let resources = pve.get("/cluster/resources?type=vm").data();
    let moved = entry(&resources, "vmid", "100");
    assert_eq!((&moved["node"], &moved["status"]), (&json!("pve2"), &json!("running")));
    assert_eq!(
        pve.get("/nodes/pve1/qemu/100/config").died(),
        "Configuration file 'nodes/pve1/qemu-server/100.conf' does not exist"
    );
}

#[test]
fn all_guests_of_a_node_stop_and_start() {
    let pve = Pve::instant(Seed::small());
    let running = || {
        let list = pve.get("/cluster/resources?type=vm").data();
        list.as_array().unwrap().iter().filter(|guest| guest["status"] == "running").count()
    };
    let all = running();
    assert!(all > 2);
    assert_eq!(pve.task(pve.post("/nodes/pve1/stopall", &[])), "OK");
    assert_eq!(running(), 0);
    assert_eq!(
        pve.task(pve.post("/nodes/pve1/startall", &[("force", "1"), ("vms", "100,101")])),
        "OK"
    );
    assert_eq!(running(), 2);
}
