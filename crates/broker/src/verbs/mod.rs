//! What verbs do: in the process with the sockets ([`run`]), and in workers ([`Handler`]).

mod cells;
mod commands;
mod devices;
mod files;
mod guests;
mod handler;
mod nft;
mod node;
mod routes;
pub(crate) mod sensors;
mod ssh;
mod watch;

pub(crate) use cells::{noted, run_launcher, started};
pub(crate) use files::pending;
pub(crate) use handler::Handler;
pub(crate) use routes::run;
#[cfg(fuzzing)]
pub(crate) use {
    devices::parse::{log_page, nvme_health, smart_data, smartctl},
    devices::sdr,
    nft::netlink,
    ssh::known_hosts,
};
