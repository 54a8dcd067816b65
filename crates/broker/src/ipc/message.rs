//! What the processes say to each other.

use broker_api::{Code, Refusal};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::channel::{ChannelError, Sender};
use crate::config::Settings;
use crate::worker::WorkerKind;

/// Between the supervisor and the process with the sockets.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Control {
    /// To the listener, first: its settings; descriptors are the sockets in the order of the
    /// names, then the one for metrics when there is one, then the audit log's key.
    Begin {
        settings: Box<Settings>,
        sockets: Vec<String>,
        metrics: bool,
        public_key: Option<String>,
        /// Workers that are needed at once: what is on trial ends only while they run.
        due: Vec<WorkerKind>,
        /// How often it has to say that it is alive.
        alive_ms: Option<u64>,
    },
    /// To the listener: new settings, checked. Descriptors are sockets in the order of `opened`;
    /// those in `closed` end before.
    Reload { settings: Box<Settings>, opened: Vec<String>, closed: Vec<String> },
    /// To the listener: take what is under way to its end.
    End,
    /// To the listener: the descriptor is this worker's channel.
    Worker { kind: WorkerKind },
    /// To the listener: it could not be started.
    NoWorker { kind: WorkerKind, why: String },
    /// To the supervisor: connections are accepted.
    Ready,
    /// To the supervisor: a reload was taken over, or why not.
    Reloaded { refused: Option<String> },
    /// To the supervisor: start this worker.
    NeedWorker { kind: WorkerKind },
    /// To the supervisor: end this worker, it does not answer.
    EndWorker { kind: WorkerKind },
    /// To the supervisor: the last audit record, as `SEQ:HASH`.
    AuditHead { head: String },
    /// To the supervisor: still serving.
    Alive,
}

/// To a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WorkerRequest {
    pub(crate) id: u64,
    pub(crate) verb: String,
    pub(crate) params: Value,
}

/// From a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WorkerAnswer {
    pub(crate) id: u64,
    pub(crate) outcome: Result<Value, Refused>,
}

/// A [`Refusal`] on its way between processes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Refused {
    code: u16,
    message: String,
    reason: Option<String>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let reason = refusal.reason.map(str::to_owned);
        Self { code: refusal.code.number(), message: refusal.message, reason }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let code = Code::from_number(refused.code.into()).unwrap_or(Code::Internal);
        let refusal = Self::new(code, refused.message);
        let known = refused.reason.and_then(|reason| crate::remote::reason(&reason));
        Self { reason: known, ..refusal }
    }
}

/// Anything above as a packet.
pub(crate) trait Packet: Serialize + DeserializeOwned {
    /// The bytes.
    fn to_bytes(&self) -> Result<Vec<u8>, ChannelError> {
        serde_json::to_vec(self).map_err(|_| ChannelError::Malformed)
    }

    /// Reads the bytes.
    fn from_bytes(bytes: &[u8]) -> Result<Self, ChannelError> {
        serde_json::from_slice(bytes).map_err(|_| ChannelError::Malformed)
    }

    /// Sends it without descriptors.
    fn send(&self, channel: &impl Sender) -> Result<(), ChannelError> {
        channel.send(&self.to_bytes()?, &[])
    }
}

impl Packet for Control {}
impl Packet for Settings {}
impl Packet for WorkerRequest {}
impl Packet for WorkerAnswer {}
