//! What pulse-sensor-proxy's changelog claims, each proven here. The third is in `deadlines`,
//! those about ssh in `ssh`.

use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use broker_api::Request;

use crate::harness::{Broker, done, is_root, pulse_as};

const STATUS: &str = r#"{"method":"get_status"}"#;
const ADMIN: &str = r#"{"method":"register_nodes"}"#;

#[test]
fn fix_1_the_socket_can_not_be_replaced_and_its_directory_outlives_a_restart() {
    if !is_root() {
        return;
    }
    let broker = Broker::start("");
    let folder = broker.dir.path().join("s");
    let inode = std::fs::metadata(&folder).unwrap().ino();
    let tries = "rm -f \"$1/broker.sock\"; mv \"$1/broker.sock\" \"$1/x\"; ln -s / \"$1/l\"; \
                 mkdir \"$1/d\"; echo > \"$1/f\"; ls \"$1\"";
    // Root of a container, as the host numbers it: the directory is not its own.
    let mapped = Command::new("setpriv")
        .args(["--reuid=100000", "--regid=100000", "--clear-groups", "sh", "-c", tries, "sh"])
        .arg(&folder)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&mapped.stdout), "broker.sock\n");
    // Root itself, behind a read-only mount.
    let script = format!(
        "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" || exit 77; {tries}; \
         python3 -c 'import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]+\"/broker.sock\"); s.sendall(b\"{{\\\"method\\\":\\\"get_status\\\"}}\\n\"); print(b\"true\" in s.recv(65536))' \"$1\""
    );
    let mounted = Command::new("unshare")
        .args(["-m", "sh", "-c", &script, "sh"])
        .arg(&folder)
        .output()
        .unwrap();
    if mounted.status.code() != Some(77) {
        assert_eq!(String::from_utf8_lossy(&mounted.stdout), "broker.sock\nTrue\n");
    }
    let broker = Broker::start_in(broker.end(), "");
    assert_eq!(std::fs::metadata(&folder).unwrap().ino(), inode, "a mount of it stays good");
    done(&broker.call(Request::new("broker.status")));
}

#[test]
fn fix_2_nodes_that_are_not_listed_are_refused_before_a_packet_is_sent() {
    let broker = Broker::start(
        "nodes = { allow = ['pve2', '10.0.0.0/8'] }\nlimits = { burst = 1000, per_second = 1000.0 }",
    );
    for node in ["11.0.0.1", "::ffff:11.0.0.1", "2001:db8::1"] {
        let answer = broker.call(Request::new("sensors.read").with("node", node));
        let broker_api::Outcome::Refused { code, reason, .. } = answer.outcome else {
            panic!("{node}")
        };
        assert_eq!((code, reason.as_deref()), (40, Some("node_not_allowlisted")), "{node}");
    }
    for node in ["999.1.1.1", "-oProxyCommand=x", "a b", "pve2;id", "0x7f.1"] {
        let broker = Broker::start("");
        let answer = broker.call(Request::new("sensors.read").with("node", node));
        assert_eq!(crate::harness::code(&answer), 6, "{node}");
    }
    // In no cluster and without a list: this host alone.
    let strict = Broker::start("");
    let answer = strict.call(Request::new("sensors.read").with("node", "elsewhere"));
    let broker_api::Outcome::Refused { reason, .. } = answer.outcome else { panic!("refused") };
    assert_eq!(reason.as_deref(), Some("node_not_localhost"));
    done(&strict.call(Request::new("sensors.read").with("node", "localhost")));
}

#[test]
fn fix_4_all_users_of_one_namespace_share_a_budget() {
    if !is_root() {
        return;
    }
    let dir = crate::harness::open_dir();
    let rules = format!(
        "sockets = {{ open = '{}/s/open.sock' }}\nlimits = {{ burst = 10, per_second = 0.001 }}\n\
         allow = [{{ peer = ['socket:open'], may = ['read'] }}]",
        dir.path().display()
    );
    let broker = Broker::start_in(dir, &rules);
    let socket = broker.dir.path().join("s/open.sock");
    let passed = (0..14)
        .filter(|uid| pulse_as(&socket, *uid, *uid, true, STATUS)["success"] == true)
        .count();
    assert_eq!(passed, 10);
    // Somebody else is not held up by that.
    assert_eq!(pulse_as(&socket, 4711, 4711, false, STATUS)["success"], true);
}

#[test]
fn fix_5_a_listed_group_lets_in_and_group_0_does_not() {
    if !is_root() {
        return;
    }
    let broker = Broker::start("allow = [{ peer = ['gid:4242'], may = ['read'] }]");
    let ask = |uid, gid, line| pulse_as(&broker.socket(), uid, gid, false, line);
    assert_eq!(ask(5555, 4242, STATUS)["success"], true);
    assert_eq!(ask(5555, 4243, STATUS)["error"], "unauthorized");
    assert_eq!(ask(5555, 0, STATUS)["error"], "unauthorized");
    // Never more than its rule says.
    assert_eq!(ask(5556, 4242, ADMIN)["error"], "method requires admin capability");
}

#[test]
fn fix_8_a_reader_is_refused_admin_methods_and_pays_for_asking() {
    if !is_root() {
        return;
    }
    let broker = Broker::start(
        "limits = { burst = 21, per_second = 0.001 }\nallow = [{ peer = ['uid:4711'], may = ['read'] }]",
    );
    let ask = |line| pulse_as(&broker.socket(), 4711, 4711, false, line);
    assert_eq!(ask(STATUS)["success"], true);
    assert_eq!(ask(ADMIN)["error"], "method requires admin capability");
    assert_eq!(ask(STATUS)["error"], "rate limit exceeded");
    broker.audit_with("\"code\":\"forbidden\"");
}
