//! Other nodes, over a real sshd on loopback.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use broker_api::{Outcome, Request};

use crate::harness::{Broker, code, done, is_root, open_dir, program};

/// An address of this machine that the broker does not take for itself.
const NODE: &str = "127.0.0.2";

struct Sshd {
    child: Child,
    port: u16,
    dir: PathBuf,
}

impl Sshd {
    /// Nothing, where there is no sshd or this user may not run one.
    fn start(dir: &Path) -> Option<Self> {
        if !is_root() || !Path::new("/usr/sbin/sshd").exists() {
            eprintln!("skipped: needs root and sshd");
            return None;
        }
        std::fs::create_dir_all("/run/sshd").ok()?;
        let dir = dir.join("sshd");
        std::fs::create_dir(&dir).unwrap();
        let port = TcpListener::bind((NODE, 0)).unwrap().local_addr().unwrap().port();
        let file = |name: &str| dir.join(name).display().to_string();
        keygen(&dir.join("host"));
        let config = format!(
            "Port {port}\nListenAddress {NODE}\nHostKey {}\nAuthorizedKeysFile {}\nUsePAM no\n\
             StrictModes no\nPidFile none\nPermitRootLogin prohibit-password\n",
            file("host"),
            file("authorized_keys")
        );
        std::fs::write(dir.join("config"), config).unwrap();
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(dir.join("config"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let sshd = Self { child, port, dir };
        let listens = (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            std::net::TcpStream::connect((NODE, port)).is_ok()
        });
        assert!(listens, "sshd does not listen");
        Some(sshd)
    }

    /// The broker's keys, each bound to this command instead of the real one.
    fn accept(&self, lines: &serde_json::Value, command: &str) {
        let mut file = std::fs::File::create(self.dir.join("authorized_keys")).unwrap();
        for line in lines.as_array().unwrap() {
            let key = line.as_str().unwrap().split("\" ").nth(1).unwrap();
            writeln!(file, "restrict,command=\"{command}\" {key}").unwrap();
        }
    }

    fn host_key(&self) -> String {
        std::fs::read_to_string(self.dir.join("host.pub")).unwrap()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keygen(path: &Path) {
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(made.unwrap().success());
}

fn know(dir: &Path, text: &str) {
    let folder = dir.join("nodes").join(NODE);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("ssh_known_hosts"), text).unwrap();
}

/// A broker that may reach the node, with its key made and accepted there.
fn reach(command: &str) -> Option<(Broker, Sshd)> {
    let dir = open_dir();
    let sshd = Sshd::start(dir.path())?;
    know(dir.path(), &format!("{NODE} {}", sshd.host_key()));
    let more = format!(
        "limits = {{ burst = 1000, per_second = 1000.0 }}\n\
         nodes = {{ allow = ['{NODE}'], port = {}, known_hosts = '{}/nodes', output_bytes = 20000 }}",
        sshd.port,
        dir.path().display()
    );
    let broker = Broker::start_in(dir, &more);
    let made = broker.call(Request::new("keys.ensure"));
    sshd.accept(&done(&made)["authorized_keys"], command);
    Some((broker, sshd))
}

fn forced() -> String {
    format!("{} --forced-command", program().get_program().display())
}

fn ask(broker: &Broker) -> broker_api::Answer {
    broker.call(Request::new("sensors.read").with("node", NODE))
}

#[test]
fn a_node_answers_with_its_forced_command_alone() {
    let Some((broker, _sshd)) = reach(&forced()) else { return };
    let answer = ask(&broker);
    assert!(done(&answer)["chips"].is_array(), "{answer:?}");
    let line = format!(r#"{{"method":"get_temperature","params":{{"node":"{NODE}"}}}}"#);
    let pulse = broker.pulse(&line);
    assert!(pulse["data"]["temperature"].is_string(), "{pulse}");
}

#[test]
fn fix_6_an_endless_node_is_stopped_at_the_cap_and_no_child_is_left() {
    let Some((broker, _sshd)) = reach("exec yes") else { return };
    assert_eq!(code(&ask(&broker)), 42);
    let pid = broker.pid().to_string();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    for child in children.split_whitespace() {
        let below = Command::new("pgrep").args(["-P", child]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&below.stdout), "", "left behind");
    }
}

#[test]
fn fix_7_another_host_key_is_refused_and_an_unknown_one_is_not_learnt() {
    let Some((broker, sshd)) = reach(&forced()) else { return };
    let other = sshd.dir.join("other");
    keygen(&other);
    let other = std::fs::read_to_string(other.with_extension("pub")).unwrap();
    let refused = |text: &str| {
        know(broker.dir.path(), text);
        match ask(&broker).outcome {
            Outcome::Refused { code, reason, .. } => (code, reason.unwrap_or_default()),
            done @ Outcome::Done { .. } => panic!("{done:?}"),
        }
    };
    assert_eq!(refused(&format!("{NODE} {other}")), (41, "host_key_changed".to_owned()));
    assert_eq!(
        refused(&format!("elsewhere {}", sshd.host_key())),
        (40, "host_key_unknown".to_owned())
    );
    assert_eq!(refused(""), (40, "host_key_unknown".to_owned()));
    let known = format!("{NODE} {}", sshd.host_key());
    assert_eq!(refused(&format!("@revoked {known}{known}")).0, 41);
    let kept =
        std::fs::read_to_string(broker.dir.path().join("nodes").join(NODE).join("ssh_known_hosts"));
    assert_eq!(kept.unwrap(), format!("@revoked {known}{known}"), "nothing is added");
    // Hashed, as Debian's ssh writes it.
    know(broker.dir.path(), &known);
    let file = broker.dir.path().join("nodes").join(NODE).join("ssh_known_hosts");
    assert!(
        Command::new("ssh-keygen")
            .args(["-q", "-H", "-f"])
            .arg(&file)
            .output()
            .unwrap()
            .status
            .success()
    );
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("|1|"));
    done(&ask(&broker));
}

#[test]
fn the_key_changes_without_an_outage() {
    let Some((broker, sshd)) = reach(&forced()) else { return };
    let step = |step: &str| {
        let answer = broker.call(Request::new("keys.rotate").with("step", step));
        done(&answer)["authorized_keys"].clone()
    };
    // A reading is handed out again for a second: each of these is asked under a name of its own.
    let works = |format: &str| {
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let request = Request::new("sensors.read").with("node", NODE).with("format", format);
        matches!(broker.call(request).outcome, Outcome::Done { .. })
    };
    let both = step("begin");
    assert_eq!(both.as_array().unwrap().len(), 2);
    assert!(works("model"), "the old one is still in use");
    sshd.accept(&serde_json::json!([both[1]]), &forced());
    assert!(works("model"), "the new one is offered too");
    step("finish");
    assert!(works("lm-sensors"));
    sshd.accept(&serde_json::json!([both[0]]), &forced());
    assert!(!works("model"));
    step("rollback");
    assert!(works("model"));
}

#[test]
fn what_is_not_json_is_told_and_what_old_wrappers_print_is_read() {
    let Some((broker, sshd)) = reach("echo nonsense") else { return };
    assert_eq!(code(&ask(&broker)), 43);
    let keys = broker.call(Request::new("keys.ensure"));
    sshd.accept(
        &done(&keys)["authorized_keys"],
        "printf '{ \\\"a\\\": { \\\"Adapter\\\": \\\"x\\\" } }'",
    );
    assert_eq!(done(&ask(&broker))["sensors"]["a"]["Adapter"], "x");
}
