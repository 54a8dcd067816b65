//! Credentials given in the environment, moved out of it.
//!
//! `/proc/PID/environ` shows the environment a program was started with for as long as it
//! lives, to its user, to root, to crash reporters and monitoring agents; overwriting the
//! variables in the process does not change it. Only a new program image has a new one. So
//! [`take`] hands the values through a pipe to itself and starts the same program again
//! without them. The process id stays, and with it everything a supervisor knows.
//!
//! Between the first start and the second the values are still visible: a few milliseconds.
//! Files ([`crate::private_file`]) and systemd credentials do not have that gap.

mod handover;
mod marker;

use crate::SecretString;
use handover::Pairs;
use marker::Marker;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Tells the second start where the values are: `PID:FD`. It holds no secret, stays in the
/// environment, and is ignored in any process but the one it names.
pub const MARKER: &str = "PROXWARD_SECRETS_FD";

/// Most bytes of all names and values with their separators. A pipe takes 64 KiB before a
/// writer must wait, and nobody reads before the second start.
pub const TOTAL_MAX_BYTES: usize = 32 * 1024;

/// Why credentials were not taken from the environment. `Display` is one line and never
/// holds a value.
#[derive(Debug, thiserror::Error)]
pub enum EnvironError {
    /// A variable's value is not UTF-8.
    #[error("environment variable {0}: its value is not UTF-8")]
    NotUtf8(String),
    /// More than [`TOTAL_MAX_BYTES`].
    #[error(
        "the credentials in the environment are larger than {TOTAL_MAX_BYTES} bytes; give them as files"
    )]
    TooLarge,
    /// [`MARKER`] was set from outside, or something else came through the pipe.
    #[error("environment variable {MARKER} is for internal use ({0}); unset it")]
    Marker(&'static str),
    /// The hand-over through the pipe failed.
    #[error("can not move credentials out of the environment: {doing}: {source}")]
    Io {
        /// The step, as an infinitive.
        doing: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

/// Takes the variables `names` out of the environment.
///
/// Call it first thing in `main`, before any thread and before anything is opened. When one
/// of `names` is set, the call does not return: the process executes its own program again,
/// with the same arguments, without these variables. In that second start, and when none is
/// set, it returns the values by name. There is at most one second start.
///
/// Descriptors without close-on-exec stay open over it, standard input, output and error
/// among them. The empty pipe stays open afterwards, unused.
///
/// # Errors
/// See [`EnvironError`]. The variables are still in the environment then: end the process.
pub fn take(names: &[&str]) -> Result<BTreeMap<String, SecretString>, EnvironError> {
    let pairs = handover::from_environment(names)?;
    match Marker::from_environment()? {
        Some(_) if !pairs.is_empty() => Err(EnvironError::Marker("set beside the credentials")),
        Some(marker) => {
            let taken = handover::receive(&marker, names)?;
            restore_process_name();
            Ok(taken)
        }
        None if pairs.is_empty() => Ok(BTreeMap::new()),
        None => Err(start_again(&pairs, names)),
    }
}

/// Returns only when it failed.
fn start_again(pairs: &Pairs, names: &[&str]) -> EnvironError {
    // Kept open up to the exec and beyond: it is the only reference to the bytes.
    let (_reader, marker) = match handover::send(pairs) {
        Ok(sent) => sent,
        Err(error) => return error,
    };
    let mut args = std::env::args_os();
    // Not the path of the program: it may have been replaced by an update meanwhile.
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    command.args(args).env(MARKER, marker.to_string());
    for name in names {
        command.env_remove(name);
    }
    EnvironError::Io { doing: "start again", source: command.exec() }
}

/// `/proc/self/exe` left the process with the name `exe`, which is what `pgrep` and the
/// journal would show. Only cosmetic, so a failure is not reported.
fn restore_process_name() {
    let Some(first) = std::env::args_os().next().map(OsString::into_vec) else {
        return;
    };
    let base = first.rsplit(|&b| b == b'/').next().unwrap_or_default();
    if let Ok(name) = std::ffi::CString::new(base) {
        let _ = rustix::thread::set_name(&name);
    }
}
