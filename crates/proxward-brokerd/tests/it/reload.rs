//! New settings while calls go on.

use std::os::unix::net::UnixStream;

use broker_api::{Client, Request};

use crate::harness::{Broker, WAIT, code, config, done, open_dir, program};

#[test]
fn limits_and_sockets_change_while_it_runs() {
    let mut broker = Broker::start("");
    let at = broker.dir.path().to_owned();
    let extra = at.join("s/extra.sock");
    let call = |socket| {
        let client = Client::connect(socket, WAIT);
        client.and_then(|mut client| client.call(Request::new("broker.status"), |_| {}))
    };
    let mut open = broker.client();
    let with = |more: &str, broker: &mut Broker, says: &str| {
        config(&at, more);
        broker.signal("-HUP");
        broker.wait_for(says)
    };
    let sockets = format!("sockets = {{ extra = '{}' }}\n", extra.display());
    let tight = format!("limits = {{ per_second = 0.001, burst = 5 }}\n{sockets}");
    with(&tight, &mut broker, "was taken over");
    // Nobody was sent away, and the budget holds for who was there already.
    let answers: Vec<_> =
        (0..6).map(|_| open.call(Request::new("broker.status"), |_| {}).unwrap()).collect();
    done(&answers[4]);
    assert_eq!(code(&answers[5]), 30);
    assert_eq!(code(&call(&extra).unwrap()), 30, "one budget behind all sockets");
    with(&sockets, &mut broker, "was taken over");
    done(&open.call(Request::new("broker.status"), |_| {}).unwrap());
    let line = with(&format!("{sockets}metrics = '/srv/x'"), &mut broker, "stays");
    assert!(line.contains("broker.metrics in force after a restart only"), "{line}");
    assert!(extra.exists());
    with("", &mut broker, "was taken over");
    assert!(!extra.exists() && UnixStream::connect(&extra).is_err());
    let taken = at.join("s/file");
    std::fs::write(&taken, "not ours").unwrap();
    let wrong = format!("sockets = {{ a = '{}', b = '{}' }}", extra.display(), taken.display());
    with(&wrong, &mut broker, "no socket");
    assert!(!extra.exists(), "all sockets or none");
    let other = at.join("s/other.sock");
    let text = std::fs::read_to_string(config(&at, "")).unwrap();
    std::fs::write(at.join("proxward.toml"), text.replace("broker.sock", "other.sock")).unwrap();
    broker.signal("-HUP");
    broker.wait_for("was taken over");
    assert!(UnixStream::connect(broker.socket()).is_err() && other.exists());
    let dir = broker.end();
    assert!(!other.exists());
    drop(dir);
}

#[test]
fn a_key_that_was_made_is_told_at_once() {
    let broker = Broker::start("");
    let told =
        |broker: &Broker| done(&broker.call(Request::new("broker.status")))["public_key"].clone();
    assert!(told(&broker).is_null());
    done(&broker.call(Request::new("keys.ensure").with("plan", true)));
    assert!(told(&broker).is_null());
    let made = done(&broker.call(Request::new("keys.ensure")))["public_key"].clone();
    assert!(made.as_str().is_some_and(|line| line.starts_with("ssh-ed25519 ")), "{made}");
    assert_eq!(told(&broker), made);
}

#[test]
fn a_file_in_the_place_of_a_socket_stays() {
    let dir = open_dir();
    let file = dir.path().join("precious");
    std::fs::write(&file, "text").unwrap();
    for key in ["metrics", "sockets.x"] {
        let config = config(dir.path(), &format!("{key} = '{}'", file.display()));
        let ended = program().arg("--config").arg(config).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(!ended.status.success() && said.contains("is there and is no socket"), "{said}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "text", "{key}");
    }
}
