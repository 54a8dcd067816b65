//! Guests out of backups.

use mock::Seed;
use serde_json::Value;

use crate::client::Pve;

/// Backs the guest up; the archive's volume id.
fn backup(pve: &Pve, vmid: &str) -> String {
    let vzdump = [("vmid", vmid), ("storage", "local"), ("compress", "zstd")];
    assert_eq!(pve.task(pve.post("/nodes/pve1/vzdump", &vzdump)), "OK");
    let content = pve.get("/nodes/pve1/storage/local/content?content=backup").data();
    let entries = content.as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["vmid"].as_u64() == vmid.parse().ok()).unwrap();
    entry["volid"].as_str().unwrap().to_owned()
}

fn config(pve: &Pve, kind: &str, vmid: &str) -> Value {
    pve.get(&format!("/nodes/pve1/{kind}/{vmid}/config")).data()
}

#[test]
fn a_machine_comes_back_under_another_id() {
    let pve = Pve::instant(Seed::small());
    let archive = backup(&pve, "100");
    let before = config(&pve, "qemu", "100");
    let restore = [("vmid", "950"), ("archive", &*archive), ("unique", "1"), ("name", "again")];
    let answer = pve.post("/nodes/pve1/qemu", &restore);
    assert!(answer.body["data"].as_str().unwrap().contains(":qmrestore:950:"));
    assert_eq!(pve.task(answer), "OK");
    let after = config(&pve, "qemu", "950");
    assert_eq!(after["cores"], before["cores"]);
    assert_eq!(after["name"], "again");
    assert_ne!(after["net0"], before["net0"]);
    let (disk, old) = (after["scsi0"].as_str().unwrap(), before["scsi0"].as_str().unwrap());
    assert!(disk.contains("vm-950-disk-0"), "{disk}");
    let size = |drive: &str| drive.split("size=").nth(1).unwrap().to_owned();
    assert_eq!(size(disk), size(old));
}

#[test]
fn an_archive_outlives_the_process_and_its_guest() {
    let place = tempfile::tempdir().unwrap();
    let start = || {
        let file = Some(place.path().join("state"));
        Pve::with(Seed::small(), |config| config.state_file = file)
    };
    let pve = start();
    let archive = backup(&pve, "101");
    let before = config(&pve, "qemu", "101");
    pve.post("/nodes/pve1/qemu/101/status/stop", &[]).data();
    assert_eq!(pve.task(pve.delete("/nodes/pve1/qemu/101")), "OK");
    drop(pve);
    let pve = start();
    let answer = pve.post("/nodes/pve1/qemu", &[("vmid", "101"), ("archive", &*archive)]);
    assert_eq!(pve.task(answer), "OK");
    let after = config(&pve, "qemu", "101");
    assert_eq!((&after["name"], &after["net0"]), (&before["name"], &before["net0"]));
}

#[test]
fn an_id_in_use_is_taken_by_force_only() {
    let pve = Pve::instant(Seed::small());
    let archive = backup(&pve, "100");
    let again = [("vmid", "100"), ("archive", &*archive)];
    let by_force = [again[0], again[1], ("force", "1")];
    let path = "/nodes/pve1/qemu";
    let refused = "unable to restore VM 100 - VM 100 already exists on node 'pve1'";
    assert_eq!(pve.post(path, &again).died(), refused);
    pve.post("/nodes/pve1/qemu/100/status/start", &[]);
    assert_eq!(pve.post(path, &by_force).died(), "unable to restore VM 100 - vm is running");
    pve.post("/nodes/pve1/qemu/100/status/stop", &[]).data();
    pve.put("/nodes/pve1/qemu/100/config", &[("cores", "7")]).data();
    assert_eq!(pve.task(pve.post(path, &by_force)), "OK");
    assert_ne!(config(&pve, "qemu", "100")["cores"], 7);
    pve.put("/nodes/pve1/qemu/100/config", &[("protection", "1")]).data();
    let refused = "unable to restore VM 100 - - protection mode enabled";
    assert_eq!(pve.post(path, &by_force).died(), refused);
    let gone = [("vmid", "951"), ("archive", "local:backup/vzdump-qemu-1-x.vma")];
    let missing = "can't find archive file 'local:backup/vzdump-qemu-1-x.vma'";
    assert_eq!(pve.post(path, &gone).died(), missing);
    let conflict = [("vmid", "951"), ("archive", &*archive), ("scsi1", "local-lvm:1")];
    assert_eq!(pve.post(path, &conflict).wrong("scsi1"), "option conflicts with option 'archive'");
}

#[test]
fn a_container_comes_back_on_the_storage_of_the_call() {
    let pve = Pve::instant(Seed::small());
    let guests = pve.get("/nodes/pve1/lxc").data();
    let vmid = guests[0]["vmid"].to_string().replace('"', "");
    let archive = backup(&pve, &vmid);
    let restore = [("vmid", "960"), ("ostemplate", &*archive), ("restore", "1")];
    let local = pve.post("/nodes/pve1/lxc", &restore).wrong("storage");
    assert_eq!(local, "storage 'local' does not support container directories");
    let restore = [restore[0], restore[1], restore[2], ("storage", "local-lvm")];
    let answer = pve.post("/nodes/pve1/lxc", &restore);
    assert!(answer.body["data"].as_str().unwrap().contains(":vzrestore:960:"));
    assert_eq!(pve.task(answer), "OK");
    let rootfs = config(&pve, "lxc", "960")["rootfs"].as_str().unwrap().to_owned();
    assert!(rootfs.starts_with("local-lvm:vm-960-disk-0"), "{rootfs}");
}
