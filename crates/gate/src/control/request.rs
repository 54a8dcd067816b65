//! What can be asked.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One order. On the wire `{"verb":"ban_remove","of":"192.0.2.1"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Bans and locks in force. Answer: `{"bans":[…],"locks":[…]}`, see [`crate::login`].
    BanList,
    /// Takes bans and locks away.
    BanRemove {
        /// An address (an IPv6 one stands for its /64), or a user `name@realm` whose locks go.
        of: String,
    },
    /// Sessions in force, of one user or of all. Answer: `{"sessions":[{"id","user","kind",
    /// "client","began","used","ends"}]}`, times in seconds since 1970.
    SessionList {
        /// `name@realm`.
        #[serde(default)]
        user: Option<String>,
    },
    /// Ends sessions, durably before the answer `{"revoked":N}`. Exactly one is named.
    SessionRevoke {
        /// The beginning of an id as the list shows it, at least eight digits.
        #[serde(default)]
        id: Option<String>,
        /// All of `name@realm`.
        #[serde(default)]
        user: Option<String>,
        /// All there are.
        #[serde(default)]
        all: bool,
    },
    /// Who the gate is: `{"pid","version","uid","gid","groups","layers":{NAME:STATE},"listen":[…],
    /// "tickets":{"verified_by":"gate","keys"} or {"verified_by":"upstream","why"},
    /// "certificate":{"fingerprint","names","file","not_before","not_after"},
    /// "files":{"refused","out_of_reach"}}`, times in seconds since 1970.
    Status,
    /// Which consoles kept by a former process may not go on: `{"ended":[…]}`, by their place in
    /// the list.
    ConsolesHeld {
        /// At most [`TUNNELS_ASKED`](crate::limits::TUNNELS_ASKED).
        held: Vec<HeldConsole>,
    },
    /// Another process takes over: answered with the listeners, see [`crate::Takeover`].
    Takeover,
    /// How the brute-force engine stands: `{"bans","locks","waiting","sources","forgotten"}`.
    LoginStatus,
    /// What change of the policy is on trial: `{"restricts","on_trial":{"id","seconds","seen"}}`.
    PolicyStatus,
    /// Confirms it, if somebody was seen to get through: `{"confirmed":ID,"seen":{"user","client"}}`.
    PolicyConfirm {
        /// As the log and the status show it.
        id: String,
    },
    /// Makes a proxy token: `{"value":"proxward@gate!NAME=VALUE"}`, shown this once.
    TokenCreate {
        /// Letters, digits, `.`, `_`, `-`.
        name: String,
        /// The API token behind it, `USER@REALM!NAME=SECRET`.
        token: Hidden,
        /// Networks and addresses of clients; none: all.
        #[serde(default)]
        networks: Vec<String>,
        /// `GET`, `POST`, `PUT`, `DELETE`; none: all.
        #[serde(default)]
        methods: Vec<String>,
        /// Patterns as in a rule; none: all.
        #[serde(default)]
        paths: Vec<String>,
        /// Seconds until it ends; none: never.
        #[serde(default)]
        expires_in: Option<u64>,
    },
    /// Gives one another value, shown this once; the one before stays good for a while.
    TokenRotate {
        /// Its name.
        name: String,
        /// Seconds for that.
        overlap: u64,
    },
    /// Ends one: `{"revoked":NAME}`.
    TokenRevoke {
        /// Its name.
        name: String,
    },
    /// All of them, without values: `{"tokens":[{"name","behind","networks","methods","paths",
    /// "created","expires","previous_until"}]}`.
    TokenList,
    /// Sets up codes for a user: `{"uri":"otpauth://…"}`, shown this once.
    StepUpEnroll {
        /// `name@realm`.
        user: String,
    },
    /// Forgets a user's secret: `{"removed":USER}`.
    StepUpRemove {
        /// `name@realm`.
        user: String,
    },
    /// Users with a secret: `{"users":[…]}`.
    StepUpList,
}

/// A console, by what it hangs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldConsole {
    /// The id of its session, 64 hexadecimal digits.
    pub session: Option<String>,
    /// The name of its proxy token.
    pub token: Option<String>,
    /// The address it was opened from.
    pub client: IpAddr,
}

/// A text that no log shows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(String);

impl Hidden {
    /// Hides a text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}
