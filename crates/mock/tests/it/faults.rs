//! Faults as a client meets them.

use mock::{Faults, Form, Seed, StartError};

use crate::client::Pve;

fn faults(text: &str) -> Faults {
    Faults::parse("faults.toml", text, Form::Toml).unwrap()
}

fn with(rule: &str) -> Pve {
    Pve::with(Seed::small(), |config| config.faults = faults(&format!("[[rules]]\n{rule}")))
}

#[test]
fn statuses_replace_the_call() {
    let pve = with("verb = 'POST'\npath = '/nodes/{node}/qemu/{vmid}/status/*'\nstatus = 595");
    let answer = pve.post("/nodes/pve1/qemu/100/status/stop", &[]);
    assert_eq!((answer.status, answer.reason.as_str()), (595, "Connection refused"));
    let status = pve.get("/nodes/pve1/qemu/100/status/current").data();
    assert_eq!(status["status"], "running");

    let pve = with("path = '/version'\nstatus = 500\nreason = 'got timeout'\ntimes = 1");
    let answer = pve.get("/version");
    assert_eq!(answer.body["message"], "got timeout\n");
    assert_eq!(answer.died(), "got timeout");
    pve.get("/version").data();
}

#[test]
fn locks_have_the_genuine_text() {
    let pve = with("path = '/nodes/*/qemu/100/config'\nverb = 'PUT'\nlock = 'file'");
    let text = pve.put("/nodes/pve1/qemu/100/config", &[("name", "other")]).died();
    assert_eq!(text, "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout");
    assert_eq!(pve.get("/nodes/pve1/qemu/100/config").data()["name"], "gateway");
    pve.put("/nodes/pve1/qemu/101/config", &[("name", "other")]).data();
}

#[test]
fn a_failed_task_changes_nothing() {
    let pve = with("path = '/nodes/**'\nverb = ['POST', 'DELETE']\ntask = 'unable to open file'");
    for (path, parameters) in [
        ("/nodes/pve1/qemu/100/status/stop", &[][..]),
        ("/nodes/pve1/qemu", &[("vmid", "900"), ("scsi0", "local-lvm:4")]),
        ("/nodes/pve1/qemu/100/snapshot", &[("snapname", "before")]),
        ("/nodes/pve1/qemu/101/clone", &[("newid", "901"), ("full", "1")]),
    ] {
        let answer = pve.post(path, parameters);
        assert_eq!(pve.task(answer), "unable to open file", "{path}");
    }
    let config = pve.get("/nodes/pve1/qemu/100/config").data();
    assert_eq!(config.get("lock"), None);
    assert_eq!(pve.get("/nodes/pve1/qemu/100/status/current").data()["status"], "running");
    let guests = pve.get("/nodes/pve1/qemu").data();
    assert_eq!(guests.as_array().unwrap().len(), 2, "{guests}");
    // Without a task the call is as ever.
    pve.post(
        "/nodes/pve1/storage/local-lvm/content",
        &[("filename", "vm-100-disk-9"), ("vmid", "100"), ("size", "1G")],
    )
    .data();
}

#[test]
fn what_a_fault_took_back_is_not_kept() {
    let place = tempfile::tempdir().unwrap();
    let start = |rule: &str| {
        let (file, faults) = (Some(place.path().join("state")), faults(rule));
        Pve::with(Seed::small(), |config| {
            (config.state_file, config.faults) = (file, faults);
        })
    };
    let pve = start("[[rules]]\npath = '/nodes/**'\nverb = 'POST'\ntask = 'no'\ntimes = 2");
    let disk = [("vmid", "900"), ("scsi0", "local-lvm:4")];
    assert_eq!(pve.task(pve.post("/nodes/pve1/qemu", &disk)), "no");
    assert_eq!(pve.task(pve.post("/nodes/pve1/qemu/100/snapshot", &[("snapname", "one")])), "no");
    pve.put("/nodes/pve1/qemu/101/config", &[("cores", "5")]).data();
    drop(pve);
    let pve = start("");
    assert_eq!(pve.get("/nodes/pve1/qemu").data().as_array().unwrap().len(), 2);
    assert_eq!(pve.get("/nodes/pve1/qemu/100/config").data().get("lock"), None);
    assert_eq!(pve.get("/nodes/pve1/qemu/101/config").data()["cores"], 5);
    let tasks = pve.get("/cluster/tasks").data();
    let failed = tasks.as_array().unwrap().iter().filter(|task| task["status"] == "no");
    assert_eq!(failed.count(), 2, "the tasks themselves are news: {tasks}");
    assert_eq!(pve.task(pve.post("/nodes/pve1/qemu/100/status/stop", &[])), "OK");
}

#[test]
fn connections_break_where_the_rule_says() {
    let pve = with("path = '/version'\ndrop = 'request'");
    assert_eq!(pve.raw("GET", "/version"), b"");
    let pve = with("path = '/version'\ndrop = 20");
    assert_eq!(pve.raw("GET", "/version").len(), 20);
    let pve = with("path = '/version'\ncut = 5");
    let answer = String::from_utf8(pve.raw("GET", "/version")).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(body.len(), 5, "{answer}");
    assert!(head.contains("Content-Length: ") && !head.contains("Content-Length: 5\r\n"), "{head}");

    let pve = with("path = '/nodes/{node}/qemu/{vmid}/status/stop'\ndrop = 'answer'");
    assert_eq!(pve.raw("POST", "/nodes/pve1/qemu/100/status/stop"), b"");
    let status = pve.get("/nodes/pve1/qemu/100/status/current").data();
    assert_eq!(status["status"], "stopped");
}

#[test]
fn a_slow_body_arrives_whole() {
    let plain = Pve::instant(Seed::small()).get("/version").data();
    let pve = with("path = '/version'\nslow = { bytes = 7, every = '1ms' }");
    assert_eq!(pve.get("/version").data(), plain);
    let pve = with("path = '/version'\nlatency = '1ms'");
    assert_eq!(pve.get("/version").data(), plain);
}

#[test]
fn rules_can_be_exchanged_while_it_runs() {
    let pve = with("path = '/**'\nstatus = 503");
    assert_eq!(pve.get("/version").status, 503);
    pve.mock().control().set_faults(Faults::default()).unwrap();
    pve.get("/version").data();
    let wrong = faults("[[rules]]\npath = '/nothing'\nstatus = 503");
    let refused = pve.mock().control().set_faults(wrong.clone()).unwrap_err();
    assert!(
        refused.to_string().starts_with("faults.toml:1: rules[0]: the path /nothing"),
        "{refused}"
    );
    pve.get("/version").data();
    let start = Pve::try_with(Seed::small(), |config| config.faults = wrong);
    assert!(matches!(start, Err(StartError::File(_))));
}

#[test]
fn the_rules_of_the_guide_are_taken() {
    const GUIDE: &str = include_str!("../../../../docs/guides/mock-in-ci.md");
    let rules =
        GUIDE.split("```toml\n").find(|block| block.starts_with("# proxward mock --faults"));
    let (rules, _) = rules.unwrap().split_once("```").unwrap();
    let pve = Pve::with(Seed::cluster(), |config| config.faults = faults(rules));
    let start = || pve.post("/nodes/pve1/qemu/100/status/start", &[]).status;
    assert_eq!([start(), start(), start(), start()], [200, 500, 500, 200]);
    assert_eq!(pve.get("/nodes/pve2/lxc").status, 595);
}
