//! What changes this host: files, commands, bans.

use std::io::Write as _;

use broker_api::Request;
use serde_json::json;

use crate::harness::{Broker, code, done, is_root, open_dir};

#[test]
fn files_below_a_root_and_nowhere_else() {
    let dir = open_dir();
    let root = dir.path().join("root");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(root.join("a"), "one").unwrap();
    let more = format!(
        "roots = {{ r = {{ path = '{}', write = true }} }}\nlimits = {{ burst = 1000 }}",
        root.display()
    );
    let broker = Broker::start_in(dir, &more);
    let file = |verb: &str, path: &str| Request::new(verb).with("root", "r").with("path", path);
    assert_eq!(done(&broker.call(file("file.read", "a")))["content"], "one");
    let write = || file("file.write", "a").with("content", "two").with("idempotency_key", "k1");
    let first = broker.call(write());
    let again = broker.call(write());
    assert_eq!(done(&first)["snapshot"], done(&again)["snapshot"], "done once");
    assert_eq!(std::fs::read_to_string(root.join("a")).unwrap(), "two");
    assert_eq!(code(&broker.call(file("file.read", "../state/audit.key"))), 21);
    let restore = file("file.restore", "a").with("snapshot", done(&first)["snapshot"].clone());
    done(&broker.call(restore));
    assert_eq!(std::fs::read_to_string(root.join("a")).unwrap(), "one");
    let audit = broker.audit();
    assert!(audit.contains("broker.begins"), "told before it was done");
    // A lease that nobody confirms ends by itself, also when the worker has nothing else to do.
    done(&broker.call(file("file.write", "a").with("content", "three").with("lease_ms", 1000)));
    let watch = file("file.watch", "a").with("wait_ms", 1500);
    let mut seen = Vec::new();
    broker.client().call(watch, |value| seen.push(value["content"].clone())).unwrap();
    assert_eq!(seen, [json!("one")]);
}

#[test]
fn a_watched_file_is_told_at_once_and_who_went_holds_no_place() {
    let dir = open_dir();
    let root = dir.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let more = format!(
        "limits = {{ burst = 1000, per_second = 1000.0 }}\nroots = {{ r = {{ path = '{}' }} }}",
        root.display()
    );
    let broker = Broker::start_in(dir, &more);
    let watch = |ms: u64| {
        Request::new("file.watch").with("root", "r").with("path", "a").with("wait_ms", ms)
    };
    let (mut told, mut client) = (Vec::new(), broker.client());
    done(&broker.call(watch(100)));
    let file = root.join("a");
    let writer = std::thread::spawn(move || {
        for text in ["one", "two", "two", "three"] {
            std::thread::sleep(std::time::Duration::from_millis(400));
            std::fs::write(&file, text).unwrap();
        }
        std::fs::remove_file(&file).unwrap();
    });
    let answer = client.call(watch(3000), |value| told.push(value["content"].clone())).unwrap();
    writer.join().unwrap();
    // Written and removed within one gathering, the last is not seen.
    told.retain(|content| content != "");
    assert_eq!(told.get(..2), Some(&[json!("one"), json!("two")][..]), "{told:?}");
    assert!(done(&answer)["changes"].as_u64() >= Some(3), "{answer:?}");
    // Eight of one peer, whoever left frees its place.
    let frame = |request: &Request| {
        let text = request.to_json();
        [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
    };
    let mut open: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = broker.connect();
            stream.write_all(&frame(&watch(60_000))).unwrap();
            stream
        })
        .collect();
    let busy = || {
        let answer = broker.call(watch(100));
        matches!(answer.outcome, broker_api::Outcome::Refused { .. })
    };
    let soon = |wanted: bool| {
        (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            busy() == wanted
        })
    };
    assert!(soon(true), "the ninth is refused");
    open.pop();
    assert!(soon(false), "one has gone");
}

#[test]
fn a_change_on_trial_ends_although_its_worker_was_ended() {
    let dir = open_dir();
    let root = dir.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let more = format!("roots = {{ r = {{ path = '{}', write = true }} }}", root.display());
    let mut broker = Broker::start_in(dir, &more);
    let write = Request::new("file.write").with("root", "r").with("path", "a").with("content", "x");
    done(&broker.call(write.with("lease_ms", 3000)));
    assert!(root.join("a").exists());
    broker.signal("-HUP");
    broker.wait_for("was taken over");
    let gone = (0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        !root.join("a").exists()
    });
    assert!(gone);
}

#[test]
fn declared_commands_with_their_own_words() {
    let more = "commands = { say = { argv = ['/bin/echo', 'hello', '$HOME'] }, slow = { argv = ['/bin/sleep', '60'], time_ms = 200 } }\nlimits = { burst = 1000 }";
    let broker = Broker::start(more);
    let run = |name: &str| broker.call(Request::new("command.run").with("name", name));
    assert_eq!(done(&run("say"))["stdout"], "hello $HOME\n");
    assert_eq!(code(&run("slow")), 33);
    assert_eq!(code(&run("other")), 44);
}

#[test]
fn bans_through_the_socket() {
    if !is_root() {
        return;
    }
    // In a network namespace of its own, so that the machine's filter is not touched.
    let dir = open_dir();
    let mut command = std::process::Command::new("unshare");
    let program = crate::harness::program();
    command.arg("-n").arg(program.get_program()).arg("--config");
    command.arg(crate::harness::config(dir.path(), "limits = { burst = 1000 }"));
    let broker = Broker::run(command, dir);
    let add = Request::new("ban.apply")
        .with("add", json!(["192.0.2.1", "2001:db8::1"]))
        .with("seconds", 60);
    let answer = broker.call(add);
    if matches!(&answer.outcome, broker_api::Outcome::Refused { code: 46, .. }) {
        eprintln!("skipped: the kernel has no nf_tables");
        return;
    }
    assert_eq!(done(&answer)["added"], json!(["192.0.2.1", "2001:db8::1"]));
    let list = broker.call(Request::new("ban.list"));
    assert_eq!(done(&list)["bans"].as_array().unwrap().len(), 2);
}

#[test]
fn declared_cells_outlive_the_broker_and_are_stopped_with_all_they_started() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = open_dir();
    let launcher = dir.path().join("launcher");
    // Says what it was started with, and leaves a child that does not go by itself.
    let script = "#!/bin/sh\necho \"$@\" > \"${0%/*}/words\"\nsleep 600 &\necho $! > \"${0%/*}/child\"\nwait\n";
    std::fs::write(&launcher, script).unwrap();
    std::fs::set_permissions(&launcher, std::fs::Permissions::from_mode(0o755)).unwrap();
    let more = format!(
        "cell_launcher = '{}'\nlimits = {{ burst = 1000 }}\n\
         cells.web = {{ policy = '/p.toml', command = ['node', 'a b'] }}",
        launcher.display()
    );
    let broker = Broker::start_in(dir, &more);
    let ask = |broker: &Broker, verb: &str| broker.call(Request::new(verb).with("name", "web"));
    let list = |broker: &Broker| done(&broker.call(Request::new("cell.list")))["cells"][0].clone();
    assert_eq!(list(&broker)["state"], "stopped");
    let start = Request::new("cell.start").with("name", "web").with("idempotency_key", "once");
    let first = broker.call(start.clone());
    assert_eq!(done(&first)["changed"], true);
    assert_eq!(done(&broker.call(start)), done(&first), "once is once");
    // Who reads what is asked for has no rights; who starts cells reads a name.
    let below = format!("/proc/{0}/task/{0}/children", broker.pid());
    let below = std::fs::read_to_string(below).unwrap();
    let file = |pid: &str, name: &str| {
        std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default()
    };
    let worker = below.split_whitespace().find(|pid| file(pid, "cmdline").ends_with("\0cells\0"));
    let status = file(worker.unwrap(), "status");
    assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
    assert!(status.contains("Seccomp:\t2"), "{status}");
    let unknown = broker.call(Request::new("cell.start").with("name", "other"));
    assert_eq!(code(&unknown), 44);
    let read = |broker: &Broker, name: &str| {
        std::fs::read_to_string(broker.dir.path().join(name)).unwrap()
    };
    assert_eq!(read(&broker, "words"), "cell run --policy /p.toml -- node a b\n");
    let broker = Broker::start_in(broker.end(), &more);
    assert_eq!(list(&broker)["pid"], done(&first)["cell"]["pid"]);
    assert_eq!(done(&ask(&broker, "cell.stop"))["cell"]["state"], "stopped");
    let child = std::path::PathBuf::from(format!("/proc/{}/exe", read(&broker, "child").trim()));
    let gone = (0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        child.read_link().is_err()
    });
    assert!(gone);
}

#[test]
fn the_key_is_put_where_nodes_look_for_it_and_other_keys_stay() {
    let dir = open_dir();
    let file = dir.path().join("priv/authorized_keys");
    std::fs::create_dir(dir.path().join("priv")).unwrap();
    std::fs::write(&file, "ssh-ed25519 AAAA root@pve1\n").unwrap();
    let more = format!("nodes = {{ authorized_keys = '{}' }}", file.display());
    let broker = Broker::start_in(dir, &more);
    let text = || std::fs::read_to_string(&file).unwrap();
    let rotate = |step: &str| {
        done(&broker.call(Request::new("keys.rotate").with("step", step)));
        text().matches("restrict,").count()
    };
    done(&broker.call(Request::new("keys.ensure").with("plan", true)));
    assert_eq!(text().lines().count(), 1, "a plan writes nothing");
    done(&broker.call(Request::new("keys.ensure")));
    assert!(text().starts_with("ssh-ed25519 AAAA root@pve1\nrestrict,command="), "{}", text());
    assert_eq!(["begin", "finish", "rollback"].map(rotate), [2, 1, 2]);
    assert!(text().starts_with("ssh-ed25519 AAAA root@pve1\n"));
}
