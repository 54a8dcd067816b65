//! Seeds from files, as a client meets them.

use std::collections::BTreeMap;

use mock::{Form, Seed, SeedFile};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::client::{Pve, entry};

const EXAMPLE: &str = include_str!("../../../../docs/guides/seed.example.toml");

fn file(text: &str, form: Form) -> SeedFile {
    SeedFile::parse("seed", text, form, &mut |_| Err("no secrets".to_owned())).unwrap()
}

fn serve(file: SeedFile) -> Pve {
    let SeedFile { seed, steps } = file;
    Pve::try_with(seed, |config| config.steps = steps).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_example_of_the_guide_is_served() {
    let pve = serve(file(EXAMPLE, Form::Toml));
    let config = pve.get("/nodes/pve1/qemu/100/config").data();
    for (key, value) in [
        ("name", json!("web1")),
        ("cores", json!(4)),
        ("memory", json!("8192")),
        ("scsi0", json!("local-lvm:vm-100-disk-0,size=32G")),
        ("tags", json!("prod;web")),
        ("parent", json!("before-upgrade")),
    ] {
        assert_eq!(config[key], value, "{key}");
    }
    assert_eq!(config.get("lock"), None);
    let networks = pve.get("/nodes/pve1/sdn/zones/lab/content").data();
    assert_eq!(networks, json!([{ "vnet": "labnet", "status": "available" }]));
    assert_eq!(pve.get("/nodes/pve1/qemu/100/status/current").data()["status"], "running");
    assert_eq!(pve.get("/nodes/pve2/lxc/200/status/current").data()["status"], "stopped");
    let snapshots = pve.get("/nodes/pve1/qemu/100/snapshot").data();
    assert_eq!(entry(&snapshots, "name", "before-upgrade")["description"], "13.1");

    let disks = pve.get("/nodes/pve1/storage/local-lvm/content").data();
    assert_eq!(disks.as_array().unwrap().len(), 1, "{disks}");
    let files = pve.get("/nodes/pve1/storage/local/content").data();
    let backup = "local:backup/vzdump-qemu-100-2026_11_20-22_48_36.vma.zst";
    assert_eq!(entry(&files, "volid", backup)["protected"], 1);
    let total = pve.get("/nodes/pve1/storage/local-lvm/status").data()["total"].clone();
    assert_eq!(total, json!(2_u64 << 40));

    let tasks = pve.get("/cluster/tasks").data();
    let list = tasks.as_array().unwrap();
    assert_eq!((list.len(), &list[0]["type"]), (2, &json!("vzstart")), "{tasks}");
    assert_eq!(entry(&tasks, "type", "vzdump")["status"], "OK");
    let upid = list[0]["upid"].as_str().unwrap();
    let log = pve.get(&format!("/nodes/pve2/tasks/{upid}/log")).data();
    assert_eq!(log[0]["t"], "explain: run it in the foreground");
    pve.get("/cluster/backup/nightly").data();

    let members = pve.get("/pools/production").data()["members"].clone();
    assert_eq!(members.as_array().unwrap().len(), 2, "{members}");
    let alice = pve.using("alice@pve!ci=11111111-2222-3333-4444-555555555555");
    assert_eq!(alice.get("/nodes/pve1/qemu").data().as_array().unwrap().len(), 1);
    assert_eq!(alice.get("/nodes/pve2/lxc").data(), json!([]));
    let stop = alice.post("/nodes/pve1/qemu/100/status/stop", &[]);
    assert_eq!(alice.task(stop), "OK");
    assert_eq!(alice.put("/nodes/pve1/qemu/100/config", &[("cores", "1")]).status, 403);
}

#[test]
fn a_file_fills_a_new_state_file_and_every_reset() {
    let place = tempfile::tempdir().unwrap();
    let start = || {
        let SeedFile { seed, steps } = file(EXAMPLE, Form::Toml);
        let state = Some(place.path().join("state"));
        Pve::with(seed, |config| {
            (config.steps, config.state_file, config.resettable) = (steps, state, true);
        })
    };
    let names = |pve: &Pve| {
        let guests = pve.get("/nodes/pve1/qemu").data();
        let names = guests.as_array().unwrap().iter().map(|guest| guest["name"].clone());
        names.collect::<Vec<_>>()
    };
    let tasks = |pve: &Pve| pve.get("/cluster/tasks").data().as_array().unwrap().len();
    let pve = start();
    let (first, before) = (names(&pve), tasks(&pve));
    pve.put("/nodes/pve1/qemu/100/config", &[("name", "renamed")]).data();
    assert_eq!(pve.task(pve.post("/nodes/pve1/qemu/100/status/stop", &[])), "OK");
    drop(pve);
    let pve = start();
    assert_eq!((names(&pve), tasks(&pve)), (vec![json!("renamed")], before + 1));
    pve.mock().control().reset().unwrap();
    assert_eq!((names(&pve), tasks(&pve)), (first.clone(), before));
    assert_eq!(pve.get("/nodes/pve1/qemu/100/status/current").data()["status"], "running");
    let stop = pve.post("/nodes/pve1/qemu/100/status/stop", &[]);
    assert_eq!(pve.task(stop), "OK");
    drop(pve);
    let pve = start();
    assert_eq!((names(&pve), tasks(&pve)), (first, before + 1));
    assert_eq!(pve.get("/nodes/pve1/qemu/100/status/current").data()["status"], "stopped");
}

#[test]
fn passwords_of_the_file_log_in() {
    let pve = serve(file(EXAMPLE, Form::Toml));
    let login = |password: &str| {
        let parameters = [("username", "alice@pve"), ("password", password)];
        pve.call_with("", "POST", "/access/ticket", &parameters)
    };
    assert!(login("correct horse").data()["ticket"].is_string());
    assert_eq!(login("wrong").status, 401);
}

#[test]
fn json_and_yaml_say_the_same() {
    let yaml = "nodes:\n- name: pve1\nstorages:\n- storage: lvm\n  type: lvmthin\nqemu:\n\
                - vmid: 100\n  node: pve1\n  name: a\n  memory: 512\n  onboot: true\n  scsi0: 'lvm:4'\n";
    let json = json!({
        "nodes": [{ "name": "pve1" }],
        "storages": [{ "storage": "lvm", "type": "lvmthin" }],
        "qemu": [{ "vmid": 100, "node": "pve1", "name": "a", "memory": 512, "onboot": true,
                   "scsi0": "lvm:4" }],
    });
    let config = |pve: &Pve| {
        let mut config = pve.get("/nodes/pve1/qemu/100/config").data();
        let made = ["smbios1", "vmgenid", "digest"];
        made.iter().for_each(|key| drop(config.as_object_mut().unwrap().remove(*key)));
        config
    };
    let one = config(&serve(file(yaml, Form::Yaml)));
    assert_eq!(one, config(&serve(file(&json.to_string(), Form::Json))));
    assert_eq!(one["scsi0"], "lvm:vm-100-disk-0,size=4G");
}

#[test]
fn printed_seeds_are_the_seeds() {
    for seed in [Seed::empty(), Seed::small(), Seed::cluster().with_guests(40)] {
        let printed = serve(file(&seed.to_toml(), Form::Toml));
        let plain = Pve::instant(seed);
        let resources = |pve: &Pve| {
            let list = pve.get("/cluster/resources").data();
            let made = ["uptime", "netin", "netout", "diskread", "diskwrite"];
            let entry = |entry: &Value| {
                let mut entry = entry.as_object().unwrap().clone();
                made.iter().for_each(|key| drop(entry.remove(*key)));
                (entry["id"].to_string(), entry)
            };
            list.as_array().unwrap().iter().map(entry).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(resources(&printed), resources(&plain));
        assert_eq!(printed.get("/access/acl").data(), plain.get("/access/acl").data());
        for (id, guest) in resources(&plain) {
            if guest["type"] != "qemu" && guest["type"] != "lxc" {
                continue;
            }
            let path = format!(
                "/nodes/{}/{}/config",
                guest["node"].as_str().unwrap(),
                id.trim_matches('"')
            );
            let mut config = printed.get(&path).data();
            for key in ["smbios1", "vmgenid", "meta", "swap", "digest"] {
                config.as_object_mut().unwrap().remove(key);
            }
            let mut wanted = plain.get(&path).data();
            wanted.as_object_mut().unwrap().remove("digest");
            assert_eq!(config, wanted, "{path}");
        }
    }
}

fn option() -> impl Strategy<Value = (&'static str, Value)> {
    prop_oneof![
        (0u32..6).prop_map(|cores| ("cores", json!(cores))),
        "[a-z0-9-]{1,8}".prop_map(|name| ("name", json!(name))),
        prop::sample::select(vec![
            "lvm:4",
            "lvm:vm-100-disk-0,size=1G",
            "lvm:vm-101-disk-3,size=2G",
            "local:4",
            "none,media=cdrom"
        ])
        .prop_map(|disk| ("scsi0", json!(disk))),
        prop::sample::select(vec!["virtio,bridge=vmbr0", "e1000=02:00:00:00:00:01", "bridge"])
            .prop_map(|net| ("net0", json!(net))),
        prop::sample::select(vec!["running", "stopped", "paused"])
            .prop_map(|status| ("status", json!(status))),
        prop::sample::select(vec!["backup", "migrate"]).prop_map(|lock| ("lock", json!(lock))),
        any::<bool>().prop_map(|template| ("template", json!(template))),
        "[a-z;,A-Z]{0,6}".prop_map(|tags| ("tags", json!(tags))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a file says: it is refused with a line, or every guest answers.
    #[test]
    fn any_seed_that_loads_answers(
        guests in prop::collection::vec((100u32..103, prop::collection::vec(option(), 0..5)), 0..4),
    ) {
        let qemu: Vec<Value> = guests.iter().map(|(vmid, options)| {
            let mut guest = json!({ "vmid": vmid, "node": "pve1" });
            options.iter().for_each(|(key, value)| guest[*key] = value.clone());
            guest
        }).collect();
        let seed = json!({
            "storages": [
                { "storage": "lvm", "type": "lvmthin" },
                { "storage": "local", "type": "dir", "path": "/x", "content": "iso" },
            ],
            "qemu": qemu,
        });
        let SeedFile { seed, steps } = file(&seed.to_string(), Form::Json);
        match Pve::try_with(seed, |config| config.steps = steps) {
            Err(error) => prop_assert!(error.to_string().starts_with("seed:1: qemu["), "{}", error),
            Ok(pve) => {
                let listed = pve.get("/nodes/pve1/qemu").data();
                prop_assert_eq!(listed.as_array().unwrap().len(), guests.len());
                for (vmid, _) in guests {
                    for below in ["config", "status/current", "pending", "snapshot"] {
                        pve.get(&format!("/nodes/pve1/qemu/{vmid}/{below}")).data();
                    }
                }
                pve.get("/cluster/resources").data();
                pve.get("/nodes/pve1/storage/lvm/content").data();
            }
        }
    }
}

#[test]
fn the_seed_of_the_guide_is_served() {
    const GUIDE: &str = include_str!("../../../../docs/guides/mock-in-ci.md");
    let seed = GUIDE.split("```toml\n").find(|block| block.starts_with("cluster = \"lab\""));
    let (seed, _) = seed.unwrap().split_once("```").unwrap();
    let pve = serve(file(seed, Form::Toml));
    assert_eq!(pve.get("/nodes/pve1/qemu/100/status/current").data()["status"], "running");
}
