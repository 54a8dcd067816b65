//! The log on stderr: one masked, escaped line per event.
//!
//! Events come from `tracing` (`tracing::warn!(peer = %addr, "request refused")`). A line holds
//! time, level, target, message, the event's fields and those of the spans around it, the
//! innermost winning:
//!
//! ```text
//! 2026-07-01T12:00:00.123Z WARN gate::stack request refused peer=192.0.2.7:4711 reason="too many"
//! {"time":"2026-07-01T12:00:00.123Z","level":"warn","target":"gate::stack","message":"request refused","peer":"192.0.2.7:4711","reason":"too many"}
//! ```
//!
//! Every value passes `secrets::mask` under the name of its field before it becomes part of the
//! line. The finished line is not masked as a whole: a client's `password=` would then hide the
//! field behind it, the address perhaps, and break the JSON. Control characters, line separators and
//! direction overrides are written as escapes, so that no value can begin a new line or hide
//! what follows. A line is at most [`LOG_LINE`](crate::limits::LOG_LINE) bytes; a longer one is
//! cut and ends with `[truncated]`, or has a member `"truncated":true`.

mod fields;
#[cfg(feature = "spans")]
mod layer;
mod line;
#[cfg(not(feature = "spans"))]
mod plain;

use std::io::Write as _;
use std::str::FromStr;

#[cfg(feature = "spans")]
use tracing_subscriber::filter::{EnvFilter, ParseError};
#[cfg(feature = "spans")]
use tracing_subscriber::layer::SubscriberExt as _;
#[cfg(feature = "spans")]
use tracing_subscriber::registry;

use crate::Clock;

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// For people and journald.
    #[default]
    Text,
    /// One JSON object, for log tools.
    Json,
}

/// How to log.
#[derive(Clone, Debug)]
pub struct Options {
    /// The form of a line.
    pub format: Format,
    /// A level (`info`) or directives (`info,gate::relay=debug`), as `tracing-subscriber`'s
    /// `EnvFilter` reads them, without regular expressions. Without the feature `spans`: a level.
    pub filter: String,
    /// Where the time comes from.
    pub clock: Clock,
}

/// Why logging could not begin.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The filter is invalid.
    #[cfg(feature = "spans")]
    #[error("log filter: {0}; write a level such as info, or TARGET=LEVEL,…")]
    Filter(#[from] ParseError),
    /// The filter is not a level.
    #[cfg(not(feature = "spans"))]
    #[error("log filter: {0}; write error, warn, info, debug or trace")]
    Filter(#[from] tracing::metadata::ParseLevelFilterError),
    /// A log is set up in this process already.
    #[error("log: set up twice in one process; set it up once, in the program")]
    Twice,
}

/// Sends the events of this process to stderr from now on. A write blocks as long as the reader
/// of stderr does; a failing write is dropped, for there is nobody to tell.
///
/// # Errors
/// [`InitError`], for an invalid filter or a second call.
pub fn init(options: &Options) -> Result<(), InitError> {
    #[cfg(feature = "spans")]
    let subscriber = {
        let filter = EnvFilter::builder().with_regex(false).parse(&options.filter)?;
        registry().with(filter).with(layer::Lines::new(
            options.format,
            options.clock.clone(),
            to_stderr,
        ))
    };
    #[cfg(not(feature = "spans"))]
    let subscriber = plain::Plain::new(
        options.format,
        options.filter.parse()?,
        options.clock.clone(),
        to_stderr,
    );
    tracing::subscriber::set_global_default(subscriber).map_err(|_| InitError::Twice)
}

fn to_stderr(line: &str) {
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(FormatError),
        }
    }
}

/// A text is no [`Format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log format: expected text or json")]
pub struct FormatError;
