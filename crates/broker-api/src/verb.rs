//! The verbs: the one table of what can be asked for.

use serde_json::{Map, Value, json};

use crate::limits::{FILE_CONTENT, LIST_PARAMETER, TEXT_PARAMETER};

/// What a peer needs to be given before it may use a verb, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Changes nothing.
    Read,
    /// Changes this host within what the configuration declares.
    Write,
    /// Changes what the broker itself or other nodes trust.
    Admin,
}

/// What a parameter holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text of at most so many bytes, without control characters.
    Text(usize),
    /// Any text of at most so many bytes.
    Content(usize),
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number within these bounds.
    Whole(u64, u64),
    /// True or false.
    Truth,
    /// Texts of at most so many bytes each.
    Texts(usize),
}

/// One parameter of a verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether the verb needs it.
    pub required: bool,
    /// What it means.
    pub about: &'static str,
}

/// One verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verb {
    /// `area.what`.
    pub name: &'static str,
    /// The group of the policy it is in.
    pub group: Group,
    /// The parameter whose value is the target, and the word before it: `node/pve1`. Without the
    /// parameter in a request, or without this, the target is `local`.
    pub target: Option<(&'static str, &'static str)>,
    /// Whether it answers more than once.
    pub streams: bool,
    /// What it takes.
    pub parameters: &'static [Parameter],
    /// Which of [`SAFEGUARDS`] it does not take although it is not of the group `read`, and why.
    pub lacks: &'static [(&'static str, &'static str)],
    /// What it does, as a phrase.
    pub about: &'static str,
}

/// Parameters that every verb takes which changes something, unless its row says why not: what
/// would change, not twice, and taken back unless confirmed.
pub const SAFEGUARDS: [&str; 3] = [PLAN.name, IDEMPOTENCY.name, LEASE.name];

/// Why parameters were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// The verb has no such parameter.
    #[error("{verb} takes no parameter of that name; it takes {known}")]
    Unknown {
        /// The verb.
        verb: &'static str,
        /// What it takes.
        known: String,
    },
    /// The verb needs it.
    #[error("{verb} needs the parameter {name}")]
    Missing {
        /// The verb.
        verb: &'static str,
        /// The parameter.
        name: &'static str,
    },
    /// Not what the verb takes.
    #[error("parameter {name}: expected {expected}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// What it holds.
        expected: String,
    },
}

const NODE: Parameter = Parameter {
    name: "node",
    kind: Kind::Text(TEXT_PARAMETER),
    required: false,
    about: "another node of the cluster; this one when left out",
};
const ROOT: Parameter = Parameter {
    name: "root",
    kind: Kind::Text(64),
    required: true,
    about: "a root that the configuration declares",
};
const PATH: Parameter = Parameter {
    name: "path",
    kind: Kind::Text(1024),
    required: true,
    about: "path below the root",
};
const CELL: Parameter = Parameter {
    name: "name",
    kind: Kind::Text(64),
    required: true,
    about: "a cell that the configuration declares",
};
const PLAN: Parameter = Parameter {
    name: "plan",
    kind: Kind::Truth,
    required: false,
    about: "says what would change and changes nothing",
};
const IDEMPOTENCY: Parameter = Parameter {
    name: "idempotency_key",
    kind: Kind::Text(64),
    required: false,
    about: "a repeated request with the same key is not done again and gets the first answer",
};
const LEASE: Parameter = Parameter {
    name: "lease_ms",
    kind: Kind::Whole(1000, 3_600_000),
    required: false,
    about: "taken back after this time unless confirmed",
};

/// Why a confirmation has no plan and no lease.
const CONFIRMS: &str = "changes nothing but the end of a trial";
/// Why a question of the group `admin` has none of them.
const ASKS: &str = "asks the nodes and changes nothing";

/// Everything the broker can be asked for.
pub const VERBS: &[Verb] = &[
    Verb {
        name: "broker.status",
        group: Group::Read,
        target: None,
        streams: false,
        parameters: &[],
        lacks: &[],
        about: "version, public key for nodes, and what the peer may do",
    },
    Verb {
        name: "broker.describe",
        group: Group::Read,
        target: None,
        streams: false,
        parameters: &[],
        lacks: &[],
        about: "this table",
    },
    Verb {
        name: "sensors.read",
        group: Group::Read,
        target: Some(("node", "node")),
        streams: false,
        parameters: &[
            NODE,
            Parameter {
                name: "format",
                kind: Kind::Word(&["model", "lm-sensors"]),
                required: false,
                about: "normalised, or as `sensors -j` prints",
            },
        ],
        lacks: &[],
        about: "temperatures, fans, voltages, power from hwmon and thermal zones",
    },
    Verb {
        name: "sensors.cluster",
        group: Group::Read,
        target: None,
        streams: false,
        parameters: &[Parameter {
            name: "budget_ms",
            kind: Kind::Whole(100, 30_000),
            required: false,
            about: "time for each node",
        }],
        lacks: &[],
        about: "sensors of every member, with partial results",
    },
    Verb {
        name: "disks.read",
        group: Group::Read,
        target: None,
        streams: false,
        parameters: &[],
        lacks: &[],
        about: "NVMe health and SMART of all disks; a sleeping disk is not woken",
    },
    Verb {
        name: "ipmi.read",
        group: Group::Read,
        target: None,
        streams: false,
        parameters: &[],
        lacks: &[],
        about: "power (DCMI) and sensors of the baseboard controller",
    },
    Verb {
        name: "node.status",
        group: Group::Read,
        target: None,
        streams: false,
        parameters: &[],
        lacks: &[],
        about: "uptime, load, memory, kernel of this node",
    },
    Verb {
        name: "guests.cpu",
        group: Group::Read,
        target: None,
        streams: true,
        parameters: &[
            Parameter {
                name: "samples",
                kind: Kind::Whole(1, 3600),
                required: false,
                about: "answers before the end; 1 when left out",
            },
            Parameter {
                name: "interval_ms",
                kind: Kind::Whole(100, 60_000),
                required: false,
                about: "time between them; 1000 when left out",
            },
        ],
        lacks: &[],
        about: "CPU of every guest since the sample before, from its control group",
    },
    Verb {
        name: "cluster.members",
        group: Group::Read,
        target: None,
        streams: false,
        parameters: &[],
        lacks: &[],
        about: "members by pmxcfs and corosync.conf; this node alone when there is no cluster",
    },
    Verb {
        name: "ban.list",
        group: Group::Read,
        target: None,
        streams: false,
        parameters: &[],
        lacks: &[],
        about: "addresses in the broker's own nftables sets",
    },
    Verb {
        name: "ban.apply",
        group: Group::Write,
        target: None,
        streams: false,
        parameters: &[
            Parameter {
                name: "add",
                kind: Kind::Texts(64),
                required: false,
                about: "addresses to ban",
            },
            Parameter {
                name: "remove",
                kind: Kind::Texts(64),
                required: false,
                about: "addresses to free",
            },
            Parameter {
                name: "seconds",
                kind: Kind::Whole(1, 31_536_000),
                required: false,
                about: "how long the added ones stay; without it until removed",
            },
            PLAN,
            IDEMPOTENCY,
            LEASE,
        ],
        lacks: &[],
        about: "adds and removes bans in one transaction; a lease holds for added ones",
    },
    Verb {
        name: "ban.confirm",
        group: Group::Write,
        target: None,
        streams: false,
        parameters: &[
            Parameter {
                name: "lease",
                kind: Kind::Text(64),
                required: true,
                about: "as `ban.apply` answered it",
            },
            IDEMPOTENCY,
        ],
        lacks: &[("plan", CONFIRMS), ("lease_ms", CONFIRMS)],
        about: "ends a lease: the bans stay as long as was asked",
    },
    Verb {
        name: "cell.list",
        group: Group::Read,
        target: None,
        streams: false,
        parameters: &[],
        lacks: &[],
        about: "declared cells, and which of them run",
    },
    Verb {
        name: "cell.start",
        group: Group::Write,
        target: Some(("cell", "name")),
        streams: false,
        parameters: &[CELL, PLAN, IDEMPOTENCY, LEASE],
        lacks: &[],
        about: "starts a declared cell under its policy",
    },
    Verb {
        name: "cell.stop",
        group: Group::Write,
        target: Some(("cell", "name")),
        streams: false,
        parameters: &[CELL, PLAN, IDEMPOTENCY],
        lacks: &[("lease_ms", "what ran in the cell is gone; starting it again is cell.start")],
        about: "ends a cell and everything in it",
    },
    Verb {
        name: "cell.confirm",
        group: Group::Write,
        target: Some(("cell", "name")),
        streams: false,
        parameters: &[CELL, IDEMPOTENCY],
        lacks: &[("plan", CONFIRMS), ("lease_ms", CONFIRMS)],
        about: "ends a lease: the cell goes on",
    },
    Verb {
        name: "file.read",
        group: Group::Read,
        target: Some(("file", "root")),
        streams: false,
        parameters: &[ROOT, PATH],
        lacks: &[],
        about: "a file below a declared root",
    },
    Verb {
        name: "file.watch",
        group: Group::Read,
        target: Some(("file", "root")),
        streams: true,
        parameters: &[
            ROOT,
            PATH,
            Parameter {
                name: "wait_ms",
                kind: Kind::Whole(100, 300_000),
                required: false,
                about: "how long to watch; 30 s when left out",
            },
        ],
        lacks: &[],
        about: "answers each time the file's content changes",
    },
    Verb {
        name: "file.write",
        group: Group::Write,
        target: Some(("file", "root")),
        streams: false,
        parameters: &[
            ROOT,
            PATH,
            Parameter {
                name: "content",
                kind: Kind::Content(FILE_CONTENT),
                required: true,
                about: "the whole new content",
            },
            Parameter {
                name: "expect_sha256",
                kind: Kind::Text(64),
                required: false,
                about: "refused when the file has changed; `absent` for a new one",
            },
            PLAN,
            IDEMPOTENCY,
            LEASE,
        ],
        lacks: &[],
        about: "replaces a file below a declared root, after a snapshot",
    },
    Verb {
        name: "file.restore",
        group: Group::Write,
        target: Some(("file", "root")),
        streams: false,
        parameters: &[
            ROOT,
            PATH,
            Parameter {
                name: "snapshot",
                kind: Kind::Text(64),
                required: true,
                about: "as `file.write` answered it",
            },
            PLAN,
            IDEMPOTENCY,
            LEASE,
        ],
        lacks: &[],
        about: "puts a snapshot back, after a snapshot of what is there",
    },
    Verb {
        name: "file.confirm",
        group: Group::Write,
        target: Some(("file", "root")),
        streams: false,
        parameters: &[
            ROOT,
            Parameter {
                name: "snapshot",
                kind: Kind::Text(64),
                required: true,
                about: "as `file.write` answered it",
            },
            IDEMPOTENCY,
        ],
        lacks: &[("plan", CONFIRMS), ("lease_ms", CONFIRMS)],
        about: "ends a lease: the file stays as it was written",
    },
    Verb {
        name: "command.run",
        group: Group::Write,
        target: Some(("command", "name")),
        streams: false,
        parameters: &[
            Parameter {
                name: "name",
                kind: Kind::Text(64),
                required: true,
                about: "a command that the configuration declares",
            },
            PLAN,
            IDEMPOTENCY,
        ],
        lacks: &[("lease_ms", "nobody knows how to take back what a program did")],
        about: "runs a declared command, whose words are fixed",
    },
    Verb {
        name: "nodes.register",
        group: Group::Admin,
        target: None,
        streams: false,
        parameters: &[],
        lacks: &[("plan", ASKS), ("idempotency_key", ASKS), ("lease_ms", ASKS)],
        about: "members of the cluster, and whether each answers over ssh",
    },
    Verb {
        name: "keys.ensure",
        group: Group::Admin,
        target: None,
        streams: false,
        parameters: &[PLAN, IDEMPOTENCY],
        lacks: &[("lease_ms", "adds a key where there is none; nothing was there to come back")],
        about: "makes the broker's ssh key when there is none, and the line for authorized_keys",
    },
    Verb {
        name: "keys.rotate",
        group: Group::Admin,
        target: None,
        streams: false,
        parameters: &[
            Parameter {
                name: "step",
                kind: Kind::Word(&["begin", "finish", "rollback"]),
                required: true,
                about: "begin: a second key; finish: only the new one; rollback: only the old one",
            },
            PLAN,
            IDEMPOTENCY,
        ],
        lacks: &[(
            "lease_ms",
            "its steps are the trial: both keys hold until finish, rollback goes back",
        )],
        about: "changes the broker's ssh key, with both valid in between",
    },
    Verb {
        name: "cleanup.request",
        group: Group::Admin,
        target: None,
        streams: false,
        parameters: &[
            Parameter {
                name: "host",
                kind: Kind::Text(TEXT_PARAMETER),
                required: false,
                about: "whose traces to remove",
            },
            Parameter {
                name: "reason",
                kind: Kind::Text(TEXT_PARAMETER),
                required: false,
                about: "for the log",
            },
            PLAN,
            IDEMPOTENCY,
        ],
        lacks: &[("lease_ms", "the clean-up unit takes the request at once")],
        about: "leaves a request for the clean-up unit",
    },
];

impl Verb {
    /// The verb of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        VERBS.iter().find(|verb| verb.name == name)
    }

    /// The target of a request with these parameters: `node/pve1`, or `local`.
    #[must_use]
    pub fn target_of(&self, parameters: &Map<String, Value>) -> String {
        let named = self.target.and_then(|(word, name)| {
            let value = parameters.get(name)?.as_str()?;
            Some(format!("{word}/{value}"))
        });
        named.unwrap_or_else(|| "local".to_owned())
    }

    /// Checks the parameters against the table.
    ///
    /// # Errors
    /// [`ParameterError`]: the first thing wrong.
    pub fn check(&self, parameters: &Map<String, Value>) -> Result<(), ParameterError> {
        let known = |name: &str| self.parameters.iter().find(|row| row.name == name);
        for (name, value) in parameters {
            let Some(row) = known(name) else {
                let names: Vec<&str> = self.parameters.iter().map(|row| row.name).collect();
                let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                return Err(ParameterError::Unknown { verb: self.name, known });
            };
            if !row.kind.admits(value) {
                let expected = row.kind.describe();
                return Err(ParameterError::Value { name: row.name, expected });
            }
        }
        let missing =
            self.parameters.iter().find(|row| row.required && !parameters.contains_key(row.name));
        match missing {
            Some(row) => Err(ParameterError::Missing { verb: self.name, name: row.name }),
            None => Ok(()),
        }
    }

    /// The row as `broker.describe` answers it.
    #[must_use]
    pub fn describe(&self) -> Value {
        let parameters: Vec<Value> = self
            .parameters
            .iter()
            .map(|row| {
                json!({
                    "name": row.name, "required": row.required, "about": row.about,
                    "kind": row.kind.describe(),
                })
            })
            .collect();
        json!({
            "name": self.name, "group": self.group.name(), "streams": self.streams,
            "target": self.target.map_or("local".to_owned(), |(word, name)| format!("{word}/{{{name}}}")),
            "about": self.about, "parameters": parameters,
            "lacks": self.lacks.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
        })
    }
}

impl Group {
    /// All groups, weakest first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// The name in policies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl Kind {
    fn admits(self, value: &Value) -> bool {
        let text = |limit: usize, value: &Value| {
            value.as_str().is_some_and(|text| {
                !text.is_empty() && text.len() <= limit && !text.chars().any(char::is_control)
            })
        };
        match self {
            Self::Text(limit) => text(limit, value),
            Self::Content(limit) => value.as_str().is_some_and(|text| text.len() <= limit),
            Self::Word(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            Self::Whole(least, most) => {
                value.as_u64().is_some_and(|number| (least..=most).contains(&number))
            }
            Self::Truth => value.is_boolean(),
            Self::Texts(limit) => value.as_array().is_some_and(|items| {
                items.len() <= LIST_PARAMETER && items.iter().all(|item| text(limit, item))
            }),
        }
    }

    fn describe(self) -> String {
        match self {
            Self::Text(limit) => {
                format!("text of 1 to {limit} bytes without control characters")
            }
            Self::Content(limit) => format!("text of at most {limit} bytes"),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Whole(least, most) => format!("a whole number from {least} to {most}"),
            Self::Truth => "true or false".to_owned(),
            Self::Texts(limit) => {
                format!("at most {LIST_PARAMETER} texts of 1 to {limit} bytes each")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_targets_are_parameters() {
        let names: BTreeSet<&str> = VERBS.iter().map(|verb| verb.name).collect();
        assert_eq!(names.len(), VERBS.len());
        for verb in VERBS {
            let (area, what) = verb.name.split_once('.').unwrap();
            assert!(!area.is_empty() && !what.is_empty(), "{}", verb.name);
            if let Some((_, name)) = verb.target {
                assert!(verb.parameters.iter().any(|row| row.name == name), "{}", verb.name);
            }
            assert_eq!(Verb::find(verb.name), Some(verb));
        }
    }

    #[test]
    fn what_changes_something_has_plan_key_and_lease_or_a_reason() {
        for verb in VERBS {
            let reasons: Vec<&str> = verb.lacks.iter().map(|(name, _)| *name).collect();
            for name in SAFEGUARDS {
                let takes = verb.parameters.iter().any(|row| row.name == name);
                let lacks = reasons.iter().filter(|reason| **reason == name).count();
                let expected = usize::from(verb.group != Group::Read && !takes);
                assert_eq!(lacks, expected, "{} {name}", verb.name);
                assert!(!(takes && verb.group == Group::Read), "{} changes nothing", verb.name);
            }
            assert!(reasons.iter().all(|reason| SAFEGUARDS.contains(reason)), "{}", verb.name);
        }
    }

    #[test]
    fn parameters_are_checked() {
        let check = |verb: &str, parameters: Value| {
            let Value::Object(parameters) = parameters else { panic!("an object") };
            let verb = Verb::find(verb).unwrap();
            verb.check(&parameters).map(|()| verb.target_of(&parameters)).map_err(|e| e.to_string())
        };
        assert_eq!(check("sensors.read", json!({})).unwrap(), "local");
        assert_eq!(check("sensors.read", json!({"node": "pve2"})).unwrap(), "node/pve2");
        assert_eq!(check("file.read", json!({"root": "r", "path": "a"})).unwrap(), "file/r");
        for (verb, parameters, why) in [
            ("sensors.read", json!({"nodes": "x"}), "takes no parameter"),
            ("broker.status", json!({"x": 1}), "it takes none"),
            ("sensors.read", json!({"node": 1}), "expected text"),
            ("sensors.read", json!({"node": ""}), "expected text"),
            ("sensors.read", json!({"node": "a\nb"}), "expected text"),
            ("sensors.read", json!({"format": "xml"}), "one of model, lm-sensors"),
            ("guests.cpu", json!({"samples": 0}), "a whole number from 1"),
            ("guests.cpu", json!({"samples": -1}), "a whole number"),
            ("guests.cpu", json!({"samples": 1.5}), "a whole number"),
            ("file.write", json!({"root": "r", "path": "p"}), "needs the parameter content"),
            ("ban.apply", json!({"add": [1]}), "texts"),
            ("ban.apply", json!({"plan": "yes"}), "true or false"),
        ] {
            let error = check(verb, parameters.clone()).unwrap_err();
            assert!(error.contains(why), "{verb} {parameters}: {error}");
        }
    }
}
