//! Every bound of this crate that is not part of a policy.

use std::time::Duration;

use rustix::event::Timespec;

/// Longest record between supervisor and launcher.
pub(crate) const MESSAGE_BYTES: usize = 128 << 10;
/// Most descriptors beside a record; the kernel takes 253.
pub(crate) const MESSAGE_DESCRIPTORS: usize = 250;
/// Most files that a command may need: itself, its loader, its libraries.
pub(crate) const COMMAND_FILES: usize = 96;
/// Deepest chain of `#!` lines.
pub(crate) const INTERPRETERS: usize = 4;
/// Longest `#!` line that is looked at (the kernel's own bound).
pub(crate) const INTERPRETER_LINE: usize = 256;
/// Largest dynamic section or program header table of a file that is looked at.
pub(crate) const ELF_TABLE_BYTES: u64 = 4 << 20;
/// Largest file that is copied into a cell because the command could change the original.
pub(crate) const COPY_BYTES: u64 = 256 << 20;
/// Largest add-on that is blessed.
pub(crate) const ADDON_BYTES: u64 = 64 << 20;
/// Room for directories and small files of a cell's root.
pub(crate) const ROOT_BYTES: u64 = 256 << 10;
/// Most entries of a cell's root.
pub(crate) const ROOT_INODES: u64 = 1024;
/// Most environment variables and arguments together, bytes.
pub(crate) const ARGUMENT_BYTES: usize = 64 << 10;
/// First user id of cells. Above everything that distributions, containers (/etc/subuid) and
/// systemd hand out.
pub(crate) const FIRST_UID: u32 = 1_900_000_000;
/// Most cells at a time on a machine.
pub(crate) const CELLS: u32 = 4096;
/// Bytes of the command's output that may wait for a slow reader; then the command waits.
pub(crate) const OUTPUT_BUFFER: usize = 64 << 10;
/// How long output may still be written after the command has ended while nobody reads.
pub(crate) const OUTPUT_DRAIN: Duration = Duration::from_secs(5);
/// How long a launcher may take until the command runs.
pub(crate) const BUILD_TIME: Duration = Duration::from_secs(20);
/// Most connections of a cell that wait for an answer from outside.
pub(crate) const PENDING_CONNECTIONS: usize = 256;
/// How long a blocking connect may take.
pub(crate) const CONNECT_TIME: Duration = Duration::from_secs(60);
/// Largest datagram that is sent for a cell.
pub(crate) const DATAGRAM_BYTES: usize = 65_536;
/// Most parts of a message that are gathered for a cell (UIO_MAXIOV is 1024).
pub(crate) const MESSAGE_PARTS: usize = 64;
/// Longest queue of a published listener.
pub(crate) const BACKLOG: i32 = 511;
/// Most denials of one cell that are recorded; then one record says that more were left out.
pub(crate) const DENIALS: u64 = 10_000;
/// Most files outside that are remembered as recorded, so that each is recorded once.
pub(crate) const RECORDED_PATHS: usize = 1024;
/// Longest path of a record, bytes; PATH_MAX is more than anybody reads.
pub(crate) const RECORDED_PATH: usize = 1024;
/// Denials that are answered at once; each further one takes [`DENIAL_PAUSE`].
pub(crate) const DENIALS_AT_SPEED: u64 = 20_000;
/// How long a further denial takes.
pub(crate) const DENIAL_PAUSE: Duration = Duration::from_millis(1);
/// How long a process of a cell has to have waited until it gives back what it does not need for
/// waiting.
pub(crate) const IDLE: Duration = Duration::from_millis(100);
/// Most bytes of its own table of mappings that such a process looks at: some 150 mappings.
pub(crate) const MAPS_BYTES: usize = 16 << 10;
/// How often memory and processor time are looked at where no control group does it.
pub(crate) const WATCH_INTERVAL: Duration = Duration::from_millis(20);
/// Most addresses a name of a policy stands for.
pub(crate) const ADDRESSES_OF_NAME: usize = 32;
/// Most things of a kind that are written down of a run that is observed.
pub(crate) const OBSERVED: usize = 4096;
/// How long a server of slots may take to answer a caller; then the caller builds its own cell.
pub(crate) const POOL_ANSWER: Duration = Duration::from_millis(500);
/// How long a caller may take to say what it wants, and how often slots are looked at.
pub(crate) const POOL_ASK: Duration = Duration::from_secs(1);
/// Most callers of a server of slots that have not said what they want.
pub(crate) const POOL_CALLERS: usize = 64;
/// Most slots that are built at a time.
pub(crate) const POOL_BUILDING: usize = 2;
/// How long nothing is built after a slot was given away.
pub(crate) const POOL_PAUSE: Duration = Duration::from_millis(10);
/// Most policies that are learned from what is asked for.
pub(crate) const POOL_LEARNED: usize = 4;
/// How long a policy whose slot could not be built is left alone.
pub(crate) const POOL_RETRY: Duration = Duration::from_secs(30);
/// How long a server that was asked to end waits for commands that run.
pub(crate) const POOL_DRAIN: Duration = Duration::from_secs(30);
/// How long a slot may wait: its program's files are those of its start.
pub(crate) const SLOT_AGE: Duration = Duration::from_secs(600);
/// The same when its policy has names, which were resolved then.
pub(crate) const SLOT_AGE_WITH_NAMES: Duration = Duration::from_secs(60);
/// Largest policy file.
pub const POLICY_BYTES: u64 = 256 << 10;

/// A duration as poll(2) takes it.
pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}
