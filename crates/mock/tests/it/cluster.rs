//! Pools, firewalls, jobs, storages, and what is kept by the schema alone.

use mock::{Api, Seed, unmodelled};
use serde_json::json;

use crate::client::{Pve, entry};

#[test]
fn pools_hold_guests_and_storages() {
    let pve = Pve::instant(Seed::small());
    pve.post("/pools", &[("poolid", "dev"), ("comment", "c")]).data();
    assert_eq!(
        pve.post("/pools", &[("poolid", "dev")]).died(),
        "create pool failed: pool 'dev' already exists"
    );
    pve.put("/pools/dev", &[("vms", "100,101"), ("storage", "local")]).data();
    let pool = pve.get("/pools/dev").data();
    assert_eq!(pool["members"].as_array().unwrap().len(), 3);
    let resources = pve.get("/cluster/resources?type=vm").data();
    assert_eq!(entry(&resources, "vmid", "100")["pool"], "dev");
    assert_eq!(
        pve.delete("/pools/dev").died(),
        "delete pool failed: pool 'dev' is not empty (contains VM 100)"
    );
    let created = [("vmid", "900"), ("pool", "dev")];
    assert_eq!(pve.task(pve.post("/nodes/pve1/qemu", &created)), "OK");
    assert_eq!(pve.get("/pools/dev?type=qemu").data()["members"].as_array().unwrap().len(), 3);
    pve.put(
        "/pools",
        &[("poolid", "dev"), ("vms", "100,101,900"), ("storage", "local"), ("delete", "1")],
    )
    .data();
    pve.delete("/pools/dev").data();
    assert_eq!(pve.get("/pools/dev").died(), "pool 'dev' does not exist");
}

#[test]
fn rules_stand_in_their_order() {
    let pve = Pve::instant(Seed::small());
    for base in ["/cluster/firewall", "/nodes/pve1/firewall", "/nodes/pve1/qemu/100/firewall"] {
        let path = format!("{base}/rules");
        let empty = pve.get(&path).data();
        assert_eq!(empty, json!([]));
        for port in ["1", "2", "3"] {
            let rule = [("type", "in"), ("action", "ACCEPT"), ("proto", "tcp"), ("dport", port)];
            pve.post(&path, &rule).data();
        }
        let order = || -> String {
            let rules = pve.get(&path).data();
            rules.as_array().unwrap().iter().map(|rule| rule["dport"].as_str().unwrap()).collect()
        };
        assert_eq!(order(), "321");
        pve.put(&format!("{path}/0"), &[("moveto", "3")]).data();
        assert_eq!(order(), "213");
        pve.put(&format!("{path}/2"), &[("moveto", "0")]).data();
        assert_eq!(order(), "321");
        let digest = pve.get(&path).data()[0]["digest"].as_str().unwrap().to_owned();
        pve.put(&format!("{path}/1"), &[("comment", "x"), ("digest", &digest)]).data();
        assert_eq!(
            pve.put(&format!("{path}/1"), &[("comment", "y"), ("digest", &digest)]).died(),
            "detected modified configuration - file changed by other user? Try again."
        );
        pve.delete(&format!("{path}/0")).data();
        assert_eq!(order(), "21");
        assert_eq!(pve.get(&format!("{path}/9")).died(), "no rule at position 9");
    }
    assert_eq!(pve.get("/nodes/pve1/lxc/200/firewall/rules").data(), json!([]));
}

#[test]
fn groups_aliases_and_sets() {
    let pve = Pve::instant(Seed::small());
    let base = "/cluster/firewall";
    let rule = [("type", "group"), ("action", "web")];
    assert_eq!(
        pve.post(&format!("{base}/rules"), &rule).wrong("action"),
        "no such security group 'web'"
    );
    pve.post(&format!("{base}/groups"), &[("group", "web")]).data();
    pve.post(&format!("{base}/rules"), &rule).data();
    pve.post(&format!("{base}/groups/web"), &[("type", "in"), ("action", "DROP")]).data();
    assert_eq!(
        pve.delete(&format!("{base}/groups/web")).died(),
        "Security group 'web' is not empty"
    );
    pve.delete(&format!("{base}/groups/web/0")).data();
    pve.delete(&format!("{base}/groups/web")).data();
    pve.post(&format!("{base}/aliases"), &[("name", "Lan"), ("cidr", "192.0.2.0/24")]).data();
    assert_eq!(pve.get(&format!("{base}/aliases/lan")).data()["cidr"], "192.0.2.0/24");
    pve.post(&format!("{base}/ipset"), &[("name", "good")]).data();
    pve.post(&format!("{base}/ipset/good"), &[("cidr", "192.0.2.1")]).data();
    assert_eq!(pve.delete(&format!("{base}/ipset/good")).died(), "IPSet 'good' is not empty");
    let references = pve.get("/nodes/pve1/qemu/100/firewall/refs").data();
    assert_eq!(entry(&references, "name", "Lan")["ref"], "dc/Lan");
    assert_eq!(entry(&references, "name", "good")["ref"], "+dc/good");
    pve.put(&format!("{base}/options"), &[("enable", "1")]).data();
    assert_eq!(pve.get(&format!("{base}/options")).data()["enable"], json!(1));
    pve.put(&format!("{base}/options"), &[("delete", "enable")]).data();
    assert_eq!(
        pve.get(&format!("{base}/options")).data(),
        json!({ "digest": "da39a3ee5e6b4b0d3255bfef95601890afd80709" })
    );
}

#[test]
fn backup_jobs_cover_guests() {
    let pve = Pve::instant(Seed::small());
    let open = || pve.get("/cluster/backup-info/not-backed-up").data().as_array().unwrap().len();
    let all = open();
    let job = [("id", "nightly"), ("vmid", "100,101"), ("schedule", "daily"), ("storage", "local")];
    pve.post("/cluster/backup", &job).data();
    assert_eq!(open(), all - 2);
    pve.put("/cluster/backup/nightly", &[("all", "1"), ("delete", "vmid")]).data();
    assert_eq!(open(), 0);
    let included = pve.get("/cluster/backup/nightly/included_volumes").data();
    assert_eq!(included["children"].as_array().unwrap().len(), all);
    assert_eq!(pve.get("/cluster/backup/none").wrong("id"), "No such job 'none'");
    pve.delete("/cluster/backup/nightly").data();
    assert_eq!(open(), all);
}

#[test]
fn storages_come_and_go() {
    let pve = Pve::instant(Seed::small());
    let nfs = [
        ("storage", "nas"),
        ("type", "nfs"),
        ("server", "192.0.2.9"),
        ("export", "/x"),
        ("content", "images,iso"),
    ];
    assert_eq!(pve.post("/storage", &nfs).data()["storage"], "nas");
    assert_eq!(
        pve.post("/storage", &nfs).died(),
        "create storage failed: storage ID 'nas' already defined"
    );
    let stored = pve.get("/storage/nas").data();
    assert_eq!((&stored["server"], &stored["shared"]), (&json!("192.0.2.9"), &json!(1)));
    assert_eq!(stored["path"], "/mnt/pve/nas");
    let resources = pve.get("/cluster/resources?type=storage").data();
    assert_eq!(entry(&resources, "storage", "nas")["content"], "images,iso");
    entry(&pve.get("/nodes/pve1/storage").data(), "storage", "nas");
    pve.put("/storage/nas", &[("content", "iso"), ("disable", "1")]).data();
    assert_eq!(pve.get("/storage/nas").data()["content"], "iso");
    pve.delete("/storage/nas").data();
    assert_eq!(pve.get("/storage/nas").died(), "storage 'nas' does not exist");
}

#[test]
fn managed_guests_show_it() {
    let pve = Pve::instant(Seed::cluster());
    pve.post("/cluster/ha/resources", &[("sid", "100"), ("state", "started")]).data();
    assert_eq!(
        pve.post("/cluster/ha/resources", &[("sid", "vm:100")]).died(),
        "resource ID 'vm:100' already defined"
    );
    let resources = pve.get("/cluster/resources?type=vm").data();
    assert_eq!(entry(&resources, "vmid", "100")["hastate"], "started");
    let current = pve.get("/nodes/pve1/qemu/100/status/current").data();
    assert_eq!(current["ha"]["managed"], json!(1));
    entry(&pve.get("/cluster/ha/status/current").data(), "id", "service:vm:100");
    pve.put("/cluster/ha/resources/vm:100", &[("comment", "x")]).data();
    assert_eq!(pve.get("/cluster/ha/resources/100").data()["comment"], "x");
    pve.post("/nodes/pve1/qemu/100/status/stop", &[]).data();
    assert_eq!(
        pve.delete("/nodes/pve1/qemu/100").died(),
        "unable to remove VM 100 - used in HA resources and purge parameter not set."
    );
    assert_eq!(pve.task(pve.delete("/nodes/pve1/qemu/100?purge=1")), "OK");
    assert_eq!(pve.get("/cluster/ha/resources").data(), json!([]));
    assert_eq!(
        pve.get("/cluster/ha/groups").died(),
        "cannot index groups: ha groups have been migrated to rules"
    );
}

#[test]
fn replication_needs_a_guest_and_another_node() {
    let pve = Pve::instant(Seed::cluster());
    let job = |id: &str, target: &str| {
        pve.post("/cluster/replication", &[("id", id), ("type", "local"), ("target", target)])
    };
    assert_eq!(job("100-0", "pve1").died(), "unable to replicate to itself: 'pve1'");
    job("100-0", "pve2").data();
    assert_eq!(job("100-0", "pve2").died(), "replication job '100-0' already exists");
    let jobs = pve.get("/cluster/replication").data();
    let kept = entry(&jobs, "id", "100-0");
    assert_eq!((&kept["guest"], &kept["source"]), (&json!(100), &json!("pve1")));
    assert_eq!(pve.get("/nodes/pve1/replication").data()[0]["fail_count"], json!(0));
    assert_eq!(pve.get("/cluster/replication/101-0").died(), "no such replication job '101-0'");
}

#[test]
fn what_is_not_modelled_is_kept_and_shown() {
    let pve = Pve::instant(Seed::small());
    let path = "/cluster/metrics/server";
    let server = [("type", "influxdb"), ("server", "192.0.2.5"), ("port", "8089"), ("token", "t")];
    pve.post(&format!("{path}/influx"), &server).data();
    assert_eq!(
        pve.post(&format!("{path}/influx"), &server).died(),
        "Metric server 'influx' already exists"
    );
    let list = pve.get(path).data();
    assert_eq!(entry(&list, "id", "influx")["port"], json!(8089));
    pve.put(&format!("{path}/influx"), &[("server", "h"), ("port", "1"), ("mtu", "1400")]).data();
    pve.put(&format!("{path}/influx"), &[("server", "h"), ("port", "1"), ("delete", "mtu")]).data();
    let shown = pve.get(&format!("{path}/influx")).data();
    assert_eq!((&shown["server"], shown.get("mtu"), shown.get("token")), (&json!("h"), None, None));
    pve.delete(&format!("{path}/influx")).data();
    assert_eq!(
        pve.get(&format!("{path}/influx")).died(),
        "status server entry 'influx' does not exist"
    );
    pve.put("/cluster/options", &[("keyboard", "de"), ("description", "x")]).data();
    assert_eq!(pve.get("/cluster/options").data()["keyboard"], "de");
    pve.put("/cluster/options", &[("delete", "keyboard")]).data();
    assert_eq!(pve.get("/cluster/options").data().get("keyboard"), None);
    let mapping = [("id", "gpu"), ("map", "node=pve1,path=0000:01:00.0,id=10de:1db6")];
    pve.post("/cluster/mapping/pci", &mapping).data();
    entry(&pve.get("/cluster/mapping/pci").data(), "id", "gpu");
}

#[test]
fn figures_of_a_moment_do_not_change() {
    let pve = Pve::instant(Seed::small());
    for path in ["/nodes/pve1", "/nodes/pve1/qemu/100", "/nodes/pve1/storage/local"] {
        let series = |frame: &str| pve.get(&format!("{path}/rrddata?timeframe={frame}")).data();
        let hour = series("hour");
        assert_eq!(hour, series("hour"));
        let points = hour.as_array().unwrap();
        let time = |at: usize| points[at]["time"].as_u64().unwrap();
        assert_eq!((time(1) - time(0), time(69) - time(0)), (60, 69 * 60));
        assert_ne!(series("day"), hour);
    }
}

#[test]
fn the_list_of_unmodelled_methods_is_the_rest_of_the_schema() {
    let list = unmodelled(&Api::V9).unwrap();
    assert!(list.iter().any(|(_, path)| path.contains("/ceph/")));
    assert!(list.iter().all(|(_, path)| !path.contains("/snapshot")));
    assert!(unmodelled(&Api::Document("{".to_owned())).is_err());
}

/// Names that exist fill the variables, so that handlers get past their first check.
#[test]
fn every_path_answers() {
    let pve = Pve::instant(Seed::cluster());
    let named = [
        ("{node}", "pve1"),
        ("{storage}", "local"),
        ("{poolid}", "production"),
        ("{userid}", "root@pam"),
        ("{timeframe}", "hour"),
    ];
    let mut answered = 0;
    for method in pve_schema::Schema::v9().methods() {
        let mut path = method.path().to_owned();
        for (variable, value) in named {
            path = path.replace(variable, value);
        }
        path = path.replace("{vmid}", if path.contains("/lxc/") { "200" } else { "100" });
        let path = path.split('/').map(|part| if part.starts_with('{') { "x1" } else { part });
        let path = path.collect::<Vec<_>>().join("/");
        let answer = match method.verb() {
            pve_schema::Verb::Get => pve.get(&path),
            pve_schema::Verb::Post => pve.post(&path, &[]),
            pve_schema::Verb::Put => pve.put(&path, &[]),
            pve_schema::Verb::Delete => pve.delete(&path),
        };
        assert_ne!(answer.status, 501, "{} {path} {}", method.verb(), answer.reason);
        answered += 1;
    }
    assert!(answered > 600, "{answered}");
}

#[test]
fn lists_show_what_calls_have_changed_and_the_same_after_a_restart() {
    const AUDITOR: &str = "a@pve!ci=s";
    let place = tempfile::tempdir().unwrap();
    let start = || {
        let mut seed = Seed::small();
        seed.user_cfg += "user:a@pve:1:0:::::\ntoken:a@pve!ci:0:0::\n";
        seed.tokens.push(("a@pve!ci".to_owned(), "s".into()));
        let file = Some(place.path().join("state"));
        Pve::with(seed, |config| config.state_file = file)
    };
    let lists = |pve: &Pve| {
        ["/cluster/resources", "/nodes", "/nodes/pve1/qemu", "/nodes/pve1/lxc"]
            .map(|path| pve.get(path).data())
    };
    let pve = start();
    pve.post("/pools", &[("poolid", "ours")]).data();
    pve.put("/pools", &[("poolid", "ours"), ("vms", "100")]).data();
    pve.put("/nodes/pve1/qemu/100/config", &[("tags", "a;b")]).data();
    assert_eq!(pve.task(pve.post("/nodes/pve1/qemu/101/status/stop", &[])), "OK");
    pve.put("/nodes/pve1/qemu/101/config", &[("cores", "3")]).data();
    assert_eq!(pve.task(pve.post("/nodes/pve1/qemu/101/template", &[])), "OK");
    let acl = [("path", "/vms/101"), ("roles", "PVEAuditor"), ("users", "a@pve")];
    pve.put("/access/acl", &acl).data();
    let before = lists(&pve);
    let one = entry(&before[0], "id", "qemu/100");
    assert_eq!((&one["pool"], &one["tags"]), (&json!("ours"), &json!("a;b")));
    let other = entry(&before[0], "id", "qemu/101");
    assert_eq!((&other["template"], &other["maxcpu"]), (&json!(1), &json!(3)));
    drop(pve);
    let pve = start();
    assert_eq!(lists(&pve), before);
    let seen = pve.using(AUDITOR).get("/cluster/resources?type=vm").data();
    assert_eq!(seen.as_array().unwrap().len(), 1, "{seen}");
}
