//! Recording and replaying, through HTTP.

use mock::{Recording, Seed, StartError, Upstream};
use serde_json::json;

use crate::client::Pve;

fn recorded(act: impl FnOnce(&Pve)) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("r.jsonl");
    let pve = Pve::with(Seed::small(), |config| config.record = Some(path.clone()));
    act(&pve);
    drop(pve);
    std::fs::read_to_string(&path).unwrap()
}

fn replaying(text: &str) -> Pve {
    let recording = Recording::parse("r", text).unwrap();
    Pve::with(Seed::empty(), |config| config.replay = recording)
}

#[test]
fn a_recording_answers_what_was_asked_and_the_mock_the_rest() {
    let text = recorded(|pve| {
        pve.get("/nodes/pve1/qemu/100/config").data();
        pve.put("/nodes/pve1/qemu/100/config", &[("name", "renamed")]).data();
        pve.get("/nodes/pve1/qemu/100/config").data();
        pve.call_with("", "GET", "/version", &[]);
        pve.post("/access/users", &[("userid", "a@pve"), ("password", "canary-canary")]).data();
    });
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(!text.contains("canary") && !text.contains("PVEAPIToken"), "{text}");
    let pve = replaying(&text);
    let name = || pve.get("/nodes/pve1/qemu/100/config").data()["name"].clone();
    assert_eq!([name(), name(), name()], [json!("gateway"), json!("renamed"), json!("renamed")]);
    // Not recorded: the empty cluster has no other guest, and knows its version.
    assert_eq!(pve.get("/nodes/pve1/qemu/101/config").status, 500);
    pve.get("/version").data();
    // A password is compared by its mask: any fits.
    pve.post("/access/users", &[("userid", "a@pve"), ("password", "something")]).data();
    assert_eq!(pve.get("/access/users").data().as_array().unwrap().len(), 1);
    // Who may ask is the mock's own decision.
    assert_eq!(pve.call_with("", "GET", "/nodes/pve1/qemu/100/config", &[]).status, 401);
}

#[test]
fn a_server_behind_it_is_asked_and_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("r.jsonl");
    let behind = Pve::instant(Seed::small());
    let endpoint = format!("http://{}", behind.mock().local_addr()).parse().unwrap();
    let front = Pve::with(Seed::empty(), |config| {
        config.record = Some(path.clone());
        config.upstream = Some(Upstream::new(endpoint, None).unwrap());
    });
    let config = front.get("/nodes/pve1/qemu/100/config").data();
    assert_eq!(config, behind.get("/nodes/pve1/qemu/100/config").data());
    front.put("/nodes/pve1/qemu/100/config", &[("name", "renamed")]).data();
    assert_eq!(behind.get("/nodes/pve1/qemu/100/config").data()["name"], "renamed");
    let died = front.get("/nodes/pve1/qemu/999/config").died();
    assert!(died.contains("does not exist"), "{died}");
    assert_eq!(front.send("/x", "multipart/form-data; boundary=x", b"--x--").status, 501);
    drop(behind);
    assert_eq!(front.get("/version").status, 595);
    drop(front);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("{\"proxward_recording\":1,\"source\":\"http://127.0.0.1:"), "{text}");
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(!text.contains("secret"), "{text}");
    assert_eq!(replaying(&text).get("/nodes/pve1/qemu/100/config").data(), config);
}

#[test]
fn a_recording_is_never_overwritten() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let refused = Pve::try_with(Seed::empty(), |config| {
        config.record = Some(file.path().to_owned());
    });
    let Err(StartError::File(error)) = refused else { panic!("it was taken") };
    assert!(error.to_string().contains("remove it, or name another"), "{error}");
}
