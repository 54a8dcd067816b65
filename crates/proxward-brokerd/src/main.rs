//! `proxward-brokerd`: the broker's processes, started from one program.

mod options;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use broker::{
    ROLE_FLAG, Settings, Source, SuperviseError, forced_command, import_pulse, run_role, supervise,
};
use telemetry::{Clock, log};

use crate::options::{HELP, Options, Parsed};

/// Usage or configuration.
const USAGE: u8 = 2;
/// Permission.
const DENIED: u8 = 3;
/// It did not start, or ended by itself.
const FAILED: u8 = 4;

/// Where the configuration is when nothing is said.
const FILE: &str = "/etc/proxward/proxward.toml";
const DIRECTORY: &str = "/etc/proxward/conf.d";

/// Sections of the file; the others are other programs'.
const SECTIONS: &[&str] =
    &["gate", "state", "broker", "cells", "ban", "harden", "telemetry", "console", "proxy"];

/// Variables with our prefix that are not configuration.
const NOT_CONFIGURATION: &[&str] =
    &["PROXWARD_PASSWORD", "PROXWARD_TOKEN", "PROXWARD_SHARED", "PROXWARD_BIN"];

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if let [flag, role] = arguments.as_slice()
        && flag == ROLE_FLAG
    {
        return as_role(role);
    }
    if let [flag] = arguments.as_slice()
        && flag == "--forced-command"
    {
        return forced();
    }
    match options::parse(&arguments) {
        Ok(Parsed::Help) => {
            say(HELP);
            ExitCode::SUCCESS
        }
        Ok(Parsed::Version) => {
            say(concat!("proxward-brokerd ", env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
        Ok(Parsed::Run(options)) => run(options),
        Err(fault) => stop(USAGE, &format!("{fault}; --help shows what can be written")),
    }
}

fn as_role(role: &str) -> ExitCode {
    let options = log::Options {
        format: log::Format::Text,
        filter: "info".to_owned(),
        clock: Clock::system(),
    };
    // The log is a convenience here: without it the process does its work all the same.
    let _ = log::init(&options);
    match run_role(role) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => stop(FAILED, &error.to_string()),
    }
}

/// For another node's broker, over ssh.
fn forced() -> ExitCode {
    let words = std::env::var("SSH_ORIGINAL_COMMAND").ok();
    match forced_command(words.as_deref()) {
        Ok(text) => {
            say(&text);
            ExitCode::SUCCESS
        }
        Err(error) => stop(FAILED, &error),
    }
}

fn run(options: Options) -> ExitCode {
    let log = log::Options {
        format: log::Format::Text,
        filter: options.log.clone(),
        clock: Clock::system(),
    };
    if let Err(error) = log::init(&log) {
        return stop(USAGE, &error.to_string());
    }
    let check = options.check;
    let files = Files(options);
    if check {
        let checked = files
            .settings()
            .and_then(|settings| settings.check(Path::new("/")).map_err(|error| error.to_string()));
        return match checked {
            Ok(_) => {
                say("the configuration is valid");
                ExitCode::SUCCESS
            }
            Err(error) => stop(USAGE, &error),
        };
    }
    match supervise(&files, || note("broker: ready")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = match &error {
                SuperviseError::Config(_) | SuperviseError::Socket { .. } => USAGE,
                SuperviseError::Io { source, .. }
                    if source.kind() == std::io::ErrorKind::PermissionDenied =>
                {
                    DENIED
                }
                _ => FAILED,
            };
            stop(code, &error.to_string())
        }
    }
}

/// The files that were named, read again for each reload.
struct Files(Options);

impl Source for Files {
    fn settings(&self) -> Result<Settings, String> {
        let mut settings = match &self.0.pulse_config {
            Some(path) => pulse(path)?,
            None => own(self.0.config.as_deref())?,
        };
        if let Some(socket) = &self.0.socket {
            settings.socket = std::path::absolute(socket).map_err(|error| error.to_string())?;
        }
        Ok(settings)
    }
}

fn own(named: Option<&Path>) -> Result<Settings, String> {
    let layers = settings::Layers::new(SECTIONS);
    let layers = match named {
        Some(path) => layers.file(path, settings::Presence::Required),
        None => layers
            .file(Path::new(FILE), settings::Presence::Optional)
            .directory(Path::new(DIRECTORY)),
    };
    let layers = layers.environment(std::env::vars_os(), NOT_CONFIGURATION);
    let document = layers.load().map_err(|error| error.to_string())?;
    let read: Settings = document.section("broker").map_err(|error| error.to_string())?;
    read.clone().check(Path::new("/")).map_err(|error| match document.origin(error.key()) {
        settings::Origin::Default => error.to_string(),
        origin => format!("{origin}: {error}"),
    })?;
    Ok(read)
}

fn pulse(path: &PathBuf) -> Result<Settings, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let import = import_pulse(path, &text, environment).map_err(|error| error.to_string())?;
    for warning in &import.warnings {
        note(&format!("warning: {warning}"));
    }
    Ok(import.settings)
}

fn stop(code: u8, text: &str) -> ExitCode {
    note(&format!("proxward-brokerd: {text}"));
    ExitCode::from(code)
}

fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
