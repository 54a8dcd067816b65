//! Every bound of the mock in one place. Those marked PVE are the genuine server's own
//! (`PVE::APIServer::AnyEvent`), because clients meet them there too.

use std::time::Duration;

/// PVE: the count of header lines, the empty last one included, at which the server falls silent.
pub(crate) const HEADER_LINES: usize = 64;
/// PVE: the sum of header line lengths at which the server falls silent.
pub(crate) const HEADER_BYTES: usize = 8192;
/// PVE: largest request body outside an upload; one byte more is `501 for data too large`.
pub(crate) const BODY_BYTES: usize = 524_288;
/// PVE: requests answered on one connection; the last one says `close`.
pub(crate) const REQUESTS_PER_CONNECTION: u32 = 100;
/// PVE: a connection without traffic is closed after this long, a silent one too.
pub(crate) const IDLE: Duration = Duration::from_secs(5);
/// PVE: every failed authentication answers this long after the request began.
pub(crate) const AUTH_FAILURE_DELAY: Duration = Duration::from_secs(3);
/// PVE: bodies longer than this are compressed when the client asks for it.
pub(crate) const COMPRESS_ABOVE: usize = 1024;
/// A request line longer than this can only be an attack; nothing is answered.
pub(crate) const REQUEST_LINE_BYTES: usize = 8192;
/// Open connections; further ones wait in the listen queue.
pub(crate) const CONNECTIONS: usize = 4096;
/// How long a TLS handshake may take.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long open connections may finish their request when the mock stops.
pub(crate) const DRAIN: Duration = Duration::from_secs(2);
/// Parameters of one request; a body of this size can not name more in practice.
pub(crate) const PARAMETERS: usize = 8192;
/// Finished tasks kept for the task list, as pvestatd's `index` file keeps about 1000.
pub(crate) const TASKS: usize = 1000;
/// PVE: largest payload of a websocket frame, either way.
pub(crate) const FRAME_PAYLOAD: usize = 128 * 1024;
/// PVE: how long a console waits for its client; its port is then given to others.
pub(crate) const CONSOLE_WAIT: Duration = Duration::from_secs(10);
/// A console without a frame for this long is closed; the viewers ping every half minute.
pub(crate) const CONSOLE_IDLE: Duration = Duration::from_secs(3600);
/// PVE: the line with user and ticket that opens a terminal.
pub(crate) const TERMINAL_LOGIN: usize = 4096;
/// Data of one terminal command; more would not fit one frame.
pub(crate) const TERMINAL_COMMAND: usize = FRAME_PAYLOAD;
/// proxmox-tfa: time steps before and after the current one whose codes are accepted.
pub(crate) const TOTP_WINDOW: i64 = 1;
/// proxmox-tfa: wrong codes in a row that lock the time-based factor.
pub(crate) const TOTP_FAILURES: u32 = 8;
/// proxmox-tfa: failures of any second factor in a row that lock all of them.
pub(crate) const FACTOR_FAILURES: u32 = 100;
/// proxmox-tfa: how long they stay locked.
pub(crate) const FACTOR_LOCK: Duration = Duration::from_secs(3600);
/// proxmox-tfa: recovery keys in one set.
pub(crate) const RECOVERY_KEYS: usize = 10;
/// Largest upload; the genuine limit is the free space of the node.
pub(crate) const UPLOAD_BYTES: u64 = 16 << 30;
/// Fields and heads of an upload form, up to the first byte of its file.
pub(crate) const UPLOAD_FIELD_BYTES: usize = 64 * 1024;
/// Volumes of one storage beside those of guests; further ones fail as on a full disk.
pub(crate) const VOLUMES: usize = 100_000;
/// Largest line of a state file; changes that are larger are written with everything else anew.
pub(crate) const FRAME_BYTES: usize = 64 << 20;
/// Records of one line, about, where everything is written.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;
/// Changes in a state file, in bytes, before everything is written anew; more when everything is
/// more than that. So a file has at most twice the size of what it holds, and this.
pub(crate) const COMPACT_BYTES: u64 = 4 << 20;
/// How often a state file is opened again that was replaced while it was being opened.
pub(crate) const OPEN_TRIES: usize = 8;
/// Snapshots of the cluster in memory.
pub(crate) const SNAPSHOTS: usize = 32;
/// Longest name of a snapshot.
pub(crate) const SNAPSHOT_NAME: usize = 64;
/// Largest body of a control request: some hundred rules for faults.
pub(crate) const CONTROL_BODY: usize = 64 << 10;
/// Open control connections; further ones wait in the listen queue.
pub(crate) const CONTROL_CONNECTIONS: usize = 16;
/// Tickets whose verified signature is remembered; then all are forgotten.
pub(crate) const VERIFIED_TICKETS: usize = 1024;
/// Entries of the cluster log, about what the genuine ring buffer holds.
pub(crate) const CLUSTER_LOG: usize = 500;
/// Nesting of tables and lists in a seed or fault file.
pub(crate) const DOCUMENT_DEPTH: usize = 16;
/// Values in a YAML file; TOML and JSON are bounded by their size alone.
pub(crate) const DOCUMENT_NODES: usize = 2_000_000;
/// Largest fault file.
pub(crate) const FAULT_FILE_BYTES: usize = 1 << 20;
/// Rules of a fault file; every call is held against each.
pub(crate) const FAULT_RULES: usize = 1000;
/// Parts of a path pattern; the schema's longest path has 10.
pub(crate) const PATTERN_PARTS: usize = 32;
/// Longest wait that a rule can ask for, before a call or between two pieces of its answer.
pub(crate) const FAULT_LATENCY: Duration = Duration::from_secs(300);
/// Bytes of a text that a rule puts into a status line or a task.
pub(crate) const FAULT_TEXT: usize = 1024;
/// Bytes of an answer that a rule can name.
pub(crate) const FAULT_ANSWER_BYTES: u64 = 1 << 30;
/// A slow answer is sent whole from here on, so that no rule holds a connection for ever.
pub(crate) const SLOW_BODY: Duration = Duration::from_secs(900);
/// Largest seed file.
pub(crate) const SEED_FILE_BYTES: usize = 16 << 20;
/// Nodes of a seed file; a genuine cluster has a few dozen at most.
pub(crate) const SEED_NODES: usize = 128;
/// Tables of a seed file that become calls.
pub(crate) const SEED_STEPS: usize = 100_000;
/// Largest recording, written or read.
pub(crate) const RECORD_FILE_BYTES: usize = 256 << 20;
/// Longest line of a recording; an exchange that makes a longer one is not recorded.
pub(crate) const RECORD_LINE_BYTES: usize = 8 << 20;
/// Exchanges of a recording.
pub(crate) const RECORDED_EXCHANGES: usize = 200_000;
/// Exchanges that wait for the disk; then answers wait too.
pub(crate) const RECORD_QUEUE: usize = 64;
/// Largest answer of a server whose answers are recorded.
pub(crate) const RECORD_ANSWER_BYTES: usize = 32 << 20;
/// How long connecting to that server may take, and the handshake again.
pub(crate) const UPSTREAM_CONNECT: Duration = Duration::from_secs(10);
/// How long its answer may take; pveproxy gives its own daemons 30 seconds.
pub(crate) const UPSTREAM_ANSWER: Duration = Duration::from_secs(120);
