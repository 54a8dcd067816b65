//! The command line of `proxward cell`.

use std::ffi::OsString;
use std::path::PathBuf;

use cell::{Bytes, Destination, Layer, Listen, Profile, Span};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::cli::Format;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  proxward cell run --dir ./app --connect api.example.org:443 \
    -- node server.js")]
pub(crate) struct Cell {
    #[command(subcommand)]
    pub(crate) action: Action,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Runs a command in a cell
    Run(Box<Run>),
    /// Keeps cells that are built already, for `cell run`
    Serve(Serve),
    /// Cells that run and slots that wait
    Ps(Ps),
    /// One slot of `cell serve`, which starts it
    #[command(hide = true)]
    Slot,
    /// What this machine offers for cells, by layer
    Doctor(Doctor),
    /// Policies
    Policy(PolicyOptions),
}

/// `cell run` as a command line of its own. Starting a cell takes a few milliseconds, and the
/// parser of all commands would be a good part of them.
#[derive(Debug, Parser)]
#[command(name = "proxward cell run", disable_help_flag = true)]
pub(crate) struct RunAlone {
    #[command(flatten)]
    pub(crate) run: Run,
}

impl RunAlone {
    /// When that is what was typed, and without fault: help and complaints are the whole parser's.
    pub(crate) fn from_words(mut words: impl Iterator<Item = OsString>) -> Option<Self> {
        words.next()?;
        let is = |word: Option<OsString>, name: &str| word.is_some_and(|word| word == name);
        if !is(words.next(), "cell") || !is(words.next(), "run") {
            return None;
        }
        let own = std::iter::once(OsString::from("proxward cell run"));
        Self::try_parse_from(own.chain(words)).ok()
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  proxward cell serve --config /etc/proxward/cells --pool 4\n\n\
    Each slot is a cell with a Node.js that waits for its script; it runs one command and is gone\n\
    then. Policies that are asked for and not in FILE are learned. SIGTERM lets what runs end.")]
pub(crate) struct Serve {
    /// Policies to keep slots for: a directory of policies, or a file with [cells.NAME] tables
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Slots that wait, for each policy
    #[arg(long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) pool: u16,
    /// Where it listens, for this user alone
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// `json` prints one line when it listens
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  proxward cell ps --format json\n\n\
    openmetrics is for a collector of text files:\n  \
    proxward cell ps --format openmetrics > /var/lib/prometheus/node-exporter/cells.prom")]
pub(crate) struct Ps {
    /// The socket of `cell serve`
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// How the answer is shown
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: PsFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PsFormat {
    /// For people
    Text,
    /// For programs
    Json,
    /// For a collector of metrics
    Openmetrics,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  proxward cell doctor\n\n\
    Builds a cell in each mode to see whether it can be done. Exit code 1 when one can not.")]
pub(crate) struct Doctor {
    /// How the answer is shown
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  proxward cell policy diff tenant app.toml")]
pub(crate) struct PolicyOptions {
    #[command(subcommand)]
    pub(crate) action: PolicyAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyAction {
    /// Checks a file
    Check {
        /// Policy (TOML)
        file: PathBuf,
    },
    /// Says what a policy allows
    Explain {
        /// Policy (TOML), or the name of a profile
        file: PathBuf,
        /// How the answer is shown
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Prints a policy in full, as TOML
    Show {
        /// Policy (TOML), or the name of a profile
        file: PathBuf,
    },
    /// Compares two policies; exit code 1 when they differ
    Diff {
        /// Policy (TOML), or the name of a profile
        old: PathBuf,
        /// Policy (TOML), or the name of a profile
        new: PathBuf,
        /// How the answer is shown
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  proxward cell run --dir ./app --read-only --memory 256M \
    --publish 8080 -- node server.js\n\n\
    DIR is all the command sees: /cell, its working directory, never executable natively.\n\
    /cell/scratch is a temporary file system (TMPDIR). COMMAND is looked up outside, in PATH or as\n\
    a path; that file, its loader and its libraries alone can be executed.\n\n\
    Exit code: the command's own; 124 its time was up, 125 the cell could not be built (the layer\n\
    is named on stderr), 137 it wanted more memory.")]
pub(crate) struct Run {
    /// The one directory the command sees
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// The command can not write into DIR
    #[arg(long)]
    pub(crate) read_only: bool,
    /// A file or directory outside that the command may read, at the same path
    #[arg(long, value_name = "PATH")]
    pub(crate) read: Vec<PathBuf>,
    /// Size of /cell/scratch
    #[arg(long, value_name = "SIZE")]
    pub(crate) scratch: Option<Bytes>,
    /// Where it may connect to: HOST:PORT, 192.0.2.0/24:443, HOST:PORT/udp
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) connect: Vec<Destination>,
    /// Port it may listen on that is reachable from outside: PORT (on 127.0.0.1), ADDRESS:PORT
    #[arg(long, value_name = "PORT")]
    pub(crate) publish: Vec<Listen>,
    /// Memory, scratch space included
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<Bytes>,
    /// Processors' worth of time, such as 0.5
    #[arg(long, value_name = "N")]
    pub(crate) cpus: Option<f64>,
    /// Processes and threads
    #[arg(long, value_name = "N")]
    pub(crate) pids: Option<u32>,
    /// Wall time, such as 30s; then it is asked to end, and ended after a grace period
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<Span>,
    /// Environment variable; beside it there are five fixed ones
    #[arg(long, value_name = "K=V")]
    pub(crate) env: Vec<String>,
    /// Layer that may be missing on this machine
    #[arg(long, value_name = "LAYER")]
    pub(crate) allow_degraded: Vec<Layer>,
    /// With which rights the cell is built
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) mode: Mode,
    /// File for denials, one JSON object a line; `-` is stderr. Refused calls cost more with it
    #[arg(long, value_name = "FILE")]
    pub(crate) audit: Option<PathBuf>,
    /// Records files outside too that the command looks for. Each call by path then takes ten
    /// microseconds longer
    #[arg(long, requires = "audit")]
    pub(crate) audit_paths: bool,
    /// Writes the policy that would have sufficed. For this one run the command may connect
    /// anywhere and read what its user may; only for programs that you trust so far
    #[arg(long, value_name = "FILE")]
    pub(crate) observe: Option<PathBuf>,
    /// The socket of `cell serve`, whose slots are used when one fits
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Policy (TOML); flags given beside it win
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Named policy to start from
    #[arg(long, value_name = "NAME", value_parser = profile, conflicts_with = "policy")]
    pub(crate) profile: Option<Profile>,
    /// Accepted for the safe mode of 2012; what it promised holds in every cell
    #[arg(long)]
    pub(crate) safe_mode: bool,
    /// Everything may be reached but these addresses; one of this machine means all of them
    #[arg(long, value_name = "A,B", value_delimiter = ',', conflicts_with = "connect")]
    pub(crate) restricted_outgoing_addresses: Vec<String>,
    /// Ports of the restricted addresses that may be reached all the same
    #[arg(long, value_name = "P,Q", value_delimiter = ',')]
    pub(crate) allowed_outgoing_ports: Vec<u16>,
    /// Ends the launcher when this layer stands, to see what is left behind
    #[arg(long, value_name = "LAYER", hide = true, value_parser = layer)]
    pub(crate) stop_after: Option<Layer>,
    /// Program and arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Privileged for root
    Auto,
    /// Own user id, control groups; root only
    Privileged,
    /// User namespace; root becomes an unused user first
    Unprivileged,
}

fn profile(text: &str) -> Result<Profile, String> {
    let found = Profile::ALL.into_iter().find(|profile| profile.name() == text);
    let names = Profile::ALL.map(Profile::name).join(", ");
    found.ok_or_else(|| format!("expected one of {names}"))
}

fn layer(text: &str) -> Result<Layer, String> {
    let found = Layer::ALL.iter().copied().find(|layer| layer.name() == text);
    found.ok_or_else(|| "expected a layer; 'proxward cell doctor' lists them".to_owned())
}
