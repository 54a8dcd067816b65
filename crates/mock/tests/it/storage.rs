//! Uploads, the content of storages, and backups.

use mock::Seed;
use serde_json::json;

use crate::client::{Answer, Pve, START, entry};

const LOCAL: &str = "/nodes/pve1/storage/local";
const FORM: &str = "multipart/form-data; boundary=b42";

fn upload(pve: &Pve, storage: &str, fields: &[(&str, &str)], file: &str, data: &[u8]) -> Answer {
    let mut form = Vec::new();
    for (name, value) in fields {
        let part =
            format!("--b42\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        form.extend(part.into_bytes());
    }
    let head = format!(
        "--b42\r\nContent-Disposition: form-data; name=\"filename\"; filename=\"{file}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    form.extend(head.into_bytes());
    form.extend_from_slice(data);
    form.extend_from_slice(b"\r\n--b42--\r\n");
    pve.send(&format!("/nodes/pve1/storage/{storage}/upload"), FORM, &form)
}

#[test]
fn an_uploaded_image_is_listed_and_can_be_removed() {
    let pve = Pve::instant(Seed::small());
    let data = vec![7; 100_000];
    let answer = upload(&pve, "local", &[("content", "iso")], "../../deb ian.iso", &data);
    let upid = answer.data();
    let upid = upid.as_str().unwrap();
    assert!(upid.contains(":imgcopy::root@pam!ci:"), "{upid}");
    let log = pve.get(&format!("/nodes/pve1/tasks/{upid}/log")).data();
    assert_eq!(log[2]["t"], "target file: /var/lib/vz/template/iso/deb_ian.iso");
    let list = pve.get(&format!("{LOCAL}/content?content=iso")).data();
    assert_eq!(
        list,
        json!([{
            "volid": "local:iso/deb_ian.iso", "content": "iso", "format": "iso",
            "size": 100_000, "ctime": START,
        }])
    );
    let volume = format!("{LOCAL}/content/local:iso/deb_ian.iso");
    assert_eq!(pve.get(&volume).data()["path"], "/var/lib/vz/template/iso/deb_ian.iso");
    assert_eq!(pve.task(pve.delete(&format!("{LOCAL}/content/iso/deb_ian.iso"))), "OK");
    assert_eq!(pve.get(&volume).died(), "volume_size_info on 'local:iso/deb_ian.iso' failed");
    assert_eq!(pve.get(&format!("{LOCAL}/content")).data(), json!([]));
}

#[test]
fn a_checksum_is_checked_in_the_task() {
    let pve = Pve::instant(Seed::small());
    let with = |algorithm, checksum| {
        let fields =
            [("content", "iso"), ("checksum-algorithm", algorithm), ("checksum", checksum)];
        pve.task(upload(&pve, "local", &fields, "abc.img", b"abc"))
    };
    assert_eq!(with("md5", "900150983CD24FB0D6963F7D28E17F72"), "OK");
    assert_eq!(
        with("sha1", "12"),
        "checksum mismatch: got 'a9993e364706816aba3e25717850c26c9cd0d89d' != expect '12'"
    );
    let wrong = [("content", "iso"), ("checksum-algorithm", "crc32"), ("checksum", "1")];
    let refused = upload(&pve, "local", &wrong, "abc.img", b"abc");
    assert!(refused.wrong("checksum-algorithm").contains("crc32"));
}

#[test]
fn uploads_that_a_genuine_node_refuses() {
    let pve = Pve::instant(Seed::small());
    let iso = [("content", "iso")];
    let complaint = |content, file| {
        upload(&pve, "local", &[("content", content)], file, b"x").wrong("filename")
    };
    assert_eq!(complaint("vztmpl", "a.iso"), "wrong file extension");
    assert_eq!(complaint("iso", ".iso"), "wrong file extension");
    assert_eq!(complaint("import", "a.ovf"), "invalid filename or wrong extension");
    assert_eq!(
        upload(&pve, "local", &[("content", "import")], "a.ova", b"x").died(),
        "storage 'local' does not support 'import' content"
    );
    assert_eq!(
        upload(&pve, "local-lvm", &iso, "a.iso", b"x").died(),
        "can't upload to storage type 'lvmthin'"
    );
    assert_eq!(upload(&pve, "none", &iso, "a.iso", b"x").died(), "storage 'none' does not exist");
    let path = format!("{LOCAL}/upload");
    assert_eq!(pve.send(&path, FORM, b"--b42\r\nnothing").died(), "upload failed");
}

#[test]
fn an_upload_needs_the_right_before_its_body() {
    let mut seed = Seed::small();
    seed.user_cfg += "user:bob@pve:1:0:::::\ntoken:bob@pve!up:0:0::\n";
    seed.tokens.push(("bob@pve!up".to_owned(), secrets::SecretString::new("secret".to_owned())));
    let pve = Pve::instant(seed).using("bob@pve!up=secret");
    let refused = upload(&pve, "local", &[("content", "iso")], "a.iso", b"x");
    assert_eq!(refused.status, 403);
    assert_eq!(
        refused.reason,
        "Permission check failed (/storage/local, Datastore.AllocateTemplate)"
    );
}

#[test]
fn a_file_is_there_when_its_task_has_ended() {
    let pve = Pve::timed(Seed::small());
    upload(&pve, "local", &[("content", "iso")], "a.iso", b"x").data();
    assert_eq!(pve.get(&format!("{LOCAL}/content")).data(), json!([]));
    pve.advance(2);
    assert_eq!(pve.get(&format!("{LOCAL}/content")).data()[0]["volid"], "local:iso/a.iso");
}

#[test]
fn disks_of_guests_and_allocated_ones_are_content() {
    let pve = Pve::instant(Seed::small());
    let content = "/nodes/pve1/storage/local-lvm/content";
    let list = pve.get(content).data();
    let (machine, container) = (
        entry(&list, "volid", "local-lvm:vm-100-disk-0"),
        entry(&list, "volid", "local-lvm:vm-200-disk-0"),
    );
    assert_eq!((&machine["content"], &machine["vmid"]), (&json!("images"), &json!(100)));
    assert_eq!(container["content"], "rootdir");
    let new = [("filename", "vm-100-disk-7"), ("vmid", "100"), ("size", "2M")];
    assert_eq!(pve.post(content, &new).data(), "local-lvm:vm-100-disk-7");
    assert!(pve.post(content, &new).died().ends_with("already exists"));
    let foreign = [("filename", "vm-7-disk-1"), ("vmid", "100"), ("size", "2M")];
    let said = pve.post(content, &foreign).died();
    assert_eq!(said, "illegal name 'vm-7-disk-1' - should be 'vm-100-*'");
    let made = pve.get(&format!("{content}/vm-100-disk-7")).data();
    assert_eq!(made["size"], 2 << 20);
    let in_use = pve.task(pve.delete(&format!("{content}/vm-100-disk-0")));
    assert!(in_use.contains("in use"), "{in_use}");
}

#[test]
fn a_backup_leaves_an_archive() {
    let pve = Pve::instant(Seed::small());
    let options = [("vmid", "100"), ("storage", "local"), ("compress", "zstd"), ("protected", "1")];
    assert_eq!(pve.task(pve.post("/nodes/pve1/vzdump", &options)), "OK");
    let list = pve.get(&format!("{LOCAL}/content?vmid=100")).data();
    let archive = &list[0];
    assert_eq!((&archive["subtype"], &archive["notes"]), (&json!("qemu"), &json!("gateway")));
    let volume = format!("{LOCAL}/content/{}", archive["volid"].as_str().unwrap());
    let refused = pve.task(pve.delete(&volume));
    assert!(refused.starts_with("cannot remove protected volume"), "{refused}");
    pve.put(&volume, &[("protected", "0"), ("notes", "kept\nlong")]).data();
    assert_eq!(pve.get(&volume).data()["notes"], "kept\nlong");
    assert_eq!(pve.get(&format!("{LOCAL}/content")).data()[0]["notes"], "kept");
    assert_eq!(pve.task(pve.delete(&volume)), "OK");
    let missing = pve.post("/nodes/pve1/vzdump", &[("vmid", "999")]);
    assert_eq!(pve.task(missing), "job errors");
    let conflict = pve.post("/nodes/pve1/vzdump", &[("vmid", "100"), ("all", "1")]);
    assert_eq!(conflict.wrong("all"), "option conflicts with option 'vmid'");
}

#[test]
fn an_allocated_disk_can_be_given_to_a_guest() {
    let pve = Pve::instant(Seed::small());
    let disk = [("filename", "vm-100-disk-7"), ("vmid", "100"), ("size", "3G")];
    pve.post("/nodes/pve1/storage/local-lvm/content", &disk).data();
    pve.put("/nodes/pve1/qemu/100/config", &[("scsi5", "local-lvm:vm-100-disk-7")]).data();
    let config = pve.get("/nodes/pve1/qemu/100/config").data();
    assert_eq!(config["scsi5"], "local-lvm:vm-100-disk-7,size=3G");
    let content = pve.get("/nodes/pve1/storage/local-lvm/content?vmid=100").data();
    let listed = content.as_array().unwrap().iter();
    let listed = listed.filter(|entry| entry["volid"] == "local-lvm:vm-100-disk-7");
    assert_eq!(listed.count(), 1, "{content}");
    let missing = pve.put("/nodes/pve1/qemu/100/config", &[("scsi6", "local-lvm:vm-100-disk-8")]);
    assert_eq!(missing.died(), "volume local-lvm:vm-100-disk-8 does not exist");
}
