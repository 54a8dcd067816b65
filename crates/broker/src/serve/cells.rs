//! Which declared cell a control group is.
//!
//! A cell's group is named after the process that started it. Who that was for which cell, the
//! worker says that started it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::peer::{Peer, Place};

/// Names of running cells by their process, with the time it was started: a number alone may be
/// given anew.
#[derive(Default)]
pub(crate) struct CellNames(Mutex<BTreeMap<i32, (u64, String)>>);

impl CellNames {
    /// Takes over what the worker answers: all cells, or the one that was changed.
    pub(crate) fn learn(&self, answer: &Value) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = answer.get("cells").and_then(Value::as_array);
        if all.is_some() {
            names.clear();
        }
        for row in all.into_iter().flatten().chain(answer.get("cell")) {
            let Some(name) = row.get("name").and_then(Value::as_str) else { continue };
            names.retain(|_, (_, known)| known != name);
            let number = |member: &str| row.get(member).and_then(Value::as_u64);
            let pid = number("pid").and_then(|pid| i32::try_from(pid).ok());
            if let (Some(pid), Some(started)) = (pid, number("started")) {
                names.insert(pid, (started, name.to_owned()));
            }
        }
    }

    /// Gives a peer in a declared cell that cell's name.
    pub(super) fn resolve(&self, peer: &mut Peer) {
        let Place::Cell(group) = &peer.place else { return };
        let Some(pid) = group.split_once('-').and_then(|(pid, _)| pid.parse().ok()) else { return };
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((started, name)) = names.get(&pid)
            && crate::verbs::started(pid) == Some(*started)
        {
            peer.place = Place::Cell(name.as_str().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_group_is_the_cell_whose_launcher_it_names_and_no_later_one() {
        let own = i32::try_from(std::process::id()).unwrap();
        let started = crate::verbs::started(own).unwrap();
        let names = CellNames::default();
        let place = || {
            let mut peer = Peer {
                uid: 1,
                gid: 1,
                groups: Vec::new(),
                pid: 1,
                place: Place::Cell(format!("{own}-0").into()),
                inner_uid: None,
                mapped: None,
                range: None,
                socket: "default".into(),
            };
            names.resolve(&mut peer);
            peer.key().as_str().to_owned()
        };
        let row = |started| json!({"cell": {"name": "web", "pid": own, "started": started}});
        assert_eq!(place(), format!("cell:{own}-0"));
        names.learn(&row(started));
        assert_eq!(place(), "cell:web");
        names.learn(&row(started + 1));
        assert_eq!(place(), format!("cell:{own}-0"));
        names.learn(&row(started));
        names.learn(&json!({"cells": [{"name": "web", "state": "stopped"}]}));
        assert_eq!(place(), format!("cell:{own}-0"));
    }
}
