//! The mock with many guests.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::load::Load;
use crate::server::Server;
use crate::{millis, rounds};

const GUESTS: usize = 50_000;

pub(crate) fn ready(program: &Path) -> Result<Vec<f64>> {
    rounds(|| Ok(millis(start(program)?.ready)))
}

/// The most memory held until all guests have been listed.
pub(crate) fn peak(program: &Path) -> Result<Vec<f64>> {
    rounds(|| {
        let server = start(program)?;
        list(&server)?;
        server.peak_megabytes()
    })
}

/// Asking for the list of all guests, over a connection of its own, until the last byte.
pub(crate) fn resources(program: &Path) -> Result<Vec<f64>> {
    let server = start(program)?;
    rounds(|| list(&server))
}

fn start(program: &Path) -> Result<Server> {
    let guests = GUESTS.to_string();
    let options = ["--no-tls", "--seed", "cluster", "--guests", &guests, "--format", "json"];
    Server::start(Command::new(program).arg("mock").args(options))
}

/// Milliseconds of one list, which has to hold every guest.
fn list(server: &Server) -> Result<f64> {
    let fact = |name: &str| server.line.get(name).and_then(Value::as_str).context("ready line");
    let load = Load {
        address: fact("url")?.trim_start_matches("http://").parse()?,
        path: "/api2/json/cluster/resources",
        headers: format!("Authorization: PVEAPIToken={}\r\n", fact("token")?),
    };
    let started = Instant::now();
    let body = load.once()?;
    let took = millis(started.elapsed());
    let guests = body.windows(7).filter(|window| window == b"\"vmid\":").count();
    if guests != GUESTS {
        bail!("{guests} guests listed");
    }
    Ok(took)
}
