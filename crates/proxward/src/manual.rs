//! Completions and manual pages, from the same table as `--help`.

use clap::CommandFactory as _;

use crate::cli::{Cli, Completions, Man};
use crate::exit::{Stop, file_fault};

pub(crate) fn completions(arguments: &Completions) -> Result<(), Stop> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "proxward", &mut script);
    crate::output::result(&String::from_utf8_lossy(&script));
    Ok(())
}

pub(crate) fn pages(arguments: &Man) -> Result<(), Stop> {
    let directory = &arguments.directory;
    clap_mangen::generate_to(Cli::command(), directory)
        .map_err(|error| file_fault(directory, &error))
}
