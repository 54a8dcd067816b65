//! Under a service manager, played by the test.

use std::io::Read as _;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Command, Stdio};

use broker_api::{Client, Request};

use crate::harness::{WAIT, config, done, open_dir, program};

#[test]
fn handed_in_sockets_ready_and_watchdog() {
    let dir = open_dir();
    let at = dir.path();
    let path = config(at, "");
    let notify = UnixDatagram::bind(at.join("notify")).unwrap();
    notify.set_read_timeout(Some(WAIT)).unwrap();
    // Descriptor 3, and the number of the process that it is for: only the process itself knows
    // that, so a small program becomes the broker.
    let script = "import os,socket,sys\ns=socket.socket(socket.AF_UNIX);s.bind(sys.argv[1]);os.chmod(sys.argv[1],0o666);s.listen(64)\nos.dup2(s.fileno(),3);os.set_inheritable(3,True)\nos.environ.update(LISTEN_PID=str(os.getpid()),LISTEN_FDS='1',LISTEN_FDNAMES='default',WATCHDOG_PID=str(os.getpid()))\nos.execv(sys.argv[2],sys.argv[2:])";
    let socket = at.join("handed.sock");
    let mut child = Command::new("python3")
        .args(["-c", script])
        .arg(&socket)
        .arg(program().get_program())
        .arg("--config")
        .arg(&path)
        .env("NOTIFY_SOCKET", at.join("notify"))
        .env("WATCHDOG_USEC", "200000")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let heard = |wanted: &str| {
        let mut bytes = [0; 4096];
        loop {
            let length = notify.recv(&mut bytes).unwrap();
            if String::from_utf8_lossy(&bytes[..length]).contains(wanted) {
                return;
            }
        }
    };
    heard("READY=1");
    heard("WATCHDOG=1");
    heard("WATCHDOG=1");
    let mut client = Client::connect(&socket, WAIT).unwrap();
    done(&client.call(Request::new("broker.status"), |_| {}).unwrap());
    assert!(!at.join("s/broker.sock").exists(), "no socket of its own beside the one handed in");
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    heard("STOPPING=1");
    assert!(child.wait().unwrap().success());
    assert!(socket.exists(), "the manager's socket is the manager's to remove");
}

#[test]
fn what_does_not_start_says_why_in_one_line() {
    let run = |more: &str, prepare: &dyn Fn(&std::path::Path)| {
        let dir = open_dir();
        prepare(dir.path());
        let out = program().arg("--config").arg(config(dir.path(), more)).output().unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (code, text) = run("sokcet = 'x'", &|_| {});
    assert!(
        code == Some(2) && text.contains("proxward.toml:4:") && text.lines().count() == 1,
        "{text}"
    );
    let (code, text) = run("", &|at| {
        std::fs::create_dir(at.join("s")).unwrap();
        std::fs::write(at.join("s/broker.sock"), "").unwrap();
    });
    assert!(code == Some(2) && text.contains("is no socket"), "{text}");
    let held = open_dir();
    std::fs::create_dir(held.path().join("s")).unwrap();
    let _listens = UnixListener::bind(held.path().join("s/broker.sock")).unwrap();
    let out = program().arg("--config").arg(config(held.path(), "")).output().unwrap();
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(text.contains("another process listens here"), "{text}");
    let (code, text) = run("metrics = '0.0.0.0:9127'", &|_| {});
    assert!(code == Some(2) && text.contains("loopback"), "{text}");
}

#[test]
fn pulses_configuration_is_read_with_warnings() {
    let dir = open_dir();
    let yaml = dir.path().join("config.yaml");
    std::fs::write(&yaml, "allowed_peer_uids: [4711]\nlog_level: debug\n").unwrap();
    let check = |text: &str| {
        std::fs::write(&yaml, text).unwrap();
        program().arg("--check").arg("--pulse-config").arg(&yaml).output().unwrap()
    };
    let out = check("allowed_peer_uids: [4711]\nlog_level: debug\n");
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(
        out.status.success() && text.contains("config.yaml:2: log_level has no effect"),
        "{text}"
    );
    let out = check("allowed_peers:\n  - uid: 1\n    capabilities: [raed]\n");
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("config.yaml:3: unknown capability"));
    let mut text = String::new();
    std::fs::File::open(&yaml).unwrap().read_to_string(&mut text).unwrap();
    assert!(text.contains("raed"), "the file is not changed");
}
