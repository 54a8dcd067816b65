//! The program: reads what was typed, wires the engines together, shows what they answer.

mod access;
mod api;
mod audit;
mod broker;
mod broker_doctor;
mod cell;
mod cli;
mod cli_broker;
mod config;
mod demo;
mod exit;
mod gate;
mod instrument;
mod manual;
mod mock;
mod output;
mod place;
mod session;
mod signals;
mod token;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};
use crate::exit::{Exit, Stop};

/// Credentials that may come in the environment. They are taken out of it before anything else.
const CREDENTIALS: [&str; 2] = ["PROXWARD_PASSWORD", "PROXWARD_TOKEN"];

fn main() -> ExitCode {
    // Where the small launcher is not installed, this program is started under its name.
    if ::cell::launch::is_launcher() {
        return ::cell::launch::main();
    }
    std::panic::set_hook(Box::new(exit::report_panic));
    match std::panic::catch_unwind(run) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(stop)) => stop.report(),
        Err(_) => Exit::Bug.into(),
    }
}

fn run() -> Result<(), Stop> {
    let environment = secrets::environ::take(&CREDENTIALS).map_err(Stop::usage)?;
    if let Some(run) = cell::RunAlone::from_words(std::env::args_os()) {
        return cell::run_command(&run);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(asked) if !asked.use_stderr() => {
            output::result(asked.render().to_string().trim_end());
            return Ok(());
        }
        Err(error) => return Err(Stop::typed(&error)),
    };
    match cli.command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Mock(arguments) => mock::run(&arguments),
        Command::Gate(arguments) => gate::run(&arguments),
        Command::Session(arguments) => session::run(&arguments),
        Command::Token(arguments) => token::run(arguments),
        Command::StepUp(arguments) => token::step_up(arguments),
        Command::Cell(arguments) => cell::run(&arguments),
        Command::Api(arguments) => api::run(&arguments, environment),
        Command::Broker(arguments) => broker::run(&arguments),
        Command::Access(arguments) => access::run(&arguments),
        Command::Doctor(arguments) => gate::check::run(&arguments),
        Command::Log(arguments) => audit::run(&arguments),
        Command::Config(arguments) => config::run(&arguments),
        Command::Completions(arguments) => manual::completions(&arguments),
        Command::Man(arguments) => manual::pages(&arguments),
    }
}
