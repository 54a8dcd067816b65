use std::time::Duration;

use secrets::SecretString;
use serde_json::json;

use super::*;
use crate::seed::Seed;
use crate::state::{Change, Effect, Spawn, TaskKind, VolumeKind, What};

const NOW: Duration = Duration::from_secs(1_795_000_000);

fn fresh() -> State {
    let mut seed = Seed::cluster();
    seed.passwords.push(("root@pam".to_owned(), SecretString::from("secret")));
    seed.tokens.push(("root@pam!ci".to_owned(), SecretString::from("uuid")));
    seed.user_cfg += "token:root@pam!ci:0:0::\n";
    let mut state = State::new(seed, Release::V9, NOW, Some("AA:BB")).unwrap();
    state.track();
    state
}

fn lines(mut hand_out: impl FnMut(Sink<'_>) -> std::io::Result<()>) -> Vec<String> {
    let mut lines = Vec::new();
    hand_out(&mut |record| {
        lines.push(serde_json::to_string(&record)?);
        Ok(())
    })
    .unwrap();
    lines
}

fn read(lines: &[String]) -> State {
    let mut restoring = Restoring::new(Release::V9);
    for line in lines {
        restoring.apply(serde_json::from_str(line).unwrap());
    }
    let mut state = restoring.finish().unwrap();
    state.track();
    state
}

/// Touches something of every kind.
fn change(state: &mut State) {
    let spawn = |effect| Spawn {
        node: "pve1",
        kind: TaskKind { name: "qmstart", takes: Duration::from_secs(2) },
        id: "100",
        user: "root@pam",
        effect,
        exit: Ok(()),
    };
    state.nodes.get_mut("pve1").unwrap().timezone = "Europe/Vienna".to_owned();
    state.guests.get_mut(&100).unwrap().edit(|config| config.insert("cores".into(), json!(7)));
    state.guests.remove(&101);
    let snapshot = What::Snapshot { name: "a".to_owned(), description: None, vmstate: false };
    state.apply(Change { vmid: 102, what: snapshot }, NOW);
    state.storages.remove("shared");
    let kind = VolumeKind::in_directory("iso/a.iso").unwrap();
    state.volumes.insert("local", "pve1", "iso/a.iso".to_owned(), Volume::new(kind, 5, NOW));
    state.firewalls.or_default("cluster".to_owned()).options.insert("enable".into(), json!(1));
    state.objects.insert("/cluster/backup", "a", Fields::new());
    state.objects.settings_mut("/cluster/options").insert("x".into(), json!(0.1));
    state.objects.insert("/a", "gone", Fields::new());
    state.objects.insert("/a/gone/b", "below", Fields::new());
    state.objects.remove("/a", "gone");
    state
        .accounts
        .change(|config| {
            config.groups.insert("g".to_owned(), Default::default());
            config.users.remove("auditor@pve");
            Ok(())
        })
        .unwrap();
    state.accounts.set_password("root@pam", "other".to_owned());
    state.accounts.set_token("root@pam", "b", Default::default(), Some("uuid2".to_owned()));
    let totp = "otpauth://totp/a?secret=GEZDGNBVGY3TQOJQ&digits=8&algorithm=SHA256";
    state.second_factors.add_totp("root@pam", "phone".into(), totp.parse().unwrap(), 5);
    state.second_factors.add_recovery("root@pam", 6).unwrap();
    let upid = state.tasks.spawn(NOW, 1.0, spawn(Effect::Nothing));
    state.tasks.spawn(NOW, 1.0, spawn(Effect::Power { vmid: 104, running: true }));
    state.tasks.explain(&upid, vec!["a line".to_owned()]);
    state.tasks.stop(&upid, NOW + Duration::from_secs(1));
    state.log.add(NOW, "pve1", "root@pam", 7, "successful auth".to_owned());
    state.server = ServerSecrets {
        ticket_key: Some(KeptBytes(vec![1, 2].into())),
        csrf: Some(KeptText("csrf".into())),
        touched: true,
        unkept: false,
    };
}

#[test]
fn everything_read_back_is_everything() {
    let mut state = fresh();
    change(&mut state);
    let written = lines(|sink| state.everything(sink));
    let mut again = read(&written);
    assert_eq!(lines(|sink| again.everything(sink)), written);
    assert!(again.accounts.password_matches("root@pam", "other"));
    assert!(!written.iter().any(|line| line.contains("\"other\"")), "a password in clear");
}

#[test]
fn the_changes_make_the_old_state_the_new_one() {
    let mut state = fresh();
    let mut written = lines(|sink| state.everything(sink));
    assert_eq!(lines(|sink| state.changes(sink)), [""; 0]);
    change(&mut state);
    written.extend(lines(|sink| state.changes(sink)));
    assert_eq!(lines(|sink| state.changes(sink)), [""; 0]);
    // The effect of the second task, and its end.
    state.settle(NOW + Duration::from_secs(60));
    assert!(state.guests[&104].is_running());
    written.extend(lines(|sink| state.changes(sink)));
    let mut again = read(&written);
    assert_eq!(lines(|sink| again.everything(sink)), lines(|sink| state.everything(sink)));
}

#[test]
fn a_running_task_ends_after_a_restart_as_it_would_have() {
    let mut state = fresh();
    change(&mut state);
    let mut again = read(&lines(|sink| state.everything(sink)));
    for state in [&mut state, &mut again] {
        state.settle(NOW + Duration::from_secs(60));
    }
    assert_eq!(lines(|sink| again.everything(sink)), lines(|sink| state.everything(sink)));
}

#[test]
fn records_without_the_node_that_answers_are_no_cluster() {
    assert!(Restoring::new(Release::V9).finish().is_none());
}

#[test]
fn secrets_that_the_file_lacks_wait_for_another_change() {
    let (mut state, mut kept) = (fresh(), fresh());
    lines(|sink| state.changes(sink));
    state.server.csrf = Some(KeptText(SecretString::from("made up")));
    lines(|sink| kept.changes(sink));
    state.replace_with(kept);
    assert_eq!(lines(|sink| state.changes(sink)), Vec::<String>::new());
    state.firewalls.or_default("cluster".to_owned());
    let found = lines(|sink| state.changes(sink));
    assert!(found.len() == 2 && found[1].contains("made up"), "{found:?}");
    assert_eq!(lines(|sink| state.changes(sink)), Vec::<String>::new());
}
