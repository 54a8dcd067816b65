//! The node's own settings, the cluster log, and what stands beside the API.

use mock::Seed;
use serde_json::json;

use crate::client::Pve;

#[test]
fn settings_of_a_node_are_kept() {
    let pve = Pve::instant(Seed::small());
    assert_eq!(pve.get("/nodes/pve1/dns").data(), json!({ "dns1": "192.0.2.53" }));
    pve.put("/nodes/pve1/dns", &[("search", "example.org"), ("dns2", "192.0.2.2")]).data();
    let kept = json!({ "search": "example.org", "dns2": "192.0.2.2" });
    assert_eq!(pve.get("/nodes/pve1/dns").data(), kept);

    let hosts = pve.get("/nodes/pve1/hosts").data();
    let digest = hosts["digest"].as_str().unwrap();
    let change = [("data", "127.0.0.1 localhost\n"), ("digest", digest)];
    pve.post("/nodes/pve1/hosts", &change).data();
    assert!(pve.post("/nodes/pve1/hosts", &change).died().contains("modified configuration"));

    pve.put("/nodes/pve1/time", &[("timezone", "Europe/Vienna")]).data();
    assert_eq!(pve.get("/nodes/pve1/time").data()["timezone"], "Europe/Vienna");
    assert_eq!(pve.put("/nodes/pve1/time", &[("timezone", "../x")]).died(), "No such timezone.");
}

#[test]
fn the_cluster_log_tells_of_tasks() {
    let pve = Pve::instant(Seed::small());
    let upid = pve.post("/nodes/pve1/vzdump", &[("vmid", "999")]).data();
    let upid = upid.as_str().unwrap();
    let log = pve.get("/cluster/log?max=2").data();
    assert_eq!(log[0]["msg"], format!("end task {upid} job errors"));
    assert_eq!(log[1]["msg"], format!("starting task {upid}"));
    assert_eq!(log[1]["user"], "root@pam!ci");
}

#[test]
fn the_log_of_a_task_can_be_saved() {
    let pve = Pve::instant(Seed::small());
    let upid = pve.post("/nodes/pve1/vzdump", &[("vmid", "999")]).data();
    let path = format!("/api2/json/nodes/pve1/tasks/{}/log?download=1", upid.as_str().unwrap());
    let (head, body) = pve.page(&path, &pve.authorization());
    let name = "attachment; filename=\"task-pve1-vzdump-20";
    assert!(head.contains(&format!("\r\nContent-Disposition: {name}")), "{head}");
    assert!(head.contains("\r\nContent-Type: text/plain\r\n"), "{head}");
    assert!(body.ends_with("TASK ERROR: job errors\n"), "{body}");
}

#[test]
fn files_and_page_have_the_headers_of_the_genuine_ones() {
    let pve = Pve::instant(Seed::small());
    let (head, body) = pve.page("/pve2/js/pvemanagerlib.js?ver=1", "Range: bytes=0-9\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nConnection: close\r\nDate: "), "{head}");
    assert!(head.contains("\r\nContent-Type: application/javascript\r\nLast-Modified: "), "{head}");
    assert!(!head.contains("Expires") && !head.contains("Pragma"), "{head}");
    assert!(body.len() > 1_000_000);
    let condition = "If-Modified-Since: Fri, 20 Nov 2026 22:38:54 GMT\r\n";
    let (head, body) = pve.page("/pve2/css/ext6-pve.css", condition);
    assert!(head.starts_with("HTTP/1.1 304 NOT MODIFIED\r\n") && body.is_empty(), "{head}");
    let (head, _) = pve.page("/pve2/css/../css/ext6-pve.css", "");
    assert!(
        head.starts_with("HTTP/1.1 500 no such file '/pve2/css/../css/ext6-pve.css'"),
        "{head}"
    );
    let (head, body) = pve.page("/", "Cookie: PVELangCookie=de; x\r\n");
    assert!(head.contains("\r\nContent-Type: text/html; charset=utf-8\r\nExpires: "), "{head}");
    assert!(body.contains("defaultLang: 'de',") && body.contains("UserName: '',"), "{body}");
}
