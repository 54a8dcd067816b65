//! The command line of `proxward broker`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use ::broker::PeerPattern;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  proxward broker call sensors.read format=lm-sensors")]
pub(crate) struct Broker {
    #[command(subcommand)]
    pub(crate) action: BrokerAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BrokerAction {
    /// Asks the broker to do something
    Call(Call),
    /// Lists what it can be asked for
    Verbs,
    /// Says who the broker takes this user for, and what it may do
    #[command(after_help = "Example:\n  sudo -u pulse proxward broker doctor")]
    Doctor {
        /// Socket of the broker
        #[arg(long, value_name = "PATH", default_value = broker_api::SOCKET)]
        socket: PathBuf,
    },
    /// The socket's directory as a mount
    #[command(subcommand)]
    Mount(MountAction),
    /// Questions about the rules, answered without a broker
    #[command(subcommand)]
    Policy(PolicyAction),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  proxward broker call guests.cpu samples=5\n\n\
    Prints one line of JSON for each answer. A list is written with commas.")]
pub(crate) struct Call {
    /// Verb, such as sensors.read
    pub(crate) verb: String,
    /// Parameters
    #[arg(value_name = "NAME=VALUE")]
    pub(crate) parameters: Vec<String>,
    /// Socket of the broker
    #[arg(long, value_name = "PATH", default_value = broker_api::SOCKET)]
    pub(crate) socket: PathBuf,
    /// Seconds to wait for each answer
    #[arg(long, value_name = "SECONDS", default_value_t = 35,
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) timeout: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MountAction {
    /// Says whether the socket can be used and can not be replaced
    #[command(after_help = "Example:\n  proxward broker mount check /mnt/proxward")]
    Check {
        /// Directory with the socket
        #[arg(default_value = "/run/proxward-broker")]
        directory: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyAction {
    /// Checks the rules
    #[command(after_help = "Example:\n  proxward broker policy check")]
    Check {
        /// Configuration instead of /etc/proxward/proxward.toml
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Says whether a peer may do something, and by which rule
    Explain(Question),
    /// Lists everything a peer may do
    #[command(after_help = "Example:\n  proxward broker policy simulate container:101")]
    Simulate {
        /// Configuration instead of /etc/proxward/proxward.toml
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Peer, as rules write it
        peer: PeerPattern,
    },
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  proxward broker policy explain user:pulse sensors.read node/pve2\n\n\
    Exit code 0: allowed, 1: refused."
)]
pub(crate) struct Question {
    /// Peer, as rules write it
    pub(crate) peer: PeerPattern,
    /// Verb
    pub(crate) verb: String,
    /// Target
    #[arg(default_value = "local")]
    pub(crate) target: String,
    /// Configuration instead of /etc/proxward/proxward.toml
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}
