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
/// Tickets whose verified signature is remembered; then all are forgotten.
pub(crate) const VERIFIED_TICKETS: usize = 1024;
/// Entries of the cluster log, about what the genuine ring buffer holds.
pub(crate) const CLUSTER_LOG: usize = 500;
