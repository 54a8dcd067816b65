//! The command line as it is typed. What it means is decided by each command.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::instrument::{Choice, Instruments, choice};

/// Fronts, fences, drives and hardens Proxmox VE.
#[derive(Debug, Parser)]
#[command(name = "proxward", version, propagate_version = false, disable_help_subcommand = true)]
#[command(after_help = "Example:\n  proxward demo\n\nExit codes: 0 done, 1 the answer is no, \
    2 usage or configuration, 3 authentication or permission, 4 unreachable or timed out, \
    5 refused by policy, 6 the API answered an error, 70 a bug")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The whole system on this machine: a mock cluster with the gate in front
    Demo(Demo),
    /// A stateful Proxmox VE for development and tests
    Mock(Box<Mock>),
    /// The hardened front server
    Gate(Box<Gate>),
    /// Logins in force at a gate that runs
    Session(Session),
    /// Tokens of a gate that runs, with an API token behind each
    Token(crate::token::Token),
    /// Codes that users show to a gate that runs
    StepUp(crate::token::StepUp),
    /// Programs confined by the operating system
    Cell(crate::cell::Cell),
    /// Calls the API of Proxmox VE
    Api(Api),
    /// The least-privilege root helper
    Broker(crate::cli_broker::Broker),
    /// Who may do what, from a user.cfg
    Access(crate::access::Arguments),
    /// Whether what runs on this host is confined and in place as it was meant: the gate, today
    #[command(
        after_help = "Example:\n  proxward doctor --format json\n\nThe same as proxward gate \
        check. Exit codes: 0 all is well, 1 something is not, 2 usage or configuration"
    )]
    Doctor(RunningGate),
    /// The audit log
    Log(Log),
    /// The configuration
    Config(Config),
    /// Completions for a shell, to stdout
    Completions(Completions),
    /// Manual pages, into a directory
    Man(Man),
}

/// How results are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  proxward demo --listen 127.0.0.1:8006")]
pub(crate) struct Demo {
    /// Address of the gate; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8006")]
    pub(crate) listen: SocketAddr,
    /// Directory for certificate, password, ticket key and audit log, kept afterwards
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// What the cluster holds
    #[arg(long, value_enum, default_value = "cluster")]
    pub(crate) seed: DemoSeed,
    /// `json` prints one line when ready
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) log: LogOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DemoSeed {
    /// One node with a few guests
    Small,
    /// Three nodes, twelve guests, shared storage
    Cluster,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  proxward mock --seed cluster --guests 500 --time-scale 0\n  proxward mock --state pve.state --control 127.0.0.1:8007 --clock 2026-07-01T12:00:00Z\n  \
    proxward mock --print-seed > seed.toml && proxward mock --seed seed.toml\n  \
    proxward mock --faults faults.toml --time-scale 0\n  \
    proxward mock --record node.jsonl --upstream https://192.0.2.10:8006 \
    --upstream-fingerprint AA:BB:…\n  \
    proxward mock --replay node.jsonl"
)]
pub(crate) struct Mock {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// What the cluster holds: one of these, or a file in TOML, JSON or YAML
    #[arg(long, value_name = "empty|small|cluster|FILE", default_value = "small", value_parser = choice)]
    pub(crate) seed: Choice,
    /// Adds generated guests until there are that many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=50_000))]
    pub(crate) guests: Option<u32>,
    /// API release, `9` or `8`, or the file of an API document (apidoc.js)
    #[arg(long, value_name = "9|8|FILE", default_value = "9")]
    pub(crate) schema: PathBuf,
    /// Lists the methods that are answered from the schema alone, and ends
    #[arg(long)]
    pub(crate) list_unmodelled: bool,
    /// File that everything outlives the process in; filled from the seed when it is new
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// Serves plain HTTP
    #[arg(long, conflicts_with_all = ["cert", "key"])]
    pub(crate) no_tls: bool,
    /// Certificate (PEM); without one, an authority is made for this run
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// Private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// File with the password of root@pam; without one, a password is made for this run
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// File the key that signs tickets is kept in, made when it does not exist
    #[arg(long, value_name = "FILE")]
    pub(crate) ticket_key: Option<PathBuf>,
    /// Stretches tasks and the delay of failed logins; 0 ends them at once
    #[arg(long, value_name = "X", default_value_t = 1.0, allow_negative_numbers = true)]
    pub(crate) time_scale: f64,
    /// Lets the clock stand at this time, in seconds since 1970 or as RFC 3339
    #[arg(long, value_name = "TIME", value_parser = crate::mock::time)]
    pub(crate) clock: Option<Duration>,
    /// Lets that clock run on from there
    #[arg(long, requires = "clock")]
    pub(crate) clock_runs: bool,
    /// Listens for the control API (snapshots, reset, clock) on loopback or on a unix socket
    #[arg(long, value_name = "ADDRESS:PORT|PATH")]
    pub(crate) control: Option<String>,
    /// Public key (PEM) whose tickets are accepted too
    #[arg(long, value_name = "FILE")]
    pub(crate) verify_key: Vec<PathBuf>,
    /// File with the CSRF secret as one line of base64
    #[arg(long, value_name = "FILE")]
    pub(crate) csrf_secret: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) instruments: Instruments,
    /// `json` prints one line when ready
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) log: LogOptions,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  proxward gate --listen 192.0.2.10:8006 \
    --upstream https://127.0.0.1:8006 --upstream-fingerprint AA:BB:… \
    --cert gate.pem --key gate.key --state /var/lib/proxward/gate")]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Gate {
    /// Orders to a gate that runs
    #[command(subcommand)]
    pub(crate) order: Option<GateOrder>,
    /// Address to listen on, as often as needed
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Vec<String>,
    /// Where pveproxy is; http:// is accepted for loopback addresses only
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: Option<String>,
    /// SHA-256 fingerprint of the certificate shown there
    #[arg(long, value_name = "SHA256")]
    pub(crate) upstream_fingerprint: Option<String>,
    /// Authority that signed the certificate shown there (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) upstream_ca: Option<String>,
    /// pvedaemon of this machine, for logins: its log then has the clients' true addresses
    #[arg(long, value_name = "127.0.0.1:85")]
    pub(crate) daemon: Option<String>,
    /// Certificate of the gate (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<String>,
    /// Private key of that certificate (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<String>,
    /// Directory for bans, audit log and control socket; without one nothing outlasts the process.
    /// Or the server that several gates share: rediss://HOST, redis://127.0.0.1 or
    /// redis+unix:///PATH
    #[arg(long, value_name = "DIR|ADDRESS")]
    pub(crate) state: Option<String>,
    /// Takes the place of the gate that runs with the same state directory; nobody is refused
    /// meanwhile, and that one ends with its last console
    #[arg(long)]
    pub(crate) takeover: bool,
    /// Starts that gate as a process of its own, and ends when it serves: for ExecReload=
    #[arg(long, requires = "takeover")]
    pub(crate) background: bool,
    /// Settings of pveproxy, a copy of /etc/default/pveproxy; they fill what is not set otherwise
    #[arg(long, value_name = "FILE")]
    pub(crate) pveproxy_defaults: Option<String>,
    /// Configuration instead of /etc/proxward/proxward.toml
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) log: LogOptions,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GateOrder {
    /// Addresses banned and accounts locked for failed logins
    Bans(Bans),
    /// Which rule of the policy decides about a call, without making it
    Explain(Box<crate::gate::explain::Explain>),
    /// Keeps a change of the policy that is on trial
    Confirm(crate::gate::confirm::Confirm),
    /// Whether the gate that runs is confined and in place as it was meant
    #[command(after_help = "Example:\n  proxward gate check\n\nExit codes: 0 all is well, \
        1 something is not, 2 usage or configuration")]
    Check(RunningGate),
    /// Puts the gate in front of this node's pveproxy, which keeps 127.0.0.1
    #[command(after_help = "Example:\n  proxward gate install --dry-run")]
    Install(Install),
    /// Takes the gate away and gives pveproxy its own defaults back, to the byte
    #[command(after_help = "Example:\n  proxward gate remove")]
    Remove(Install),
}

#[derive(Debug, Args)]
pub(crate) struct Install {
    /// A tree that stands for `/`; programs such as systemctl are taken from it too
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Says what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Gives the port back to pveproxy when the gate can not be started
    #[arg(long)]
    pub(crate) fallback: bool,
    /// How the result is shown
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  proxward gate bans remove 203.0.113.9 \
    --state /var/lib/proxward/gate")]
pub(crate) struct Bans {
    #[command(subcommand)]
    pub(crate) action: BansAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BansAction {
    /// Lists bans and locks in force
    List(RunningGate),
    /// Takes the ban and the locks of an address away, or the locks of a user
    Remove {
        /// Address (an IPv6 one stands for its /64), or user as name@realm
        of: String,
        #[command(flatten)]
        gate: RunningGate,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  proxward session list --state /var/lib/proxward/gate")]
pub(crate) struct Session {
    #[command(subcommand)]
    pub(crate) action: SessionAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionAction {
    /// Lists sessions in force, oldest first
    List {
        /// Of this user alone, name@realm
        #[arg(long, value_name = "USER")]
        user: Option<String>,
        #[command(flatten)]
        gate: RunningGate,
    },
    /// Ends sessions at once; each client has to log in again
    #[command(group = clap::ArgGroup::new("which").required(true))]
    Revoke {
        /// Beginning of an id that `list` shows, at least 8 digits
        #[arg(group = "which")]
        id: Option<String>,
        /// Every session of this user, name@realm
        #[arg(long, value_name = "USER", group = "which")]
        user: Option<String>,
        /// Every session there is
        #[arg(long, group = "which")]
        all: bool,
        #[command(flatten)]
        gate: RunningGate,
    },
}

/// Which gate is meant.
#[derive(Debug, Args)]
pub(crate) struct RunningGate {
    /// State directory of the gate; without it, the configuration's
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Configuration instead of /etc/proxward/proxward.toml
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// How the answer is shown
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct LogOptions {
    /// Level or TARGET=LEVEL,… of the log on stderr
    #[arg(long = "log", value_name = "FILTER", default_value = "warn")]
    pub(crate) filter: String,
    /// Form of the log lines
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) log_format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  proxward api get /nodes --url https://127.0.0.1:8006 \
    --ca ca.pem --user root@pam --password-file password\n\n\
    PROXWARD_PASSWORD and PROXWARD_TOKEN are read, and removed from the environment, when no \
    file is given.")]
pub(crate) struct Api {
    #[command(subcommand)]
    pub(crate) call: Call,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Call {
    /// Reads a path
    Get(Target),
    /// Lists the children of a path
    Ls(Target),
    /// Creates at a path, or acts
    Create(Target),
    /// Changes a path
    Set(Target),
    /// Removes a path
    Delete(Target),
}

#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Path below /api2/json, such as /nodes
    pub(crate) path: String,
    /// Parameter
    #[arg(short = 'd', long = "data", value_name = "KEY=VALUE")]
    pub(crate) data: Vec<String>,
    /// Server
    #[arg(long, value_name = "URL", default_value = "https://127.0.0.1:8006")]
    pub(crate) url: String,
    /// Authority that signed the server's certificate (PEM)
    #[arg(long, value_name = "FILE", conflicts_with = "fingerprint")]
    pub(crate) ca: Option<PathBuf>,
    /// SHA-256 fingerprint of the server's certificate
    #[arg(long, value_name = "SHA256")]
    pub(crate) fingerprint: Option<String>,
    /// User for a login by password, name@realm
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// File with the password, `-` for stdin
    #[arg(long, value_name = "FILE", requires = "user", conflicts_with = "token_file")]
    pub(crate) password_file: Option<PathBuf>,
    /// File with an API token, user@realm!name=SECRET, `-` for stdin
    #[arg(long, value_name = "FILE", conflicts_with = "user")]
    pub(crate) token_file: Option<PathBuf>,
    /// How the answer is shown
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  proxward log verify audit.jsonl")]
pub(crate) struct Log {
    #[command(subcommand)]
    pub(crate) action: LogAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogAction {
    /// Checks that no record was changed, moved or removed
    Verify {
        /// Audit log
        file: PathBuf,
        /// Last record as an earlier run printed it; finds a cut tail
        #[arg(long, value_name = "SEQ:HASH")]
        head: Option<String>,
        /// Record before the first of this file, for a log that was rotated
        #[arg(long, value_name = "SEQ:HASH")]
        after: Option<String>,
        /// Key of the chain, for a log that is kept with one
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
        /// File with the last record, as the broker keeps it; finds a cut tail
        #[arg(long, value_name = "FILE", conflicts_with = "head")]
        head_file: Option<PathBuf>,
        /// How the answer is shown
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  proxward config show --config proxward.toml")]
pub(crate) struct Config {
    #[command(subcommand)]
    pub(crate) action: ConfigAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigAction {
    /// Checks all values and the files they name
    Check(ConfigFile),
    /// Prints each value with where it came from
    Show(ConfigFile),
}

#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// Configuration instead of /etc/proxward/proxward.toml
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// How the answer is shown
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  proxward completions bash > /etc/bash_completion.d/proxward")]
pub(crate) struct Completions {
    /// Shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  proxward man /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// Directory, which must exist
    pub(crate) directory: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                help.contains("Example") || help.contains("Examples:"),
                "{}",
                command.get_name()
            );
        }
    }

    #[test]
    fn no_option_takes_a_secret() {
        fn options(command: &clap::Command) -> Vec<String> {
            let own = command.get_arguments().filter_map(clap::Arg::get_long).map(str::to_owned);
            own.chain(command.get_subcommands().flat_map(options)).collect()
        }
        for name in options(&Cli::command()) {
            let secret = ["password", "token", "secret"].iter().any(|word| name.contains(word));
            assert!(!secret || name.ends_with("-file") || name == "csrf-secret", "--{name}");
        }
    }
}
