//! `proxward cell`.

mod arguments;
mod audit_file;
mod doctor;
mod metrics;
mod policy;
mod ps;
mod run;
mod serve;

pub(crate) use arguments::{Cell, RunAlone};

use crate::exit::Stop;
use arguments::Action;

pub(crate) fn run(arguments: &Cell) -> Result<(), Stop> {
    match &arguments.action {
        Action::Run(arguments) => run::run(arguments),
        Action::Serve(arguments) => serve::run(arguments),
        Action::Ps(arguments) => ps::run(arguments),
        Action::Slot => serve::slot(),
        Action::Doctor(arguments) => doctor::run(arguments),
        Action::Policy(options) => policy::run(options),
    }
}

/// `cell run`, read by itself.
pub(crate) fn run_command(alone: &RunAlone) -> Result<(), Stop> {
    run::run(&alone.run)
}
