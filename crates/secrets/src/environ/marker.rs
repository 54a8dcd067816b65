//! The variable that leads the second start to the pipe: `PID:FD`.

use super::{EnvironError, MARKER};
use std::fmt;

/// Most bytes of the variable: two numbers of at most ten digits and the colon.
const MAX_BYTES: usize = 21;

/// A well-formed marker that names this process.
///
/// The process id survives the exec but not a fork: children inherit the variable, and
/// without the id they would take it for a forgery, or worse, read a descriptor of theirs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Marker {
    pid: u32,
    fd: u32,
}

impl Marker {
    pub(super) fn own(fd: u32) -> Self {
        Self { pid: std::process::id(), fd }
    }

    /// `None` when the variable is absent or was inherited from another process.
    pub(super) fn from_environment() -> Result<Option<Self>, EnvironError> {
        let Some(value) = std::env::var_os(MARKER) else {
            return Ok(None);
        };
        let marker = value
            .to_str()
            .and_then(Self::parse)
            .ok_or(EnvironError::Marker("not of the form PID:FD"))?;
        Ok((marker.pid == std::process::id()).then_some(marker))
    }

    pub(super) fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.fd)
    }

    fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let (pid, fd) = text.split_once(':')?;
        Some(Self { pid: number(pid)?, fd: number(fd)? })
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.pid, self.fd)
    }
}

/// Digits only, no leading zero: as [`Marker`] writes them, while `parse` alone takes `+7`.
fn number(text: &str) -> Option<u32> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    (canonical && digits).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_written_form_is_read() {
        for text in [
            "",
            ":",
            "1",
            "1:",
            ":1",
            "+1:2",
            "1:+2",
            "1: 2",
            "01:2",
            "1:02",
            "1:2:3",
            "1:-1",
            "4294967296:1",
            "1:4294967296",
            "1:2\n",
            "99999999999999999999:1",
        ] {
            assert_eq!(Marker::parse(text), None, "{text:?}");
        }
        assert_eq!(Marker::parse("7:0"), Some(Marker { pid: 7, fd: 0 }));
    }

    proptest! {
        #[test]
        fn written_markers_read_back(pid: u32, fd: u32) {
            let marker = Marker { pid, fd };
            prop_assert_eq!(Marker::parse(&marker.to_string()), Some(marker));
        }

        #[test]
        fn what_is_read_is_written_the_same(text in "[0-9+:]{0,12}|.{0,30}") {
            if let Some(marker) = Marker::parse(&text) {
                prop_assert_eq!(marker.to_string(), text);
            }
        }
    }
}
