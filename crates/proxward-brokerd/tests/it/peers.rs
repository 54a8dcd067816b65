use broker_api::Request;
use serde_json::json;

use crate::harness::{Broker, code, done, is_root, pulse_as};

const STATUS: &str = r#"{"method":"get_status"}"#;

#[test]
fn root_of_a_user_namespace_is_not_root_of_the_host() {
    if !is_root() {
        return;
    }
    let broker = Broker::start("");
    let inside = pulse_as(&broker.socket(), 0, 0, true, STATUS);
    assert_eq!(inside["error"], "unauthorized");
    broker.audit_with("\"peer\":\"range:100000-165535\"");
}

#[test]
fn processes_have_no_more_than_their_work_needs() {
    let broker = Broker::start("");
    done(&broker.call(Request::new("node.status")));
    let pid = broker.pid().to_string();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let mut seen = 0;
    for child in children.split_whitespace() {
        let read = |what: &str| std::fs::read_to_string(format!("/proc/{child}/{what}")).unwrap();
        let status = read("status");
        let field = |name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
        };
        assert_eq!(field("CapEff:"), "0000000000000000");
        assert_eq!(field("CapPrm:"), "0000000000000000");
        assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), ("1".to_owned(), "2".to_owned()));
        if read("cmdline").contains("listener") && is_root() {
            assert!(!field("Uid:").split_whitespace().any(|uid| uid == "0"));
            assert_eq!(field("Groups:"), "");
        }
        assert!(read("environ").is_empty(), "nothing of the environment");
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[test]
fn a_socket_of_its_own_is_a_grant() {
    if !is_root() {
        return;
    }
    let dir = crate::harness::open_dir();
    let own = dir.path().join("s/ct101.sock");
    let rules = format!(
        "sockets = {{ ct101 = '{}' }}\nallow = [{{ peer = ['socket:ct101'], may = ['sensors.read', 'broker.status'] }}]",
        own.display()
    );
    let broker = Broker::start_in(dir, &rules);
    assert_eq!(pulse_as(&own, 4711, 4711, true, STATUS)["success"], true);
    assert_eq!(pulse_as(&broker.socket(), 4711, 4711, true, STATUS)["error"], "unauthorized");
}

#[test]
fn this_host_by_name_is_local_and_another_one_is_not() {
    let broker = Broker::start("allow = [{ peer = ['uid:0'], may = ['sensors.read'] }]");
    if !is_root() {
        return;
    }
    let ask = |node: &str| broker.call(Request::new("sensors.read").with("node", node));
    done(&ask("localhost"));
    assert_eq!(code(&ask("elsewhere")), 21);
}

#[test]
fn a_worker_that_dies_is_started_again() {
    let broker = Broker::start("limits = { burst = 1000, per_second = 1000.0 }");
    done(&broker.call(Request::new("node.status")));
    let pid = broker.pid().to_string();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let reader = children
        .split_whitespace()
        .find(|child| {
            std::fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap().contains("reader")
        })
        .unwrap();
    assert!(std::process::Command::new("kill").args(["-KILL", reader]).status().unwrap().success());
    let mut answers = Vec::new();
    for _ in 0..200 {
        let answer = broker.call(Request::new("cluster.members"));
        let ok = matches!(answer.outcome, broker_api::Outcome::Done { .. });
        answers.push(ok);
        if ok {
            break;
        }
        assert!([46, 50].contains(&code(&answer)), "{answer:?}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(answers.last(), Some(&true));
    assert_eq!(done(&broker.call(Request::new("broker.status")))["workers"], json!(["reader"]));
}
