//! The life of guests, seen from every place that shows them.

use mock::Seed;
use serde_json::{Value, json};

use crate::client::{Pve, entry};

const VMS: &str = "/nodes/pve1/qemu";
const CTS: &str = "/nodes/pve1/lxc";
pub(crate) const VM: &str = "/nodes/pve1/qemu/900";

pub(crate) fn create(pve: &Pve) {
    let parameters = [
        ("vmid", "900"),
        ("name", "new"),
        ("memory", "1024"),
        ("cores", "2"),
        ("scsi0", "local-lvm:32,discard=on"),
        ("net0", "virtio,bridge=vmbr0"),
        ("tags", "b;a"),
    ];
    assert_eq!(pve.task(pve.post(VMS, &parameters)), "OK");
}

fn is_listed(pve: &Pve, path: &str) -> bool {
    let list = pve.get(path).data();
    list.as_array().unwrap().iter().any(|entry| entry["vmid"] == json!(900))
}

#[test]
fn a_created_machine_shows_in_every_view_and_a_destroyed_one_in_none() {
    let pve = Pve::instant(Seed::small());
    let views = [
        VMS,
        "/cluster/resources",
        "/cluster/resources?type=vm",
        "/cluster/backup-info/not-backed-up",
    ];
    assert!(views.iter().all(|view| !is_listed(&pve, view)));
    create(&pve);
    assert!(views.iter().all(|view| is_listed(&pve, view)));
    let config = pve.get(&format!("{VM}/config")).data();
    assert_eq!(config["scsi0"], "local-lvm:vm-900-disk-0,discard=on,size=32G");
    assert_eq!(config["boot"], "order=scsi0;net0");
    assert_eq!(config["tags"], "a;b");
    assert!(config["net0"].as_str().unwrap().starts_with("virtio=BC:24:11:"), "{config}");
    let content = pve.get("/nodes/pve1/storage/local-lvm/content").data();
    assert_eq!(entry(&content, "volid", "local-lvm:vm-900-disk-0")["size"], json!(32_u64 << 30));
    let status = pve.get(&format!("{VM}/status/current")).data();
    assert_eq!((&status["status"], &status["maxdisk"]), (&json!("stopped"), &json!(32_u64 << 30)));
    assert_eq!(
        pve.get(&format!("{VM}/rrddata?timeframe=hour")).data().as_array().unwrap().len(),
        70
    );
    let tasks = pve.get("/nodes/pve1/tasks").data();
    assert_eq!(tasks[0]["type"], "qmcreate");
    assert_eq!(pve.task(pve.delete(VM)), "OK");
    assert!(views.iter().all(|view| !is_listed(&pve, view)));
    assert_eq!(
        pve.get(&format!("{VM}/config")).died(),
        "Configuration file 'nodes/pve1/qemu-server/900.conf' does not exist"
    );
}

#[test]
fn ids_are_unique_and_the_next_one_moves() {
    let pve = Pve::instant(Seed::small());
    let next = pve.get("/cluster/nextid").data();
    let next = next.as_str().unwrap();
    assert_eq!(pve.task(pve.post(VMS, &[("vmid", next)])), "OK");
    assert_ne!(pve.get("/cluster/nextid").data(), *next);
    assert_eq!(
        pve.get(&format!("/cluster/nextid?vmid={next}")).wrong("vmid"),
        format!("VM {next} already exists")
    );
    assert_eq!(
        pve.post(VMS, &[("vmid", "100")]).died(),
        "unable to create VM 100 - VM 100 already exists on node 'pve1'"
    );
    assert_eq!(
        pve.post(
            CTS,
            &[
                ("vmid", "100"),
                ("ostemplate", "local:vztmpl/debian-13.tar.zst"),
                ("storage", "local-lvm")
            ]
        )
        .died(),
        "unable to create CT 100 - VM 100 already exists on node 'pve1'"
    );
}

#[test]
fn a_container_gets_the_defaults_of_its_template() {
    let pve = Pve::instant(Seed::small());
    let parameters = [
        ("vmid", "900"),
        ("ostemplate", "local:vztmpl/alpine-3.22.tar.xz"),
        ("rootfs", "local-lvm:8"),
        ("net0", "name=eth0,bridge=vmbr0,ip=dhcp"),
        ("start", "1"),
    ];
    assert_eq!(pve.task(pve.post(CTS, &parameters)), "OK");
    let config = pve.get(&format!("{CTS}/900/config")).data();
    assert_eq!(config["rootfs"], "local-lvm:vm-900-disk-0,size=8G");
    assert_eq!((&config["ostype"], &config["hostname"]), (&json!("alpine"), &json!("CT900")));
    assert_eq!((&config["memory"], &config["swap"]), (&json!(512), &json!(512)));
    assert!(config["net0"].as_str().unwrap().ends_with(",ip=dhcp,type=veth"), "{config}");
    let status = pve.get(&format!("{CTS}/900/status/current")).data();
    assert_eq!(status["status"], "running");
    assert_eq!(
        pve.delete(&format!("{CTS}/900")).died(),
        "unable to destroy CT 900 - container is running"
    );
    assert_eq!(pve.post(&format!("{CTS}/900/status/start"), &[]).died(), "CT 900 already running");
}

#[test]
fn unknown_storages_and_unsuitable_ones_are_refused() {
    let pve = Pve::instant(Seed::small());
    let create = |disk: &str| pve.post(VMS, &[("vmid", "900"), ("scsi0", disk)]);
    assert_eq!(create("nowhere:1").died(), "storage 'nowhere' does not exist");
    assert_eq!(create("local:1").wrong("storage"), "storage 'local' does not support vm images");
    assert!(!is_listed(&pve, VMS));
}

#[test]
fn protection_and_running_keep_a_machine() {
    let pve = Pve::instant(Seed::small());
    create(&pve);
    pve.put(&format!("{VM}/config"), &[("protection", "1")]).data();
    assert_eq!(pve.delete(VM).died(), "can't remove VM 900 - protection mode enabled");
    pve.put(&format!("{VM}/config"), &[("delete", "protection")]).data();
    assert_eq!(pve.task(pve.post(&format!("{VM}/status/start"), &[])), "OK");
    assert_eq!(pve.task(pve.delete(VM)), "VM 900 is running - destroy failed");
    assert_eq!(pve.task(pve.post(&format!("{VM}/status/stop"), &[])), "OK");
    assert_eq!(pve.task(pve.delete(VM)), "OK");
}

#[test]
fn a_stale_digest_is_refused() {
    let pve = Pve::instant(Seed::small());
    create(&pve);
    let path = format!("{VM}/config");
    let digest = pve.get(&path).data()["digest"].as_str().unwrap().to_owned();
    pve.put(&path, &[("digest", &digest), ("description", "one")]).data();
    assert_eq!(
        pve.put(&path, &[("digest", &digest), ("description", "two")]).died(),
        "detected modified configuration - file changed by other user? Try again."
    );
    assert_eq!(pve.get(&path).data()["description"], "one");
}

#[test]
fn a_running_machine_takes_some_changes_at_its_next_start() {
    let pve = Pve::instant(Seed::small());
    create(&pve);
    pve.post(&format!("{VM}/status/start"), &[]).data();
    let path = format!("{VM}/config");
    pve.put(&path, &[("cores", "4"), ("name", "renamed"), ("delete", "tags")]).data();
    let pending = pve.get(&format!("{VM}/pending")).data();
    let cores = entry(&pending, "key", "cores");
    assert_eq!((&cores["value"], &cores["pending"]), (&json!(2), &json!(4)));
    assert_eq!(entry(&pending, "key", "name").get("pending"), None);
    assert_eq!(pve.get(&path).data()["cores"], json!(4));
    assert_eq!(pve.get(&format!("{path}?current=1")).data()["cores"], json!(2));
    assert_eq!(pve.get(&path).data().get("tags"), None);
    pve.put(&path, &[("revert", "cores")]).data();
    assert_eq!(pve.get(&path).data()["cores"], json!(2));
    pve.put(&path, &[("cores", "8"), ("delete", "scsihw")]).data();
    assert_eq!(pve.task(pve.post(&format!("{VM}/status/reboot"), &[])), "OK");
    assert_eq!(pve.get(&format!("{path}?current=1")).data()["cores"], json!(8));
    assert_eq!(pve.get(&format!("{VM}/status/current")).data()["cpus"], json!(8));
}

#[test]
fn options_are_not_deleted_and_set_at_once() {
    let pve = Pve::instant(Seed::small());
    let path = format!("{VMS}/100/config");
    assert_eq!(
        pve.put(&path, &[("cores", "1"), ("delete", "cores")]).wrong("delete"),
        "you can't use '-cores' and '-delete cores' at the same time"
    );
    assert_eq!(
        pve.put(&path, &[("delete", "nonsense")]).wrong("delete"),
        "unknown option 'nonsense'"
    );
    assert_eq!(
        pve.put(&path, &[("balloon", "999999")]).wrong("balloon"),
        "balloon value too large (must be smaller than assigned memory)"
    );
}

#[test]
fn a_removed_drive_is_kept_as_unused() {
    let pve = Pve::instant(Seed::small());
    create(&pve);
    let path = format!("{VM}/config");
    pve.put(&path, &[("scsi1", "local-lvm:1"), ("delete", "scsi0")]).data();
    let config = pve.get(&path).data();
    assert_eq!(config["unused0"], "local-lvm:vm-900-disk-0");
    assert_eq!(config["scsi1"], "local-lvm:vm-900-disk-1,size=1G");
    pve.put(&path, &[("scsi0", "local-lvm:vm-900-disk-0")]).data();
    assert_eq!(pve.get(&path).data().get("unused0"), None);
    pve.put(&path, &[("delete", "scsi1")]).data();
    pve.put(&path, &[("delete", "unused0")]).data();
    assert_eq!(pve.get(&path).data().get("unused0"), None);
}

#[test]
fn disks_grow_and_do_not_shrink() {
    let pve = Pve::instant(Seed::small());
    create(&pve);
    let resize = |disk: &str, size: &str| {
        pve.task(pve.put(&format!("{VM}/resize"), &[("disk", disk), ("size", size)]))
    };
    assert_eq!(resize("scsi0", "+8G"), "OK");
    assert_eq!(pve.get(&format!("{VM}/status/current")).data()["maxdisk"], json!(40_u64 << 30));
    assert_eq!(resize("scsi0", "1G"), "shrinking disks is not supported");
    assert_eq!(resize("scsi5", "1G"), "disk 'scsi5' does not exist");
}

#[test]
fn locks_hold_while_a_task_runs() {
    let pve = Pve::timed(Seed::small());
    let created = pve.post(VMS, &[("vmid", "900"), ("scsi0", "local-lvm:1")]);
    let current = format!("{VM}/status/current");
    assert_eq!(pve.task(created), "running");
    assert_eq!(pve.get(&current).data()["lock"], "create");
    assert_eq!(pve.put(&format!("{VM}/config"), &[("cores", "2")]).died(), "VM is locked (create)");
    pve.advance(60);
    assert_eq!(pve.get(&current).data().get("lock"), None);
    let snapshot = pve.post(&format!("{VM}/snapshot"), &[("snapname", "one")]);
    let resources = pve.get("/cluster/resources?type=vm").data();
    assert_eq!(entry(&resources, "vmid", "900")["lock"], "snapshot");
    let start = pve.post(&format!("{VM}/status/start"), &[]);
    pve.advance(60);
    assert_eq!(pve.task(start), "VM is locked (snapshot)");
    assert_eq!(pve.task(snapshot), "OK");
    assert_eq!(pve.get(&current).data().get("lock"), None);
}

#[test]
fn root_means_root_and_not_its_token() {
    let pve = Pve::instant(Seed::small());
    let path = format!("{VMS}/100/config");
    assert_eq!(pve.put(&path, &[("lock", "backup")]).died(), "only root can set 'lock' config");
    assert_eq!(
        pve.put(&path, &[("cores", "2"), ("skiplock", "1")]).wrong("skiplock"),
        "Only root may use this option."
    );
}

#[test]
fn rights_are_asked_for_by_option() {
    let mut seed = Seed::small();
    seed.user_cfg += "user:op@pve:1:0:::::\ntoken:op@pve!ci:0:0::\n\
        role:Cpu:VM.Config.CPU,VM.Audit:\nacl:1:/vms/100:op@pve:Cpu:\n";
    seed.tokens.push(("op@pve!ci".to_owned(), "t".into()));
    let pve = Pve::instant(seed).using("op@pve!ci=t");
    let path = format!("{VMS}/100/config");
    pve.put(&path, &[("cores", "3")]).data();
    let denied = pve.put(&path, &[("cores", "4"), ("memory", "512")]);
    assert_eq!(
        (denied.status, denied.reason.as_str()),
        (403, "Permission check failed (/vms/100, VM.Config.Memory)")
    );
    assert_eq!(pve.get(&path).data()["cores"], json!(3));
    let created = pve.post(VMS, &[("vmid", "900")]);
    assert_eq!((created.status, created.reason.as_str()), (403, "Permission check failed"));
    assert_eq!(pve.get("/cluster/resources?type=vm").data().as_array().unwrap().len(), 1);
}

#[test]
fn tasks_run_until_their_time_has_come() {
    let pve = Pve::timed(Seed::small());
    create_stopped(&pve);
    let upid = pve.post(&format!("{VM}/status/start"), &[]).data();
    let status = |key: &str| -> Value {
        let path = format!("/nodes/pve1/tasks/{}/status", upid.as_str().unwrap());
        pve.get(&path).data()[key].clone()
    };
    assert_eq!(status("status"), "running");
    assert_eq!(pve.get(&format!("{VM}/status/current")).data()["status"], "stopped");
    pve.advance(5);
    assert_eq!((status("status"), status("exitstatus")), (json!("stopped"), json!("OK")));
    let current = pve.get(&format!("{VM}/status/current")).data();
    assert_eq!((&current["status"], &current["uptime"]), (&json!("running"), &json!(4)));
}

fn create_stopped(pve: &Pve) {
    pve.post(VMS, &[("vmid", "900")]).data();
    pve.advance(10);
}

#[test]
fn suspend_and_resume() {
    let pve = Pve::instant(Seed::small());
    let path = "/nodes/pve1/qemu/100/status";
    let qmp = || pve.get(&format!("{path}/current")).data()["qmpstatus"].clone();
    assert_eq!(pve.task(pve.post(&format!("{path}/suspend"), &[])), "OK");
    assert_eq!(qmp(), "paused");
    assert_eq!(pve.task(pve.post(&format!("{path}/resume"), &[])), "OK");
    assert_eq!(qmp(), "running");
    assert_eq!(pve.task(pve.post(&format!("{path}/suspend"), &[("todisk", "1")])), "OK");
    assert_eq!(qmp(), "stopped");
    assert_eq!(pve.task(pve.post(&format!("{path}/start"), &[])), "OK");
    assert_eq!(qmp(), "running");
    assert_eq!(pve.get("/nodes/pve1/qemu/100/agent/info").died(), "No QEMU guest agent configured");
}
