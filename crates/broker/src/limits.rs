//! Every limit of this crate, by name. Those an administrator may change are defaults here and
//! stand in [`crate::config::Limits`]; the bounds of what may be set are here too.

use std::time::Duration;

/// Longest policy: rules.
pub(crate) const RULES: usize = 1024;

/// Most sockets.
pub(crate) const SOCKETS: usize = 64;

/// Connections at a time, of all peers: default, and the most that can be set.
pub(crate) const CONNECTIONS: (usize, usize) = (1024, 16_384);

/// Connections at a time of one peer.
pub(crate) const CONNECTIONS_PER_PEER: (usize, usize) = (128, 16_384);

/// Connections of peers the policy does not know that are read and answered; further ones are
/// closed at once.
pub(crate) const STRANGERS: usize = 64;

/// How long a stranger has to finish the request it will be refused.
pub(crate) const STRANGER_WAIT: Duration = Duration::from_secs(1);

/// Requests per second and burst of one peer.
pub(crate) const RATE: (f64, u32) = (50.0, 100);

/// Peers whose budgets are remembered.
pub(crate) const BUDGETS: usize = 4096;

/// Requests under way of one peer, and of all.
pub(crate) const UNDER_WAY: (u32, u32) = (4, 32);

/// Requests that wait for their turn, of one peer and of all.
pub(crate) const QUEUE: (usize, usize) = (64, 1024);

/// How long a request waits for its turn.
pub(crate) const QUEUE_WAIT: Duration = Duration::from_secs(5);

/// Tokens an offence costs: what is not a request, a verb that is not there or not allowed. Paid
/// as debt, so an offender waits, and others do not.
pub(crate) const PENALTY: u32 = 20;

/// From the accepted connection to its first byte.
pub(crate) const FIRST_BYTE: Duration = Duration::from_secs(5);

/// From the first byte of a request to its last.
pub(crate) const REQUEST: Duration = Duration::from_secs(5);

/// From the answer to the next request's first byte.
pub(crate) const IDLE: Duration = Duration::from_secs(60);

/// For the work behind one request.
pub(crate) const HANDLER: Duration = Duration::from_secs(30);

/// For a peer to take its answer.
pub(crate) const WRITE: Duration = Duration::from_secs(10);

/// How long requests under way have when the broker ends.
pub(crate) const DRAIN: Duration = Duration::from_secs(5);

/// Answers gathered before they are written, in bytes.
pub(crate) const OUT_BUFFER: usize = 64 * 1024;

/// Largest file of the audit log's key.
pub(crate) const AUDIT_KEY: usize = 4096;

/// Audit records gathered before they are written, and how long the first of them waits for the
/// others. Those of changes wait for nothing.
pub(crate) const AUDIT_GATHERED: usize = 256;
/// See [`AUDIT_GATHERED`].
pub(crate) const AUDIT_PAUSE: Duration = Duration::from_millis(10);

/// Room for a peer's first bytes: nearly every request fits, and an idle connection holds no more.
pub(crate) const FIRST_BUFFER: usize = 1000;

/// Bytes read from a peer at once beyond that.
pub(crate) const IN_BUFFER: usize = 8 * 1024;

/// How long what was found out about a peer's process is believed.
pub(crate) const ATTESTED: Duration = Duration::from_secs(1);

/// Processes whose findings are remembered.
pub(crate) const ATTESTED_PROCESSES: usize = 1024;

/// Supplementary groups of a peer that are kept while it is connected.
pub(crate) const PEER_GROUPS: usize = 1024;

/// Largest file of `/proc` that is read about a peer.
pub(crate) const PROC_FILE: usize = 64 * 1024;

/// Most ranges of subordinate ids.
pub(crate) const SUB_RANGES: usize = 4096;

/// Strangers that are told apart in the audit log; the rest counts as one.
pub(crate) const STRANGER_KINDS: usize = 256;

/// How often repeated refusals are summed up in the audit log, and its head is handed over.
pub(crate) const SUMMARY: Duration = Duration::from_secs(60);

/// Largest message between the broker's processes; what is longer goes as a sealed memory file.
pub(crate) const MESSAGE: usize = 32 * 1024;

/// Largest sealed memory file that is accepted.
pub(crate) const SEALED: usize = 8 * 1024 * 1024;

/// Requests a worker has taken and not answered.
pub(crate) const WORKER_REQUESTS: usize = 64;

/// How long a worker may take to start.
pub(crate) const WORKER_START: Duration = Duration::from_secs(5);

/// Pause after an accept that failed: out of descriptors or memory, waiting is all that helps.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Pause before a worker that has died is started again.
pub(crate) const WORKER_PAUSE: Duration = Duration::from_millis(500);

/// Largest file of `/sys` or `/proc` a reader takes in.
pub(crate) const SYS_FILE: usize = 256 * 1024;

/// One file of hwmon: drivers that ask hardware take 10 to 500 ms.
pub(crate) const SENSOR_FILE: Duration = Duration::from_millis(700);

/// Threads that hang in a sensor before no more is read.
pub(crate) const STUCK_READERS: usize = 8;

/// Chips, and files of one chip.
pub(crate) const CHIPS: (usize, usize) = (256, 1024);

/// All sensors of a host.
pub(crate) const SENSORS_TOTAL: Duration = Duration::from_secs(10);

/// How long a reading is handed out again; its age is in every answer.
pub(crate) const READING_AGE: Duration = Duration::from_secs(1);

/// How long a reading of disks is handed out again.
pub(crate) const DISK_AGE: Duration = Duration::from_secs(30);

/// How long the baseboard controller's reading is handed out again.
pub(crate) const IPMI_AGE: Duration = Duration::from_secs(10);

/// Records of the baseboard controller's sensors, and the time for all of them.
pub(crate) const IPMI_RECORDS: usize = 512;
/// See [`IPMI_RECORDS`].
pub(crate) const IPMI_TOTAL: Duration = Duration::from_secs(20);

/// Readings kept.
pub(crate) const CACHED: usize = 256;

/// Block devices looked at.
pub(crate) const DISKS: usize = 256;

/// Guests whose control groups are read.
pub(crate) const GUESTS: usize = 4096;

/// Members of a cluster.
pub(crate) const MEMBERS: usize = 64;

/// How long the list of members is believed, and how long it stands in for one that can not be
/// read.
pub(crate) const MEMBERS_AGE: (Duration, Duration) =
    (Duration::from_secs(300), Duration::from_secs(3600));

/// Bans in one request, and in the table.
pub(crate) const BANS: (usize, usize) = (1024, 65_536);

/// Snapshots kept below one root.
pub(crate) const SNAPSHOTS: usize = 64;

/// How often a watched file is looked at where the kernel does not tell of changes, and where it
/// does: its directory may have been exchanged.
pub(crate) const WATCH_PAUSE: (Duration, Duration) =
    (Duration::from_millis(250), Duration::from_secs(5));

/// How long changes of a watched directory are gathered after the first.
pub(crate) const WATCH_SETTLE: Duration = Duration::from_millis(20);

/// Requests that answer more than once, of one peer and of all. They hold no turn while they wait.
pub(crate) const STREAMS: (u32, u32) = (8, 64);

/// Peers whose idempotency keys are remembered, the last keys of each, and how long.
pub(crate) const IDEMPOTENT: (usize, usize, Duration) = (64, 64, Duration::from_secs(600));

/// Longest answer that is kept with its key; of a longer one it is known that it was given.
pub(crate) const IDEMPOTENT_ANSWER: usize = 4096;

/// How long a cell is watched after its start for an end at once, and how long it has to end.
pub(crate) const CELL_SETTLE: Duration = Duration::from_millis(300);
/// See [`CELL_SETTLE`].
pub(crate) const CELL_STOP: Duration = Duration::from_secs(10);
/// How often running cells are looked at for leases and logs.
pub(crate) const CELL_TICK: Duration = Duration::from_secs(1);
/// A cell's log in bytes; beyond it begins anew.
pub(crate) const CELL_LOG: u64 = 1024 * 1024;
/// Declared cells.
pub(crate) const CELLS: usize = 64;

/// Changes of bans that wait for their confirmation.
pub(crate) const BAN_LEASES: usize = 256;

/// Output and time of a declared command unless it says otherwise, and the most it can say.
pub(crate) const COMMAND_OUTPUT: (usize, usize) = (64 * 1024, 1024 * 1024);
/// See [`COMMAND_OUTPUT`].
pub(crate) const COMMAND_TIME: (Duration, Duration) =
    (Duration::from_secs(10), Duration::from_secs(600));

/// Output of a node over ssh (pulse-sensor-proxy's `max_ssh_output_bytes`).
pub(crate) const SSH_OUTPUT: usize = 1024 * 1024;

/// One call over ssh, connection and all.
pub(crate) const SSH_TIME: Duration = Duration::from_secs(15);

/// Calls over ssh at a time.
pub(crate) const SSH_AT_ONCE: usize = 8;

/// Largest `known_hosts` file, and its lines.
pub(crate) const KNOWN_HOSTS: (usize, usize) = (1024 * 1024, 16_384);

/// Largest head of a request for metrics, and how long it may take.
pub(crate) const METRICS_HEAD: usize = 4096;
/// See [`METRICS_HEAD`].
pub(crate) const METRICS_WAIT: Duration = Duration::from_secs(2);
/// Scrapes at a time.
pub(crate) const METRICS_AT_ONCE: usize = 4;
