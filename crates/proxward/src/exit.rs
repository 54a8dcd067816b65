//! How the program ends: the exit codes scripts rely on, and one line of text.

use std::fmt::Display;
use std::panic::PanicHookInfo;
use std::process::ExitCode;

use anyhow::Error;

use crate::output;

/// The contract's exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// It ran and the answer is no.
    No = 1,
    /// Usage or configuration.
    Usage = 2,
    /// Authentication or permission.
    Denied = 3,
    /// Unreachable or timed out.
    Unreachable = 4,
    /// Refused by policy.
    Refused = 5,
    /// The API answered an error.
    Api = 6,
    /// A bug.
    Bug = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ends without having done its work.
#[derive(Debug)]
pub(crate) struct Stop {
    code: u8,
    /// None when everything has been said.
    error: Option<Error>,
}

impl Stop {
    pub(crate) fn new(exit: Exit, error: impl Into<Error>) -> Self {
        Self { code: exit as u8, error: Some(error.into()) }
    }

    /// The status of a program that was run for the caller, who has seen its output.
    pub(crate) fn status(code: u8) -> Self {
        Self { code, error: None }
    }

    /// As [`Stop::say`], with a code that is part of one command's contract only.
    pub(crate) fn coded(code: u8, text: impl Display) -> Self {
        Self { code, error: Some(Error::msg(text.to_string())) }
    }

    pub(crate) fn usage(error: impl Into<Error>) -> Self {
        Self::new(Exit::Usage, error)
    }

    /// What was typed can not be understood: the parser's words, without its summary of the usage.
    pub(crate) fn typed(error: &clap::Error) -> Self {
        let rendered = error.render().to_string();
        let (words, _) = rendered.split_once("\n\nUsage:").unwrap_or((&rendered, ""));
        let words: Vec<&str> =
            words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let words = words.join(" ");
        let words = words.strip_prefix("error: ").unwrap_or(&words);
        let words = words.trim_end_matches(" For more information, try '--help'.");
        Self::say(Exit::Usage, format!("{words}; --help shows what can be written"))
    }

    /// A text of our own.
    pub(crate) fn say(exit: Exit, text: impl Display) -> Self {
        Self::new(exit, Error::msg(text.to_string()))
    }

    /// Says why, in one line, and gives the code.
    pub(crate) fn report(self) -> ExitCode {
        // The libraries' errors hold their cause in their own line, so the chain would repeat it.
        if let Some(error) = &self.error {
            let text = error.to_string();
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            let line: Vec<&str> = lines.collect();
            output::note(&format!("proxward: {}", secrets::mask::text(&line.join(" "))));
        }
        ExitCode::from(self.code)
    }
}

impl Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.as_ref().map_or(Ok(()), |error| error.fmt(f))
    }
}

/// A refused file operation is a question of permission, everything else of configuration.
pub(crate) fn file_fault(path: &std::path::Path, error: &std::io::Error) -> Stop {
    let exit = match error.kind() {
        std::io::ErrorKind::PermissionDenied => Exit::Denied,
        _ => Exit::Usage,
    };
    Stop::say(exit, format!("{}: {error}", path.display()))
}

/// One line instead of a backtrace: the place is what a report needs.
pub(crate) fn report_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map_or_else(String::new, |at| format!(" at {at}"));
    output::note(&format!("proxward: internal error{place}; please report this as a bug"));
}
