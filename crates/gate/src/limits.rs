//! Every bound of the gate, in one place: what may wait, how long, how large, how many.
//!
//! The constants are fixed because a client or Proxmox VE depends on them; [`Limits`] holds
//! the ones an operator may move (section `[gate.limits]`).

use std::time::Duration;

/// Header lines of one request. pveproxy reads at most 63 and then falls silent for five
/// seconds (reference: gateway.md headline 7); the gate says 431 instead.
pub const HEAD_LINES: usize = 63;

/// Bytes of one request head, request line and blank line included. pveproxy's own bound.
pub const HEAD_BYTES: usize = 8 * 1024;

/// Bytes of the head sent upstream: pveproxy wants less than 8192.
pub const UPSTREAM_HEAD_BYTES: usize = HEAD_BYTES - 1;

/// Bytes of an ordinary request body: pveproxy's `limit_max_post`.
pub const BODY_BYTES: u64 = 512 * 1024;

/// Bytes of an answer to a login: the genuine ones have some 1.5 KB, with the rights of the user.
pub const LOGIN_ANSWER_BYTES: usize = 256 * 1024;

/// Bytes of an answer that hands out a console: a ticket, a port and a certificate.
pub const CONSOLE_ANSWER_BYTES: usize = 64 * 1024;

/// How long an answer about a caller's permissions is believed.
pub const PERMISSIONS_FOR: Duration = Duration::from_secs(10);

/// Such answers kept at once; further ones are asked for each time.
pub const PERMISSIONS_KEPT: usize = 4096;

/// Bytes of such an answer: the privileges at one path.
pub const PERMISSIONS_BYTES: usize = 64 * 1024;

/// Bytes of the answer about all privileges of a caller: some hundred for each path in the access
/// lists.
pub const PERMISSIONS_ALL_BYTES: usize = 1024 * 1024;

/// Bytes of a path in the access list.
pub const PERMISSION_PATH: usize = 256;

/// Bytes of a page that holds a CSRF token. The index has some 4 KB, a page of the API as much
/// as it lists.
pub const PAGE_BYTES: usize = 8 * 1024 * 1024;

/// Tickets of clients whose signature is remembered to be good; one more forgets all. About 200
/// bytes each.
pub const TICKETS_VERIFIED: usize = 4096;

/// How long a ticket that nobody seems to have signed waits for the next look at the files of the
/// key: two of them, of which one begins in this time.
pub const KEY_LOOK_WAIT: Duration = Duration::from_secs(2);

/// Header lines of one answer from upstream.
pub const UPSTREAM_HEADER_LINES: usize = 100;

/// Bytes of the head of one answer from upstream.
pub const UPSTREAM_HEAD: usize = 64 * 1024;

/// Headers a spare table has room for: those of an ordinary browser, and those the gate adds.
pub const SPARE_HEADERS: usize = 24;

/// Bytes a spare buffer has room for: the head of an ordinary message, a ticket in it.
pub const SPARE_BYTES: usize = 1024;

/// Spare buffers that a thread keeps, of at most four times that each.
pub const SPARE_BUFFERS: usize = 64;

/// Spare tables of headers that a thread keeps, of about 2 KiB each.
pub const SPARE_TABLES: usize = 32;

/// Bytes of an answer's body read in one go; so much of it waits for a slow client.
pub const UPSTREAM_CHUNK: usize = 64 * 1024;

/// Bytes of one PROXY protocol header: v1 is at most 107 (specification §2.1), v2 is 16
/// plus addresses and TLVs; proxies in use send well under this.
pub const PROXY_HEADER_BYTES: usize = 536;

/// How often a console looks whether it may go on, and a former process asks about those it keeps.
pub const TUNNEL_LOOK: Duration = Duration::from_secs(1);

/// Consoles that are asked about in one order on the control socket, some 170 bytes each.
pub const TUNNELS_ASKED: usize = 256;

/// How long consoles that were kept stay open while no gate says whether they may.
pub const TUNNELS_UNHEARD: Duration = Duration::from_secs(60);

/// Bytes of each of the two buffers of a tunnel (a console): this much waits per direction.
pub const TUNNEL_BUFFER: usize = 32 * 1024;

/// Bytes thrown away after a refusal, so that the client can read the answer before the
/// reset that unread bytes would cause.
pub const LINGER_BYTES: usize = 1024 * 1024;

/// How long the throwing away may take.
pub const LINGER: Duration = Duration::from_secs(2);

/// Streams one HTTP/2 connection may have open.
pub const H2_STREAMS: u32 = 128;

/// HTTP/2 flow-control window of a stream: an ordinary body fits without a round trip more.
pub const H2_STREAM_WINDOW: u32 = 256 * 1024;

/// HTTP/2 flow-control window of a connection.
pub const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Bytes HTTP/2 may buffer for sending, for each stream.
pub const H2_SEND_BUFFER: usize = 64 * 1024;

/// Streams the client may have reset before the gate saw them (CVE-2023-44487).
pub const H2_PENDING_RESETS: usize = 20;

/// Streams the gate itself resets for errors before it ends the connection (CVE-2025-8671).
pub const H2_LOCAL_RESETS: usize = 128;

/// Silence on an HTTP/2 connection after which it is asked for a sign of life.
pub const H2_PING_EVERY: Duration = Duration::from_secs(30);

/// How long that sign of life may take.
pub const H2_PING_ANSWER: Duration = Duration::from_secs(10);

/// Requests sent on one upstream connection. pveproxy says `close` with the hundredth answer, so
/// only another server gets here.
pub const UPSTREAM_REQUESTS: u32 = 10_000;

/// How long an upstream connection may lie idle: pveproxy closes at 5 s.
pub const UPSTREAM_IDLE: Duration = Duration::from_secs(4);

/// Connections kept idle by each worker. More calls than this at once reconnect for each;
/// pveproxy itself stops keeping connections at 480.
pub const UPSTREAM_IDLE_CONNECTIONS: usize = 128;

/// Connections that wait in the kernel to be accepted; it allows no more than
/// `net.core.somaxconn`.
pub const LISTEN_BACKLOG: i32 = 4096;

/// Connections beyond all places that a worker holds: their PROXY header is being read, or they
/// have lost their place and end. Beyond these, new ones are not accepted yet.
pub const CONNECTIONS_BESIDE: usize = 256;

/// How long a connection keeps the room of its last request for the next one, and looks after
/// that alone: whether the gate stops is seen again when the pause is over. With a second here, a
/// thousand clients that come at once and fall silent left 3 MiB of holes in the heap.
pub const REQUEST_PAUSE: Duration = Duration::from_millis(50);

/// Pause of a worker after `accept` failed, usually for want of file descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Addresses of X-Forwarded-For that are looked at, from its end.
pub const FORWARDED_HOPS: usize = 32;

/// Characters of an account that are counted and logged; PVE's own limit is 64.
pub const USER_TEXT: usize = 128;

/// Sources whose failed logins are counted, those banned among them. About 100 bytes each.
pub const LOGIN_SOURCES: usize = 65_536;

/// Pairs of source and account that are counted, those locked among them.
pub const LOGIN_PAIRS: usize = 65_536;

/// Accounts, and realms, that are counted over all sources.
pub const LOGIN_ACCOUNTS: usize = 16_384;

/// Failures of a source that take the ordinary delay, before it doubles with each.
pub const UNDELAYED_FAILURES: u32 = 3;

/// Longest delay of a failure that can be set, in seconds.
pub const LOGIN_DELAY: u64 = 60;

/// Longest window, lock or ban that can be set, in seconds: a year.
pub const LOGIN_TIME: u64 = 366 * 24 * 3600;

/// Bans that are taken over from the state at the start.
pub const LOGIN_BANS_KEPT: usize = LOGIN_SOURCES / 4 * 3;

/// Plugins.
pub const PLUGINS: usize = 32;

/// How far ahead the end of a development upstream may be.
pub const DEVELOPMENT: Duration = Duration::from_secs(8 * 3600);

/// Calls of the broker's verbs that are passed on at a time.
pub const API_CALLS: usize = 16;

/// How long one of them may take: longer than the broker's own limit on work.
pub const API_WAIT: Duration = Duration::from_secs(35);

/// Bans told to the broker in one request.
pub const BROKER_BANS: usize = 1024;

/// How long the gate waits for the broker's answer about bans.
pub const BROKER_WAIT: Duration = Duration::from_secs(10);

/// How often the packet filter is compared with the bans in force.
pub const BROKER_RESYNC: Duration = Duration::from_secs(30);

/// Pause after the first failure to reach the broker; it doubles up to the second time.
pub const BROKER_PAUSES: (Duration, Duration) =
    (Duration::from_millis(500), Duration::from_secs(60));

/// Seconds for which sessions go on while a shared store is not heard: by default, and the least
/// and most that may be set. More than a server needs to start anew.
pub const STORE_GRACE: (u64, u64, u64) = (15, 2, 3600);

/// Bytes of a prefix of the keys in a shared store.
pub const STORE_PREFIX: usize = 64;

/// Bytes of the file with the password of a shared store.
pub const STORE_PASSWORD: usize = 1024;

/// Failed logins that a gate tells the others of within the window in which they count. What
/// comes beyond that is counted by itself alone.
pub const ATTEMPTS_TOLD: u64 = 100_000;

/// After so many new bans the expired ones are removed from the state.
pub const BANS_BETWEEN_PRUNES: u64 = 256;

/// Records of failures, locks and bans that wait for the disk; more are dropped and counted.
pub const JOURNAL_RECORDS: usize = 4096;

/// Bytes of one order on the control socket.
pub const CONTROL_LINE: u64 = 64 * 1024;

/// Bytes of its answer: the longest list of bans and locks fits.
pub const CONTROL_ANSWER: u64 = 64 * 1024 * 1024;

/// Orders at once; others wait for their turn.
pub const CONTROL_CONNECTIONS: usize = 16;

/// How long an order may take, both ways.
pub const CONTROL_PATIENCE: Duration = Duration::from_secs(10);

/// How often the files of certificates are read.
pub const CERTIFICATES_EVERY: Duration = Duration::from_secs(5);

/// How long before its end a certificate is warned of, once a day.
pub const CERTIFICATE_WARNING: Duration = Duration::from_secs(14 * 24 * 3600);

/// How long the end waits for the thread that watches files to let go of what is to be written.
pub const WATCH_MOMENT: Duration = Duration::from_millis(1);

/// So many such moments at most: it may hang in the file system.
pub const WATCH_MOMENTS: u32 = 100;

/// Bytes of revocation lists: what `tls` takes.
pub const REVOCATION_FILE: usize = tls::REVOCATION_MAX;
/// Bytes from which on an answer is compressed: below, a packet is a packet. As pveproxy.
pub const COMPRESS_FROM: u64 = 1024;

/// Bytes up to which an answer is compressed before its head is written: clients get a length, as
/// from pveproxy, and an answer that breaks off becomes an error that says so.
pub const COMPRESS_WHOLE: u64 = 512 * 1024;

/// Codings that are read of an Accept-Encoding; browsers name four.
pub const ACCEPTED_CODINGS: usize = 16;

/// Bytes of a compressed body that wait to be more before they are written.
pub const COMPRESSED_PIECE: usize = 16 * 1024;

/// Answers a worker compresses at once; more go out plain. Each holds up to 1.5 MB while its
/// client takes it.
pub const COMPRESSIONS: usize = 32;

/// Compressors of a kind that a worker keeps for the next answer.
pub const COMPRESSORS_KEPT: usize = 2;

/// How long a file of the interface is believed not to have changed.
pub const ASSETS_FOR: Duration = Duration::from_secs(2);

/// Bytes of all files of the interface that are kept compressed; stock PVE's have some 3 MB.
pub const ASSETS_BYTES: usize = 8 * 1024 * 1024;

/// Bytes of one of them, compressed.
pub const ASSET_BYTES: usize = 2 * 1024 * 1024;

/// Files kept, whatever their size.
pub const ASSETS_KEPT: usize = 512;

/// Bytes of the path of a file that is kept.
pub const ASSET_PATH: usize = 256;

/// Readers of metrics at once; others wait.
pub const METRICS_CONNECTIONS: usize = 8;

/// How long a reader of metrics may take, both ways.
pub const METRICS_PATIENCE: Duration = Duration::from_secs(5);

/// Destinations at most: the first, and those that stand in for it.
pub const UPSTREAMS: usize = 8;

/// Failures in a row after which a destination is left alone, where there is another.
pub const BREAK_AFTER: u32 = 3;

/// For how long, the first time; each failed try doubles it.
pub const BREAK_FIRST: Duration = Duration::from_secs(1);

/// For how long at most.
pub const BREAK_LONGEST: Duration = Duration::from_secs(30);

/// How long one try of a destination that was left alone keeps others from trying: a connection
/// that nobody answers takes five.
pub const BREAK_PROBE: Duration = Duration::from_secs(6);
/// Parameters of one call that a rule of the policy looks at. A guest has some 250 settings.
pub const CALL_PARAMETERS: usize = 1024;

/// Segments of a path below the format. The longest of PVE's have nine.
pub const POLICY_SEGMENTS: usize = 24;

/// Rules in one list of the policy.
pub const POLICY_RULES: usize = 256;

/// Users, groups, roles or tokens in one list of a rule.
pub const POLICY_LIST: usize = 64;

/// Characters of a rule's name.
pub const POLICY_NAME: usize = 64;

/// Longest time for which a shown code is good: a day.
pub const STEP_UP_MINUTES: u64 = 24 * 60;

/// Users with a secret for codes at the gate.
pub const STEP_UP_USERS: usize = 1000;

/// Sessions that have shown a code within the longest time.
pub const STEP_UP_SESSIONS: usize = 10_000;

/// Tokens of the gate itself.
pub const PROXY_TOKENS: usize = 1000;

/// Characters of the name of one.
pub const PROXY_TOKEN_NAME: usize = 64;

/// Pairs of token and source whose first use is remembered; one more forgets all, and they are
/// recorded anew.
pub const PROXY_TOKEN_SOURCES: usize = 4096;

/// Longest time for which the value before a rotation stays good, in seconds: 30 days.
pub const PROXY_TOKEN_OVERLAP: u64 = 30 * 24 * 3600;

/// Bytes of the policy as it is stored until it is confirmed.
pub const POLICY_BYTES: usize = 60 * 1024;

/// How long a change of the policy waits to be confirmed before it is taken back.
pub const POLICY_CONFIRM: Duration = Duration::from_secs(60);

/// Bytes of `user.cfg`; PVE's cluster file system holds none that is larger.
pub const USER_CFG_BYTES: u64 = 1024 * 1024;
/// Files in the state directory that are given to the gate's user; it makes about ten.
pub const STATE_FILES: usize = 1024;

/// Addresses of this host that are listened on.
pub const FOLLOWED_ADDRESSES: usize = 256;

/// How long a change of them is waited for, before those that could not be bound are tried again.
pub const ADDRESS_WAIT: Duration = Duration::from_secs(1);

/// Bytes of one message of the kernel about addresses; it sends at most 32 KB.
pub const NETLINK_MESSAGE: usize = 64 * 1024;

/// How old an answer is at most when it is shared.
pub const ANSWER_FOR: Duration = Duration::from_secs(1);

/// Bytes of an answer that is shared: a list of some 2,000 guests.
pub const ANSWER_BYTES: usize = 1024 * 1024;

/// Bytes of all of them.
pub const ANSWERS_BYTES: usize = 8 * 1024 * 1024;

/// Bytes of path and query of what is shared.
pub const ANSWER_TARGET: usize = 256;

/// Paths, queries included, of which is known who asks for them.
pub const ANSWERS_KEPT: usize = 256;

/// How long it is remembered that somebody asks for one.
pub const ANSWERS_SEEN: Duration = Duration::from_secs(10);

/// Requests that wait for one answer.
pub const ANSWERS_FOLLOWERS: usize = 1024;

/// How long they wait until each asks for itself.
pub const FOLLOW_FOR: Duration = Duration::from_secs(10);

/// How long requests under way have to end before the state is handed to a successor.
pub const HANDOVER_QUIET: Duration = Duration::from_secs(5);

/// Between two looks whether they have.
pub const HANDOVER_PAUSE: Duration = Duration::from_millis(5);

/// How often a successor is wished for while files are out of reach.
pub const SUCCESSOR_WISH: Duration = Duration::from_secs(60);

/// How long gate and successor wait for each other's word.
pub const HANDOVER_WAIT: Duration = Duration::from_secs(30);

/// How long a successor that has the state may take to start, while nobody is accepted. Then the
/// gate goes on.
pub const HANDOVER_DONE: Duration = Duration::from_secs(10);

/// How long a gate whose successor has gone waits for its state before it serves without.
pub const HANDOVER_BACK: Duration = Duration::from_secs(2);

/// How long a connection that was just accepted has for its first request when the gate drains.
pub const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// How often a gate that was taken over looks whether its last console has ended.
pub const KEPT_PAUSE: Duration = Duration::from_millis(200);

/// Worker threads at most.
pub const WORKERS: usize = 256;

/// The bounds an operator may set, with their defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at once.
    pub connections: usize,
    /// Client connections at once of one address (IPv6: of one /64).
    pub connections_per_address: usize,
    /// Of these, connections without a whole request; a further one ends the oldest of them.
    pub silent_per_address: usize,
    /// From accept to the end of the TLS handshake, PROXY header included.
    pub handshake: Duration,
    /// From the first byte of a request head to its last, however slowly they come.
    pub head: Duration,
    /// Silence between two requests of a connection.
    pub idle: Duration,
    /// Silence inside a request body.
    pub body_idle: Duration,
    /// From the head of an ordinary request to the last byte of its body.
    pub body: Duration,
    /// A client that takes none of its answer.
    pub write: Duration,
    /// TCP and TLS connect to upstream.
    pub upstream_connect: Duration,
    /// From the request's last byte to the head of upstream's answer.
    pub upstream_response: Duration,
    /// Silence inside upstream's answer.
    pub upstream_body_idle: Duration,
    /// Silence in both directions of a tunnel.
    pub tunnel_idle: Duration,
    /// From the request to stop until whatever still runs is cut.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8192,
            connections_per_address: 256,
            silent_per_address: 64,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            body_idle: Duration::from_secs(15),
            body: Duration::from_secs(60),
            write: Duration::from_secs(60),
            upstream_connect: Duration::from_secs(5),
            // pveproxy gives its own calls to pvedaemon and to other nodes 30 s of silence;
            // calls it runs itself may take longer (`report`: 23 s on an idle host).
            upstream_response: Duration::from_secs(120),
            upstream_body_idle: Duration::from_secs(60),
            // noVNC and xterm.js send keep-alives far more often.
            tunnel_idle: Duration::from_secs(3600),
            drain: Duration::from_secs(10),
        }
    }
}
