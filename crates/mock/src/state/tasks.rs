//! Tasks: what a call leaves running after it has answered.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Change;
use crate::limits::TASKS;

/// A kind of task with the time it takes on a genuine node, roughly, and its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskKind {
    /// The word in the UPID.
    pub(crate) name: &'static str,
    pub(crate) takes: Duration,
}

/// What changes when a task ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Effect {
    Nothing,
    Power {
        vmid: u32,
        running: bool,
    },
    /// Changes of guests, in this order.
    Guests(Vec<Change>),
    /// The nodes have followed this version of the virtual networks.
    Network {
        version: u64,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Task {
    /// Counts up; the order of the list.
    number: u64,
    pub(crate) upid: String,
    pub(crate) node: String,
    kind: String,
    id: String,
    user: String,
    pid: u32,
    pstart: u32,
    started: Duration,
    ends: Duration,
    effect: Option<Effect>,
    /// `OK` or the error text.
    exit: String,
    pub(crate) log: Vec<String>,
}

/// Newest first; bounded, the oldest finished one goes first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks {
    list: VecDeque<Task>,
    spawned: u64,
    /// Since they were last taken, which is before every call.
    events: Vec<TaskEvent>,
    /// Numbers of tasks that may have changed; `None` while nobody keeps the changes.
    touched: Option<BTreeSet<u64>>,
    /// What every task fails with while a fault is on.
    doom: Option<String>,
}

/// A start or an end, as the cluster log names it.
#[derive(Debug, Clone)]
pub(crate) struct TaskEvent {
    pub(crate) at: Duration,
    pub(crate) node: String,
    pub(crate) user: String,
    pub(crate) pid: u32,
    pub(crate) message: String,
}

/// What a new task is told.
pub(crate) struct Spawn<'a> {
    pub(crate) node: &'a str,
    pub(crate) kind: TaskKind,
    /// Guest id or other subject, may be empty.
    pub(crate) id: &'a str,
    pub(crate) user: &'a str,
    pub(crate) effect: Effect,
    /// `Err` makes the task fail with that text.
    pub(crate) exit: Result<(), String>,
}

impl Tasks {
    /// Starts a task at `now`; `scale` stretches the time it takes, 0 ends it at once.
    /// Returns its UPID: `UPID:node:pid:pstart:starttime:type:id:user:`, numbers in hex.
    pub(crate) fn spawn(&mut self, now: Duration, scale: f64, spawn: Spawn<'_>) -> String {
        self.spawned = self.spawned.wrapping_add(1);
        let number = self.spawned;
        let serial = u32::try_from(number & 0xFFFF_FFFF).unwrap_or(0);
        let pid = 1000 + serial % 0x3F_0000;
        let seconds = u32::try_from(now.as_secs() & 0xFFFF_FFFF).unwrap_or(0);
        let pstart = seconds.wrapping_mul(100).wrapping_add(serial);
        let Spawn { node, kind, id, user, effect, exit } = spawn;
        let exit = self.doom.clone().map_or(exit, Err);
        let name = kind.name;
        let upid = format!("UPID:{node}:{pid:08X}:{pstart:08X}:{seconds:08X}:{name}:{id}:{user}:");
        let (exit, last_line) = match exit {
            Ok(()) => ("OK".to_owned(), "TASK OK".to_owned()),
            Err(text) => (text.clone(), format!("TASK ERROR: {text}")),
        };
        self.touch(number);
        self.list.push_front(Task {
            number,
            upid: upid.clone(),
            node: node.to_owned(),
            kind: name.to_owned(),
            id: id.to_owned(),
            user: user.to_owned(),
            pid,
            pstart,
            started: now,
            ends: now + kind.takes.mul_f64(scale),
            effect: Some(if exit == "OK" { effect } else { Effect::Nothing }),
            exit,
            log: vec![last_line],
        });
        if let Some(task) = self.list.front() {
            self.events.push(task.event(now, format!("starting task {upid}")));
        }
        if self.list.len() > TASKS {
            self.list.pop_back();
        }
        upid
    }

    /// Makes tasks that start from now on fail with a text, or ends that.
    pub(super) fn doom(&mut self, exit: Option<String>) {
        self.doom = exit;
    }

    /// How many have started so far, wrapping.
    pub(crate) fn spawned(&self) -> u64 {
        self.spawned
    }

    /// Ends all tasks that still run.
    pub(crate) fn hurry(&mut self, now: Duration) {
        for task in self.list.iter_mut().filter(|task| task.ends > now) {
            task.ends = now;
            if let Some(touched) = &mut self.touched {
                touched.insert(task.number);
            }
        }
    }

    /// Why a task that started after the first `count` ones has failed.
    pub(crate) fn failure_since(&self, count: u64) -> Option<&str> {
        let newer = usize::try_from(self.spawned.wrapping_sub(count)).unwrap_or(usize::MAX);
        let mut newer = self.list.iter().take(newer);
        newer.find(|task| task.exit != "OK").map(|task| task.exit.as_str())
    }

    /// Puts lines before the last one of a task's log.
    pub(crate) fn explain(&mut self, upid: &str, lines: Vec<String>) {
        if let Some(task) = self.list.iter_mut().find(|task| task.upid == upid) {
            task.log.splice(0..0, lines);
            let number = task.number;
            self.touch(number);
        }
    }

    /// Notes changes from now on.
    pub(crate) fn track(&mut self) {
        self.touched.get_or_insert_default();
    }

    /// The tasks that may have changed since the last time, oldest first.
    pub(crate) fn take_touched(&mut self) -> impl Iterator<Item = &Task> {
        let touched = self.touched.as_mut().map(std::mem::take).unwrap_or_default();
        self.list.iter().rev().filter(move |task| touched.contains(&task.number))
    }

    /// Puts a task back that was kept, in its place; a later form of one takes the earlier's.
    pub(crate) fn restore(&mut self, task: Task) {
        self.spawned = self.spawned.max(task.number);
        // Newest first: what is newer than this one stands before it.
        let at = self.list.partition_point(|other| other.number > task.number);
        match self.list.get_mut(at).filter(|other| other.number == task.number) {
            Some(other) => *other = task,
            None => self.list.insert(at, task),
        }
        self.list.truncate(TASKS);
    }

    fn touch(&mut self, number: u64) {
        if let Some(touched) = &mut self.touched {
            touched.insert(number);
        }
    }

    /// What has started and ended since the last time.
    pub(crate) fn take_events(&mut self) -> Vec<TaskEvent> {
        std::mem::take(&mut self.events)
    }

    pub(crate) fn find(&self, upid: &str) -> Option<&Task> {
        self.list.iter().find(|task| task.upid == upid)
    }

    pub(crate) fn oldest_first(&self) -> impl Iterator<Item = &Task> {
        self.list.iter().rev()
    }

    /// The last start or end of a task so far.
    pub(crate) fn latest(&self) -> Duration {
        let ended = |task: &Task| if task.effect.is_none() { task.ends } else { task.started };
        self.list.iter().map(ended).max().unwrap_or_default()
    }

    /// Newest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Task> {
        self.list.iter()
    }

    /// Takes the effects of the tasks that have ended by `now`, in the order they ended.
    pub(crate) fn ended(&mut self, now: Duration) -> Vec<(Effect, Duration)> {
        let due = self.list.iter_mut().filter(|task| task.ends <= now);
        let mut effects = Vec::new();
        for task in due {
            if let Some(effect) = task.effect.take() {
                self.events.push(task.end());
                effects.push((effect, task.ends));
                if let Some(touched) = &mut self.touched {
                    touched.insert(task.number);
                }
            }
        }
        effects.sort_by_key(|(_, ends)| *ends);
        effects
    }

    /// Ends a running task as `DELETE tasks/{upid}` does; its effect does not happen.
    pub(crate) fn stop(&mut self, upid: &str, now: Duration) {
        let running = self.list.iter_mut().find(|task| task.upid == upid && task.ends > now);
        if let Some(task) = running {
            task.ends = now;
            task.effect = None;
            task.exit = "interrupted by signal".to_owned();
            task.log = vec!["TASK ERROR: interrupted by signal".to_owned()];
            self.events.push(task.end());
            let number = task.number;
            self.touch(number);
        }
    }
}

impl Task {
    pub(crate) fn is_running(&self, now: Duration) -> bool {
        self.ends > now
    }

    fn event(&self, at: Duration, message: String) -> TaskEvent {
        let (node, user) = (self.node.clone(), self.user.clone());
        TaskEvent { at, node, user, pid: self.pid, message }
    }

    /// The event of its end.
    fn end(&self) -> TaskEvent {
        self.event(self.ends, format!("end task {} {}", self.upid, self.exit))
    }

    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// `tasks/{upid}/status`.
    pub(crate) fn status(&self, now: Duration) -> Value {
        let mut status = self.facts();
        if let Value::Object(status) = &mut status {
            status.insert("pstart".to_owned(), json!(self.pstart));
            if self.is_running(now) {
                status.insert("status".to_owned(), json!("running"));
            } else {
                status.insert("status".to_owned(), json!("stopped"));
                status.insert("exitstatus".to_owned(), json!(self.exit));
            }
        }
        status
    }

    /// One entry of a task list.
    pub(crate) fn entry(&self, now: Duration) -> Value {
        let mut entry = self.facts();
        if let Value::Object(entry) = &mut entry {
            entry.insert("pstart".to_owned(), json!(self.pstart));
            if !self.is_running(now) {
                entry.insert("endtime".to_owned(), json!(self.ends.as_secs()));
                entry.insert("status".to_owned(), json!(self.exit));
            }
        }
        entry
    }

    fn facts(&self) -> Value {
        json!({
            "upid": self.upid,
            "node": self.node,
            "pid": self.pid,
            "starttime": self.started.as_secs(),
            "type": self.kind,
            "id": self.id,
            "user": self.user,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: TaskKind = TaskKind { name: "qmstart", takes: Duration::from_secs(2) };

    fn spawn(tasks: &mut Tasks, now: u64, scale: f64) -> String {
        let effect = Effect::Power { vmid: 100, running: true };
        let spawn =
            Spawn { node: "pve1", kind: START, id: "100", user: "root@pam", effect, exit: Ok(()) };
        tasks.spawn(Duration::from_secs(now), scale, spawn)
    }

    #[test]
    fn a_task_has_its_effect_once_and_when_it_ends() {
        let mut tasks = Tasks::default();
        let upid = spawn(&mut tasks, 10, 1.0);
        assert!(tasks.find(&upid).unwrap().is_running(Duration::from_secs(11)));
        assert_eq!(tasks.ended(Duration::from_secs(11)), []);
        let effect = Effect::Power { vmid: 100, running: true };
        assert_eq!(tasks.ended(Duration::from_secs(12)), [(effect, Duration::from_secs(12))]);
        assert_eq!(tasks.ended(Duration::from_secs(13)), []);
        assert_eq!(tasks.find(&upid).unwrap().status(Duration::from_secs(12))["exitstatus"], "OK");
    }

    #[test]
    fn scale_zero_ends_at_once() {
        let mut tasks = Tasks::default();
        spawn(&mut tasks, 10, 0.0);
        assert_eq!(tasks.ended(Duration::from_secs(10)).len(), 1);
    }

    #[test]
    fn a_stopped_task_changes_nothing() {
        let mut tasks = Tasks::default();
        let upid = spawn(&mut tasks, 10, 1.0);
        tasks.stop(&upid, Duration::from_secs(11));
        assert_eq!(tasks.ended(Duration::from_secs(99)), []);
        let status = tasks.find(&upid).unwrap().status(Duration::from_secs(12));
        assert_eq!(status["exitstatus"], "interrupted by signal");
    }

    #[test]
    fn ids_differ_and_the_list_is_bounded() {
        let mut tasks = Tasks::default();
        let ids: BTreeSet<String> = (0..TASKS + 10).map(|_| spawn(&mut tasks, 10, 1.0)).collect();
        assert_eq!(ids.len(), TASKS + 10);
        assert_eq!(tasks.iter().count(), TASKS);
    }
}
